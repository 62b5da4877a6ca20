//! The one owner of every account's credentials: reads the near copy, else the store, else fetches from WeChat, one renewal at a
//! time per credential. It alone calls the store and WeChat. All its I/O runs on the runtime it was made on, never on the workers
//! that answer requests.
//!
//! Reading order: this file (what is promised to a request), `holding` (what is held), `reading` (what the store says) and `lifetimes` (what
//! it does not say), `news` (what it tells unasked), `fetch` (one renewal from the claim to the call) with its `limits`, and `settle` (what
//! becomes of the answer), `failures` (what is remembered of those that failed) and `pauses` (what all instances remember of them), `suspect`
//! (what may be void), `refresher` (what is done ahead of time), `calls` (what else needs a token). How renewing goes as such, whatever is
//! renewed, is in the room below: `renewal`.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use arc_swap::ArcSwap;
use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::Handle;
use tokio::sync::watch;

use crate::account::{Account, AppId, Keep, TokenApi};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::credential::{CredentialKey, CredentialKind, Freshness};
use crate::renewal::{Agenda, NEAR_AGE, Outage, PATIENCE};
use crate::store::Store;
use crate::wechat::WechatClient;

mod calls;
mod error;
mod failures;
mod fetch;
mod holding;
mod lifetimes;
mod limits;
mod news;
mod order;
mod pauses;
mod reading;
mod refresher;
mod settle;
mod suspect;

use holding::{Directory, Why};
use news::Waiters;
use suspect::Unanswered;

pub use error::KeeperError;
pub use holding::{Holding, NearCopy};
pub use refresher::Refresher;

/// From this age on a request is still answered from the near copy but has it confirmed behind, so that a busy credential never
/// makes anyone wait for the store.
const NEAR_AGE_SOON: Duration = Duration::from_millis(500);

/// A cheap handle on the keeper.
#[derive(Clone)]
pub struct Keeper(Arc<Inner>);

struct Inner {
    directory: ArcSwap<Directory>,
    store: Arc<dyn Store>,
    wechat: WechatClient,
    clock: Clock,
    keep: Keep,
    chance: Chance,
    /// Tells our claims from those of other instances.
    owner: String,
    agenda: Agenda<CredentialKey>,
    waiters: Waiters,
    unanswered: Unanswered,
    outage: Outage,
    /// How many renewals are under way, so that a stopping process can wait for them.
    flying: watch::Sender<usize>,
    runtime: Handle,
}

impl Keeper {
    /// A keeper of `accounts`. Must be called on the runtime that is to do its work; [`Keeper::refresher`] must be run for anything
    /// to be renewed ahead.
    pub fn new(accounts: Vec<Account>, store: Arc<dyn Store>, wechat: WechatClient, clock: Clock, keep: Keep) -> Self {
        Self::with_chance(accounts, store, wechat, clock, keep, Chance::system())
    }

    /// As [`Keeper::new`], with jitter that a seed foretells.
    pub fn with_chance(
        accounts: Vec<Account>,
        store: Arc<dyn Store>,
        wechat: WechatClient,
        clock: Clock,
        keep: Keep,
        chance: Chance,
    ) -> Self {
        let keeper = Self(Arc::new(Inner {
            directory: ArcSwap::default(),
            store,
            wechat,
            clock,
            keep,
            owner: chance.name(),
            chance,
            agenda: Agenda::default(),
            waiters: Waiters::default(),
            unanswered: Unanswered::default(),
            outage: Outage::default(),
            flying: watch::Sender::new(0),
            runtime: Handle::current(),
        }));
        keeper.set_accounts(accounts);
        keeper
    }

    /// Replaces the accounts. What is held for those that stay is kept.
    pub fn set_accounts(&self, accounts: Vec<Account>) {
        let before = self.0.directory.load();
        let directory: Directory = accounts
            .into_iter()
            .map(|account| {
                let slots = before.get(&account.app_id).map_or_else(Arc::default, |holding| Arc::clone(&holding.slots));
                (account.app_id.clone(), Arc::new(Holding::new(account, slots)))
            })
            .collect();
        self.0.directory.store(Arc::new(directory));
        if self.0.keep == Keep::Always {
            self.schedule_all();
        }
    }

