//! Reports of what the engine and the store do, for metrics and the status page. An observer sees
//! no value and no secret. It is called on the path of the work, so it must return at once.

use std::fmt;
use std::time::Duration;

/// Receives reports. Both methods do nothing unless they are implemented.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// A call for a credential has ended.
    fn renewal(&self, _renewal: &Renewal<'_>) {}

    /// An operation of the store has ended.
    fn store_operation(&self, _operation: &StoreOperation) {}
}

/// One call for a credential, and its result.
#[derive(Clone, Debug)]
pub struct Renewal<'a> {
    /// Whose.
    pub names: LogNames<'a>,
    /// Why it was renewed, in the log's word: `missing`, `ahead`, `refused`, `doubted`.
    pub why: &'static str,
    /// The result.
    pub result: RenewalResult,
    /// The service's error code, if it refused.
    pub code: Option<i64>,
}

/// The fields by which log lines name a credential.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogNames<'a> {
    /// `account.id`, if the credential is an account's.
    pub account: Option<&'a str>,
    /// `credential.kind`: `token`, `ticket`, `card_ticket`.
    pub kind: Option<&'a str>,
    /// `source.name`, if the credential is a source's.
    pub source: Option<&'a str>,
}

/// The result of a call for a credential.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum RenewalResult {
    /// A new value.
    Granted,
    /// The value that we had.
    Same,
    /// The service refused with an error code.
    Refused,
    /// No answer, or an unreadable one.
    Unreachable,
}

impl RenewalResult {
    /// All results.
    pub const ALL: [Self; 4] = [Self::Granted, Self::Same, Self::Refused, Self::Unreachable];

    /// The word in metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Granted => "granted",
            Self::Same => "same",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
        }
    }
}

/// One operation of the store.
#[derive(Clone, Copy, Debug)]
pub struct StoreOperation {
    /// Its name, such as `load` or `commit`.
    pub name: &'static str,
    /// Whether it can have changed something.
    pub is_write: bool,
    /// How long it took.
    pub took: Duration,
    /// Whether it failed.
    pub has_failed: bool,
}
