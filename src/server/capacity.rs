//! What the process takes on at once: as many connections as the settings and the limit on open
//! files allow, each for as long as its client goes on listening. It knows nothing of what is
//! served.

use std::num::NonZero;
use std::time::Duration;

use tokio::net::TcpStream;

/// A client that takes nothing of what it was sent for this long is gone, or holds our memory on
/// purpose.
#[cfg(target_os = "linux")]
const ACCEPT_TIMEOUT: Duration = Duration::from_secs(30);

/// Files for everything that is no caller's connection, however few the process may open: logs,
/// listeners, stores, the way to WeChat.
const OWN_FILES: u64 = 32;

/// How many connections each of `workers` may hold, so that all together hold at most `wanted` and
/// leave files for our own calls; zero workers mean one for each core. Without a file left, nothing
/// could be accepted and nothing asked for either.
pub(super) fn connections_a_worker(wanted: u32, workers: usize) -> usize {
    let workers = NonZero::new(workers)
        .or_else(|| std::thread::available_parallelism().ok())
        .map_or(1, NonZero::get);
    let files = files_for(wanted);
    let all = files.map_or(wanted, |files| affordable(wanted, files));
    if all < wanted {
        tracing::info!(
            wanted,
            connections = all,
            files,
            "the limit on open files allows fewer connections than server.maxConnections"
        );
    }
    (all as usize / workers).max(1)
}

/// As many of `wanted` connections as fit into `files`: a fourth is left to us, since a caller may
/// need a connection of our own to a back end.
fn affordable(wanted: u32, files: u64) -> u32 {
    let left = files.saturating_sub((files / 4).max(OWN_FILES)).max(1);
    u32::try_from(left).unwrap_or(u32::MAX).min(wanted)
}

/// The limit on open files, raised to what `wanted` connections need if the system lets us; `None`
/// when there is none.
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

/// Has the system close `connection` when its client takes nothing any more: an answer that nobody
/// reads would be held for ever.
pub(super) fn bound_silence(connection: &TcpStream) {
    #[cfg(target_os = "linux")]
    {
        let millis = u32::try_from(ACCEPT_TIMEOUT.as_millis()).unwrap_or(u32::MAX);
        // Refused, the connection is as good as it was.
        rustix::net::sockopt::set_tcp_user_timeout(connection, millis).ok();
    }
    #[cfg(not(target_os = "linux"))]
    let _ = connection;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_files_leave_some_for_ourselves() {
        assert_eq!(affordable(25_000, 1_000_000), 25_000);
        assert_eq!(affordable(25_000, 1024), 768);
        assert_eq!(affordable(25_000, 64), 32);
        assert_eq!(affordable(25_000, 10), 1);
        assert_eq!(affordable(7, 1024), 7);
    }

    #[test]
    fn the_workers_share_what_all_may_hold() {
        assert_eq!(connections_a_worker(100, 4), 25);
        assert_eq!(connections_a_worker(1, 4), 1);
        assert!(connections_a_worker(100, 0) >= 1);
    }
}
