//! What this server does not support, detected by using it. Proxies and restricted users refuse
//! scripts, `PUBLISH` or `SUBSCRIBE`. Each refusal is logged once, with the server's words and what
//! it costs. It is retried on a new connection and every ten minutes.

use std::sync::Mutex;
use std::time::Duration;

use redis::RedisError;

use super::super::mutex::locked;
use super::fault;
use clock::{Clock, SteadyMillis};

/// How long an answered refusal counts on the connection that it came over.
const RETRY: Duration = Duration::from_secs(600);

/// The same for a connection that ended instead of an answer, which may have other causes: doubled
/// each time, up to [`RETRY`].
const DOUBT: Duration = Duration::from_secs(30);

/// What a server may lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Feature {
    Scripts,
    Publish,
    Subscribe,
}

pub(super) struct Capabilities {
    place: String,
    clock: Clock,
    states: Mutex<[State; 3]>,
}

#[derive(Default)]
struct State {
    /// It has worked before, so a connection that ends says nothing about it.
    has_worked: bool,
    refusal: Option<Refusal>,
    /// How many connections in a row ended instead of an answer.
    lost: u32,
    is_reported: bool,
}

struct Refusal {
    /// `None`: on any connection.
    connection: Option<u64>,
    until: SteadyMillis,
}

impl Feature {
    fn name(self) -> &'static str {
        match self {
            Self::Scripts => "scripts (EVAL)",
            Self::Publish => "PUBLISH",
            Self::Subscribe => "SUBSCRIBE",
        }
    }

    fn cost(self) -> &'static str {
        match self {
            Self::Scripts => {
                "conditional writes use plain commands and a lock key instead. If an instance or its network stalls in the middle \
                 of one, it can overwrite a newer value or release another instance's lease"
            }
            Self::Publish => {
                "other instances are not notified of what this one writes: they see it when they next read, within a second"
            }
            Self::Subscribe => {
                "this instance is not notified of what others write: it sees it when it next reads, within a second"
            }
        }
    }
}

impl Capabilities {
    pub(super) fn new(place: String, clock: Clock) -> Self {
        Self {
            place,
            clock,
            states: Mutex::default(),
        }
    }

    /// Whether to try it on this connection.
    pub(super) fn allows(&self, feature: Feature, connection: u64) -> bool {
        let states = locked(&self.states);
        let Some(refusal) = &states[feature as usize].refusal else {
            return true;
        };
        refusal
            .connection
            .is_some_and(|refused| refused != connection)
            || self.clock.steady() >= refusal.until
    }

    /// Whether it has worked, and has not been refused since.
    pub(super) fn is_known_to_work(&self, feature: Feature) -> bool {
        let states = locked(&self.states);
        let state = &states[feature as usize];
        state.has_worked && state.refusal.is_none()
    }

    pub(super) fn worked(&self, feature: Feature) {
        let mut states = locked(&self.states);
        let state = &mut states[feature as usize];
        if std::mem::take(&mut state.is_reported) {
            tracing::info!(
                store.place = self.place,
                "redis supports {} again",
                feature.name()
            );
        }
        *state = State {
            has_worked: true,
            ..State::default()
        };
    }

    /// Notes an error that may mean a lack. For a script, call it only after plain commands have
    /// done the same.
    pub(super) fn failed(&self, feature: Feature, connection: u64, error: &RedisError) {
        let mut states = locked(&self.states);
        let (state, now) = (&mut states[feature as usize], self.clock.steady());
        if fault::is_refusal(error) {
            state.refusal = Some(Refusal {
                connection: Some(connection),
                until: now.plus(RETRY),
            });
            self.report(feature, state, &fault::said(error));
        } else if fault::is_lost(error)
            && !state.has_worked
            && state
                .refusal
                .as_ref()
                .is_none_or(|refusal| refusal.until <= now)
        {
            let pause = DOUBT.saturating_mul(1 << state.lost.min(8)).min(RETRY);
            state.refusal = Some(Refusal {
                connection: None,
                until: now.plus(pause),
            });
            state.lost += 1;
            // For scripts, `confirm` reports it.
            if feature != Feature::Scripts {
                self.report(feature, state, CLOSED);
            }
        }
    }

    /// The script that ended the connection has just been replaced by plain commands, which worked.
    pub(super) fn confirm(&self, feature: Feature) {
        let mut states = locked(&self.states);
        let state = &mut states[feature as usize];
        if state.lost > 0 {
            self.report(feature, state, CLOSED);
        }
    }

    fn report(&self, feature: Feature, state: &mut State, said: &str) {
        if !std::mem::replace(&mut state.is_reported, true) {
            let (name, cost) = (feature.name(), feature.cost());
            tracing::warn!(
                store.place = self.place,
                said,
                "redis refuses {name}: {cost}"
            );
        }
    }
}

const CLOSED: &str = "nothing: it closed the connection";

#[cfg(test)]
mod tests {
    use super::*;
    use clock::UnixMillis;

    fn refusal() -> RedisError {
        redis::make_extension_error("ERR".into(), Some("unknown command".into()))
    }

    fn closed() -> RedisError {
        std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()
    }

    fn subject() -> (Capabilities, Clock) {
        let clock = Clock::manual(UnixMillis(0));
        (Capabilities::new("redis".to_owned(), clock.clone()), clock)
    }

    #[test]
    fn a_refusal_lasts_for_its_connection_and_ten_minutes() {
        let (capabilities, clock) = subject();
        capabilities.failed(Feature::Publish, 1, &refusal());
        assert!(
            !capabilities.allows(Feature::Publish, 1) && capabilities.allows(Feature::Publish, 2)
        );
        assert!(capabilities.allows(Feature::Scripts, 1), "each for itself");
        clock.advance(RETRY);
        assert!(capabilities.allows(Feature::Publish, 1));
    }

    #[test]
    fn a_closed_connection_counts_unless_it_worked_before() {
        let (capabilities, clock) = subject();
        for pause in [30, 60, 120, 240, 480, 600, 600] {
            capabilities.failed(Feature::Scripts, 1, &closed());
            assert!(
                !capabilities.allows(Feature::Scripts, 2),
                "on any connection"
            );
            clock.advance(Duration::from_secs(pause) - Duration::from_millis(1));
            assert!(!capabilities.allows(Feature::Scripts, 2), "{pause}");
            clock.advance(Duration::from_millis(1));
            assert!(capabilities.allows(Feature::Scripts, 2), "{pause}");
        }
        capabilities.worked(Feature::Scripts);
        capabilities.failed(Feature::Scripts, 3, &closed());
        assert!(capabilities.allows(Feature::Scripts, 3));
    }
}
