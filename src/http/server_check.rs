//! WeChat's server check (接入验证): `GET /wechat/{appid}`, `/wechat` for the first app, and `/` if a
//! proxy names the app. Without such a proxy the root is an empty page.

use actix_web::HttpResponse;
use actix_web::http::header;
use secrecy::ExposeSecret;

use super::error::ApiError;
use super::headers::{NO_STORE, TEXT};
use super::params::Params;
use super::push_account;
use super::route::Call;
use crate::message::PushFault;
use credentials::keeper::AccountCredentials;
use wechat::signature;

/// `GET /`: the check, if a proxy names the app and the request is signed.
pub(super) async fn root(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let params = Params::of(call.req);
    match push_account::named_by_proxy(call.req) {
        Some(app_id) if params.has("signature") => check(
            &*push_account::find(call.req, call.state, app_id).await?,
            &params,
            &call,
        ),
        _ => Ok(HttpResponse::Ok().finish()),
    }
}

/// `GET /wechat/{appid}` and `/wechat`: the check. An unsigned request gets a greeting, as from
/// wechat-server.
pub(super) async fn get(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let credentials = push_account::account_of(&call).await?;
    let params = Params::of(call.req);
    if !params.has("signature") {
        return Ok(HttpResponse::Ok()
            .insert_header((header::CONTENT_TYPE, TEXT))
            .body("Hello World"));
    }
    check(&credentials, &params, &call)
}

/// Echoes `echostr` if `signature` is made with the app's token.
fn check(
    credentials: &AccountCredentials,
    params: &Params<'_>,
    call: &Call<'_>,
) -> Result<HttpResponse, ApiError> {
    let value = |name| params.one(name).map(Option::unwrap_or_default);
    let (timestamp, nonce, claimed) = (value("timestamp")?, value("nonce")?, value("signature")?);
    // The response is the same in all cases, so that callers cannot find out which apps have a
    // token. The log says it.
    let fault = match &credentials.account.push_token {
        None => Some(PushFault::NoToken),
        Some(_) if timestamp.is_empty() => Some(PushFault::MissingParameter("timestamp")),
        Some(_) if nonce.is_empty() => Some(PushFault::MissingParameter("nonce")),
        Some(token) => {
            let is_right =
                signature::push(token.expose_secret(), timestamp, nonce).matches(claimed);
            (!is_right).then_some(PushFault::WrongToken)
        }
    };
    if let Some(fault) = fault {
        push_account::log_fault(call.state, call.req, &credentials.account.app_id, &fault);
        return Err(ApiError::BadPushSignature);
    }
    let echo = value("echostr")?.to_owned();
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, TEXT))
        .insert_header((header::CACHE_CONTROL, NO_STORE))
        .body(echo))
}
