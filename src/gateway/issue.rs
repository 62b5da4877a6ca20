//! The token endpoints: a virtual token for a realm's secret. The real token is never touched,
//! however often a caller asks.

use std::borrow::Cow;
use std::net::IpAddr;

use bytes::Bytes;
use clock::Clock;
use hyper::Method;
use serde::Deserialize;
use serde_json::json;

use super::account::AccountName;
use super::admit::{self, Proof};
use super::query;
use super::refusal::Refusal;
use super::token::{self, LIFETIME};
use super::{Audit, Gateway, Request};
use crate::realm::{Realm, Realms};
use crate::registry::Miss;

/// The parameters of a token endpoint, from the query, a form or JSON.
#[derive(Default)]
pub(super) struct Parameters {
    grant_type: Option<String>,
    app_id: Option<String>,
    secret: Option<String>,
    agent: Option<String>,
}

impl Parameters {
    /// Of `GET /cgi-bin/token` and of a form that is posted to it.
    pub(super) fn of_query(query: &[u8]) -> Self {
        let get = |name| {
            query::decoded(query, name)
                .map(Cow::into_owned)
                .filter(|value| !value.is_empty())
        };
        Self {
            grant_type: get("grant_type"),
            app_id: get("appid"),
            secret: get("secret"),
            agent: None,
        }
    }

    /// Of `GET /cgi-bin/gettoken`, WeCom's.
    pub(super) fn of_wecom_query(query: &[u8]) -> Self {
        let get = |name| {
            query::decoded(query, name)
                .map(Cow::into_owned)
                .filter(|value| !value.is_empty())
        };
        Self {
            grant_type: None,
            app_id: get("corpid"),
            secret: get("corpsecret"),
            agent: get("agentid"),
        }
    }

    /// Of `POST /cgi-bin/stable_token`. What is no JSON object has no parameters.
    pub(super) fn of_json(body: &[u8]) -> Self {
        #[derive(Deserialize, Default)]
        #[serde(default)]
        struct Json {
            grant_type: Option<String>,
            appid: Option<String>,
            secret: Option<String>,
        }
        let json: Json = serde_json::from_slice(body).unwrap_or_default();
        let filled = |value: Option<String>| value.filter(|value| !value.is_empty());
        Self {
            grant_type: filled(json.grant_type),
            app_id: filled(json.appid),
            secret: filled(json.secret),
            agent: None,
        }
    }
}

impl Gateway {
    /// Answers a token endpoint. `body` is the whole body of a `POST`.
    pub async fn issue(
        &self,
        request: &Request<'_>,
        body: &Bytes,
        realms: &Realms,
        mut audit: Box<Audit>,
    ) -> Result<String, (Refusal, Box<Audit>)> {
        let (from, clock) = (request.from, &self.0.clock);
        let find = async |name: &AccountName| self.0.accounts.find(name).await.map(drop);
        let issued = match request.path.trim_end_matches('/') {
            "/cgi-bin/gettoken" => {
                for_agent(
                    realms,
                    &Parameters::of_wecom_query(request.query),
                    from,
                    clock,
                    find,
                )
                .await
            }
            "/cgi-bin/stable_token" => {
                for_app(realms, &Parameters::of_json(body), from, clock, find).await
            }
            _ if request.method == Method::POST && request.query.is_empty() => {
                for_app(realms, &Parameters::of_query(body), from, clock, find).await
            }
            _ => {
                for_app(
                    realms,
                    &Parameters::of_query(request.query),
                    from,
                    clock,
                    find,
                )
                .await
            }
        };
        audit.bytes_in = body.len() as u64;
        match issued {
            Ok(issued) => {
                (audit.realm, audit.account) = (Some(issued.realm), Some(issued.account));
                (audit.status, audit.bytes_out) = (Some(200), issued.body.len() as u64);
                Ok(issued.body)
            }
            Err(refusal) => Err((refusal.clone(), audit.refused(&refusal))),
        }
    }
}

/// A virtual token was issued.
pub(super) struct Issued {
    pub(super) realm: String,
    pub(super) account: AccountName,
    /// WeChat's answer.
    pub(super) body: String,
}

/// For an official account or a mini-program. `find` tells whether the account exists.
pub(super) async fn for_app(
    realms: &Realms,
    parameters: &Parameters,
    from: Option<IpAddr>,
    clock: &Clock,
    find: impl AsyncFnOnce(&AccountName) -> Result<(), Miss>,
) -> Result<Issued, Refusal> {
    if parameters.grant_type.as_deref() != Some("client_credential") {
        return Err(Refusal::GrantTypeWrong);
    }
    let app_id = parameters.app_id.as_deref().ok_or(Refusal::AppIdMissing)?;
    let secret = parameters.secret.as_deref().ok_or(Refusal::SecretMissing)?;
    let (realm, account) =
        admit::authenticate(realms, &Proof::Secret { app_id, secret }, from, clock)?;
    issue(realm, account, clock, find, "").await
}

/// For a WeCom application, which is found by the realm's secret; a realm with several of one corp
/// names the `agentid`.
pub(super) async fn for_agent(
    realms: &Realms,
    parameters: &Parameters,
    from: Option<IpAddr>,
    clock: &Clock,
    find: impl AsyncFnOnce(&AccountName) -> Result<(), Miss>,
) -> Result<Issued, Refusal> {
    let corp = parameters.app_id.as_deref().ok_or(Refusal::AppIdMissing)?;
    let secret = parameters.secret.as_deref().ok_or(Refusal::SecretMissing)?;
    let has_corp = |realm: &Realm| realm.gateway.is_some() && realm.agents.contains_key(corp);
    let Some(realm) = admit::by_secret(realms, secret) else {
        return Err(if realms.iter().any(has_corp) {
            Refusal::SecretWrong
        } else {
            Refusal::AppIdUnknown
        });
    };
    let agents = realm
        .agents
        .iter()
        .find(|(id, _)| id.as_str() == corp)
        .ok_or(Refusal::AppIdUnknown)?;
    let agent = match (&parameters.agent, agents.1.len()) {
        (Some(agent), _) => agents.1.get(agent).ok_or(Refusal::AppIdUnknown)?,
        (None, 1) => agents.1.first().ok_or(Refusal::AppIdUnknown)?,
        (None, _) => {
            let why = format!(
                "the realm {} has several applications of this corp: add agentid= to the address",
                realm.key
            );
            return Err(Refusal::NotAllowed(why));
        }
    };
    admit::check_realm(realm, from, clock)?;
    let account = AccountName::Agent(agents.0.clone(), agent.clone());
    issue(realm, account, clock, find, r#""errcode":0,"errmsg":"ok","#).await
}

async fn issue(
    realm: &Realm,
    account: AccountName,
    clock: &Clock,
    find: impl AsyncFnOnce(&AccountName) -> Result<(), Miss>,
    front: &str,
) -> Result<Issued, Refusal> {
    find(&account)
        .await
        .map_err(|miss| Refusal::of_miss(miss, Refusal::AppIdUnknown))?;
    let too_long = || {
        Refusal::NotAllowed(format!(
            "the name of the realm {} is too long for a token",
            realm.key
        ))
    };
    let token = token::issue(realm, &account, clock.wall().seconds()).ok_or_else(too_long)?;
    let body = format!(
        r#"{{{front}"access_token":{},"expires_in":{LIFETIME}}}"#,
        json!(token)
    );
    Ok(Issued {
        realm: realm.key.clone(),
        account,
        body,
    })
}
