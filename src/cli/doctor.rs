//! `jsdkd doctor`: looks at everything that a running server depends on, and says what to change.
//! It changes nothing and never voids a token.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::settings::{self, Config, Environment, Source};
use reach::Network;
use report::{Report, Status};

mod accounts;
mod cache;
mod clocks;
mod cure;
mod hosts;
mod message_server;
mod modes;
mod public_address;
mod reach;
mod redis;
mod report;
mod writers;

const EXAMPLES: &str = "\
Exit codes: 0 nothing fails, 1 something fails, 2 with --strict: there are warnings.
On an account with tokenApi basic it tries the stored token; it fetches none, which would void the one in use.
What to do is said in Chinese if LC_ALL, LC_MESSAGES or LANG is.";

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
        modes::check(SETTINGS, file, &mut report);
    }
    match settings::load_noting_files(&Source::file(file), &env) {
        Ok((loaded, secret_files)) => {
            for file in &secret_files {
                modes::check(SETTINGS, file, &mut report);
            }
            let accounts = loaded.config.accounts.len();
            report.ok(SETTINGS, format!("they hold; {accounts} account(s)"));
            for warning in loaded.warnings {
                let cure = ["see docs/settings.md", "见 docs/settings.zh-CN.md"];
                report.warn(SETTINGS, warning, cure);
            }
            super::runtime()?.block_on(all(&loaded.config, &mut report));
        }
        Err(error) => {
            for line in error.to_string().lines() {
                report.fail(
                    SETTINGS,
                    line,
                    [
                        "correct the settings; jsdkd check shows the same",
                        "改正配置；jsdkd check 显示同样的内容",
                    ],
                );
            }
        }
    }
    let zh = cure::reads_chinese(&env);
    if arguments.json {
        println!("{:#}", report.json(zh));
    } else {
        print!("{}", report.text(zh));
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
    let network = Network::new(config.wechat.timeout);
    hosts::check(config, &network, report).await;
    let public_answers = match &config.server.public_url {
        Some(public) => public_address::check(public, &network, report).await,
        None => false,
    };
    let store = cache::check(&config.store, report).await;
    let accounts = accounts::all(config, store.as_ref(), report).await;
    accounts::check(config, &accounts, store.as_ref(), report).await;
    message_server::check(config, &accounts, public_answers, &network, report).await;
    files(config, report);
    writers::check(&accounts, store.as_ref(), report).await;
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
            [
                "raise LimitNOFILE of the systemd unit, or ulimits.nofile in compose; or lower server.maxConnections",
                "调大 systemd 单元的 LimitNOFILE，或 compose 里的 ulimits.nofile；或者调小 server.maxConnections",
            ],
        ),
        _ => report.ok(SECTION, "enough files may be opened"),
    }
}
