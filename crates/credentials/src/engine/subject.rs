//! What differs between kinds of credential: how to fetch one, what the service's refusals mean,
//! and what a renewal does to the previous value. A subject has no task, no lock and no clock.

use std::collections::BTreeMap;
use std::fmt::{Debug, Display};
use std::future::{Future, ready};
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::cached::Cached;
use crate::observer::LogNames;
use wechat::Kind;

/// The values that a call needs, by the keys of their credentials.
pub type Needed<S> = BTreeMap<<S as Subject>::Key, Arc<Cached>>;

/// What a service granted.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The value.
    pub value: SecretString,
    /// How long it is valid from now.
    pub expires_in: Duration,
    /// Its whole lifetime, which is longer when the service returned a value that it had granted
    /// before.
    pub lifetime: Duration,
}

/// One credential to be kept.
pub trait Subject: Send + Sync + Sized + 'static {
    /// Names the credential in its engine and in the log.
    type Key: Clone + Debug + Display + Eq + Hash + Ord + Send + Sync + 'static;

    /// Why the service granted nothing.
    type Refusal: Refusal;

    /// Appended to log lines that name no credential.
    const WHOSE: &'static str = "";

    /// Whether a request for a due credential wakes the agenda, in case the clock was moved. Too
    /// expensive for credentials that are requested a hundred thousand times a second.
    const WAKES_WHEN_DUE: bool = false;

    /// Its name.
    fn key(&self) -> Self::Key;

    /// The key in the store.
    fn store_key(&self) -> String;

    /// The credential whose key in the store this is, if it may be one of this engine's.
    fn key_of(store_key: &str) -> Option<Self::Key>;

    /// Its names in the log.
    fn log_names(&self) -> LogNames<'_>;

    /// Renewal starts this long before the expiry; an outage of that length is survived.
    fn reserve(&self) -> Duration;

    /// The lifetime of a value that another program wrote; `None`: as much as is left of it.
    fn usual_lifetime(&self) -> Option<Duration>;

    /// The credentials whose values the call needs. They never need this one in turn.
    fn needs(&self) -> Vec<Self::Key> {
        Vec::new()
    }

    /// Whether `keep: always` renews it ahead although nobody has asked for it.
    fn is_always_kept(&self) -> bool {
        true
    }

    /// Asks the service. `force` demands another value than the current one.
    fn fetch(
        &self,
        needed: &Needed<Self>,
        force: bool,
    ) -> impl Future<Output = Result<Granted, Self::Refusal>> + Send;

    /// What a renewal does to the previous value.
    fn effect(&self) -> Effect;

    /// Renewals in a day that callers may force; `None`: any number, 30 s apart.
    fn forced_per_day(&self) -> Option<u32> {
        None
    }

    /// The service's quota of calls in a day, which all instances count together. `None`: there is
    /// none, and nothing is counted.
    fn calls_per_day(&self) -> Option<u32> {
        None
    }

    /// Asks the service whether it accepts `value`, by a call that changes nothing.
    fn probe(&self, _value: &SecretString) -> impl Future<Output = Probe> + Send {
        ready(Probe::Unclear)
    }

    /// Whether a plain fetch returns the current value and voids nothing, so that it needs no
    /// lease.
    fn can_ask_freely(&self) -> bool {
        false
    }

    /// Whether the service returns the whole lifetime with an unchanged value, so that a later
    /// expiry is ignored.
    fn repeats_lifetime(&self) -> bool {
        false
    }

    /// Whether two values grant the same.
    fn is_same(&self, one: &str, other: &str) -> bool {
        one == other
    }

    /// Whether a stored text can be a value at all.
    fn accepts(&self, stored: &str) -> bool {
        !stored.is_empty()
    }
}

/// What a service says of a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It accepts the value.
    Alive,
    /// It refuses the value as void.
    Dead,
    /// It gave no clear answer.
    Unclear,
}

/// What a renewal does to the previous value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It becomes void, so a value whose successor was lost is doubtful.
    Supersedes,
    /// It stays valid until its expiry.
    Adds,
}

/// Why a service granted nothing.
pub trait Refusal:
    Clone + std::error::Error + Serialize + DeserializeOwned + Send + Sync + 'static
{
    /// What to do about it.
    fn kind(&self) -> Kind;

    /// Whether the service may have granted a value, and only the answer was lost.
    fn may_have_been_granted(&self) -> bool;

    /// The service's error code, if it refused.
    fn code(&self) -> Option<i64> {
        None
    }

    /// Whether the service answered that it refuses. A refusal may have no number.
    fn is_answer(&self) -> bool {
        self.code().is_some()
    }

    /// What an operator could do about it.
    fn advice(&self) -> Option<&'static str> {
        None
    }
}
