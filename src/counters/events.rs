//! The last events, for the status page. A refusal that repeats is one entry with a count, so that
//! one account in trouble does not push everything else out.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use clock::UnixMillis;

/// How many are remembered.
const MOST: usize = 50;

/// What happened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventKind {
    /// A credential was renewed; why, in the log's word.
    Renewed {
        /// The reason.
        why: &'static str,
    },
    /// The service refused.
    Refused {
        /// Its code, if it is a number.
        errcode: Option<i64>,
    },
    /// No answer came that can be read.
    Unanswered,
    /// A call through the gateway was sent again after its token was renewed.
    Healed,
    /// The settings were read again and are in use.
    Reloaded,
    /// The settings were read again and have faults; the previous ones stay.
    ReloadFailed,
}

impl EventKind {
    /// The word in `/status.json`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Renewed { .. } => "renewed",
            Self::Refused { .. } | Self::Unanswered => "refused",
            Self::Healed => "healed",
            Self::Reloaded => "reloaded",
            Self::ReloadFailed => "reload_failed",
        }
    }

    fn repeats(self) -> bool {
        matches!(self, Self::Refused { .. } | Self::Unanswered | Self::Healed)
    }
}

/// One event.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Event {
    /// When, or when last.
    pub at: UnixMillis,
    /// What.
    pub kind: EventKind,
    /// The account, if it is about one.
    pub app_id: Option<String>,
    /// The kind of credential, if it is about one.
    pub credential: Option<String>,
    /// How often so far.
    pub times: u64,
}

/// The ring of the last events.
#[derive(Debug, Default)]
pub struct Events(Mutex<VecDeque<Event>>);

impl Events {
    pub(super) fn note(
        &self,
        at: UnixMillis,
        kind: EventKind,
        app_id: Option<&str>,
        credential: Option<&str>,
    ) {
        let mut events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |event: &Event| {
            event.kind == kind
                && event.app_id.as_deref() == app_id
                && event.credential.as_deref() == credential
        };
        let repeated = events
            .iter()
            .position(|event| kind.repeats() && is_same(event))
            .and_then(|index| events.remove(index));
        if events.len() == MOST {
            events.pop_front();
        }
        events.push_back(Event {
            at,
            kind,
            app_id: app_id.map(str::to_owned),
            credential: credential.map(str::to_owned),
            times: repeated.map_or(0, |event| event.times) + 1,
        });
    }

    /// All that are remembered, the most recent first.
    pub fn read(&self) -> Vec<Event> {
        let events = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        events.iter().rev().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_fifty_are_kept_and_refusals_are_counted() {
        let events = Events::default();
        let refused = EventKind::Refused {
            errcode: Some(40164),
        };
        for number in 0..60 {
            let at = UnixMillis(number);
            events.note(at, EventKind::Renewed { why: "ahead" }, Some("wx1"), None);
            events.note(at, refused, Some("wx2"), Some("token"));
        }
        let read = events.read();
        assert_eq!(read.len(), MOST);
        assert_eq!((read[0].kind, read[0].times), (refused, 60));
        assert_eq!((read[1].at, read[1].times), (UnixMillis(59), 1));
        assert!(read.iter().filter(|event| event.kind == refused).count() == 1);
    }
}
