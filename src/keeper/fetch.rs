//! One renewal, from the claim to the write-back. It runs inside its credential's flight, in a task of its own.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use secrecy::{ExposeSecret, SecretString};

use super::flights::InFlight;
use super::holding::{Holding, NearCopy};
use super::{Keeper, KeeperError};
use crate::account::TokenApi;
use crate::clock::UnixMillis;
use crate::credential::{Credential, CredentialKind, FULL_LIFETIME, Freshness, renewal_window};
use crate::store::{Record, StoreError};
use crate::wechat::Grant;

/// A claim outlives the upstream timeout by this much, so that only a dead leader loses it.
const LEASE_SLACK: Duration = Duration::from_secs(2);

/// How often an instance that lost the claim looks for the winner's result.
const LOSER_LOOKS_EVERY: Duration = Duration::from_millis(100);

/// WeChat spaces forced renewals by this much on the stable endpoint; we do so on both. Source: 获取稳定版接口调用凭据, force_refresh.
const ROTATION_SPACING: Duration = Duration::from_secs(30);

const DAY: Duration = Duration::from_secs(24 * 3600);

/// On the stable endpoint a returned `expires_in` is the rest of a life and never below this on WeChat's own servers.
const SHORTEST_STABLE_REST: Duration = Duration::from_secs(300);

/// Why a renewal is begun, hence what would make it needless.
#[derive(Clone, Debug)]
pub(super) enum Why {
    /// There is none: any living value will do.
    Missing,
    /// Its end is near: only a fresh value will do.
    Ahead,
    /// WeChat refused this value: only another will do.
    Refused(SecretString),
}

impl Why {
    fn is_met_by(&self, near: &NearCopy, keeper: &Keeper) -> bool {
        match self {
            Self::Missing => near.freshness(keeper.clock()) != Freshness::Expired,
            Self::Ahead => near.freshness(keeper.clock()) == Freshness::Fresh,
            Self::Refused(value) => near.value().expose_secret() != value.expose_secret(),
        }
    }
}

/// What the claim led to.
enum Leave {
    /// Nobody else renews: go on. Holds the value that is there already, if any.
    ToFetch(Option<Arc<NearCopy>>),
    /// Somebody else has renewed.
    NotNeeded(Arc<NearCopy>),
}

impl Keeper {
    /// Joins the credential's renewal or begins one.
    pub(super) async fn renew(&self, holding: &Arc<Holding>, kind: CredentialKind, why: Why) -> Result<Arc<NearCopy>, KeeperError> {
        let (keeper, held) = (self.clone(), Arc::clone(holding));
        let landing = holding.slot(kind).renewal.join(&self.0.runtime, || keeper.fly(held, kind, why));
        landing.result().await.unwrap_or_else(|_| Err(KeeperError::Lost { key: holding.key(kind) }))
    }

    /// Renews because WeChat refused a value. A renewal begun for another reason may bring the refused value itself, hence the
    /// second turn.
    pub(super) async fn renew_refused(
        &self,
        holding: &Arc<Holding>,
        kind: CredentialKind,
        refused: SecretString,
    ) -> Result<Arc<NearCopy>, KeeperError> {
        let why = Why::Refused(refused);
        let near = self.renew(holding, kind, why.clone()).await?;
        if why.is_met_by(&near, self) { Ok(near) } else { self.renew(holding, kind, why).await }
    }

