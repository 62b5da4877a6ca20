//! Logs: readable on a terminal, JSON otherwise, written by a thread of their own so that no request waits for a slow terminal or
//! pipe.

use std::io::{IsTerminal, stdout};

use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::time::ChronoUtc;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// What is logged when nobody says otherwise. The libraries below us are heard when they warn; actix-http calls a peer that hangs
/// up an error, which it is not ours to report.
const USUAL: &str = "info,actix_http=off,actix_server=warn,hyper=warn,reqwest=warn,redis=warn";

/// Starts logging to standard output at what `filter` says (the syntax of `RUST_LOG`). The guard writes what is left when dropped.
pub fn start(filter: Option<&str>) -> WorkerGuard {
    // Lossy: when the reader of our log stands still, requests go on and lines are dropped.
    let (writer, guard) = NonBlockingBuilder::default().lossy(true).finish(stdout());
    let filter = EnvFilter::try_new(filter.unwrap_or(USUAL)).unwrap_or_else(|_| EnvFilter::new(USUAL));
    let lines = if stdout().is_terminal() {
        fmt::layer().with_timer(ChronoUtc::new("%H:%M:%S%.3f".to_owned())).with_target(false).with_writer(writer).boxed()
    } else {
        fmt::layer().json().flatten_event(true).with_timer(ChronoUtc::rfc_3339()).with_ansi(false).with_writer(writer).boxed()
    };
    // Fails only where a subscriber is set already, as in a test that brings its own.
    tracing_subscriber::registry().with(lines.with_filter(filter)).try_init().ok();
    guard
}
