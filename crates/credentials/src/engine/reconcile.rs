//! Which of two values is kept: the one that this process holds or the one that the store shows.
//! One pure function, without clock or store. For instance: the store shows an older value (a lower
//! generation) than we hold, because it lost a write or was restored from a backup. Then ours is
//! written back.
//!
//! | held | stored | decision |
//! | --- | --- | --- |
//! | nothing | nothing | keep |
//! | nothing | a value | replace |
//! | a value that the store should have | nothing | replace: somebody deleted it |
//! | a value that the store may lack by its own fault | nothing | write back |
//! | a value | the same value | keep |
//! | a value that we fetched, so we know its expiry | the same value with a later expiry | write back |
//! | a value | another value, written over the one that is held | replace |
//! | a value of ours | another value of ours, lower generation | write back: the store lost a write |
//! | a value of ours | another value of ours, higher generation | replace |
//! | a value that was fetched without a lease | another value | suspect |
//! | a value that the store never confirmed | a foreign value | suspect |
//! | a value of ours | a foreign value, written over it | replace |
//! | a foreign value | another foreign value, seen at the same generation | replace |
//! | a value of ours | another value of ours, same generation | suspect |
//! | a foreign value | a value of ours that is not known to be later | suspect |
//! | a value | a foreign value, seen at a lower generation | suspect: the store was set back |

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use crate::store::{StoredCredential, Version};
use clock::SteadyMillis;

/// Two ends this close together are the same end: stores and services round to whole seconds, each
/// of them once.
pub(crate) const SAME_END: Duration = Duration::from_secs(3);

/// What to do about the cached copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// The cached copy stays; only its metadata may be updated.
    Keep,
    /// The store's answer replaces the cached copy, also if it is "nothing".
    Replace,
    /// The cached copy is later: the store gets it back.
    WriteBack,
    /// It cannot be known which is later: the store's value is used, and one renewal settles it.
    Suspect,
}

/// The cached copy, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held<'a> {
    pub(crate) value: &'a SecretString,
    pub(crate) version: Version,
    pub(crate) ends: SteadyMillis,
    /// Whether the store confirmed this value and has not failed since.
    pub(crate) is_confirmed: bool,
    /// Whether the store never confirmed this value, or lost it.
    pub(crate) is_unsaved: bool,
    /// Whether we fetched the value, so that its end comes from the service and not from a store.
    pub(crate) is_first_hand: bool,
}

/// See the table above.
pub(crate) fn reconcile(held: Option<Held<'_>>, stored: Option<&StoredCredential>) -> Decision {
    let (held, stored) = match (held, stored) {
        (None, None) => return Decision::Keep,
        (None, Some(_)) => return Decision::Replace,
        (Some(held), None) if held.is_confirmed => return Decision::Replace,
        (Some(_), None) => return Decision::WriteBack,
        (Some(held), Some(stored)) => (held, stored),
    };
    if held.value.expose_secret() == stored.value.expose_secret() {
        let is_kept_too_long = held.is_first_hand && held.ends.plus(SAME_END) < stored.ends;
        return if is_kept_too_long {
            Decision::WriteBack
        } else {
            Decision::Keep
        };
    }
    if stored.has_replaced(held.value) {
        return Decision::Replace;
    }
    let (ours, theirs) = (held.version, stored.version);
    let are_both_ours = !ours.is_foreign && !theirs.is_foreign;
    if are_both_ours && theirs.generation < ours.generation {
        return Decision::WriteBack;
    }
    if are_both_ours && ours.generation > 0 && theirs.generation > ours.generation {
        // A lease is granted once the one before has ended, so its value is later, whether or not
        // ours was ever stored.
        return Decision::Replace;
    }
    let is_later = theirs.generation > ours.generation
        || theirs.generation == ours.generation && theirs.is_foreign;
    if is_later && !held.is_unsaved {
        Decision::Replace
    } else {
        Decision::Suspect
    }
}
