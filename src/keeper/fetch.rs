//! One renewal, from the claim to the write-back. It runs inside its credential's flight, in a task of its own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};
use secrecy::{ExposeSecret, SecretString};

use super::holding::{Holding, NearCopy};
use super::limits::Rotation;
use super::{Keeper, KeeperError};
use crate::account::{Account, TokenApi};
use crate::clock::SteadyMillis;
use crate::credential::{CredentialKind, Freshness};
use crate::renewal::InFlight;
use crate::store::StoreError;
use crate::wechat::{Grant, WechatError};

/// A claim outlives the upstream timeout by this much, so that only a dead leader loses it.
const LEASE_SLACK: Duration = Duration::from_secs(2);

/// How often a lease is claimed again because too much of it has passed before the call.
const TURNS: u32 = 3;

/// How often an instance that lost the claim looks for the winner's result, should nobody tell it.
const LOSER_LOOKS_EVERY: Duration = Duration::from_millis(100);

/// Why a renewal is begun, hence what would make it needless.
#[derive(Clone, Debug)]
pub(super) enum Why {
    /// There is none: any living value will do.
    Missing,
    /// Its end is near: only a fresh value will do.
    Ahead,
    /// WeChat refused this value: only another will do.
    Refused(SecretString),
    /// WeChat may have voided this value: only another will do, or its own confirmation.
    Doubted(SecretString),
}

impl Why {
    fn is_met_by(&self, near: &NearCopy, keeper: &Keeper) -> bool {
        match self {
            Self::Missing => near.freshness(keeper.clock()) != Freshness::Expired,
            Self::Ahead => near.freshness(keeper.clock()) == Freshness::Fresh,
            Self::Refused(value) | Self::Doubted(value) => near.value().expose_secret() != value.expose_secret(),
        }
    }
}

/// The right to renew, and what was found with it in hand.
pub(super) struct Lease {
    /// When it was asked for, hence the latest moment from which it counts; `None` = the store is down, and we go on without.
    pub(super) claimed_at: Option<SteadyMillis>,
    /// The value that is there already, if any.
    pub(super) before: Option<Arc<NearCopy>>,
    /// What the store itself showed.
    pub(super) seen: Option<SecretString>,
}

/// What the claim led to.
enum Leave {
    /// Nobody else renews: go on.
    ToFetch(Lease),
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

