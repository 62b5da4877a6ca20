//! `jsdkd completions`: prints shell completions.

use std::io;
use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

/// Arguments of `completions`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The shell to complete for.
    shell: Shell,
}

/// Prints the completions to standard output.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    clap_complete::generate(
        arguments.shell,
        &mut super::CommandLine::command(),
        "jsdkd",
        &mut io::stdout(),
    );
    ExitCode::SUCCESS
}
