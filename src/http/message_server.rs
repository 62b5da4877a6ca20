//! An account's message server: answers WeChat's server check, and receives what WeChat pushes.
//! Whatever is wrong with a push, the refusal is the same. The paths are the handlers'.

use std::sync::Arc;

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use secrecy::ExposeSecret;

use super::error::ApiError;
use super::headers::{NO_STORE, TEXT};
use super::params::Params;
use super::route::Call;
use super::{body, push_account};
use crate::counters::PushOutcome;
use crate::message::{self, Answer, Delivery, Push, PushFault};
use credentials::keeper::AccountCredentials;
use wechat::message::{Form, Message, Reply};
use wechat::signature;

const XML: HeaderValue = HeaderValue::from_static("text/xml; charset=utf-8");

const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// For paths where nothing answers before the account's rules.
pub(super) const NO_ANSWER_FIRST: fn(&Message) -> std::future::Ready<Option<Reply>> =
    |_| std::future::ready(None);

/// Receives a delivery for the account of `credentials`. `answer_first` may answer a message before
/// the account's rules do.
pub(super) async fn receive<F>(
    credentials: Arc<AccountCredentials>,
    mut call: Call<'_>,
    answer_first: F,
) -> Result<HttpResponse, ApiError>
where
    F: AsyncFnOnce(&Message) -> Option<Reply>,
{
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
    // WeChat repeats a refused push; after `success` the message would be lost.
    let answer = match answer_first(&delivery.message).await {
        Some(reply) => message::written(account, &reply, &delivery.message),
        None => {
            let admit = || state.permit(&credentials);
            state
                .inbox
                .answer(&credentials, &policy, delivery, admit)
                .await
                .inspect_err(|_| count(PushOutcome::Overloaded))?
        }
    };
    count(match answer {
        Answer::Reply(_) => PushOutcome::Replied,
        Answer::Nothing | Answer::Silence => PushOutcome::Accepted,
    });
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CACHE_CONTROL, NO_STORE));
    Ok(match answer {
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
    })
}

/// Echoes `echostr` if `signature` is made with the app's token.
pub(super) fn check(
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
