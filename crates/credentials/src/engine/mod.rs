//! The renewal engine: keeps every expiring credential fresh, whatever service it is from. One renewal at a time for each credential, also
//! across instances, ahead of its end, with back-off after failures. It does not know what it renews: that is a [`Subject`].
//!
//! Reading order: `subject` (what differs), `credential` (the handle, and what a request gets), `cached` (the copy in this process),
//! `reconcile` (the copy or the store: which is kept), `read` (applies that), `lease` (the right to renew), `renew` (one renewal from lease to
//! call), `settle` (grant or refusal), `suspect` (values that may be void), `ahead` (what is done before anybody asks), `engine` (what all
//! share). Small parts: `single_flight`, `agenda`, `backoff`, `outage`, `waiters`.

mod agenda;
#[cfg(test)]
mod agenda_tests;
mod ahead;
mod backoff;
mod cached;
mod credential;
#[allow(clippy::module_inception, reason = "the file is named as what is in it")]
mod engine;
mod error;
pub mod freshness;
mod lease;
mod outage;
mod read;
mod reconcile;
#[cfg(test)]
mod reconcile_tests;
mod renew;
mod settle;
mod single_flight;
#[cfg(test)]
mod single_flight_tests;
mod subject;
mod suspect;
mod sync;
mod waiters;

pub use cached::Cached;
pub use credential::Credential;
pub use engine::{Engine, Parts};
pub use error::{RenewalError, StoreFault};
pub use subject::{Effect, Granted, LogNames, Needed, Refusal, Subject};
