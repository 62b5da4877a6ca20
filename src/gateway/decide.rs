//! What one request needs: an answer of ours, a virtual token, or a call to WeChat on an account's
//! behalf.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use clock::SteadyMillis;
use hyper::Method;
use hyper::header::{self, HeaderName};
use secrecy::ExposeSecret;
use serde_json::json;
use wechat::account::AppId;
use wechat::credential::CredentialKind;

use super::account::AccountName;
use super::accounts::Account;
use super::admit::{self, Proof};
use super::issue::{self, Parameters};
use super::limits::Place;
use super::plan::{Identity, Plan};
use super::refusal::Refusal;
use super::upstream::Hosts;
use super::{Audit, Gateway, Request, query, token};
use crate::realm::presets::Handling;
use crate::realm::{Realm, Realms};
use crate::settings::WecomCorp;

/// The headers of a request that go on, beside `Wechatmp-*`.
const FORWARDED: [HeaderName; 5] = [
    header::CONTENT_TYPE,
    header::CONTENT_LENGTH,
    header::RANGE,
    header::IF_RANGE,
    header::ACCEPT,
];

impl Gateway {
    pub(super) async fn decide(
        &self,
        request: Request<'_>,
        realms: &Realms,
        corps: &BTreeMap<AppId, WecomCorp>,
        began: SteadyMillis,
        audit: &mut Audit,
    ) -> Result<Decided, Refusal> {
        let from = request.from;
        match admit::handling(request.path) {
            Handling::IssueToken => Ok(Decided::IssueToken),
            Handling::Anonymous => self.anonymous(request, &self.0.api),
            Handling::AnonymousAtMp => self.anonymous(request, &self.0.mp),
            Handling::SwapSecret | Handling::OnlyByNameSwapSecret => self.swap_secret(request, realms, audit).await,
            handling => {
                let token = admit::only_token(request.query)?;
                if !token.starts_with(token::PREFIX) && token.len() >= SHORTEST_REAL_TOKEN {
                    let (path, client) = (request.path, from.map(tracing::field::display));
                    tracing::warn!(
                        path,
                        client,
                        "a token that is not ours was presented; if it is a real one, it has leaked to this caller"
                    );
                }
                let token = query::decode(token);
                let (realm, name) = admit::authenticate(realms, &Proof::Token(&token), from, &self.0.clock)?;
                let account = self.begin(realm, &name, request.path, audit).await?;
                if handling == Handling::OwnTicket
                    && let Some(ticket) = self.ticket(&account, corps, request.path, request.query).await
                {
                    return ticket.map(Decided::Answered).map_err(Refusal::NothingSent);
                }
                let hosts = self.hosts(&name, corps)?;
                let place = self.place(&realm.key, &name)?;
                let query = query::without(request.query, "access_token");
                let identity = Identity::Token(account);
                Ok(Decided::Forward(self.plan(request, query, hosts, identity, Some(place))))
            }
        }
        .inspect(|_| tracing::debug!(duration_ms = began.until(self.0.clock.steady()).as_millis() as u64, "gateway call admitted"))
    }

    /// Counts the call, checks scope and account, and notes both for the audit.
    async fn begin(
        &self,
        realm: &Realm,
        name: &AccountName,
        path: &str,
        audit: &mut Audit,
    ) -> Result<Account, Refusal> {
        (audit.realm, audit.account) = (Some(realm.key.clone()), Some(name.to_string()));
        admit::check_scope(realm, path)?;
        if !self.0.limits.count_call(&realm.key, realm.per_minute) {
            return Err(Refusal::TooManyCalls);
        }
        self.0
            .accounts
            .find(name)
            .await
            .ok_or(Refusal::TokenInvalid)
    }

    fn place(&self, realm: &str, account: &AccountName) -> Result<Place, Refusal> {
        let place = self.0.limits.enter(realm, &account.to_string());
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
        let hosts = Arc::new(Hosts::new([api]));
        known.insert(api.clone(), Arc::clone(&hosts));
        Ok(hosts)
    }

    fn plan(
        &self,
        request: Request<'_>,
        query: String,
        hosts: Arc<Hosts>,
        identity: Identity,
        place: Option<Place>,
    ) -> Box<Plan> {
        let is_forwarded =
            |name: &HeaderName| FORWARDED.contains(name) || name.as_str().starts_with("wechatmp-");
        let headers = request
            .headers
            .iter()
            .filter(|(name, _)| is_forwarded(name));
        let headers = headers
            .map(|(name, value)| (name.clone(), value.clone()))
            .collect();
        Box::new(Plan {
            method: request.method,
            path: request.path.to_owned(),
            query,
            headers,
            hosts,
            identity,
            place,
        })
    }

