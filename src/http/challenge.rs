//! WeChat's server check (接入验证): `GET /wechat/{appid}`, `/wechat` for the first app, and `/` where a proxy names the app; else
//! the root is an empty page.

use std::sync::Arc;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::ExposeSecret;

use super::error::ApiError;
use super::params::Params;
use super::state::AppState;
use super::{NO_STORE, TEXT};
use crate::keeper::Holding;
use crate::signature;

/// The header by which a proxy says which app WeChat asks about.
const APP_ID: &str = "x-wechat-appid";

/// `GET /`: the check, if a proxy names the app and it is signed.
pub(super) async fn root(req: HttpRequest, state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    let params = Params::of(&req);
    match named_by_proxy(&req) {
        Some(app_id) if params.has("signature") => checked(&*state.account(app_id).await?, &params),
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
    checked(&holding, &params)
}

/// Echoes `echostr` when `signature` is that of the app's token.
fn checked(holding: &Holding, params: &Params<'_>) -> Result<HttpResponse, ApiError> {
    let value = |name| params.one(name).map(Option::unwrap_or_default);
    // An app without a token is told apart from a wrong signature by nobody but the operator.
    let token = holding.account.push_token.as_ref().ok_or(ApiError::BadPushSignature)?;
    if !signature::push(token.expose_secret(), value("timestamp")?, value("nonce")?).matches(value("signature")?) {
        return Err(ApiError::BadPushSignature);
    }
    let echo = value("echostr")?.to_owned();
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, TEXT)).insert_header((header::CACHE_CONTROL, NO_STORE)).body(echo))
}

/// The account in the path, or the first one where the path names none.
pub(super) async fn addressed(req: &HttpRequest, state: &AppState) -> Result<Arc<Holding>, ApiError> {
    match req.match_info().get("appid") {
        Some(app_id) => state.account(app_id).await,
        None => {
            let first = state.access().first_app.clone().ok_or(ApiError::UnknownApp)?;
            state.account(first.as_str()).await
        }
    }
}

/// The appid that a proxy put into a header.
pub(super) fn named_by_proxy(req: &HttpRequest) -> Option<&str> {
    req.headers().get(APP_ID).and_then(|value| value.to_str().ok())
}
