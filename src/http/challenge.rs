//! WeChat's server check (接入验证): `GET /wechat/{appid}`, `/wechat` for the first app, and `/` where a proxy names the app; else
//! the root is an empty page.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::ExposeSecret;

use super::error::ApiError;
use super::params::Params;
use super::state::AppState;
use super::{NO_STORE, TEXT, push_faults};
use crate::message::PushFault;
use credentials::keeper::Holding;
use wechat::signature;

/// The header by which a proxy says which app WeChat asks about.
const APP_ID: &str = "x-wechat-appid";

/// `GET /`: the check, if a proxy names the app and it is signed.
pub(super) async fn root(req: HttpRequest, state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    let params = Params::of(&req);
    match named_by_proxy(&req) {
        Some(app_id) if params.has("signature") => checked(&*known(&req, &state, app_id).await?, &params, &state, &req),
        _ => Ok(HttpResponse::Ok().finish()),
    }
}

/// `GET /wechat/{appid}` and `/wechat`: the check; to anybody else a word, as wechat-server has it.
pub(super) async fn get(req: HttpRequest, state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    let holding = addressed(&req, &state).await?;
    let params = Params::of(&req);
    if !params.has("signature") {
        return Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, TEXT)).body("Hello World"));
    }
    checked(&holding, &params, &state, &req)
}

/// Echoes `echostr` when `signature` is that of the app's token.
fn checked(holding: &Holding, params: &Params<'_>, state: &AppState, req: &HttpRequest) -> Result<HttpResponse, ApiError> {
    let value = |name| params.one(name).map(Option::unwrap_or_default);
    let (timestamp, nonce, claimed) = (value("timestamp")?, value("nonce")?, value("signature")?);
    // An app without a token is told apart from a wrong signature by nobody but the operator.
    let fault = match &holding.account.push_token {
        None => Some(PushFault::NoToken),
        Some(_) if timestamp.is_empty() => Some(PushFault::MissingParameter("timestamp")),
        Some(_) if nonce.is_empty() => Some(PushFault::MissingParameter("nonce")),
        Some(token) => {
            let is_right = signature::push(token.expose_secret(), timestamp, nonce).matches(claimed);
            (!is_right).then_some(PushFault::WrongToken)
        }
    };
    if let Some(fault) = fault {
        push_faults::refused(state, req, &holding.account.app_id, &fault);
        return Err(ApiError::BadPushSignature);
    }
    let echo = value("echostr")?.to_owned();
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, TEXT)).insert_header((header::CACHE_CONTROL, NO_STORE)).body(echo))
}

/// The account in the path, or the first one where the path names none.
pub(super) async fn addressed(req: &HttpRequest, state: &AppState) -> Result<Arc<Holding>, ApiError> {
    match req.match_info().get("appid") {
        Some(app_id) => known(req, state, app_id).await,
        None => {
            let first = state.access().first_app.clone().ok_or(ApiError::UnknownApp)?;
            known(req, state, first.as_str()).await
        }
    }
}

/// The appid that a proxy put into a header.
pub(super) fn named_by_proxy(req: &HttpRequest) -> Option<&str> {
    req.headers().get(APP_ID).and_then(|value| value.to_str().ok())
}

/// The account of `app_id`.
pub(super) async fn known(req: &HttpRequest, state: &AppState, app_id: &str) -> Result<Arc<Holding>, ApiError> {
    let known = state.account_for(req.head(), app_id).await;
    if matches!(known, Err(ApiError::UnknownApp)) {
        push_faults::unknown_app(state, req);
    }
    known
}