    /// A call that brings none of our secrets.
    fn anonymous(&self, request: Request<'_>, hosts: &Arc<Hosts>) -> Result<Decided, Refusal> {
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
            .enter("", "")
            .ok_or_else(|| Refusal::NothingSent("too many calls are under way".to_owned()))?;
        let query = request.query.to_owned();
        Ok(Decided::Forward(self.plan(
            request,
            query,
            Arc::clone(hosts),
            Identity::None(None),
            Some(place),
        )))
    }

    /// A call that takes the AppSecret itself. An `access_token` beside it is dropped.
    async fn swap_secret(
        &self,
        request: Request<'_>,
        realms: &Realms,
        audit: &mut Audit,
    ) -> Result<Decided, Refusal> {
        let decoded = |name| query::decoded(request.query, name).filter(|value| !value.is_empty());
        let name = if request.path.starts_with("/sns/") {
            "secret"
        } else {
            "appsecret"
        };
        let app_id = decoded("appid").ok_or(Refusal::AppIdMissing)?;
        let secret = decoded(name).ok_or(Refusal::SecretMissing)?;
        let proof = Proof::Secret {
            app_id: &app_id,
            secret: &secret,
        };
        let (realm, account) = admit::authenticate(realms, &proof, request.from, &self.0.clock)?;
        let real = self
            .begin(realm, &account, request.path, audit)
            .await
            .map_err(|refusal| match refusal {
                Refusal::TokenInvalid => Refusal::AppIdUnknown,
                other => other,
            })?;
        let real = real.secret().cloned().ok_or(Refusal::AppIdUnknown)?;
        let place = self.place(&realm.key, &account)?;
        let encoded: String = percent_encoding::utf8_percent_encode(
            real.expose_secret(),
            percent_encoding::NON_ALPHANUMERIC,
        )
        .collect();
        let query = query::with(
            &query::without(request.query, "access_token"),
            name,
            &encoded,
        );
        Ok(Decided::Forward(self.plan(
            request,
            query,
            Arc::clone(&self.0.api),
            Identity::None(Some(real)),
            Some(place),
        )))
    }

    /// The ticket that we hold, as WeChat would answer; `None`: of this type we hold none.
    async fn ticket(
        &self,
        account: &Account,
        corps: &BTreeMap<AppId, WecomCorp>,
        path: &str,
        query: &str,
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

    /// Answers a token endpoint. `body` is the whole body of a `POST`.
    pub async fn issue(
        &self,
        request: &Request<'_>,
        body: &Bytes,
        realms: &Realms,
        mut audit: Box<Audit>,
    ) -> Result<String, (Refusal, Box<Audit>)> {
        let (from, clock) = (request.from, &self.0.clock);
        let is_known = async |name: &AccountName| self.0.accounts.find(name).await.is_some();
        let form = std::str::from_utf8(body).unwrap_or_default();
        let issued = match request.path.trim_end_matches('/') {
            "/cgi-bin/gettoken" => {
                issue::for_agent(
                    realms,
                    &Parameters::of_wecom_query(request.query),
                    from,
                    clock,
                    is_known,
                )
                .await
            }
            "/cgi-bin/stable_token" => {
                issue::for_app(realms, &Parameters::of_json(body), from, clock, is_known).await
            }
            _ if request.method == Method::POST && request.query.is_empty() => {
                issue::for_app(realms, &Parameters::of_query(form), from, clock, is_known).await
            }
            _ => {
                issue::for_app(
                    realms,
                    &Parameters::of_query(request.query),
                    from,
                    clock,
                    is_known,
                )
                .await
            }
        };
        audit.bytes_in = body.len() as u64;
        match issued {
            Ok(issued) => {
                (audit.realm, audit.account) =
                    (Some(issued.realm), Some(issued.account.to_string()));
                (audit.status, audit.bytes_out) = (Some(200), issued.body.len() as u64);
                Ok(issued.body)
            }
            Err(refusal) => Err((refusal.clone(), audit.refused(&refusal))),
        }
    }
}

/// What [`Gateway::decide`] found.
pub(super) enum Decided {
    Answered(String),
    IssueToken,
    Forward(Box<Plan>),
}

/// WeChat's tokens are 136 characters and longer; WeCom's are longer still.
const SHORTEST_REAL_TOKEN: usize = 64;
