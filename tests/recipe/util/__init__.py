"""The modules that the recipe's script imports and the recipe's text does not show: ours, as that text describes them."""
