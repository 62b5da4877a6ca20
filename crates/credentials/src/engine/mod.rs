//! The renewal engine: keeps every expiring credential fresh, whichever service issues it. It runs
//! one renewal at a time per credential across all instances, before the expiry, with back-off
//! after failures. What differs per service is a [`Subject`].
//!
//! Reading order: `subject` (what differs), `credential` (one credential, and what all of them share),
//! `get` (what a request gets), `cached` (the copy in this process), `reconcile` (which of copy and
//! stored value is kept), `read` (applies that decision), `reason` (why one is renewed), `lease` (the
//! right to renew), `renew` (one renewal from lease to call), `settle` (grant or refusal), `suspect`
//! (values that may be void), `write_back` (what the store lacks), `ahead` (renewal before anybody asks).
//! `budget` (a day's quota of calls) and `foreign` (signs that another program fetches the same
//! credential) use the ledger that all instances share.
//! `state` shows a credential to metrics and the status page. Small parts: `previous`, `single_flight`, `agenda`,
//! `backoff`, `outage`, `waiters`.
//!
//! What happens when the store shows an older value than the cached one? `reconcile` in
//! `reconcile.rs` decides, by its table; `apply` in `read.rs` carries the decision out.

mod agenda;
#[cfg(test)]
mod agenda_tests;
mod ahead;
mod backoff;
mod budget;
mod cached;
mod credential;
mod error;
mod foreign;
pub mod freshness;
mod get;
mod lease;
mod outage;
mod previous;
mod read;
mod reason;
mod reconcile;
#[cfg(test)]
mod reconcile_tests;
mod renew;
mod settle;
mod single_flight;
#[cfg(test)]
mod single_flight_tests;
mod state;
mod subject;
mod suspect;
mod sync;
mod waiters;
mod write_back;

pub use cached::Cached;
pub use credential::{Credential, Engine, Parts};
pub use error::{RenewalError, StoreFault};
pub use state::{CredentialState, FailureState};
pub use subject::{Effect, Granted, Needed, Probe, Refusal, Subject};
