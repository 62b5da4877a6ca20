//! `GET /`: WeChat's server check when it comes through a proxy that names the app, else an empty page.

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::ExposeSecret;

use super::error::ApiError;
use super::state::AppState;
use super::{NO_STORE, TEXT};
use crate::signature;

/// The header by which a proxy says which app WeChat asks about.
const APP_ID: &str = "x-wechat-appid";

/// Echoes `echostr` when `signature` is that of the app's token.
pub(super) async fn get(req: HttpRequest, state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    let app_id = req.headers().get(APP_ID).and_then(|value| value.to_str().ok());
    let pairs: Vec<_> = url::form_urlencoded::parse(req.query_string().as_bytes()).collect();
    let value = |name: &str| pairs.iter().find(|(pair, _)| pair == name).map(|(_, value)| value.as_ref());
    let (Some(app_id), Some(claimed)) = (app_id, value("signature")) else { return Ok(HttpResponse::Ok().finish()) };
    let holding = state.keeper.holding(app_id).ok_or(ApiError::UnknownApp)?;
    // An app without a token is told apart from a wrong signature by nobody but the operator.
    let token = holding.account.push_token.as_ref().ok_or(ApiError::BadPushSignature)?;
    let (timestamp, nonce) = (value("timestamp").unwrap_or_default(), value("nonce").unwrap_or_default());
    if !signature::push(token.expose_secret(), timestamp, nonce).matches(claimed) {
        return Err(ApiError::BadPushSignature);
    }
    let echo = value("echostr").unwrap_or_default().to_owned();
    Ok(HttpResponse::Ok().insert_header((header::CONTENT_TYPE, TEXT)).insert_header((header::CACHE_CONTROL, NO_STORE)).body(echo))
}
