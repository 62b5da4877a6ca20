//! `jsdkd doctor`: looks at everything that a running server depends on, and says what to change.
//! It changes nothing and never voids a token.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::settings::{self, Config, Environment, Source};
use report::{Report, Status};

mod accounts;
mod cache;
mod hosts;
mod report;

const EXAMPLES: &str = "\
Exit codes: 0 nothing fails, 1 something fails, 2 with --strict: there are warnings.
On an account with tokenApi basic it tries the stored token; it fetches none, which would void the one in use.";

/// Arguments of `doctor`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The settings file [default: the one that `serve` reads]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Exit with 2 if there are warnings
    #[arg(long)]
    strict: bool,
}

const SETTINGS: &str = "settings";

/// Prints one line for each check.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let env = Environment::from_process();
    let file = settings::find_file(arguments.config.as_deref(), &env);
    let mut report = Report::default();
    if let Some(file) = &file {
        mode(file, &mut report);
    }
    match settings::load(&Source::file(file), &env) {
        Ok(loaded) => {
            let accounts = loaded.config.accounts.len();
            report.ok(SETTINGS, format!("they hold; {accounts} account(s)"));
            for warning in loaded.warnings {
                report.warn(SETTINGS, warning, "see docs/settings.md");
            }
            super::runtime()?.block_on(all(&loaded.config, &mut report));
        }
        Err(error) => {
            for line in error.to_string().lines() {
                report.fail(
                    SETTINGS,
                    line,
                    "correct the settings; jsdkd check shows the same",
                );
            }
        }
    }
    if arguments.json {
        println!("{:#}", report.json());
    } else {
        print!("{}", report.text());
    }
    Ok(if report.count(Status::Fail) > 0 {
        ExitCode::FAILURE
    } else if arguments.strict && report.count(Status::Warn) > 0 {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    })
}

async fn all(config: &Config, report: &mut Report) {
    hosts::check(config, report).await;
    let store = cache::check(&config.store, report).await;
    accounts::check(config, store.as_ref(), report).await;
    files(config, report);
}

/// The file holds secrets.
fn mode(file: &Path, report: &mut Report) {
    let Ok(found) = file.metadata() else {
        return;
    };
    if found.permissions().mode() & 0o077 == 0 {
        report.ok(SETTINGS, format!("{} is its owner's alone", file.display()));
    } else {
        report.warn(
            SETTINGS,
            format!(
                "{} can be read by others, and may hold secrets",
                file.display()
            ),
            format!("chmod 600 {}", file.display()),
        );
    }
}

/// Whether the process may open enough files.
fn files(config: &Config, report: &mut Report) {
    use rustix::process::{Resource, getrlimit};

    const SECTION: &str = "limits";
    let limit = getrlimit(Resource::Nofile);
    let wanted = u64::from(config.server.max_connections);
    match limit.maximum {
        Some(most) if most < wanted => report.warn(
            SECTION,
            format!("this user may open {most} files, and server.maxConnections is {wanted}"),
            "raise LimitNOFILE of the systemd unit, or ulimits.nofile in compose; or lower server.maxConnections",
        ),
        _ => report.ok(SECTION, "enough files may be opened"),
    }
}
