//! What one request needs: an answer of ours, a virtual token, or a call to WeChat on an account's
//! behalf.

use std::collections::BTreeMap;
use std::sync::Arc;

use secrecy::ExposeSecret;
use serde_json::json;
use wechat::account::AppId;
use wechat::credential::CredentialKind;

use super::account::AccountName;
use super::accounts::Account;
use super::admit::{self, Proof};
use super::limits::Place;
use super::plan::{Identity, Plan};
use super::refusal::Refusal;
use super::upstream::Hosts;
use super::{Audit, Gateway, Request, query, token};
use crate::realm::presets::Handling;
use crate::realm::{Realm, Realms};
use crate::settings::WecomCorp;

impl Gateway {
    pub(super) async fn decide(
        &self,
        request: &mut Request<'_>,
        realms: &Realms,
        corps: &BTreeMap<AppId, WecomCorp>,
        audit: &mut Audit,
    ) -> Result<Decided, Refusal> {
        let from = request.from;
        match admit::handling(request.path) {
            Handling::IssueToken => Ok(Decided::IssueToken),
            Handling::Anonymous => self.anonymous(request, &self.0.api),
            Handling::AnonymousAtMp => self.anonymous(request, &self.0.mp),
            Handling::SwapSecret => {
                let (plan, _) = Box::pin(self.swap_secret(request, b"", realms, audit)).await?;
                Ok(Decided::Forward(plan))
            }
            Handling::OnlyByNameSwapSecret => Ok(Decided::SwapInBody),
            handling => {
                let token = admit::only_token(request.query)?;
                if !token.starts_with(token::PREFIX.as_bytes())
                    && token.len() >= SHORTEST_REAL_TOKEN
                {
                    let (path, client) = (request.path, from.map(tracing::field::display));
                    tracing::warn!(
                        path,
                        client,
                        "a caller sent a token that jsdkd did not issue; if it is a real one, it has leaked to this caller"
                    );
                }
                let token = query::decode(token);
                let (realm, name) =
                    admit::authenticate(realms, &Proof::Token(&token), from, &self.0.clock)?;
                let account = self
                    .begin(realm, &name, request.path, Refusal::TokenInvalid, audit)
                    .await?;
                if handling == Handling::OwnTicket
                    && let Some(ticket) =
                        Box::pin(self.ticket(&account, corps, request.path, request.query)).await
                {
                    return ticket.map(Decided::Answered).map_err(Refusal::NothingSent);
                }
                let hosts = self.hosts(&name, corps)?;
                let place = self.place(&realm.key, &name)?;
                let query = query::without(request.query, "access_token");
                let identity = Identity::Token(account);
                Ok(Decided::Forward(plan(
                    request, query, hosts, identity, place,
                )))
            }
        }
    }

    /// Counts the call, checks scope and account, and notes both for the audit. `unknown` is the
    /// refusal of an account that does not exist.
    pub(super) async fn begin(
        &self,
        realm: &Realm,
        name: &AccountName,
        path: &str,
        unknown: Refusal,
        audit: &mut Audit,
    ) -> Result<Account, Refusal> {
        (audit.realm, audit.account) = (Some(realm.key.clone()), Some(name.clone()));
        admit::check_scope(realm, path)?;
        if !self.0.limits.count_call(&realm.key, realm.per_minute) {
            return Err(Refusal::TooManyCalls);
        }
        self.0
            .accounts
            .find(name)
            .await
            .map_err(|miss| Refusal::of_miss(miss, unknown))
    }

    pub(super) fn place(&self, realm: &str, account: &AccountName) -> Result<Place, Refusal> {
        let place = self.0.limits.enter(realm, Some(account));
        place.ok_or_else(|| {
            Refusal::NothingSent("too many calls of this realm or account are under way".to_owned())
        })
    }

