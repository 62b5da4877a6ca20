//! How an expiring value is renewed ahead of its end: one renewal at a time, with pauses after failures. It is generic over what is
//! renewed: the keeper renews WeChat's credentials with it, `sources` any other service's objects, and neither knows the other.
//!
//! Reading order: `flights` (one piece of work at a time), `agenda` (what is due when), what these two stand on, `sync`, and `backoff`
//! (how long a pause is).

mod agenda;
#[cfg(test)]
mod agenda_tests;
pub(crate) mod backoff;
mod flights;
#[cfg(test)]
mod flights_tests;
mod sync;

pub(crate) use agenda::Agenda;
pub(crate) use flights::{Flight, InFlight, Landing};
