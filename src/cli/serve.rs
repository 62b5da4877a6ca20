//! `jsdkd serve`: settings, server, signals.

use std::io;
use std::path::PathBuf;
use std::pin::{Pin, pin};
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use crate::server::{Reloader, Server, StartError};
use crate::settings::{self, Environment, Loaded, Source};
use crate::telemetry::{self, LostLines};
use clock::Clock;
use credentials::store::OpenError;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::oneshot;

/// Arguments of `serve`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The settings file [default: $APP_CONFIG, else ./jsdkd.json, else jsdkd.json in the program's
    /// folder]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// A reload that takes longer is logged.
const READING_TAKES_LONG: Duration = Duration::from_secs(10);

/// Serves until asked to stop.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let runtime = super::runtime()?;
    let code = runtime.block_on(started(arguments.config.clone()));
    // Everything is closed. Do not wait for system calls that hang, such as a DNS lookup or a file
    // read.
    runtime.shutdown_background();
    code
}

/// Reads the settings and serves.
async fn started(named: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    // First, so that an early signal finds its handler.
    let Signals {
        stop,
        reload: hangup,
    } = Signals::listen()?;
    let mut stop = pin!(stop.asked());
    let env = Environment::from_process();
    let variables = env.clone();
    let reading = aside(move || {
        let source = Source::file(settings::find_file(named.as_deref(), &variables));
        (settings::load(&source, &variables), source)
    });
    let (loaded, source) = tokio::select! {
        biased;
        read = reading => read?,
        () = &mut stop => return Ok(stopped_early(&env)),
    };
    let loaded = match loaded {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!(
                "{error}\njsdkd: nothing was started, because the settings have faults; correct them and start again"
            );
            return Ok(ExitCode::from(super::EX_CONFIG));
        }
    };
    let log = telemetry::start(env.get("RUST_LOG"));
    serve(loaded, log.lost.clone(), stop, hangup, &source, &env).await
}

/// Runs `work` on its own thread, which is not joined: a read from a dead mount hangs, and no
/// signal ends it.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> anyhow::Result<T> {
    let (done, result) = oneshot::channel();
    // The receiver is gone if the process is stopping.
    thread::Builder::new()
        .name("jsdkd-settings".to_owned())
        .spawn(move || done.send(work()).ok())?;
    Ok(result.await?)
}

/// Stopped before anything was started.
fn stopped_early(env: &Environment) -> ExitCode {
    let _written = telemetry::start(env.get("RUST_LOG"));
    tracing::info!("stopped");
    ExitCode::SUCCESS
}

/// The signals that the process handles.
struct Signals {
    stop: super::Stop,
    reload: Signal,
}

impl Signals {
    fn listen() -> io::Result<Self> {
        Ok(Self {
            stop: super::Stop::listen()?,
            reload: signal(SignalKind::hangup())?,
        })
    }
}

async fn serve(
    mut loaded: Loaded,
    lost_lines: LostLines,
    mut stop: Pin<&mut impl Future<Output = ()>>,
    mut hangup: Signal,
    source: &Source,
    env: &Environment,
) -> anyhow::Result<ExitCode> {
    warn(&loaded);
    let file = loaded.file.take().map_or_else(
        || "the environment".to_owned(),
        |file| file.display().to_string(),
    );
    let bound = tokio::select! {
        biased;
        bound = Server::bind_with(loaded.config, Clock::system(), None, lost_lines) => bound,
        () = &mut stop => {
            tracing::info!("stopped");
            return Ok(ExitCode::SUCCESS);
        }
    };
    let server = match bound {
        Ok(server) => server,
        Err(error) => return refused(error),
    };
    let reloader = server.reloader();
    let (address, accounts) = (server.address(), reloader.accounts());
    tracing::info!(%address, accounts, settings = file, version = env!("CARGO_PKG_VERSION"), "listening");
    if let Some(address) = server.admin_address() {
        tracing::info!(%address, "the admin listener shows /status, /metrics and /ready");
    }
    let reloads = async {
        while hangup.recv().await.is_some() {
            reload(&reloader, source, env).await;
        }
    };
    tokio::select! {
        ended = server.run_until(stop) => ended?,
        () = reloads => {}
    }
    tracing::info!("stopped");
    Ok(ExitCode::SUCCESS)
}

/// The exit code of a failed start.
fn refused(error: StartError) -> anyhow::Result<ExitCode> {
    let code = match &error {
        StartError::Store(OpenError::Misconfigured(_)) => super::EX_CONFIG,
        StartError::Store(OpenError::InUse(_)) => super::EX_TEMPFAIL,
        StartError::Bind { .. }
        | StartError::BindAdmin { .. }
        | StartError::Client(_)
        | StartError::Tls(_) => {
            return Err(error.into());
        }
    };
    eprintln!("jsdkd: {error}");
    Ok(ExitCode::from(code))
}

/// Reads the settings again after SIGHUP. Faulty settings are reported and change nothing.
async fn reload(reloader: &Reloader, source: &Source, env: &Environment) {
    let (source, env) = (source.clone(), env.clone());
    let mut reading = pin!(aside(move || settings::load(&source, &env)));
    let read = match tokio::time::timeout(READING_TAKES_LONG, &mut reading).await {
        Ok(read) => read,
        Err(_) => {
            tracing::warn!(
                "reading the settings takes long; is one of their files on a mount that hangs?"
            );
            reading.await
        }
    };
    let loaded = match read {
        Ok(loaded) => loaded,
        Err(error) => {
            reloader.refused();
            return tracing::error!(%error, "settings not reloaded: reading them failed; the server keeps the previous ones");
        }
    };
    match loaded {
        Ok(loaded) => {
            warn(&loaded);
            reloader.apply(loaded.config);
            tracing::info!(
                accounts = reloader.accounts(),
                "settings reloaded; the new apps, realms and cors are in use"
            );
        }
        Err(error) => {
            reloader.refused();
            for fault in error.faults() {
                tracing::error!(%fault, "settings not reloaded: they have a fault; the server keeps the previous ones");
            }
        }
    }
}

fn warn(loaded: &Loaded) {
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hanging_read_delays_no_stop() {
        let runtime = crate::cli::runtime().expect("a runtime");
        let stopped = runtime.block_on(async {
            let hung = aside(|| {
                loop {
                    thread::park();
                }
            });
            let stop = tokio::time::sleep(Duration::from_millis(10));
            tokio::select! {
                read = hung => read.is_err(),
                () = stop => true,
            }
        });
        runtime.shutdown_background();
        assert!(stopped);
    }
}
