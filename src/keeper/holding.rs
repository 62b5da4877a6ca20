//! What is held for one account: its settings, and for each kind of credential its slot with the near copy.

use std::cmp::Ordering;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::error::KeeperError;
use crate::account::{Account, AppId};
use crate::clock::{Clock, UnixMillis};
use crate::credential::{CredentialKey, CredentialKind};
use crate::renewal::{self, Life};
use crate::store::Record;
use crate::wechat::WechatError;

/// What WeChat cuts off a life, and a store too.
const WHOLE_SECOND: Duration = Duration::from_secs(1);

/// All accounts by appid; replaced whole on a reload.
pub(super) type Directory = HashMap<AppId, Arc<Holding>>;

/// All of them in the order of their appids, where the map's own would be chance.
pub(super) fn in_order(directory: &Directory) -> Vec<&Arc<Holding>> {
    let mut holdings: Vec<_> = directory.values().collect();
    holdings.sort_unstable_by_key(|holding| &holding.account.app_id);
    holdings
}

/// One account and what is held for it. A reload makes a new one around the same slots, so no cached credential is lost.
#[derive(Debug)]
pub struct Holding {
    /// The account as it is configured now.
    pub account: Account,
    pub(super) slots: Arc<[Slot; 3]>,
}

impl Holding {
    pub(super) fn new(account: Account, slots: Arc<[Slot; 3]>) -> Self {
        Self { account, slots }
    }

    pub(super) fn slot(&self, kind: CredentialKind) -> &Slot {
        &self.slots[kind.index()]
    }

    pub(super) fn key(&self, kind: CredentialKind) -> CredentialKey {
        CredentialKey { app_id: self.account.app_id.clone(), kind }
    }
}

/// Why a credential is renewed, and because of which value.
pub(super) type Why = renewal::Why<SecretString>;

/// What a renewal brought, and what it was begun for.
pub(super) type Renewed = (Arc<NearCopy>, Why);

/// The place of one credential in this process.
pub(super) type Slot = renewal::Slot<NearCopy, Result<Renewed, KeeperError>, WechatError>;

/// A credential as this process last saw it. It is what lets a request skip the network, and what answers while the store is down.
#[derive(Debug)]
pub struct NearCopy {
    /// The token or ticket. Opaque: WeChat promises only that it fits 512 characters.
    value: SecretString,
    pub(super) life: Life,
    /// Whether WeChat may have granted another one since, which is lost: then this one ends before its time.
    pub(super) doubtful: AtomicBool,
    /// Whether a caller said that WeChat refused it, and it could not be renewed then.
    pub(super) refused: AtomicBool,
    /// The value after which we fetched this one. Should the store show that again, it has lost a write.
    superseded: Option<SecretString>,
    /// Whether we fetched it ourselves, so that we know its end from WeChat and not from a store.
    is_first_hand: bool,
}

impl NearCopy {
    pub(super) fn new(value: SecretString, life: Life) -> Self {
        Self {
            value,
            life,
            doubtful: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            superseded: None,
            is_first_hand: false,
        }
    }

    /// Whether it may be void although it has not ended.
    pub(super) fn is_suspect(&self) -> bool {
        self.doubtful.load(Relaxed) || self.refused.load(Relaxed)
    }

    /// Fetched by ourselves, after the value before.
    pub(super) fn fetched_after(mut self, before: Option<&SecretString>) -> Self {
        self.is_first_hand = true;
        self.superseded = before.filter(|before| before.expose_secret() != self.value.expose_secret()).cloned();
        self
    }

    /// Read from a store that took so long to answer.
    pub(super) fn read_in(mut self, took: Duration) -> Self {
        self.life.read_in(took);
        self
    }

    /// Takes the place of the copy `before`. Of the same value with another end all is remembered that was known of it, and the earlier end
    /// holds: nothing lengthens a life. Another value that ended earlier came before this one; which of two came first is otherwise known only
    /// to who fetched one of them.
    pub(super) fn instead_of(mut self, before: Option<&Arc<Self>>) -> Self {
        let Some(before) = before else { return self };
        if before.value.expose_secret() == self.value.expose_secret() {
            *self.doubtful.get_mut() = before.doubtful.load(Relaxed);
            *self.refused.get_mut() = before.refused.load(Relaxed);
            self.life.end_with(&before.life);
            self.superseded.clone_from(&before.superseded);
        } else if before.life.ends_before(&self.life) {
            self.superseded = Some(before.value.clone());
        }
        self
    }

    /// Whether `record` is what was there before.
    fn superseded(&self, record: &Record) -> bool {
        self.superseded.as_ref().is_some_and(|before| before.expose_secret() == record.value.expose_secret())
    }

    /// Whether a store that shows `record` is known to be wrong: it is what was there before, or what we fetched with a later end than WeChat's,
    /// as it gets one when its write takes long or the store's clock is moved. Of what others fetched the store may know more than we.
    pub(super) fn corrects(&self, record: &Record, clock: &Clock) -> bool {
        self.superseded(record)
            || self.is_value_of(record) && self.is_first_hand && self.life.is_outlasted_by(record.expires_at, clock)
    }