    /// Renews because WeChat refused a value, or may. A renewal begun for another reason may bring that value itself, hence the
    /// second turn.
    pub(super) async fn renew_over(
        &self,
        holding: &Arc<Holding>,
        kind: CredentialKind,
        why: Why,
    ) -> Result<Arc<NearCopy>, KeeperError> {
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
            Err((_, error)) => return Err(self.remember_lasting(holding, kind, error)),
            Ok(near) => return Ok(near),
        };
        // WeChat called the token stale: renew it by comparison, once, then ask for the ticket once more.
        let token = self.renew_over(holding, CredentialKind::AccessToken, Why::Refused(refused_token.clone())).await?;
        if token.value().expose_secret() == refused_token.expose_secret() {
            return Err(self.remember_lasting(holding, kind, error));
        }
        self.fetch_once(holding, kind, why).await.map_err(|(_, error)| self.remember_lasting(holding, kind, error))
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
        let result = self.with_a_lease(holding, kind, why, token.as_ref()).await;
        result.map_err(|error| (token, error))
    }

    /// The renewal itself, begun only with a lease that outlasts it: the store may have been slow, or this process held up.
    async fn with_a_lease(
        &self,
        holding: &Arc<Holding>,
        kind: CredentialKind,
        why: &Why,
        token: Option<&SecretString>,
    ) -> Result<Arc<NearCopy>, KeeperError> {
        // By force or not; a value that is said to be void is renewed by force only within limits.
        let mut force = match why {
            Why::Missing | Why::Ahead => Some(false),
            Why::Refused(_) => None,
            // On stable the current token is told without voiding anything.
            Why::Doubted(_) => (!self.voids(holding)).then_some(false),
        };
        let mut turns = 0;
        let result = loop {
            turns += 1;
            let lease = match self.claim(holding, kind, why).await? {
                Leave::NotNeeded(near) => return Ok(near),
                Leave::ToFetch(lease) => lease,
            };
            let force = match (force, &lease.before) {
                (Some(force), _) => force,
                // Without a value at hand there is nothing to fall back on, and nothing that a forced renewal would void.
                (None, None) => false,
                (None, Some(near)) => match self.may_rotate(holding, kind).await {
                    Ok(Rotation::Granted) => *force.insert(true),
                    Ok(Rotation::OnlyAsk) => *force.insert(false),
                    Ok(Rotation::Refused) => {
                        tracing::warn!(account.id = %holding.account.app_id, credential.kind = kind.name(),
                            "a rotation past the limit hands out the current value");
                        break Ok(Arc::clone(near));
                    }
                    Err(error) => break Err(error),
                },
            };
            if lease.claimed_at.is_none_or(|at| at.until(self.0.clock.steady()) <= LEASE_SLACK) {
                let result = self.call(holding, kind, why, force, token, lease).await;
                break match result {
                    Err(error) if error.is_passing() => {
                        let error = self.remember(holding, kind, error);
                        self.share_pause(holding, kind).await;
                        Err(error)
                    }
                    result => result,
                };
            }
            if turns == TURNS {
                break Err(KeeperError::TooSlow { key: holding.key(kind), after: LEASE_SLACK });
            }
            // Claimed again it lasts again; what happened meanwhile is seen again.
        };
        let key = holding.key(kind).to_string();
        if let Err(error) = self.0.store.release(&key, &self.0.owner).await {
            tracing::debug!(%error, credential = %key, "the claim could not be given back; it ends by itself");
        }
        result
    }

    /// Asks for the right to renew, and looks whether there is still anything to do.
    async fn claim(&self, holding: &Arc<Holding>, kind: CredentialKind, why: &Why) -> Result<Leave, KeeperError> {
        let (key, lease) = (holding.key(kind).to_string(), self.0.wechat.timeout() + LEASE_SLACK);
        let give_up = self.0.clock.steady().plus(lease);
        loop {
            let claimed_at = self.0.clock.steady();
            let claimed = match self.0.store.claim(&key, &self.0.owner, lease).await {
                Ok(claimed) => claimed,
                Err(error) => return self.without_a_claim(holding, kind, why, error),
            };
            match self.read_and_see(holding, kind).await {
                Ok((Some(near), _)) if why.is_met_by(&near, self) => {
                    if claimed {
                        self.0.store.release(&key, &self.0.owner).await.ok();
                    }
                    return Ok(Leave::NotNeeded(near));
                }
                Ok((before, seen)) if claimed => {
                    return match self.keep_pause(holding, kind).await {
                        Ok(()) => Ok(Leave::ToFetch(Lease { claimed_at: Some(claimed_at), before, seen })),
                        Err(error) => {
                            self.0.store.release(&key, &self.0.owner).await.ok();
                            Err(error)
                        }
                    };
                }
                Ok(_) => {}
                Err(error) => return self.without_a_claim(holding, kind, why, error),
            }
            if self.0.clock.steady() >= give_up {
                return Err(KeeperError::TooSlow { key: holding.key(kind), after: lease });
            }
            self.0.waiters.wait(&holding.key(kind), LOSER_LOOKS_EVERY).await;
        }
    }

    /// The store is down. On stable a plain fetch is harmless; everything else could void another instance's token.
    fn without_a_claim(&self, holding: &Holding, kind: CredentialKind, why: &Why, error: StoreError) -> Result<Leave, KeeperError> {
        self.store_failed(&error);
        match (holding.account.token_api, why) {
            (TokenApi::Stable, Why::Missing | Why::Ahead) => {
                let held = holding.slot(kind).near.load_full();
                let before = held.filter(|near| near.freshness(self.clock()) != Freshness::Expired);
                Ok(Leave::ToFetch(Lease { claimed_at: None, before, seen: None }))
            }
            _ => Err(error.into()),
        }
    }

    async fn call(
        &self,
        holding: &Arc<Holding>,
        kind: CredentialKind,
        why: &Why,
        force: bool,
        token: Option<&SecretString>,
        lease: Lease,
    ) -> Result<Arc<NearCopy>, KeeperError> {
        let asked_at = self.0.clock.steady();
        let answer = match token {
            None => self.token_of(&holding.account, force).await,
            Some(token) => match self.0.wechat.ticket(token, kind).await {
                Some(answer) => answer,
                None => self.0.wechat.access_token(&holding.account, false).await,
            },
        };
        let duration_ms = asked_at.until(self.0.clock.steady()).as_millis() as u64;
        let grant = match answer {
            Ok(grant) => grant,
            Err(source) => return self.not_granted(holding, kind, force, source, lease),
        };
        let expires_in = grant.expires_in.as_secs();
        let near = self.settle(holding, kind, grant, asked_at, lease).await;
        let why = match why {
            Why::Missing => "missing",
            Why::Ahead => "ahead",
            Why::Refused(_) => "refused",
            Why::Doubted(_) => "doubted",
        };
        tracing::info!(account.id = %holding.account.app_id, credential.kind = kind.name(), why, expires_in, duration_ms, "renewed");
        Ok(near)
    }

    /// Whether each fetch of the account's token voids the one before.
    pub(super) fn voids(&self, holding: &Holding) -> bool {
        holding.account.token_api == TokenApi::Basic
    }

    /// The account's token from WeChat. Where only what is forced has spent its quota, what is current is asked for without.
    async fn token_of(&self, account: &Account, force: bool) -> Result<Grant, WechatError> {
        match self.0.wechat.access_token(account, force).await {
            Err(error) if force && account.token_api == TokenApi::Stable && error.is_quota() => {
                tracing::warn!(account.id = %account.app_id, "WeChat forces no more refreshes today; what is current is asked for");
                self.0.wechat.access_token(account, false).await
            }
            answer => answer,
        }
    }
}
