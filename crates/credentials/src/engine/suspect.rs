//! Values that may be void although they have not expired. They are handed out, because there is
//! nothing better, and renewed in the background, within the limit on forced renewals.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use secrecy::SecretString;

use super::ahead::SOON;
use super::cached::Cached;
use super::credential::{Credential, Error};
use super::lease::Right;
use super::reason::{Evidence, Reason};
use super::subject::{Effect, Subject};
use crate::ledger::{DAY, day_of};
use clock::SteadyMillis;

/// After this long, a call that was not answered has either been carried out or never arrived.
const CARRIED_OUT: Duration = Duration::from_secs(10);

/// WeChat spaces forced renewals of stable tokens by this much; every forced renewal is spaced so.
/// Source: 获取稳定版接口调用凭据.
const FORCED_SPACING: Duration = Duration::from_secs(30);

/// What the limit on forced renewals allows.
enum Permit {
    Force,
    /// Only the current value may be requested, without force.
    OnlyAsk,
    /// The last forced renewal was less than 30 s ago.
    TooSoon,
    /// The day's quota is used up.
    Spent,
}

impl<S: Subject> Credential<S> {
    /// Decides whether the call forces a new value. `Some`: no call is made, and this value is
    /// returned.
    pub(super) async fn permit(
        self: &Arc<Self>,
        reason: &Reason,
        right: &Right,
        force: &mut Option<bool>,
    ) -> Result<Option<Arc<Cached>>, Error<S>> {
        let subject = self.subject.load_full();
        match reason {
            Reason::Missing | Reason::Ahead => *force = Some(false),
            // A plain fetch returns the current value and voids nothing.
            Reason::Doubted(_) if subject.can_ask_freely() => *force = Some(false),
            Reason::Refused(..) | Reason::Doubted(_) => {}
        }
        // Without a value there is nothing to fall back on, and nothing that force would void.
        let (None, Some(current)) = (*force, &right.current) else {
            return Ok(None);
        };
        let permit = self.take_forced_permit(&*subject).await?;
        match permit {
            Permit::Force if !self.may_force(reason, current, right).await => {
                self.return_forced_permit().await;
                return Ok(Some(Arc::clone(current)));
            }
            Permit::Force => *force = Some(true),
            Permit::OnlyAsk => *force = Some(false),
            Permit::TooSoon | Permit::Spent => {
                if matches!((permit, reason), (Permit::TooSoon, Reason::Refused(..))) {
                    self.note_refused_too_soon(current);
                }
                tracing::warn!(credential = %self.key(), "forced renewals are limited; the current value is returned");
                return Ok(Some(Arc::clone(current)));
            }
        }
        Ok(None)
    }

    /// Takes a permit for a forced renewal: a daily quota, and never two within 30 s. The counts
    /// are in the store, so all instances share them.
    async fn take_forced_permit(&self, subject: &S) -> Result<Permit, Error<S>> {
        let (store, key) = (&self.engine.store, subject.store_key());
        if !store.take_permit(&spacing(&key), 1, FORCED_SPACING).await? {
            return Ok(Permit::TooSoon);
        }
        let Some(daily) = subject.forced_per_day() else {
            return Ok(Permit::Force);
        };
        let day = day_of(self.engine.clock.wall());
        Ok(
            match store
                .take_permit(&format!("{key}.rotations.{day}"), daily, DAY)
                .await?
            {
                true => Permit::Force,
                // Another forced renewal may have voided our value; the current one can be
                // requested without force.
                false if subject.can_ask_freely() && subject.effect() == Effect::Supersedes => {
                    Permit::OnlyAsk
                }
                false => Permit::Spent,
            },
        )
    }

    /// The service granted nothing, so the 30 s do not start. The daily count stays, so that a
    /// service that refuses is not asked without limit.
    pub(super) async fn return_forced_permit(&self) {
        let key = self.subject.load().store_key();
        if let Err(error) = self.engine.store.return_permit(&spacing(&key)).await {
            self.engine.store_failed(&error);
        }
    }

    /// A call that may have voided the value was not answered. The value that is current once the
    /// call must have been carried out is doubted: it may have been granted before.
    pub(super) fn note_unanswered(self: &Arc<Self>) {
        let until = self.engine.clock.steady().plus(CARRIED_OUT);
        self.unanswered_until.store(until.0, Relaxed);
        self.attend_no_later(until);
    }

    /// When an unanswered call must have been carried out, if there is one.
    pub(super) fn unanswered_until(&self) -> Option<SteadyMillis> {
        Some(SteadyMillis(self.unanswered_until.load(Relaxed))).filter(|until| until.0 > 0)
    }

    /// Doubts the current value if a call was left unanswered long enough ago.
    pub(super) fn doubt_after_unanswered(&self, cached: Option<&Arc<Cached>>) {
        let (Some(cached), Some(until)) = (cached, self.unanswered_until()) else {
            return;
        };
        if until <= self.engine.clock.steady() {
            self.unanswered_until.store(0, Relaxed);
            cached.set_doubtful(true);
        }
    }

    /// Has `cached` renewed soon, because the service may have voided it.
    pub(super) fn doubt(self: &Arc<Self>, cached: &Cached) {
        cached.set_doubtful(true);
        self.attend_no_later(self.engine.clock.steady().plus(SOON));
    }

    /// A caller reported a value as refused, and it could not be renewed. If it is the cached one,
    /// it is renewed in the background.
    pub(super) fn note_refused(self: &Arc<Self>, value: &SecretString) {
        if let Some(cached) = self
            .cached
            .load_full()
            .filter(|cached| self.is_same(cached.value(), value))
        {
            cached.set_refused();
            self.attend_no_later(self.engine.clock.steady().plus(SOON));
        }
    }

    /// A caller reported a value as refused less than 30 s after a forced renewal. The answer of
    /// that renewal may have been lost with the process that asked, so the value is rechecked when
    /// the 30 s are over; where a plain fetch voids nothing, by a plain fetch. On `basic` a token
    /// stays valid for five minutes after the next grant (获取接口调用凭据), so a report about a new token
    /// is ignored: WeChat's servers need a moment to accept it.
    fn note_refused_too_soon(self: &Arc<Self>, cached: &Cached) {
        if self.subject.load().can_ask_freely() {
            cached.set_doubtful(true);
        } else if cached.left(&self.engine.clock) + FORCED_SPACING < cached.lifetime {
            cached.set_refused();
        } else {
            return;
        }
        self.attend_no_later(self.engine.clock.steady().plus(FORCED_SPACING));
    }

    /// Renews a value that may be void. Returns when it is due next.
    pub(super) async fn resolve(self: &Arc<Self>, suspect: &Cached) -> SteadyMillis {
        let value = suspect.value().clone();
        let reason = if suspect.is_refused() {
            Reason::Refused(value, Evidence::Report)
        } else {
            Reason::Doubted(value)
        };
        match self.renew_over(reason).await {
            Ok(cached) if cached.is_suspect() => self.engine.clock.steady().plus(FORCED_SPACING),
            Ok(cached) => cached.after_renewal(&self.engine.clock, self.engine.jitter()),
            Err(error) => self.after_failure(&error),
        }
    }
}

fn spacing(key: &str) -> String {
    format!("{key}.rotation")
}
