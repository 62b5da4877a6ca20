//! Rate-limits similar log lines: writes the first lines of each kind per second and counts the
//! rest. This keeps an outage or an attack from filling the disk.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clock::{Clock, SteadyMillis};

/// Maximum number of lines of one kind per second.
const LINES: u32 = 20;

const SECOND: Duration = Duration::from_secs(1);

/// Lines of each kind written in this second. There are few kinds, all defined by us.
pub struct LogLimit {
    clock: Clock,
    kinds: Mutex<HashMap<&'static str, Written>>,
}

#[derive(Default)]
struct Written {
    since: SteadyMillis,
    lines: u32,
    unlogged: u64,
}

impl LogLimit {
    /// Creates an empty limit.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            kinds: Mutex::default(),
        }
    }

    /// Counts a line of this kind. `Some(n)` means write it; `n` lines were suppressed since the
    /// last one written.
    pub fn admit(&self, kind: &'static str) -> Option<u64> {
        let now = self.clock.steady();
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let written = kinds.entry(kind).or_default();
        if written.lines > 0 && written.since.until(now) < SECOND {
            if written.lines == LINES {
                written.unlogged += 1;
                return None;
            }
            written.lines += 1;
        } else {
            (written.since, written.lines) = (now, 1);
        }
        Some(std::mem::take(&mut written.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::UnixMillis;

    #[test]
    fn the_first_lines_per_second_are_written_the_rest_counted() {
        let clock = Clock::manual(UnixMillis(0));
        let limit = LogLimit::new(clock.clone());
        let written = (0..1000)
            .filter(|_| limit.admit("cooling_down").is_some())
            .count();
        assert_eq!(written, 20);
        assert_eq!(limit.admit("upstream_refused"), Some(0), "another kind");
        clock.advance(SECOND);
        assert_eq!(
            (limit.admit("cooling_down"), limit.admit("cooling_down")),
            (Some(980), Some(0))
        );
    }
}
