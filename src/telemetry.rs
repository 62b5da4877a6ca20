//! Logging: text on a terminal, JSON otherwise. A separate thread writes it, so that slow output
//! does not block requests.

use std::io::{IsTerminal, stdout};
use std::sync::atomic::{AtomicU32, Ordering};

use tracing::level_filters::LevelFilter;
use tracing::subscriber::Interest;
use tracing::{Metadata, Subscriber};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::FilterExt;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::time::ChronoUtc;
use tracing_subscriber::layer::{Context, Filter, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

/// The default filter. Dependencies log warnings only; actix-http reports a client's hang-up as an
/// error, which is noise.
const USUAL: &str = "info,actix_http=off,actix_server=warn,hyper=warn,reqwest=warn,redis=warn";

/// The most lines that wait for a stalled reader. Each takes 32 bytes from the start.
const WAITING: usize = 16_384;

/// A running log. It flushes on drop.
pub struct Log {
    _guard: WorkerGuard,
    /// Counts the lines that were dropped.
    pub lost: LostLines,
}

/// How many lines were dropped, because whoever reads the log stalled.
#[derive(Clone, Debug, Default)]
pub struct LostLines(Option<ErrorCounter>);

impl LostLines {
    /// The number since the start.
    pub fn count(&self) -> u64 {
        self.0
            .as_ref()
            .map_or(0, |lost| lost.dropped_lines() as u64)
    }
}

/// Starts logging to standard output with `filter` (the syntax of `RUST_LOG`).
pub fn start(filter: Option<&str>) -> Log {
    // Lossy: if the log's reader stalls, lines are dropped and requests continue.
    let builder = NonBlockingBuilder::default().lossy(true);
    let (writer, guard) = builder.buffered_lines_limit(WAITING).finish(stdout());
    let lost = LostLines(Some(writer.error_counter()));
    let is_terminal = stdout().is_terminal();
    // Fails only if a subscriber is already set, as in some tests.
    tracing_subscriber::registry()
        .with(lines(writer, is_terminal, filter.unwrap_or(USUAL)))
        .try_init()
        .ok();
    Log {
        _guard: guard,
        lost,
    }
}

/// Returns a subscriber that writes text or JSON to `writer`.
fn lines<S, W>(writer: W, readable: bool, filter: &str) -> impl Layer<S>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = EnvFilter::try_new(filter).unwrap_or_else(|_| EnvFilter::new(USUAL));
    let lines = if readable {
        fmt::layer()
            .with_timer(ChronoUtc::new("%H:%M:%S%.3f".to_owned()))
            .with_target(false)
            .with_writer(writer)
            .boxed()
    } else {
        fmt::layer()
            .json()
            .flatten_event(true)
            .with_timer(ChronoUtc::rfc_3339())
            .with_ansi(false)
            .with_writer(writer)
            .boxed()
    };
    lines.with_filter(filter.and(DeafDoor::default()))
}

/// The log target for failed accepts.
const DOOR: &str = "actix_server::accept";

/// Without file descriptors actix retries accepting twice a second and logs each failure; log one
/// line a minute.
const ONE_IN: u32 = 120;

/// Passes the first accept error, then one in every N.
#[derive(Debug, Default)]
struct DeafDoor {
    complaints: AtomicU32,
}

impl<S> Filter<S> for DeafDoor {
    fn enabled(&self, event: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        event.target() != DOOR
            || self
                .complaints
                .fetch_add(1, Ordering::Relaxed)
                .is_multiple_of(ONE_IN)
    }

    fn callsite_enabled(&self, event: &'static Metadata<'static>) -> Interest {
        if event.target() == DOOR {
            Interest::sometimes()
        } else {
            Interest::always()
        }
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        // Skip events below the other filter's level early.
        Some(LevelFilter::TRACE)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{self, Write};
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Holds what was written.
    #[derive(Clone, Default)]
    struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().expect("nobody panics").write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Paper {
        fn lines_with(&self, word: &str) -> usize {
            String::from_utf8_lossy(&self.0.lock().expect("nobody panics"))
                .lines()
                .filter(|line| line.contains(word))
                .count()
        }
    }

    #[test]
    fn accept_errors_are_logged_once_a_minute() {
        let paper = Paper::default();
        let writer = paper.clone();
        let subscriber =
            tracing_subscriber::registry().with(lines(move || writer.clone(), false, USUAL));
        tracing::subscriber::with_default(subscriber, || {
            // Two minutes, at two attempts a second.
            for _ in 0..240 {
                tracing::error!(target: "actix_server::accept", "no file is left");
                tracing::warn!(target: "jsdkd::http", "something else");
            }
        });
        assert_eq!(
            (
                paper.lines_with("no file is left"),
                paper.lines_with("something else")
            ),
            (2, 240)
        );
    }
}
