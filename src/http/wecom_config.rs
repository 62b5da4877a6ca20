//! `/jsapi/{corpid}/config` for WeCom (企业微信): the fields of `wx.config`, signed with the corp's
//! ticket, and with `?type=agent` those of `wx.agentConfig`, signed with an application's ticket.
//! Called by `jsapi_config` if no account has the id.

use std::borrow::Cow;

use actix_web::HttpResponse;
use secrecy::{ExposeSecret, SecretString};

use super::config_request::{AGENT_FIELDS, CONFIG_FIELDS, ConfigRequest};
use super::error::ApiError;
use super::params::Params;
use super::route::Call;
use super::{body, signed_config};
use credentials::sources::{SourceError, UpstreamError};

/// What to sign, and for which corp.
pub(super) struct Wanted {
    corpid: String,
    /// The application, for `wx.agentConfig`.
    agentid: Option<String>,
    /// The name of the ticket's source.
    ticket: String,
}

/// `POST`: the caller's fields in the body.
pub(super) async fn post(mut call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let wanted = Wanted::read(&call)?;
    let body = body::json(&mut call).await?;
    let request = ConfigRequest::from_body_without(&body, wanted.fields())?;
    wanted.sign(&call, request).await
}

/// `GET`: the caller's fields in the query, beside our own parameters.
pub(super) async fn get(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let wanted = Wanted::read(&call)?;
    let ours: Vec<&str> = wanted
        .fields()
        .iter()
        .copied()
        .chain(["type", "agentid"])
        .collect();
    let request = ConfigRequest::from_query_without(call.req.query_string(), &ours)?;
    wanted.sign(&call, request).await
}

impl Wanted {
    pub(super) fn read(call: &Call<'_>) -> Result<Self, ApiError> {
        let (state, corpid) = (call.state, call.app_id());
        let access = state.access();
        let corp = access.wecom.get(corpid).ok_or(ApiError::UnknownApp)?;
        let params = Params::of(call.req);
        let (is_agent, agentid) = (
            params.word("type", &[("agent", ())])?.is_some(),
            params.one("agentid")?,
        );
        let corpid = corpid.to_owned();
        if !is_agent {
            return Ok(Self {
                corpid,
                agentid: None,
                ticket: corp.ticket.clone(),
            });
        }
        let found = match agentid {
            Some(agentid) => corp.agents.get_key_value(agentid),
            // The only application is the default.
            None if corp.agents.len() == 1 => corp.agents.first_key_value(),
            None => {
                return Err(ApiError::MalformedQuery(
                    "this corp has several applications; say which by agentid=".to_owned(),
                ));
            }
        };
        let (agentid, ticket) = found.ok_or(ApiError::UnknownApp)?;
        Ok(Self {
            corpid,
            agentid: Some(agentid.clone()),
            ticket: ticket.clone(),
        })
    }

    fn fields(&self) -> &'static [&'static str] {
        if self.agentid.is_some() {
            &AGENT_FIELDS
        } else {
            &CONFIG_FIELDS
        }
    }

    /// The name of the ticket's source.
    pub(super) fn source(&self) -> &str {
        &self.ticket
    }

    /// The ticket to sign with.
    pub(super) async fn ticket(&self, call: &Call<'_>) -> Result<SecretString, ApiError> {
        let state = call.state;
        // A reload may have removed it since it was looked up.
        let object = state
            .concurrency
            .limit_if_pending(
                &self.ticket,
                || state.network(call.req.head()),
                state.wecom.object(&self.ticket),
            )
            .await?
            .ok_or(ApiError::UnknownApp)?;
        object
            .and_then(|object| ticket(&object, &self.ticket))
            .map_err(ApiError::Wecom)
    }

    async fn sign(self, call: &Call<'_>, request: ConfigRequest) -> Result<HttpResponse, ApiError> {
        let ticket = self.ticket(call).await?;
        Ok(match &self.agentid {
            None => signed_config::write(&[("appId", &self.corpid)], &ticket, call, request),
            Some(agentid) => signed_config::write(
                &[("corpid", &self.corpid), ("agentid", agentid)],
                &ticket,
                call,
                request,
            ),
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
    let unreadable = |_| UpstreamError::Unreadable {
        status: 200,
        cause: "it has no ticket".to_owned(),
    };
    let answer: Answer<'_> =
        serde_json::from_str(object.expose_secret()).map_err(|error| SourceError::Upstream {
            key: name.to_owned(),
            source: unreadable(error),
        })?;
    Ok(answer.ticket.as_ref().into())
}
