//! How an expiring value is renewed ahead of its end: one renewal at a time, also across instances, with pauses after failures. It is
//! generic over what is renewed: the keeper renews WeChat's credentials with it, `sources` any other service's objects, and neither
//! knows the other. What is asked for, how, and when a store is believed is theirs to say.
//!
//! Reading order: `slot` (the place of one value) with the pauses that `backoff` measures, `life` (when a value ends, and whether the
//! store has it), `lease` (the right to renew, across instances), `flights` (one piece of work at a time in this process), `agenda` (what
//! is due when) and `ahead` (who sees to it), `outage` (whether the store answers), and what flights and agenda stand on, `sync`.

use std::time::Duration;

mod agenda;
#[cfg(test)]
mod agenda_tests;
mod ahead;
mod backoff;
mod flights;
#[cfg(test)]
mod flights_tests;
mod lease;
mod life;
mod outage;
mod slot;
mod sync;

pub(crate) use agenda::Agenda;
pub(crate) use ahead::{NO_HURRY, SOON, Told, keep_appointments};
pub(crate) use backoff::LONGEST as LONGEST_BACKOFF;
pub(crate) use flights::{InFlight, Landing};
pub(crate) use lease::{Claims, Errand, Lease, Seen, Why};
pub(crate) use life::Life;
pub(crate) use outage::Outage;
pub(crate) use slot::{Failure, Slot};

/// How old a near copy of what a shared store holds may grow before a request asks the store again.
pub(crate) const NEAR_AGE: Duration = Duration::from_secs(1);

/// A caller waits this much longer than a call may take, so that the call's own timeout is what it hears of.
pub(crate) const PATIENCE: Duration = Duration::from_millis(250);