    fn hosts(
        &self,
        name: &AccountName,
        corps: &BTreeMap<AppId, WecomCorp>,
    ) -> Result<Arc<Hosts>, Refusal> {
        let AccountName::Agent(corp, agent) = name else {
            return Ok(Arc::clone(&self.0.api));
        };
        let api = corps
            .get(corp)
            .and_then(|corp| corp.apis.get(agent))
            .ok_or(Refusal::TokenInvalid)?;
        let mut known = self
            .0
            .wecom_hosts
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(hosts) = known.get(api) {
            return Ok(Arc::clone(hosts));
        }
        // As many as the settings name.
        known.retain(|url, _| {
            corps
                .values()
                .any(|corp| corp.apis.values().any(|api| api == url))
        });
        let hosts = Arc::new(self.0.upstream.hosts([api]));
        known.insert(api.clone(), Arc::clone(&hosts));
        Ok(hosts)
    }

    /// A call that brings none of our secrets.
    fn anonymous(&self, request: &mut Request<'_>, hosts: &Arc<Hosts>) -> Result<Decided, Refusal> {
        let is_allowed = request
            .from
            .is_some_and(|address| self.0.options.anonymous.contains(address));
        let Some(address) = request.from.filter(|_| is_allowed) else {
            let address = request
                .from
                .map_or("this address".to_owned(), |address| address.to_string());
            return Err(Refusal::AddressNotAllowed(format!(
                "{address} is not in gateway.anonymous"
            )));
        };
        if query::all(request.query).any(|value| value.starts_with(token::PREFIX)) {
            return Err(Refusal::TokenInvalid);
        }
        if !self.0.limits.count_anonymous(address) {
            return Err(Refusal::TooManyCalls);
        }
        let place = self
            .0
            .limits
            .enter("", None)
            .ok_or_else(|| Refusal::NothingSent("too many calls are under way".to_owned()))?;
        let (query, hosts) = (request.query.to_vec(), Arc::clone(hosts));
        let plan = plan(request, query, hosts, Identity::Anonymous, place);
        Ok(Decided::Forward(plan))
    }

    /// The ticket that we hold, as WeChat would answer; `None`: of this type we hold none.
    async fn ticket(
        &self,
        account: &Account,
        corps: &BTreeMap<AppId, WecomCorp>,
        path: &str,
        query: &[u8],
    ) -> Option<Result<String, String>> {
        let kind = query::decoded(query, "type");
        if account.name.is_wecom() {
            let is_agent_ticket = match (path.trim_end_matches('/'), kind.as_deref()) {
                ("/cgi-bin/get_jsapi_ticket", _) => false,
                ("/cgi-bin/ticket/get", Some("agent_config")) => true,
                _ => return None,
            };
            return self
                .0
                .accounts
                .wecom_ticket(corps, &account.name, is_agent_ticket)
                .await;
        }
        let kind = match (path.trim_end_matches('/'), kind.as_deref()) {
            ("/cgi-bin/ticket/getticket", Some("jsapi")) => CredentialKind::JsapiTicket,
            ("/cgi-bin/ticket/getticket", Some("wx_card")) => CredentialKind::CardTicket,
            _ => return None,
        };
        let answer = account.ticket(kind, &self.0.clock).await?;
        Some(answer.map(|(ticket, left)| {
            json!({ "errcode": 0, "errmsg": "ok", "ticket": ticket.expose_secret(), "expires_in": left }).to_string()
        }))
    }
}

/// The plan of a call; takes the headers of `request`.
pub(super) fn plan(
    request: &mut Request<'_>,
    query: Vec<u8>,
    hosts: Arc<Hosts>,
    identity: Identity,
    place: Place,
) -> Box<Plan> {
    Box::new(Plan {
        method: request.method.clone(),
        path: request.path.to_owned(),
        query,
        headers: std::mem::take(&mut request.headers),
        hosts,
        identity,
        place,
    })
}

/// Whether a request's header of this name, in small letters, goes on to WeChat.
pub fn is_forwarded(name: &str) -> bool {
    matches!(
        name,
        "content-type" | "content-length" | "range" | "if-range" | "accept"
    ) || name.starts_with("wechatmp-")
}

/// What [`Gateway::decide`] found.
pub(super) enum Decided {
    Answered(String),
    IssueToken,
    SwapInBody,
    Forward(Box<Plan>),
}

/// WeChat's tokens are 136 characters and longer; WeCom's are longer still.
const SHORTEST_REAL_TOKEN: usize = 64;
