"""The modules that the recipe's script imports and that the recipe's text only describes, written after that description."""