    /// The account of that appid and what is held for it: one hash.
    pub fn holding(&self, app_id: &str) -> Option<Arc<Holding>> {
        self.0.directory.load().get(app_id).cloned()
    }

    /// All appids, in no order.
    pub fn app_ids(&self) -> Vec<AppId> {
        self.0.directory.load().keys().cloned().collect()
    }

    /// The clock by which this keeper judges.
    pub fn clock(&self) -> &Clock {
        &self.0.clock
    }

    /// The credential if it can be handed out at once, without waiting for anything: the near copy is there, young enough and alive.
    /// A copy that is due is handed out too; its renewal runs behind.
    pub fn at_hand(&self, holding: &Arc<Holding>, kind: CredentialKind) -> Option<Arc<NearCopy>> {
        let (slot, now) = (holding.slot(kind), self.0.clock.steady());
        slot.note_asked(now);
        let near = slot.near.load();
        let near = near.as_ref()?;
        if self.0.store.is_shared() {
            let age = near.life.age(now);
            if age >= NEAR_AGE {
                return None;
            }
            if age >= NEAR_AGE_SOON {
                drop(self.begin_look(holding, kind));
            }
        }
        if near.life.freshness_at(now, self.0.clock.wall()) == Freshness::Expired {
            return None;
        }
        if !slot.scheduled.load(Ordering::Relaxed) {
            self.schedule(holding, kind, near);
        }
        Some(Arc::clone(near))
    }

    /// The credential, from the near copy, the store or WeChat. Ends within WeChat's timeout; a renewal that takes longer goes on
    /// without its caller.
    pub async fn credential(&self, holding: &Arc<Holding>, kind: CredentialKind) -> Result<Arc<NearCopy>, KeeperError> {
        match self.at_hand(holding, kind) {
            Some(near) => Ok(near),
            // Boxed, so that the many who need not wait do not carry the future of the few who must.
            None => Box::pin(self.patiently(holding, kind, self.read_or_fetch(holding, kind))).await,
        }
    }

    /// "WeChat refused this value": renews the credential if `refused` is still the current one, else hands out the current one. One
    /// renewal however many ask; past the account's limit the current value is handed out unchanged, and looked after when the 30 s between
    /// two are over.
    pub async fn rotate(
        &self,
        holding: &Arc<Holding>,
        kind: CredentialKind,
        refused: SecretString,
    ) -> Result<Arc<NearCopy>, KeeperError> {
        holding.slot(kind).note_asked(self.0.clock.steady());
        let rotated = self.patiently(holding, kind, async {
            // The near copy may be a second old; what is current is for the store to say.
            let current = self.read_or_fetch(holding, kind).await?;
            if current.value().expose_secret() != refused.expose_secret() {
                return Ok(current);
            }
            self.renew_over(holding, kind, Why::Refused(refused.clone())).await
        });
        let rotated = rotated.await;
        if rotated.is_err() {
            self.note_refused(holding, kind, &refused);
        }
        rotated
    }

    async fn patiently<T>(
        &self,
        holding: &Holding,
        kind: CredentialKind,
        work: impl Future<Output = Result<T, KeeperError>>,
    ) -> Result<T, KeeperError> {
        let after = self.0.wechat.timeout();
        tokio::time::timeout(after + PATIENCE, work)
            .await
            .unwrap_or_else(|_| Err(KeeperError::TooSlow { key: holding.key(kind), after }))
    }

    async fn read_or_fetch(&self, holding: &Arc<Holding>, kind: CredentialKind) -> Result<Arc<NearCopy>, KeeperError> {
        let slot = holding.slot(kind);
        match self.look_patiently(holding, kind).await {
            Ok(Some(near)) => {
                self.schedule(holding, kind, &near);
                return Ok(near);
            }
            Ok(None) => {}
            Err(error) => {
                // A store that is down is no reason to refuse what we still hold.
                if let Some(near) = slot.near.load_full().filter(|near| !near.life.is_over(&self.0.clock)) {
                    return Ok(near);
                }
                // On basic a fetch without the lease could void another instance's token; on stable it is harmless.
                if holding.account.token_api == TokenApi::Basic {
                    return Err(error.into());
                }
            }
        }
        self.renew(holding, kind, Why::Missing).await.map(|(near, _)| near)
    }
}
