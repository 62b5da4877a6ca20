//! songquanpeng/wechat-server's contract, which one-api and new-api speak: a code from the account's
//! chat is exchanged for the follower's openid, and the token is handed out, to callers that send
//! the token of the settings as `Authorization`. `/api/wechat` is the account's message server.
//! Errors are an object with `success: false` and status 200, as there.

use std::sync::Arc;

use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};
use secrecy::ExposeSecret;
use serde_json::{Value, json};

use super::browser;
use super::neighbour::Neighbour;
use crate::http::error::ApiError;
use crate::http::json_response::json_response;
use crate::http::marks::Shaped;
use crate::http::params::Params;
use crate::http::route::{Call, Handler, Pages, Route};
use crate::http::state::{AppState, NeighbourSettings};
use crate::http::{message_server, push_account};
use crate::login::{LoginError, is_openid};
use crate::settings::{Config, WechatServerConfig};
use credentials::keeper::AccountCredentials;
use wechat::account::AppId;
use wechat::credential::CredentialKind;
use wechat::message::{Body, Message, Reply};
use wechat::signature::fingerprint;

pub(super) const NEIGHBOUR: Neighbour = Neighbour {
    routes: &[
        for_programs("/api/wechat/user", |call| Box::pin(user(call))),
        for_programs("/api/wechat/access_token", |call| {
            Box::pin(access_token(call))
        }),
        Route::get_and_post(
            "/api/wechat",
            |call| Box::pin(check(call)),
            |call| Box::pin(receive(call)),
        )
        .exists_if(is_on),
    ],
    settings,
    // Every caller has the token.
    opening: |_| None,
};

const fn for_programs(path: &'static str, handler: Handler) -> Route {
    Route::get(path, handler)
        .pages(Pages::None)
        .no_store()
        .exists_if(is_on)
        .errors(|error| error_response(&error))
}

#[derive(Debug)]
struct WechatServer(WechatServerConfig);

impl NeighbourSettings for WechatServer {}

fn settings(config: &Config) -> Option<Arc<dyn NeighbourSettings>> {
    Some(Arc::new(WechatServer(config.wechat_server.clone()?)))
}

fn is_on(state: &AppState) -> bool {
    state.access().neighbour::<WechatServer>().is_some()
}

/// `GET /api/wechat/user?code=CODE`.
async fn user(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let Call { state, req, .. } = call;
    let app_id = authorize(state, req)?;
    let params = Params::of(req);
    let code = params.one("code")?.unwrap_or_default().trim();
    // HEAD must not use the code up.
    if *req.method() == Method::HEAD {
        return Ok(answer(StatusCode::OK, &json!({ "success": true })));
    }
    let from = state.client_ip(req.head());
    let openid = match state.logins.redeem_code(app_id.as_str(), code, from).await {
        Ok(openid) => openid,
        Err(error @ LoginError::TooMany { .. }) => {
            let error = ApiError::from(error).code();
            return Ok(failed(StatusCode::OK, Some(error), TOO_MANY_WRONG));
        }
        Err(error) => return Err(error.into()),
    };
    Ok(match openid {
        Some(openid) => answer(
            StatusCode::OK,
            &json!({ "success": true, "message": "", "data": openid }),
        ),
        // Visitors mistype; the limit on wrong codes is logged.
        None => failed(StatusCode::OK, None, WRONG_CODE),
    })
}

/// `GET /api/wechat/access_token`.
async fn access_token(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let state = call.state;
    let app_id = authorize(state, call.req)?;
    let credentials = state.account(app_id.as_str()).await?;
    let token = state
        .credential(call.req, &credentials, CredentialKind::AccessToken)
        .await?;
    Ok(answer(
        StatusCode::OK,
        &json!({
            "success": true,
            "message": "",
            "access_token": token.value().expose_secret(),
            "expiration": token.left(state.clock()).as_secs(),
        }),
    ))
}

/// `GET /api/wechat`: WeChat's server check.
async fn check(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let (credentials, _) = account(&call).await?;
    message_server::check(&credentials, &Params::of(call.req), &call)
}

/// `POST /api/wechat`: a word of the settings is answered by a code, everything else by the
/// account's rules.
async fn receive(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let (credentials, words) = account(&call).await?;
    let (state, app_id) = (call.state, credentials.account.app_id.clone());
    let answer_first = async move |message: &Message| {
        let Body::Text { content, .. } = &message.body else {
            return None;
        };
        let is_word = words.iter().any(|word| word == content.trim());
        if !is_word || !is_openid(&message.from) {
            return None;
        }
        Some(code_for(state, &app_id, message).await)
    };
    message_server::receive(credentials, call, answer_first).await
}

