//! Entry point. The program is in the library, so that tests and fuzz targets can use it.

use std::process::ExitCode;

fn main() -> ExitCode {
    parity_router::main()
}
