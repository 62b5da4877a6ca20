//! Whether the server is ready: the store answers, and every account that is in use or kept always
//! has a valid token.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, Shared};

use super::Status;
use clock::SteadyMillis;
use wechat::credential::CredentialKind;

/// An answer of the store counts for so long, so that strangers who ask often cost it nothing.
const ENOUGH: Duration = Duration::from_secs(1);

/// How long the store may take.
const TIMEOUT: Duration = Duration::from_secs(2);

/// The key that is looked up. Nothing is ever stored there.
const KEY: &str = "jsdkd.ready";

/// The most reasons that are listed.
const MOST_REASONS: usize = 20;

/// Whether the server is ready, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Why it is not; empty = it is ready.
    pub reasons: Vec<String>,
}

/// The lookup that is under way or was the last, shared by all who ask at the same time.
#[derive(Default)]
pub(super) struct StoreProbe(Mutex<Option<Probe>>);

struct Probe {
    begun: SteadyMillis,
    answers: Shared<BoxFuture<'static, bool>>,
}

impl Status {
    /// Asks the store, unless it answered within the last second.
    pub async fn readiness(&self) -> Readiness {
        let mut reasons = Vec::new();
        if !self.is_store_answering().await {
            reasons.push("the store does not answer".to_owned());
        }
        for account in self.accounts() {
            let mut tokens = account.credentials.iter();
            let missing = tokens.find(|line| {
                line.kind == CredentialKind::AccessToken
                    && line.is_needed
                    && line.expires_at.is_none()
            });
            if let Some(token) = missing {
                let app_id = &account.app_id;
                reasons.push(match &token.last_error {
                    None => format!("{app_id} has no valid token yet"),
                    Some(error) => {
                        let code = error
                            .errcode
                            .as_ref()
                            .map_or(error.code.to_owned(), |code| format!("errcode {code}"));
                        format!("{app_id} has no valid token ({code}): {}", error.advice)
                    }
                });
            }
        }
        if reasons.len() > MOST_REASONS {
            let more = reasons.len() - MOST_REASONS;
            reasons.truncate(MOST_REASONS);
            reasons.push(format!("and {more} more"));
        }
        Readiness { reasons }
    }

    /// Whether the store answers now.
    pub(super) async fn is_store_answering(&self) -> bool {
        let now = self.clock().steady();
        let is_recent = |at: SteadyMillis| at.until(now) < ENOUGH;
        let counters = &self.0.counters;
        if counters.is_store_up() && counters.store_answered_at().is_some_and(is_recent) {
            return true;
        }
        self.begin_or_join(now).await
    }

    fn begin_or_join(&self, now: SteadyMillis) -> Shared<BoxFuture<'static, bool>> {
        let mut probe = self
            .0
            .probe
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(probe) = probe.as_ref().filter(|one| one.begun.until(now) < ENOUGH) {
            return probe.answers.clone();
        }
        let status = self.clone();
        let asking = async move {
            let store = &status.0.store;
            match tokio::time::timeout(TIMEOUT, store.get(KEY)).await {
                Ok(answer) => answer.is_ok(),
                Err(_) => {
                    status.0.counters.store_is_silent();
                    false
                }
            }
        };
        let answers = asking.boxed().shared();
        *probe = Some(Probe {
            begun: now,
            answers: answers.clone(),
        });
        answers
    }
}
