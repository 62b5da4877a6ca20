//! `jsdkd serve`: settings, server, signals.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use crate::server::{Reloader, Server, StartError};
use crate::settings::{self, Environment, Loaded, Source};
use crate::store::OpenError;
use crate::telemetry;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Arguments of `serve`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The settings file; else $APP_CONFIG, else ./jsdkd.json, else jsdkd.json beside the program.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Serves until asked to stop.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let runtime = super::runtime()?;
    // Before anything else: a signal that comes early must find its handler.
    let signals = runtime.block_on(async { Signals::listen() })?;
    let env = Environment::from_process();
    let source = Source::file(settings::find_file(arguments.config.as_deref(), &env));
    let loaded = match settings::load(&source, &env) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}\njsdkd: the settings have faults; nothing was started");
            return Ok(ExitCode::from(super::EX_CONFIG));
        }
    };
    let _written = telemetry::start(env.get("RUST_LOG"));
    runtime.block_on(serve(loaded, signals, &source, &env))
}

/// What the process is told while it runs.
struct Signals {
    stop: super::Stop,
    reload: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self { stop: super::Stop::listen()?, reload: signal(SignalKind::hangup())? })
    }
}

async fn serve(mut loaded: Loaded, signals: Signals, source: &Source, env: &Environment) -> anyhow::Result<ExitCode> {
    let Signals { stop, reload: mut hangup } = signals;
    warn(&loaded);
    let file = loaded.file.take().map_or_else(|| "the environment".to_owned(), |file| file.display().to_string());
    let server = match Server::bind(loaded.config).await {
        Ok(server) => server,
        Err(error) => return refused(error),
    };
    let reloader = server.reloader();
    let (address, accounts) = (server.address(), reloader.accounts());
    tracing::info!(%address, accounts, settings = file, version = env!("CARGO_PKG_VERSION"), "listening");
    let reloads = async {
        while hangup.recv().await.is_some() {
            reload(&reloader, source, env);
        }
    };
    tokio::select! {
        ended = server.run_until(stop.asked()) => ended?,
        () = reloads => {}
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// A start that failed, told by the exit code.
fn refused(error: StartError) -> anyhow::Result<ExitCode> {
    let code = match &error {
        StartError::Store(OpenError::Misconfigured(_)) => super::EX_CONFIG,
        StartError::Store(OpenError::InUse(_)) => super::EX_TEMPFAIL,
        StartError::Bind { .. } | StartError::Client(_) => return Err(error.into()),
    };
    eprintln!("jsdkd: {error}");
    Ok(ExitCode::from(code))
}

/// SIGHUP: faulty settings change nothing and are reported.
fn reload(reloader: &Reloader, source: &Source, env: &Environment) {
    match settings::load(source, env) {
        Ok(loaded) => {
            warn(&loaded);
            reloader.apply(loaded.config);
            tracing::info!(accounts = reloader.accounts(), "the settings were read again; apps, realms and cors are in force");
        }
        Err(error) => {
            for fault in error.faults() {
                tracing::error!(%fault, "the settings have a fault; nothing was changed");
            }
        }
    }
}

fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
}
