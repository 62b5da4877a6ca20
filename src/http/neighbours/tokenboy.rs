//! alexazhou/TokenBoy's contract: `GET /token?name=NAME` is a source's JSON object, for programs in the networks of `tokenboy.allow`. Its
//! errors are objects with `error`; the name that nobody configured is one with status 200, as it is there.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::ExposeSecret;
use serde_json::json;

use super::OwnShape;
use super::caller_check::{self, Asked, Effect, Outside};
use crate::http::state::AppState;
use crate::http::upstream::name;
use crate::http::{JSON, NO_STORE};
use credentials::sources::{SourceError, UpstreamError};

/// When a caller should come back after a fault of the store.
const STORE_RETRY: u64 = 2;

/// When a caller should come back who found too many waiting.
const CROWD_RETRY: u64 = 1;

/// The address, which is there once there are sources.
pub(in crate::http) const TOKEN: &str = "/token";

pub(in crate::http) async fn get(req: HttpRequest, state: web::Data<AppState>) -> HttpResponse {
    told(&req, &state).await
}

/// The answer to whoever asks.
pub(in crate::http) async fn told(req: &HttpRequest, state: &AppState) -> HttpResponse {
    if let Err(outside) = let_in(req, state) {
        let is_unproven = matches!(outside, Outside::Signature(error) if !error.is_forbidden());
        let status = if is_unproven { StatusCode::UNAUTHORIZED } else { StatusCode::FORBIDDEN };
        return failed(status, &outside.message("tokenboy"), None);
    }
    // Tornado takes the last of several and trims it.
    let pairs = url::form_urlencoded::parse(req.query_string().as_bytes());
    let name = pairs.filter(|(name, _)| name == "name").last().map(|(_, value)| value.trim().to_owned()).unwrap_or_default();
    let object = match state.crowd.unless_done(&format!("source {name}"), || None, state.sources.object(&name)).await {
        Ok(object) => object,
        Err(error) => return failed(error.code().1, &error.to_string(), Some(CROWD_RETRY)),
    };
    match object {
        None => answer(StatusCode::OK, json!({ "error": "not found" }).to_string()),
        Some(Ok(object)) => answer(StatusCode::OK, object.expose_secret().to_owned()),
        Some(Err(error)) => refused(&error),
    }
}

fn let_in(req: &HttpRequest, state: &AppState) -> Result<(), Outside> {
    let access = state.access();
    caller_check::check(req, state, &access.tokenboy, Effect::Reads)?;
    // A source is no app, so a realm's apps and keys say nothing of it.
    caller_check::check_signature(req, b"", &access.tokenboy, &access.realms, Asked::default(), state)
}

fn answer(status: StatusCode, body: String) -> HttpResponse {
    let mut response = HttpResponse::build(status);
    response.insert_header((header::CONTENT_TYPE, JSON)).insert_header((header::CACHE_CONTROL, NO_STORE)).body(body)
}

fn failed(status: StatusCode, error: &str, retry_after: Option<u64>) -> HttpResponse {
    let mut response = answer(status, json!({ "error": error }).to_string());
    response.extensions_mut().insert(OwnShape);
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// What a caller may know of a failure. The store's own words can name hosts and paths, so they stay in the log.
fn refused(error: &SourceError) -> HttpResponse {
    let told = error.to_string();
    match error {
        SourceError::Upstream { source: UpstreamError::TimedOut { .. }, .. } | SourceError::TooSlow { .. } => {
            failed(StatusCode::GATEWAY_TIMEOUT, &told, None)
        }
        SourceError::Upstream { .. } => failed(StatusCode::BAD_GATEWAY, &told, None),
        SourceError::CoolingDown { retry_after, .. } => {
            // Rounded up: a caller that comes back on the dot must not come too early.
            let seconds = u64::try_from(retry_after.as_millis().div_ceil(1000)).unwrap_or(u64::MAX).max(1);
            failed(StatusCode::SERVICE_UNAVAILABLE, &told, Some(seconds))
        }
        SourceError::Store(fault) => {
            let told = format!("the {}store does not answer, and what was asked for is not held here", name(fault));
            failed(StatusCode::SERVICE_UNAVAILABLE, &told, Some(STORE_RETRY))
        }
        SourceError::Lost { .. } => failed(StatusCode::INTERNAL_SERVER_ERROR, &told, None),
    }
}
