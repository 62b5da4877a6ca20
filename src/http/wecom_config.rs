//! `/jsapi/{corpid}/config` for WeCom (企业微信): what `wx.config` needs, signed with the corp's ticket, and with `?type=agent` what
//! `wx.agentConfig` needs, signed with an application's own. It is asked only where no account has the id.

use std::borrow::Cow;

use actix_web::dev::Payload;
use actix_web::{HttpRequest, HttpResponse};
use secrecy::{ExposeSecret, SecretString};

use super::body;
use super::config_request::{AGENT_FIELDS, CONFIG_FIELDS, ConfigRequest};
use super::error::ApiError;
use super::jsapi_config;
use super::params::Params;
use super::state::AppState;
use credentials::sources::{SourceError, UpstreamError};

/// What is to be signed, and for whom.
struct Wanted {
    corpid: String,
    /// The application, if it is `wx.agentConfig` that is called.
    agentid: Option<String>,
    /// The name of the ticket's source.
    ticket: String,
}

/// The answer to a `POST`.
pub(super) async fn post(corpid: &str, state: &AppState, req: &HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let wanted = Wanted::of(corpid, state, req)?;
    let body = body::json(req, payload, state).await?;
    let request = ConfigRequest::from_body_without(&body, wanted.fields())?;
    wanted.signed(state, req, request).await
}

/// The answer to a `GET`, in whose query our own parameters stand beside the caller's fields.
pub(super) async fn get(corpid: &str, state: &AppState, req: &HttpRequest) -> Result<HttpResponse, ApiError> {
    let wanted = Wanted::of(corpid, state, req)?;
    let ours: Vec<&str> = wanted.fields().iter().copied().chain(["type", "agentid"]).collect();
    let request = ConfigRequest::from_query_without(req.query_string(), &ours)?;
    wanted.signed(state, req, request).await
}

impl Wanted {
    fn of(corpid: &str, state: &AppState, req: &HttpRequest) -> Result<Self, ApiError> {
        let access = state.access();
        let corp = access.wecom.get(corpid).ok_or(ApiError::UnknownApp)?;
        let params = Params::of(req);
        let (is_agent, agentid) = (params.word("type", &[("agent", ())])?.is_some(), params.one("agentid")?);
        let corpid = corpid.to_owned();
        if !is_agent {
            return Ok(Self { corpid, agentid: None, ticket: corp.ticket.clone() });
        }
        let found = match agentid {
            Some(agentid) => corp.agents.get_key_value(agentid),
            // The only one is meant where none is named.
            None if corp.agents.len() == 1 => corp.agents.first_key_value(),
            None => return Err(ApiError::MalformedQuery("this corp has several applications; say which by agentid=".to_owned())),
        };
        let (agentid, ticket) = found.ok_or(ApiError::UnknownApp)?;
        Ok(Self { corpid, agentid: Some(agentid.clone()), ticket: ticket.clone() })
    }

    fn fields(&self) -> &'static [&'static str] {
        if self.agentid.is_some() { &AGENT_FIELDS } else { &CONFIG_FIELDS }
    }

    async fn signed(self, state: &AppState, req: &HttpRequest, request: ConfigRequest) -> Result<HttpResponse, ApiError> {
        // Gone since it was looked up: a reload took it away.
        let object = state
            .crowd
            .unless_done(&self.ticket, || state.network(req.head()), state.wecom.object(&self.ticket))
            .await?
            .ok_or(ApiError::UnknownApp)?;
        let ticket = object.and_then(|object| ticket(&object, &self.ticket)).map_err(ApiError::Wecom)?;
        Ok(match &self.agentid {
            None => jsapi_config::written(&[("appId", &self.corpid)], &ticket, state, req, request),
            Some(agentid) => jsapi_config::written(&[("corpid", &self.corpid), ("agentid", agentid)], &ticket, state, req, request),
        })
    }
}

/// The ticket in WeCom's answer.
fn ticket(object: &SecretString, name: &str) -> Result<SecretString, SourceError> {
    #[derive(serde::Deserialize)]
    struct Answer<'t> {
        #[serde(borrow)]
        ticket: Cow<'t, str>,
    }
    let unreadable = |_| UpstreamError::Unreadable { status: 200, cause: "it has no ticket".to_owned() };
    let answer: Answer<'_> = serde_json::from_str(object.expose_secret())
        .map_err(|error| SourceError::Upstream { key: name.to_owned(), source: unreadable(error) })?;
    Ok(answer.ticket.as_ref().into())
}
