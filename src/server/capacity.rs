//! Limits on connections: their number, from the settings and the limit on open files, and how long
//! a client may leave sent data unacknowledged.

use std::num::NonZero;
use std::time::Duration;

use tokio::net::TcpStream;

/// A client that acknowledges nothing for this long is gone, or holds our memory on purpose.
#[cfg(target_os = "linux")]
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(30);

/// Files reserved for everything but callers' connections: logs, listeners, stores, calls to
/// WeChat.
const OWN_FILES: u64 = 32;

/// The number of worker threads for the setting `wanted`; zero means one per core.
pub(super) fn workers(wanted: usize) -> usize {
    NonZero::new(wanted)
        .or_else(|| std::thread::available_parallelism().ok())
        .map_or(1, NonZero::get)
}

/// The maximum number of connections per worker, so that all workers together hold at most `wanted`
/// and leave files for our own calls. Zero workers mean one per core. Always at least one, so that
/// the server can accept anything at all.
pub(super) fn connections_a_worker(wanted: u32, workers: usize) -> usize {
    let workers = self::workers(workers);
    let files = files_for(wanted);
    let all = files.map_or(wanted, |files| affordable(wanted, files));
    if all < wanted {
        tracing::info!(
            wanted,
            connections = all,
            files,
            "the limit on open files allows fewer connections than server.maxConnections; raise the limit, or lower the setting"
        );
    }
    (all as usize / workers).max(1)
}

/// The part of `wanted` connections that fits into `files`. A quarter is reserved, because a caller
/// may need a connection of ours to a back end.
fn affordable(wanted: u32, files: u64) -> u32 {
    let left = files.saturating_sub((files / 4).max(OWN_FILES)).max(1);
    u32::try_from(left).unwrap_or(u32::MAX).min(wanted)
}

/// Returns the limit on open files, raised to what `wanted` connections need if the system allows
/// it; `None` if there is no limit.
#[cfg(unix)]
fn files_for(wanted: u32) -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let needed = u64::from(wanted) / 3 * 4 + OWN_FILES * 2;
    let current = current?;
    let reachable = maximum.map_or(needed, |maximum| maximum.min(needed));
    if reachable <= current {
        return Some(current);
    }
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit {
            current: Some(reachable),
            maximum,
        },
    );
    Some(if raised.is_ok() { reachable } else { current })
}

#[cfg(not(unix))]
fn files_for(_: u32) -> Option<u64> {
    None
}

/// Makes the system close `connection` if the client stops acknowledging data. Otherwise an unread
/// answer would be held for ever.
pub(super) fn bound_silence(connection: &TcpStream) {
    #[cfg(target_os = "linux")]
    {
        let millis = u32::try_from(ACCEPT_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
        // If this fails, the connection works without the timeout.
        rustix::net::sockopt::set_tcp_user_timeout(connection, millis).ok();
    }
    #[cfg(not(target_os = "linux"))]
    let _ = connection;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_low_file_limit_reserves_some_for_us() {
        assert_eq!(affordable(25_000, 1_000_000), 25_000);
        assert_eq!(affordable(25_000, 1024), 768);
        assert_eq!(affordable(25_000, 64), 32);
        assert_eq!(affordable(25_000, 10), 1);
        assert_eq!(affordable(7, 1024), 7);
    }

    #[test]
    fn workers_share_the_connection_limit() {
        assert_eq!(connections_a_worker(100, 4), 25);
        assert_eq!(connections_a_worker(1, 4), 1);
        assert!(connections_a_worker(100, 0) >= 1);
    }
}
