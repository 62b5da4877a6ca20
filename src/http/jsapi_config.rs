//! `POST` and `GET /jsapi/{appid}/config`: the caller's fields back, signed for `wx.config`. A corpid of WeCom's is told from an appid
//! only where no account is found, so that it costs accounts nothing.

use std::sync::Arc;

use actix_web::dev::{Payload, RequestHead};
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::{ExposeSecret, SecretString};

use super::config_request::{ConfigRequest, Doubt};
use super::error::ApiError;
use super::extract;
use super::state::AppState;
use super::{JSON, NO_STORE, body, wecom_config};
use credentials::keeper::Holding;
use wechat::credential::CredentialKind;
use wechat::signature::{self, Hex};

/// The warning for an address that may not be the page's.
fn warning(doubt: Doubt) -> HeaderValue {
    HeaderValue::from_static(match doubt {
        Doubt::Missing => "199 jsdkd \"no url was sent and the Referer is no full address: an empty url is signed\"",
        Doubt::OriginOnly => {
            "199 jsdkd \"no url was sent and the Referer holds an origin only: that is signed, which is right for the site's root alone; send url\""
        }
        Doubt::Altered => {
            "199 jsdkd \"url is not percent-encoded: an & ends it, and %XX and + in it are decoded, so another address than the page's may be signed; send encodeURIComponent(url)\""
        }
    })
}

/// `POST`: a JSON object in the body.
pub(super) async fn post(state: web::Data<AppState>, req: HttpRequest, payload: web::Payload) -> Result<HttpResponse, ApiError> {
    posted(extract::app_id(&req), &state, &req, payload.into_inner()).await
}

/// The answer to a `POST`.
pub(super) async fn posted(app_id: &str, state: &AppState, req: &HttpRequest, payload: Payload) -> Result<HttpResponse, ApiError> {
    let Some(account) = account(req.head(), state, app_id).await? else {
        return Box::pin(wecom_config::post(app_id, state, req, payload)).await;
    };
    refuse_agent(req)?;
    let body = body::json(req, payload, state).await?;
    answer(account, state, req, ConfigRequest::from_body(&body)?).await
}

/// `GET`: the same in the query, for a front end that would rather not preflight.
pub(super) async fn get(state: web::Data<AppState>, req: HttpRequest) -> Result<HttpResponse, ApiError> {
    let app_id = extract::app_id(&req);
    let Some(account) = account(req.head(), &state, app_id).await? else { return wecom_config::get(app_id, &state, &req).await };
    refuse_agent(&req)?;
    answer(account, &state, &req, ConfigRequest::from_query(req.query_string())?).await
}

/// The account of `app_id`; `None` where it is a corp of WeCom's, for which no store is asked.
async fn account(head: &RequestHead, state: &AppState, app_id: &str) -> Result<Option<Arc<Holding>>, ApiError> {
    match state.keeper.holding(app_id) {
        None if state.access().wecom.contains_key(app_id) => Ok(None),
        None => state.account_for(head, app_id).await.map(Some),
        known => Ok(known),
    }
}

/// What WeCom's pages ask for, asked of an account that has no applications.
fn refuse_agent(req: &HttpRequest) -> Result<(), ApiError> {
    let query = req.query_string();
    let is_agent =
        !query.is_empty() && url::form_urlencoded::parse(query.as_bytes()).any(|pair| pair == ("type".into(), "agent".into()));
    if is_agent { Err(ApiError::NoAgent) } else { Ok(()) }
}

async fn answer(
    holding: Arc<Holding>,
    state: &AppState,
    req: &HttpRequest,
    request: ConfigRequest,
) -> Result<HttpResponse, ApiError> {
    let ticket = state.credential_for(req.head(), &holding, CredentialKind::JsapiTicket).await?;
    Ok(written(&[("appId", holding.account.app_id.as_str())], ticket.value(), state, req, request))
}

/// The caller's fields and ours: `ids`, whose names and values are plain, and a signature under `ticket`.
pub(super) fn written(
    ids: &[(&str, &str)],
    ticket: &SecretString,
    state: &AppState,
    req: &HttpRequest,
    request: ConfigRequest,
) -> HttpResponse {
    let nonce = Hex::from(rand::random::<[u8; 16]>()).text();
    let timestamp = state.clock().wall().seconds().0;
    let url = request.url_or(req.headers().get(header::REFERER).and_then(|referer| referer.to_str().ok()));
    let (signature, doubt) = (signature::jsapi(ticket.expose_secret(), &nonce, timestamp, url), request.doubt(url));
    // Ours come last, so that no field of the caller's can replace them.
    let mut json = request.into_echo();
    for (name, id) in ids {
        for part in ["\"", name, "\":\"", id, "\","] {
            json.push_str(part);
        }
    }
    json.push_str("\"timestamp\":");
    json.push_str(&timestamp.to_string());
    json.push_str(",\"nonceStr\":\"");
    json.push_str(&nonce);
    json.push_str("\",\"signature\":\"");
    signature.push_to(&mut json);
    json.push_str("\"}");
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, JSON)).insert_header((header::CACHE_CONTROL, NO_STORE));
    if let Some(doubt) = doubt {
        response.insert_header((header::WARNING, warning(doubt)));
    }
    response.body(json)
}
