//! A call that was admitted, and its body: what `http/gateway.rs` hands over to be forwarded.

use std::io;

use bytes::Bytes;
use clock::SteadyMillis;
use tokio::sync::mpsc;

use super::audit::Audit;
use super::limits::Reservation;
use super::plan::Plan;
use super::refusal::Refusal;

/// A request's body.
pub enum RequestBody {
    /// At hand, so that the call can be repeated once. The memory is reserved as long as the call
    /// runs.
    Whole(Bytes, Option<Kept>),
    /// Still arriving.
    Stream(mpsc::Receiver<io::Result<Bytes>>),
}

impl RequestBody {
    /// No body.
    pub fn none() -> Self {
        Self::Whole(Bytes::new(), None)
    }
}

/// Memory that is reserved for a body.
pub struct Kept(#[allow(dead_code, reason = "it is held, not read")] pub(super) Reservation);

/// A call that was admitted.
pub struct Admitted {
    pub(super) plan: Box<Plan>,
    pub(super) audit: Box<Audit>,
    pub(super) began: SteadyMillis,
}

impl Admitted {
    /// The same for a call that is refused before it is forwarded.
    pub fn refused(self, refusal: Refusal) -> (Refusal, Box<Audit>) {
        (refusal.clone(), self.audit.refused(&refusal))
    }
}
