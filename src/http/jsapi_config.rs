//! `POST` and `GET /jsapi/{appid}/config`: the caller's fields back, signed for `wx.config`.
//! Whether the id is a WeCom corpid is checked only after no account has it, so that accounts pay
//! nothing for it.

use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse};

use super::config_request::ConfigRequest;
use super::error::ApiError;
use super::route::{Call, Route};
use super::{body, signed_config, wecom_config};
use credentials::keeper::AccountCredentials;
use wechat::credential::CredentialKind;

pub(super) const ROUTES: &[Route] = &[Route::get_and_post(
    "/jsapi/{appid}/config",
    |call| Box::pin(get(call)),
    |call| Box::pin(post(call)),
)
.no_store()];

/// `POST`: a JSON object in the body.
async fn post(mut call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let Some(credentials) = account(&call).await? else {
        return Box::pin(wecom_config::post(call)).await;
    };
    refuse_agent(call.req)?;
    let body = body::json(&mut call).await?;
    sign(&credentials, &call, ConfigRequest::from_body(&body)?).await
}

/// `GET`: the same fields in the query, for pages that avoid a preflight.
async fn get(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let Some(credentials) = account(&call).await? else {
        return wecom_config::get(call).await;
    };
    refuse_agent(call.req)?;
    sign(
        &credentials,
        &call,
        ConfigRequest::from_query(call.req.query_string())?,
    )
    .await
}

/// The account in the path; `None` if it is a WeCom corp, which is not in the store.
async fn account(call: &Call<'_>) -> Result<Option<Arc<AccountCredentials>>, ApiError> {
    let (state, app_id) = (call.state, call.app_id());
    match state.keeper.credentials(app_id) {
        None if state.access().wecom.contains_key(app_id) => Ok(None),
        None => state.account_for(call.req.head(), app_id).await.map(Some),
        known => Ok(known),
    }
}

/// Refuses `type=agent`, which only WeCom knows.
pub(super) fn refuse_agent(req: &HttpRequest) -> Result<(), ApiError> {
    let query = req.query_string();
    let is_agent = !query.is_empty()
        && url::form_urlencoded::parse(query.as_bytes())
            .any(|pair| pair == ("type".into(), "agent".into()));
    if is_agent {
        Err(ApiError::NoAgent)
    } else {
        Ok(())
    }
}

async fn sign(
    credentials: &Arc<AccountCredentials>,
    call: &Call<'_>,
    request: ConfigRequest,
) -> Result<HttpResponse, ApiError> {
    let ticket = call
        .state
        .credential_for(call.req, credentials, CredentialKind::JsapiTicket)
        .await?;
    Ok(signed_config::write(
        &[("appId", call.app_id())],
        ticket.value(),
        call,
        request,
    ))
}
