//! `POST /wechat/{appid}`, `/wechat` and `/`: WeChat pushes a message or an event. `GET` at the
//! same paths is the server check.

use actix_web::HttpResponse;

use super::error::ApiError;
use super::message_server::{self, NO_ANSWER_FIRST};
use super::push_account;
use super::route::{Call, GET};

/// `POST /wechat/{appid}` and `/wechat`.
pub(super) async fn post(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let credentials = push_account::account_of(&call).await?;
    message_server::receive(credentials, call, NO_ANSWER_FIRST).await
}

/// `POST /` from a proxy that names the app.
pub(super) async fn root(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let app_id =
        push_account::named_by_proxy(call.req).ok_or(ApiError::MethodNotAllowed { allow: GET })?;
    let credentials = push_account::find(call.req, call.state, app_id).await?;
    message_server::receive(credentials, call, NO_ANSWER_FIRST).await
}
