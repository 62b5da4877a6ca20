//! What is held for one account: its settings, and for each kind of credential its slot with the near copy.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::error::KeeperError;
use super::order::Order;
use crate::account::{Account, AppId};
use crate::clock::{Clock, UnixMillis};
use crate::credential::{CredentialKey, CredentialKind};
use crate::renewal::{self, Life};
use crate::store::Record;
use crate::wechat::WechatError;

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
    /// Which values came before and after it.
    pub(super) order: Order,
    /// Whether we fetched it ourselves, so that we know its end from WeChat and not from a store.
    pub(super) is_first_hand: bool,
}

impl NearCopy {
    pub(super) fn new(value: SecretString, life: Life) -> Self {
        Self {
            value,
            life,
            doubtful: AtomicBool::new(false),
            refused: AtomicBool::new(false),
            order: Order::default(),
            is_first_hand: false,
        }
    }

    /// Whether it may be void although it has not ended.
    pub(super) fn is_suspect(&self) -> bool {
        self.doubtful.load(Relaxed) || self.refused.load(Relaxed)
    }

    /// Read from a store that took so long to answer.
    pub(super) fn read_in(mut self, took: Duration) -> Self {
        self.life.read_in(took);
        self
    }

    /// It is the value of `before`, read again: what was known of that holds, and the earlier end.
    pub(super) fn end_with(&mut self, before: &Self) {
        *self.doubtful.get_mut() = before.doubtful.load(Relaxed);
        *self.refused.get_mut() = before.refused.load(Relaxed);
        self.life.end_with(&before.life);
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
// Nor a near copy, with the two counts of its `Arc`, into a third.
const _: () = assert!(size_of::<NearCopy>() + 2 * size_of::<usize>() <= 128);
