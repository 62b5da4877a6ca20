//! The companion record of a credential: generation and lifetime of its value, and the back-off
//! that all instances keep. Pure.
//!
//! A fingerprint ties it to the value. A value that matches no entry was written by another
//! program. The previous value has an entry too: the companion is written first, so a reader may
//! see the new companion with the previous value.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::credentials::{Backoff, NewCredential, Version};
use super::fingerprint::Fingerprint;
use clock::UnixMillis;

/// Put behind a credential's key to get the key of its companion.
pub(super) const SUFFIX: &str = ".version";

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Companion {
    /// The entries of the value and of the previous value.
    #[serde(default)]
    versions: Vec<Entry>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pause: Option<Pause>,
    /// The previous value, which explains a signature that was made with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    previous: Option<Previous>,
}

/// A longer previous value is not kept. WeChat's tickets have 86 characters, its tokens up to 512.
const LONGEST_PREVIOUS: usize = 512;

/// A previous value as it is written beside the current one, in the same store.
#[derive(Clone, Debug)]
struct Previous(SecretString);

impl PartialEq for Previous {
    fn eq(&self, other: &Self) -> bool {
        self.0.expose_secret() == other.0.expose_secret()
    }
}

impl Serialize for Previous {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.expose_secret())
    }
}

impl<'de> Deserialize<'de> for Previous {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(|value| Self(value.into()))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Entry {
    generation: u64,
    /// The value's fingerprint.
    fingerprint: String,
    lifetime_ms: u64,
}

/// A pause after a failure.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Pause {
    /// By the store's clock, in ms.
    pub(super) until: u64,
    pub(super) attempts: u32,
    pub(super) cause: String,
}

impl Companion {
    /// The companion that `text` holds. An unreadable one counts as absent.
    pub(super) fn read(text: Option<&str>) -> Self {
        text.and_then(|text| serde_json::from_str(text).ok())
            .unwrap_or_default()
    }

    pub(super) fn text(&self) -> String {
        // Numbers and texts can always be written.
        serde_json::to_string(self).unwrap_or_default()
    }

    /// The highest generation that was committed.
    pub(super) fn highest(&self) -> u64 {
        self.versions
            .iter()
            .map(|entry| entry.generation)
            .max()
            .unwrap_or(0)
    }

    /// The version of `value`, and its lifetime if it is ours.
    pub(super) fn version_of(&self, value: &SecretString) -> (Version, Option<Duration>) {
        match self.entry_of(value) {
            Some(entry) => (
                Version::ours(entry.generation),
                Some(Duration::from_millis(entry.lifetime_ms)),
            ),
            None => (
                Version {
                    generation: self.highest(),
                    is_foreign: true,
                },
                None,
            ),
        }
    }

    /// The value over which `value` was written, if both are ours.
    pub(super) fn replaced_by(&self, value: &SecretString) -> Option<Fingerprint> {
        let [newest, before] = self.versions.as_slice() else {
            return None;
        };
        let is_newest = newest.fingerprint == Fingerprint::of(value.expose_secret()).to_string();
        Fingerprint::read(&before.fingerprint).filter(|_| is_newest)
    }

    /// The value before the current one, if it was short enough to keep.
    pub(super) fn previous(self) -> Option<SecretString> {
        self.previous.map(|previous| previous.0)
    }

    fn entry_of(&self, value: &SecretString) -> Option<&Entry> {
        let fingerprint = Fingerprint::of(value.expose_secret()).to_string();
        self.versions
            .iter()
            .find(|entry| entry.fingerprint == fingerprint)
    }

    /// The companion after `new` has replaced `before`. A success ends the pause.
    pub(super) fn committed(&self, before: Option<&SecretString>, new: &NewCredential<'_>) -> Self {
        let entry = Entry {
            generation: new.generation,
            fingerprint: Fingerprint::of(new.value.expose_secret()).to_string(),
            lifetime_ms: u64::try_from(new.lifetime.as_millis()).unwrap_or(u64::MAX),
        };
        let new = new.value.expose_secret();
        let previous = match before.map(ExposeSecret::expose_secret) {
            // The same value is written again, for instance with a later expiry.
            Some(before) if before == new => self.previous.clone(),
            Some(before) if before.len() <= LONGEST_PREVIOUS => Some(Previous(before.into())),
            _ => None,
        };
        let before = before
            .and_then(|before| self.entry_of(before))
            .filter(|before| before.fingerprint != entry.fingerprint);
        Self {
            versions: std::iter::once(entry).chain(before.cloned()).collect(),
            pause: None,
            previous,
        }
    }

