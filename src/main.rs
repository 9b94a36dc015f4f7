//! Parse, run, exit code: everything else is in the library, where tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    lanradio::cli::main()
}