    /// Whether this or `record`, read in `took`, is known to be the later one; equal if that cannot be told. An end counts from the asking for
    /// it, which WeChat may have carried out as late as `timeout`. What a store shows may be less than the truth: by what reading took, and
    /// by the whole seconds that WeChat and the store keep.
    pub(super) fn against(&self, record: &Record, clock: &Clock, timeout: Duration, took: Duration) -> Ordering {
        let (ours, theirs) = (clock.steady().until(self.life.ends()), clock.wall().until(record.expires_at));
        if theirs > ours + timeout {
            Ordering::Less
        } else if ours > theirs + timeout + took + 2 * WHOLE_SECOND {
            Ordering::Greater
        } else {
            Ordering::Equal
        }
    }

    /// Whether the store should keep `record` rather than this one.
    pub(super) fn stays_behind(&self, record: &Record, clock: &Clock, timeout: Duration, took: Duration) -> bool {
        !self.corrects(record, clock) && self.against(record, clock, timeout, took).is_le()
    }

    /// The token or ticket.
    pub fn value(&self) -> &SecretString {
        &self.value
    }

    /// When it ends, by the wall clock.
    pub fn expires_at(&self) -> UnixMillis {
        self.life.expires_at
    }

    /// How long it still lives, by whichever clock says less.
    pub fn left(&self, clock: &Clock) -> Duration {
        self.life.left(clock)
    }

    /// Whether `record` is this value with this end, as far as a store that keeps whole seconds can tell.
    pub(super) fn is(&self, record: &Record) -> bool {
        self.is_value_of(record) && self.life.ends_with(record.expires_at)
    }

    pub(super) fn is_value_of(&self, record: &Record) -> bool {
        self.value.expose_secret() == record.value.expose_secret()
    }
}

// A field that makes a slot spill into a second cache line must be worth it.
const _: () = assert!(size_of::<Slot>() == 64);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SteadyMillis;

    const HOUR: Duration = Duration::from_secs(3600);

    fn copy(value: &str, left: Duration, clock: &Clock) -> NearCopy {
        NearCopy::new(value.into(), Life::until(clock.steady().plus(left), HOUR / 6, clock))
    }

    fn record(value: &str, clock: &Clock) -> Record {
        Record { value: value.into(), expires_at: clock.wall().plus(HOUR) }
    }

    #[test]
    fn a_value_that_is_read_again_with_another_end_keeps_what_is_known_of_it_and_its_earlier_end() {
        let clock = Clock::manual(UnixMillis(1_000_000));
        let before = Arc::new(copy("a", HOUR, &clock).fetched_after(Some(&"older".into())));
        before.doubtful.store(true, Relaxed);
        let after = copy("a", 2 * HOUR, &clock).instead_of(Some(&before));
        assert!(after.is_suspect() && after.superseded(&record("older", &clock)));
        assert_eq!(after.life.ends(), SteadyMillis::default().plus(HOUR));
        assert_eq!(copy("a", HOUR / 2, &clock).instead_of(Some(&before)).life.ends(), SteadyMillis::default().plus(HOUR / 2));
    }

    #[test]
    fn only_who_fetched_a_value_says_that_a_store_keeps_it_too_long() {
        let clock = Clock::manual(UnixMillis(1_000_000));
        let fetched = copy("a", HOUR / 2, &clock).fetched_after(None);
        assert!(fetched.corrects(&record("a", &clock), &clock) && !fetched.corrects(&record("b", &clock), &clock));
        assert!(!copy("a", HOUR / 2, &clock).corrects(&record("a", &clock), &clock), "who read it may have read too early an end");
        let exact = copy("a", HOUR - Duration::from_secs(2), &clock).fetched_after(None);
        assert!(!exact.corrects(&record("a", &clock), &clock), "a store's rounding is no fault");
    }

    #[test]
    fn ends_that_are_known_less_exactly_than_they_differ_tell_nothing() {
        let clock = Clock::manual(UnixMillis(1_000_000));
        let ours = |secs: i64| {
            let copy = copy("a", Duration::from_secs(HOUR.as_secs().saturating_add_signed(secs)), &clock);
            copy.against(&record("b", &clock), &clock, Duration::from_secs(5), Duration::from_secs(1))
        };
        assert_eq!(
            [-6, -5, 0, 8, 9].map(ours),
            [Ordering::Less, Ordering::Equal, Ordering::Equal, Ordering::Equal, Ordering::Greater]
        );
    }

    #[test]
    fn a_value_comes_after_another_only_if_it_ends_later() {
        let clock = Clock::manual(UnixMillis(1_000_000));
        let before = Arc::new(copy("a", HOUR, &clock));
        before.refused.store(true, Relaxed);
        let later = copy("b", 2 * HOUR, &clock).instead_of(Some(&before));
        assert!(later.superseded(&record("a", &clock)) && !later.is_suspect());
        let at_once = copy("b", HOUR, &clock).instead_of(Some(&before));
        assert!(!at_once.superseded(&record("a", &clock)), "which of the two came first is not known");
        let slowly = Arc::new(copy("a", HOUR, &clock).read_in(HOUR / 2));
        assert!(
            !copy("b", HOUR + HOUR / 4, &clock).instead_of(Some(&slowly)).superseded(&record("a", &clock)),
            "its end is not known"
        );
    }
}