    pub(super) fn paused(&self, pause: Pause) -> Self {
        Self {
            pause: Some(pause),
            ..self.clone()
        }
    }

    /// The rest of the pause at `now`.
    pub(super) fn backoff(&self, now: UnixMillis) -> Option<Backoff> {
        let pause = self.pause.as_ref()?;
        let left = now.until(UnixMillis(pause.until));
        (!left.is_zero()).then(|| Backoff {
            left,
            attempts: pause.attempts,
            cause: pause.cause.clone(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::SteadyMillis;

    #[test]
    fn a_value_is_identified_by_its_fingerprint() {
        let value = |text: &str| SecretString::from(text);
        let lifetime = Duration::from_secs(7200);
        let new = |value, generation| NewCredential {
            value,
            ends: SteadyMillis(0),
            generation,
            lifetime,
        };
        let (first, second) = (value("a"), value("b"));
        let companion = Companion::default().committed(None, &new(&first, 7));
        let companion =
            Companion::read(Some(&companion.text())).committed(Some(&first), &new(&second, 9));
        assert_eq!(
            companion.version_of(&first),
            (Version::ours(7), Some(lifetime)),
            "a reader may still see the value before"
        );
        assert_eq!(
            [&first, &second].map(|value| companion.replaced_by(value)),
            [None, Some(Fingerprint::of("a"))]
        );
        assert_eq!(
            companion.version_of(&second),
            (Version::ours(9), Some(lifetime))
        );
        assert_eq!(
            companion.version_of(&value("c")),
            (
                Version {
                    generation: 9,
                    is_foreign: true
                },
                None
            )
        );
        assert_eq!(
            Companion::read(Some("not ours")).version_of(&first).0,
            Version {
                generation: 0,
                is_foreign: true
            }
        );
    }

    #[test]
    fn the_previous_value_is_kept_if_it_is_short() {
        let committed = |companion: Companion, before: &str, value: &str| {
            let value = SecretString::from(value);
            let new = NewCredential {
                value: &value,
                ends: SteadyMillis(0),
                generation: 1,
                lifetime: Duration::ZERO,
            };
            let text = companion.committed(Some(&before.into()), &new).text();
            Companion::read(Some(&text))
        };
        let previous = |companion: &Companion| {
            let previous = companion.clone().previous();
            previous.map(|value| value.expose_secret().to_owned())
        };
        let second = committed(Companion::default(), "a", "b");
        assert_eq!(previous(&second).as_deref(), Some("a"));
        let again = committed(second.clone(), "b", "b");
        assert_eq!(previous(&again).as_deref(), Some("a"));
        let third = committed(second, &"x".repeat(LONGEST_PREVIOUS + 1), "c");
        assert_eq!(previous(&third), None);
        assert!(!format!("{again:?}").contains("\"a\""));
    }

    #[test]
    fn a_backoff_ends_by_the_stores_clock_or_with_a_success() {
        let pause = Pause {
            until: 5_000,
            attempts: 3,
            cause: "busy".to_owned(),
        };
        let companion = Companion::default().paused(pause);
        let left = |now| {
            companion
                .backoff(UnixMillis(now))
                .map(|backoff| (backoff.left.as_secs(), backoff.attempts))
        };
        assert_eq!([left(3_000), left(5_000)], [Some((2, 3)), None]);
        let value = SecretString::from("a");
        let new = NewCredential {
            value: &value,
            ends: SteadyMillis(0),
            generation: 1,
            lifetime: Duration::ZERO,
        };
        assert_eq!(
            companion.committed(None, &new).backoff(UnixMillis(3_000)),
            None
        );
    }
}
