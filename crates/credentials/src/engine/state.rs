//! What one credential looks like from outside, for metrics and the status page. Reading it changes
//! nothing, and it does not count as a request for the credential.

use std::time::Duration;

use super::credential::Credential;
use super::subject::Subject;
use clock::UnixMillis;

/// One reading of a credential. Times are of the wall clock.
#[derive(Clone, Debug)]
pub struct CredentialState<R> {
    /// When the cached copy expires; `None` = there is none that is valid.
    pub expires_at: Option<UnixMillis>,
    /// How long the cached copy is valid from its issue to its expiry.
    pub lifetime: Duration,
    /// Whether the copy may be void although it has not expired.
    pub is_suspect: bool,
    /// Whether somebody asked for it within one lifetime.
    pub is_wanted: bool,
    /// When the engine looks after it next; `None` = it is not scheduled.
    pub due_at: Option<UnixMillis>,
    /// The last failure, until a renewal succeeds.
    pub failure: Option<FailureState<R>>,
}

/// A remembered failure.
#[derive(Clone, Debug)]
pub struct FailureState<R> {
    /// The service's refusal, or the network error.
    pub cause: R,
    /// How many attempts in a row have failed.
    pub attempts: u32,
    /// When the next attempt is allowed.
    pub retry_at: UnixMillis,
}

impl<S: Subject> Credential<S> {
    /// Its state now.
    pub fn state(&self) -> CredentialState<S::Refusal> {
        let clock = &self.engine.clock;
        let (steady, wall) = (clock.steady(), clock.wall());
        let living = self.living();
        let due = self.engine.agenda.due(&self.key());
        CredentialState {
            expires_at: living.as_ref().map(|cached| wall.plus(cached.left(clock))),
            lifetime: living
                .as_ref()
                .map_or(Duration::ZERO, |cached| cached.lifetime),
            is_suspect: living.as_ref().is_some_and(|cached| cached.is_suspect()),
            is_wanted: self.is_wanted(),
            due_at: due.map(|due| wall.plus(steady.until(due))),
            failure: self.failure().map(|failure| FailureState {
                cause: failure.cause.clone(),
                attempts: failure.attempts,
                retry_at: wall.plus(steady.until(failure.until)),
            }),
        }
    }
}