/// The reply with a code. WeChat would show a failure as a fault of the account, so the reply says
/// what to do instead.
async fn code_for(state: &AppState, app_id: &AppId, message: &Message) -> Reply {
    let issued = state
        .logins
        .issue_code(app_id.as_str(), &message.from, &message.dedup_key())
        .await;
    let content = match issued {
        Ok(code) => code,
        Err(LoginError::TooMany { .. }) => TOO_MANY_CODES.to_owned(),
        Err(error) => {
            tracing::warn!(account.id = %app_id, %error, "no code could be issued; the follower is asked to try again");
            NO_CODE.to_owned()
        }
    };
    Reply::Text { content }
}

// Visitors and followers read these.
const WRONG_CODE: &str =
    "验证码不对，或者已经用过、过期；请在公众号里重新获取 (wrong, used or expired code)";
const TOO_MANY_WRONG: &str =
    "错误的验证码太多，请三分钟后再试 (too many wrong codes; try again in three minutes)";
const TOO_MANY_CODES: &str = "获取验证码太频繁，请三分钟后再试";
const NO_CODE: &str = "暂时无法获取验证码，请稍后再试";

/// The account of the settings, and the words that are answered by a code.
async fn account(call: &Call<'_>) -> Result<(Arc<AccountCredentials>, Vec<String>), ApiError> {
    let (app_id, words) = {
        let access = call.state.access();
        let WechatServer(config) = access.neighbour().ok_or(ApiError::NotFound)?;
        (config.app.clone(), config.words.clone())
    };
    let found = push_account::find(call.req, call.state, app_id.as_str()).await?;
    Ok((found, words))
}

/// Refuses pages, and callers without the token. Returns the account of the settings.
///
/// Host names and networks are not checked: the token is the proof, and callers are programs on
/// other machines.
fn authorize(state: &AppState, req: &HttpRequest) -> Result<AppId, ApiError> {
    if browser::is_page(req.headers()) {
        return Err(ApiError::OriginNotAllowed);
    }
    let access = state.access();
    let WechatServer(config) = access.neighbour().ok_or(ApiError::NotFound)?;
    let claimed = token(req.headers()).ok_or(ApiError::Unauthorized)?;
    let is_theirs = fingerprint(config.token.expose_secret()).matches(&fingerprint(claimed).text());
    if is_theirs {
        Ok(config.app.clone())
    } else {
        Err(ApiError::Unauthorized)
    }
}

/// The one `Authorization` header, with or without `Bearer`.
fn token(headers: &HeaderMap) -> Option<&str> {
    let mut values = headers.get_all(header::AUTHORIZATION);
    let value = values.next().filter(|_| values.next().is_none())?;
    let value = value.to_str().ok()?.trim();
    Some(value.strip_prefix("Bearer ").map_or(value, str::trim_start))
}

fn answer(status: StatusCode, body: &Value) -> HttpResponse {
    json_response(status, body.to_string())
}

fn failed(
    status: StatusCode,
    error: Option<(&'static str, StatusCode)>,
    message: &str,
) -> HttpResponse {
    let mut response = answer(status, &json!({ "success": false, "message": message }));
    response.extensions_mut().insert(Shaped { error });
    response
}

/// An error in the original's form, with status 200. Only a method that is not answered keeps our
/// status: there is no such route in the original either.
fn error_response(error: &ApiError) -> HttpResponse {
    let ours = error.code();
    let status = match error {
        ApiError::MethodNotAllowed { .. } => ours.1,
        _ => StatusCode::OK,
    };
    let message = match error {
        ApiError::Unauthorized => {
            "the Authorization header must be wechatServer.token of the settings (Authorization 与 wechatServer.token 不符)".to_owned()
        }
        ApiError::OriginNotAllowed => "requests from web pages are refused here; send the request from a program".to_owned(),
        _ => error.to_string(),
    };
    let mut response = failed(status, Some(ours), &message);
    if let ApiError::MethodNotAllowed { allow } = error {
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    let pause = error
        .retry_after_seconds()
        .and_then(|pause| HeaderValue::try_from(pause).ok());
    if let Some(pause) = pause {
        response.headers_mut().insert(header::RETRY_AFTER, pause);
    }
    response
}
