//! `POST /wechat/{appid}`, `/wechat` and `/`: WeChat pushes a message or an event. `GET` at the
//! same paths is the server check. Whatever is wrong with a push, the refusal is the same.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};

use super::error::ApiError;
use super::headers::{NO_STORE, TEXT};
use super::params::Params;
use super::route::{Call, GET};
use super::{body, push_account};
use crate::counters::PushOutcome;
use crate::message::{Answer, Delivery, Push, PushFault};
use credentials::keeper::AccountCredentials;
use wechat::message::Form;

const XML: HeaderValue = HeaderValue::from_static("text/xml; charset=utf-8");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// `POST /wechat/{appid}` and `/wechat`.
pub(super) async fn post(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let credentials = push_account::account_of(&call).await?;
    receive(credentials, call).await
}

/// `POST /` from a proxy that names the app.
pub(super) async fn root(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let app_id =
        push_account::named_by_proxy(call.req).ok_or(ApiError::MethodNotAllowed { allow: GET })?;
    let credentials = push_account::find(call.req, call.state, app_id).await?;
    receive(credentials, call).await
}

async fn receive(
    credentials: Arc<AccountCredentials>,
    mut call: Call<'_>,
) -> Result<HttpResponse, ApiError> {
    let (state, req) = (call.state, call.req);
    let account = &credentials.account;
    let count = |outcome| {
        let pushes = &state.options.status.counters().pushes;
        pushes.count(account.app_id.as_str(), outcome as usize);
    };
    let refused = |fault: PushFault| {
        count(PushOutcome::Refused);
        push_account::log_fault(state, req, &account.app_id, &fault);
        ApiError::BadPushSignature
    };
    // WeChat sends no body that is too large or never ends, so it is refused like a wrong
    // signature.
    let body = body::raw(&mut call).await.map_err(|error| match error {
        ApiError::Overloaded => {
            count(PushOutcome::Overloaded);
            error
        }
        ApiError::BodyTooLarge { limit } => refused(PushFault::TooLarge(limit)),
        _ => refused(PushFault::Unfinished),
    })?;
    let params = Params::of(req);
    let one = |name| {
        params
            .one(name)
            .map_err(|_| refused(PushFault::RepeatedParameter))
    };
    let push = Push {
        signature: one("signature")?,
        msg_signature: one("msg_signature")?,
        timestamp: one("timestamp")?.unwrap_or_default(),
        nonce: one("nonce")?.unwrap_or_default(),
        encrypt_type: one("encrypt_type")?,
        body: &body,
    };
    let policy = state.registry.messages_of(account.app_id.as_str());
    let now = state.clock().wall();
    let delivery = Delivery::open(account, &policy, &push, now).map_err(refused)?;
    let seal = delivery.seal;
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, NO_STORE));
    // WeChat repeats a refused push; after `success` the message would be lost.
    Ok(
        match state
            .inbox
            .answer(&credentials, &policy, delivery, || {
                state.permit(&credentials)
            })
            .await
            .inspect(|answer| {
                count(match answer {
                    Answer::Reply(_) => PushOutcome::Replied,
                    Answer::Nothing | Answer::Silence => PushOutcome::Accepted,
                })
            })
            .inspect_err(|_| count(PushOutcome::Overloaded))?
        {
            Answer::Nothing => response
                .insert_header((header::CONTENT_TYPE, TEXT))
                .body("success"),
            Answer::Silence => response
                .insert_header((header::CONTENT_TYPE, TEXT))
                .finish(),
            Answer::Reply(reply) => {
                let reply = seal
                    .close(account, &reply, state.clock().wall().seconds())
                    .into_owned();
                let content_type = match seal.form {
                    Form::Xml => XML,
                    Form::Json => JSON,
                };
                response
                    .insert_header((header::CONTENT_TYPE, content_type))
                    .body(reply)
            }
        },
    )
}