    /// The body of a flight. Boxed, because a ticket's flight waits for its token's.
    fn fly(self, holding: Arc<Holding>, kind: CredentialKind, why: Why) -> BoxFuture<'static, Result<Arc<NearCopy>, KeeperError>> {
        async move {
            let _counted = InFlight::new(&self.0.flying);
            self.fetch(&holding, kind, &why).await
        }
        .boxed()
    }

    async fn fetch(&self, holding: &Arc<Holding>, kind: CredentialKind, why: &Why) -> Result<Arc<NearCopy>, KeeperError> {
        self.unless_cooling(holding, kind)?;
        let first = self.fetch_once(holding, kind, why).await;
        let (refused_token, error) = match first {
            Err((Some(token), error)) if error.is_stale_token() => (token, error),
            Err((_, error)) => return Err(self.remember(holding, kind, error)),
            Ok(near) => return Ok(near),
        };
        // WeChat called the token stale: renew it by comparison, once, then ask for the ticket once more.
        let token = self.renew_refused(holding, CredentialKind::AccessToken, refused_token.clone()).await?;
        if token.value().expose_secret() == refused_token.expose_secret() {
            return Err(self.remember(holding, kind, error));
        }
        self.fetch_once(holding, kind, why).await.map_err(|(_, error)| self.remember(holding, kind, error))
    }

    /// One try: the token a ticket needs, the claim, the call, the write. An error comes with the token that was used, if any.
    async fn fetch_once(
        &self,
        holding: &Arc<Holding>,
        kind: CredentialKind,
        why: &Why,
    ) -> Result<Arc<NearCopy>, (Option<SecretString>, KeeperError)> {
        // Before the claim, because the claim lasts only as long as one call to WeChat.
        let token = match kind {
            CredentialKind::AccessToken => None,
            CredentialKind::JsapiTicket | CredentialKind::CardTicket => {
                let token = self.credential(holding, CredentialKind::AccessToken).await.map_err(|error| (None, error))?;
                Some(token.value().clone())
            }
        };
        let before = match self.claim(holding, kind, why).await.map_err(|error| (None, error))? {
            Leave::NotNeeded(near) => return Ok(near),
            Leave::ToFetch(before) => before,
        };
        let result = self.call(holding, kind, why, token.as_ref(), before).await;
        let key = holding.key(kind).to_string();
        if let Err(error) = self.0.store.release(&key, &self.0.owner).await {
            tracing::debug!(%error, credential = %key, "the claim could not be given back; it ends by itself");
        }
        result.map_err(|error| (token, error))
    }

    /// Asks for the right to renew, and looks whether there is still anything to do.
    async fn claim(&self, holding: &Arc<Holding>, kind: CredentialKind, why: &Why) -> Result<Leave, KeeperError> {
        let (key, lease) = (holding.key(kind).to_string(), self.0.wechat.timeout() + LEASE_SLACK);
        let give_up = self.0.clock.steady().plus(lease);
        loop {
            let claimed = match self.0.store.claim(&key, &self.0.owner, lease).await {
                Ok(claimed) => claimed,
                Err(error) => return self.without_a_claim(holding, kind, why, error),
            };
            match self.read(holding, kind).await {
                Ok(Some(near)) if why.is_met_by(&near, self) => {
                    if claimed {
                        self.0.store.release(&key, &self.0.owner).await.ok();
                    }
                    return Ok(Leave::NotNeeded(near));
                }
                Ok(before) if claimed => return Ok(Leave::ToFetch(before)),
                Ok(_) => {}
                Err(error) => return self.without_a_claim(holding, kind, why, error),
            }
            if self.0.clock.steady() >= give_up {
                return Err(KeeperError::TooSlow { key: holding.key(kind), after: lease });
            }
            tokio::time::sleep(LOSER_LOOKS_EVERY).await;
        }
    }

    /// The store is down. On stable a plain fetch is harmless; everything else could void another instance's token.
    fn without_a_claim(&self, holding: &Holding, kind: CredentialKind, why: &Why, error: StoreError) -> Result<Leave, KeeperError> {
        self.store_failed(&error);
        match (holding.account.token_api, why) {
            (TokenApi::Stable, Why::Missing | Why::Ahead) => {
                let held = holding.slot(kind).near.load_full();
                Ok(Leave::ToFetch(held.filter(|near| near.freshness(self.clock()) != Freshness::Expired)))
            }
            _ => Err(error.into()),
        }
    }

    async fn call(
        &self,
        holding: &Arc<Holding>,
        kind: CredentialKind,
        why: &Why,
        token: Option<&SecretString>,
        before: Option<Arc<NearCopy>>,
    ) -> Result<Arc<NearCopy>, KeeperError> {
        let refused = matches!(why, Why::Refused(_));
        if let (true, Some(near)) = (refused, &before)
            && !self.may_rotate(holding, kind).await?
        {
            tracing::warn!(account.id = %holding.account.app_id, credential.kind = kind.name(), "a rotation past the limit hands out the current value");
            return Ok(Arc::clone(near));
        }
        let (asked_at, begun) = (self.0.clock.wall(), self.0.clock.steady());
        let answer = match token {
            None => self.0.wechat.access_token(&holding.account, refused && before.is_some()).await,
            Some(token) => match self.0.wechat.ticket(token, kind).await {
                Some(answer) => answer,
                None => self.0.wechat.access_token(&holding.account, false).await,
            },
        };
        let duration_ms = begun.until(self.0.clock.steady()).as_millis() as u64;
        let grant = answer.map_err(|source| KeeperError::Upstream { key: holding.key(kind), source })?;
        let expires_in = grant.expires_in.as_secs();
        let near = self.settle(holding, kind, grant, asked_at, before).await;
        let why = match why {
            Why::Missing => "missing",
            Why::Ahead => "ahead",
            Why::Refused(_) => "refused",
        };
        tracing::info!(account.id = %holding.account.app_id, credential.kind = kind.name(), why, expires_in, duration_ms, "renewed");
        Ok(near)
    }

    /// Whether one more forced renewal is within the limits: so many a day, and never two within 30 s.
    async fn may_rotate(&self, holding: &Holding, kind: CredentialKind) -> Result<bool, KeeperError> {
        let (key, daily) = (holding.key(kind), holding.account.rotations_per_day);
        Ok(self.0.store.spend(&format!("{key}.rotation"), 1, ROTATION_SPACING).await?
            && self.0.store.spend(&format!("{key}.rotations"), daily, DAY).await?)
    }

    /// Writes a grant to the store and to the near copy. The end counts from the moment of asking.
    async fn settle(
        &self,
        holding: &Arc<Holding>,
        kind: CredentialKind,
        grant: Grant,
        asked_at: UnixMillis,
        before: Option<Arc<NearCopy>>,
    ) -> Arc<NearCopy> {
        let slot = holding.slot(kind);
        slot.set_failure(None);
        let record = Record { value: grant.value, expires_at: asked_at.plus(grant.expires_in) };
        if let Some(same) = before.filter(|before| before.is(&record) && before.freshness(self.clock()) != Freshness::Expired) {
            // WeChat hands back what we had: not yet, and no progress. The refresher asks again before long.
            slot.near.store(Some(Arc::clone(&same)));
            return same;
        }
        let is_a_rest = kind == CredentialKind::AccessToken
            && holding.account.token_api == TokenApi::Stable
            && grant.expires_in >= SHORTEST_STABLE_REST;
        slot.learn_lifetime(if is_a_rest { FULL_LIFETIME } else { grant.expires_in });
        let saved = self.0.store.put(&holding.key(kind).to_string(), &record).await;
        if let Err(error) = &saved {
            self.store_failed(error);
        }
        let near = self.near_copy(holding, kind, record, grant.expires_in, saved.is_err());
        slot.near.store(Some(Arc::clone(&near)));
        self.reschedule(holding, kind, &near);
        if saved.is_err() {
            self.write_back_soon(holding, kind);
        }
        near
    }

    /// A near copy that lives `at_most` so long, whatever the wall clock says: it may have been set back while WeChat was asked.
    pub(super) fn near_copy(
        &self,
        holding: &Holding,
        kind: CredentialKind,
        record: Record,
        at_most: Duration,
        unsaved: bool,
    ) -> Arc<NearCopy> {
        let lifetime = holding.slot(kind).lifetime();
        let reserve = match kind {
            CredentialKind::AccessToken => holding.account.reserve,
            CredentialKind::JsapiTicket | CredentialKind::CardTicket => holding.account.ticket_reserve,
        };
        let credential = Credential { value: record.value, expires_at: record.expires_at };
        let faults = self.0.store_faults.load(Ordering::Relaxed);
        Arc::new(NearCopy::new(credential, renewal_window(reserve, lifetime), self.clock(), at_most, faults, unsaved))
    }
}
