//! Logs: readable on a terminal, JSON otherwise, written by a thread of their own so that no request waits for a slow terminal or
//! pipe.

use std::io::{IsTerminal, stdout};
use std::sync::atomic::{AtomicU32, Ordering};

use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::fmt::time::ChronoUtc;
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
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
    tracing_subscriber::registry().with(lines.with_filter(filter.and(DeafDoor::default()))).try_init().ok();
    guard
}

/// Who reports each connection that could not be accepted.
const DOOR: &str = "actix_server::accept";

/// Without file descriptors actix tries the door twice a second and says each time that it failed: one line a minute will do.
const ONE_IN: u32 = 120;

/// Lets through the first complaint about the door, and then one in so many.
#[derive(Debug, Default)]
struct DeafDoor {
    complaints: AtomicU32,
}

impl<S> Filter<S> for DeafDoor {
    fn enabled(&self, event: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        event.target() != DOOR || self.complaints.fetch_add(1, Ordering::Relaxed).is_multiple_of(ONE_IN)
    }

    fn callsite_enabled(&self, event: &'static Metadata<'static>) -> Interest {
        if event.target() == DOOR { Interest::sometimes() } else { Interest::always() }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // What is too low for the other filter is not even built.
        Some(LevelFilter::TRACE)
    }
}
