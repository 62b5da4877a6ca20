//! The command line of jsdkd: reads the arguments, runs one command, and turns its end into an exit code.

use std::process::ExitCode;

mod cli;

fn main() -> ExitCode {
    match cli::run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("jsdkd: {error:#}");
            ExitCode::FAILURE
        }
    }
}
