//! Entry: everything is in the library, so that `ls src` reads as the program.

use std::process::ExitCode;

fn main() -> ExitCode {
    parity_router::main()
}
