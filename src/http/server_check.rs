//! WeChat's server check (接入验证): `GET /wechat/{appid}`, `/wechat` for the first app, and `/` if a
//! proxy names the app. Without such a proxy the root is an empty page.

use actix_web::HttpResponse;
use actix_web::http::header;

use super::error::ApiError;
use super::headers::TEXT;
use super::message_server::check;
use super::params::Params;
use super::push_account;
use super::route::Call;

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
