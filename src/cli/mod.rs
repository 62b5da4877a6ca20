//! The commands, one file each. Only this folder writes to the terminal.

use std::io;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use url::Url;

use wechat::is_loopback;

mod check;
mod completions;
mod demo;
mod doctor;
mod healthcheck;
mod import;
mod install;
mod push;
mod query;
mod realm;
mod realm_words;
mod sandbox;
mod serve;
mod sign;

/// Exit code for faulty settings (EX_CONFIG of sysexits.h): a supervisor need not retry.
const EX_CONFIG: u8 = 78;

/// Exit code for a cache file that is in use (EX_TEMPFAIL): retrying later can help.
const EX_TEMPFAIL: u8 = 75;

const EXAMPLES: &str = "\
Examples:
  jsdkd demo                                 try everything without a WeChat account
  jsdkd check jsdkd.json                     report every fault in a settings file
  jsdkd doctor                               check DNS, clock, cache, IP allow lists and more
  jsdkd                                      serve with $APP_CONFIG, else ./jsdkd.json
  jsdkd serve --config /etc/jsdkd.json       serve with that file
  jsdkd install                              create the tables of a SQL cache
  jsdkd import wechat-server.db              print a jsdkd.json made from its settings
  jsdkd query http://127.0.0.1:3030 --app wx0123456789abcdef --realm R123 --secret S
                                             query the access_token of a running server
  jsdkd realm new shop --app wx0123456789abcdef
                                             create a secret for a program that uses the gateway
  jsdkd sign --ticket T --url https://example.com/
                                             print a signature to compare with WeChat's debugging page;
                                             with --explain, name the mistake in a signature

Settings may also come from the environment: JSDKD__SERVER__PORT=8080, JSDKD__CACHE__REDIS=redis://…
Exit codes: 0 success or stopped by a signal, 1 failed, 2 bad arguments, 75 the cache file is in use, 78 bad settings.";

/// Keeps WeChat access_tokens and jsapi_tickets fresh, signs wx.config, and serves credentials to
/// authorized callers.
#[derive(Parser)]
#[command(version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: serve::Arguments,
}

#[derive(Subcommand)]
enum Command {
    /// Start the server (the default command).
    Serve(serve::Arguments),
    /// Check a settings file and report every fault with its line and what was expected.
    Check(check::Arguments),
    /// Check everything that a server depends on, and say what to change.
    Doctor(doctor::Arguments),
    /// Create or extend the tables of a SQL cache.
    Install(install::Arguments),
    /// Print a jsdkd.json made from another server's settings, variables or database.
    Import(import::Arguments),
    /// Start the server with a built-in fake WeChat and a sample account; no WeChat account needed.
    Demo(demo::Arguments),
    /// Run only the fake WeChat API, for your own tests.
    Sandbox(sandbox::Arguments),
    /// Create a realm: a fresh secret, and the lines to paste into the settings.
    #[command(subcommand)]
    Realm(realm::Command),
    /// Fetch a credential from a running server with a signed realm query, and print it.
    Query(query::Arguments),
    /// Print string1 and the JS-SDK signature, to compare with WeChat's debugging page.
    Sign(sign::Arguments),
    /// Exit with 0 if the server answers, for Docker's HEALTHCHECK.
    Healthcheck(healthcheck::Arguments),
    /// Print shell completions.
    Completions(completions::Arguments),
}

/// Runs one command and returns its exit code.
pub(crate) fn main() -> ExitCode {
    run().unwrap_or_else(|error| {
        eprintln!("jsdkd: {error:#}");
        ExitCode::FAILURE
    })
}

/// Parses the arguments and runs their command.
fn run() -> anyhow::Result<ExitCode> {
    let arguments = CommandLine::parse();
    match arguments.command.unwrap_or(Command::Serve(arguments.serve)) {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Check(arguments) => Ok(check::run(&arguments)),
        Command::Doctor(arguments) => doctor::run(&arguments),
        Command::Install(arguments) => install::run(&arguments),
        Command::Import(arguments) => import::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Sandbox(arguments) => sandbox::run(arguments),
        Command::Realm(command) => realm::run(&command),
        Command::Query(arguments) => query::run(&arguments),
        Command::Sign(arguments) => sign::run(&arguments),
        Command::Healthcheck(arguments) => healthcheck::run(&arguments),
        Command::Completions(arguments) => Ok(completions::run(&arguments)),
    }
}

/// The runtime for fetching and storing credentials. actix answers requests on its own threads.
fn runtime() -> anyhow::Result<Runtime> {
    Ok(Builder::new_multi_thread()
        .worker_threads(2)
        .thread_name("jsdkd-keeper")
        .enable_all()
        .build()?)
}

/// An HTTP client for one request to `url`. Requests to this machine bypass the proxy.
fn client(timeout: std::time::Duration, url: &Url) -> anyhow::Result<reqwest::Client> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    let client = reqwest::Client::builder()
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none());
    Ok(if is_loopback(url) {
        client.no_proxy()
    } else {
        client
    }
    .build()?)
}

/// The signals that stop the process: SIGTERM, and SIGINT from Ctrl-C. A signal after
/// [`Stop::listen`] is not lost, however late
/// [`Stop::asked`] is called.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    /// Must be called on a tokio runtime.
    fn listen() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Resolves when the process receives a stop signal.
    async fn asked(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
