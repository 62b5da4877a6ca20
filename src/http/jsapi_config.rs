//! `POST` and `GET /jsapi/{appid}/config`: the caller's fields back, signed for `wx.config`.

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::ExposeSecret;

use super::config_request::ConfigRequest;
use super::error::ApiError;
use super::extract::KnownAccount;
use super::state::AppState;
use super::{JSON, NO_STORE, body};
use crate::credential::CredentialKind;
use crate::signature::{self, Hex};

/// Says why the signature will not do, should it be used: an empty address is signed.
const NO_URL: HeaderValue =
    HeaderValue::from_static("199 jsdkd \"no url was sent and the Referer is no full address: an empty url is signed\"");

/// `POST`: a JSON object in the body.
pub(super) async fn post(
    account: KnownAccount,
    state: web::Data<AppState>,
    req: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, ApiError> {
    signed(account, &state, &req, payload.into_inner()).await
}

/// The answer to a `POST`.
pub(super) async fn signed(
    account: KnownAccount,
    state: &AppState,
    req: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let body = body::json(req, payload, state).await?;
    answer(account, state, req, ConfigRequest::from_body(&body)?).await
}

/// `GET`: the same in the query, for a front end that would rather not preflight.
pub(super) async fn get(account: KnownAccount, state: web::Data<AppState>, req: HttpRequest) -> Result<HttpResponse, ApiError> {
    answer(account, &state, &req, ConfigRequest::from_query(req.query_string())?).await
}

async fn answer(
    KnownAccount(holding): KnownAccount,
    state: &AppState,
    req: &HttpRequest,
    request: ConfigRequest,
) -> Result<HttpResponse, ApiError> {
    let ticket = state.credential(&holding, CredentialKind::JsapiTicket).await?;
    let nonce = Hex::from(rand::random::<[u8; 16]>()).text();
    let timestamp = state.clock().wall().seconds().0;
    let url = request.url_or(req.headers().get(header::REFERER).and_then(|referer| referer.to_str().ok()));
    let (signature, url_is_empty) = (signature::jsapi(ticket.value().expose_secret(), &nonce, timestamp, url), url.is_empty());
    // Ours come last, so that no field of the caller's can replace them.
    let mut json = request.into_echo();
    json.push_str("\"appId\":\"");
    json.push_str(holding.account.app_id.as_str());
    json.push_str("\",\"timestamp\":");
    json.push_str(&timestamp.to_string());
    json.push_str(",\"nonceStr\":\"");
    json.push_str(&nonce);
    json.push_str("\",\"signature\":\"");
    signature.push_to(&mut json);
    json.push_str("\"}");
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, JSON)).insert_header((header::CACHE_CONTROL, NO_STORE));
    if url_is_empty {
        response.insert_header((header::WARNING, NO_URL));
    }
    Ok(response.body(json))
}
