//! `POST` to where WeChat's server check is answered: a message or an event of an account. Whatever is not WeChat's own gets one and
//! the same refusal.

use std::sync::Arc;

use actix_web::dev::Payload;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, web};

use super::error::ApiError;
use super::params::Params;
use super::state::AppState;
use super::{GET, NO_STORE, TEXT, body, challenge, push_faults};
use crate::message::{Answer, Delivery, Push, PushFault};
use credentials::keeper::Holding;
use wechat::message::Form;

const XML: HeaderValue = HeaderValue::from_static("text/xml; charset=utf-8");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// `POST /wechat/{appid}` and `/wechat`.
pub(super) async fn post(req: HttpRequest, state: web::Data<AppState>, payload: web::Payload) -> Result<HttpResponse, ApiError> {
    let holding = challenge::addressed(&req, &state).await?;
    delivered(holding, &state, &req, payload.into_inner()).await
}

/// `POST /`, where a proxy names the app.
pub(super) async fn root(req: HttpRequest, state: web::Data<AppState>, payload: web::Payload) -> Result<HttpResponse, ApiError> {
    let app_id = challenge::named_by_proxy(&req).ok_or(ApiError::MethodNotAllowed { allow: GET })?;
    let holding = challenge::known(&req, &state, app_id).await?;
    delivered(holding, &state, &req, payload.into_inner()).await
}

/// The answer to a delivery.
pub(super) async fn delivered(
    holding: Arc<Holding>,
    state: &AppState,
    req: &HttpRequest,
    payload: Payload,
) -> Result<HttpResponse, ApiError> {
    let account = &holding.account;
    let refused = |fault: PushFault| {
        push_faults::refused(state, req, &account.app_id, &fault);
        ApiError::BadPushSignature
    };
    // What is too large, or never ends, is as little WeChat's as what is signed wrongly.
    let body = body::raw(req, payload, state).await.map_err(|error| match error {
        ApiError::Overloaded => error,
        ApiError::BodyTooLarge { limit } => refused(PushFault::TooLarge(limit)),
        _ => refused(PushFault::Unfinished),
    })?;
    let params = Params::of(req);
    let one = |name| params.one(name).map_err(|_| refused(PushFault::RepeatedParameter));
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
    // Refused, WeChat asks again; `success` would lose the message.
    Ok(match state.inbox.answer(&holding, &policy, delivery, || state.place(&holding)).await? {
        Answer::Nothing => response.insert_header((header::CONTENT_TYPE, TEXT)).body("success"),
        Answer::Silence => response.insert_header((header::CONTENT_TYPE, TEXT)).finish(),
        Answer::Reply(reply) => {
            let reply = seal.close(account, &reply, state.clock().wall().seconds()).into_owned();
            let content_type = match seal.form {
                Form::Xml => XML,
                Form::Json => JSON,
            };
            response.insert_header((header::CONTENT_TYPE, content_type)).body(reply)
        }
    })
}
