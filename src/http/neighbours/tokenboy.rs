//! alexazhou/TokenBoy's contract: `GET /token?name=NAME` is a source's JSON object, for programs in
//! the networks of `tokenboy.allow`. An error is an object with `error`; an unknown name has status
//! 200, as it has there.

use std::sync::Arc;

use actix_web::http::{StatusCode, header};
use actix_web::{HttpRequest, HttpResponse};
use secrecy::ExposeSecret;
use serde_json::json;

use super::caller_check::{self, Asked, Effect, Refusal};
use super::neighbour::{Neighbour, Opening};
use crate::http::error::ApiError;
use crate::http::json_response::json_response;
use crate::http::marks::Shaped;
use crate::http::route::{Call, Route};
use crate::http::state::{AppState, NeighbourSettings};
use crate::http::upstream_errors::store_name;
use crate::settings::CallerPolicy;
use credentials::sources::{SourceError, UpstreamError};

pub(super) const NEIGHBOUR: Neighbour = Neighbour {
    // Without sources the path does not exist, also after a reload.
    routes: &[Route::get("/token", |call| Box::pin(get(call)))
        .no_store()
        .exists_if(|state| !state.sources.is_empty())],
    settings: |config| Some(Arc::new(TokenBoy(config.tokenboy.clone()))),
    opening: |state| {
        let policy = state
            .access()
            .neighbour()
            .map(|TokenBoy(policy)| policy.clone())
            .filter(|_| !state.sources.is_empty())?;
        Some(Opening {
            routes: "/token",
            section: "tokenboy",
            policy,
        })
    },
};

/// Who may call.
#[derive(Debug)]
struct TokenBoy(CallerPolicy);

impl NeighbourSettings for TokenBoy {}

/// `Retry-After` in seconds when the store fails.
const STORE_RETRY: u64 = 2;

/// `Retry-After` in seconds when too many requests wait.
const OVERLOAD_RETRY: u64 = 1;

async fn get(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let Call { state, req, .. } = call;
    if let Err(refusal) = check(req, state)? {
        let is_unproven = matches!(refusal, Refusal::Signature(error) if !error.is_forbidden());
        let status = if is_unproven {
            StatusCode::UNAUTHORIZED
        } else {
            StatusCode::FORBIDDEN
        };
        return Ok(failed(status, &refusal.message("tokenboy"), None));
    }
    // Tornado takes the last of several and trims it.
    let pairs = url::form_urlencoded::parse(req.query_string().as_bytes());
    let name = pairs
        .filter(|(name, _)| name == "name")
        .last()
        .map(|(_, value)| value.trim().to_owned())
        .unwrap_or_default();
    let object = match state
        .concurrency
        .limit_if_pending(
            &format!("source {name}"),
            || None,
            state.sources.object(&name),
        )
        .await
    {
        Ok(object) => object,
        Err(error) => {
            return Ok(failed(
                error.code().1,
                &error.to_string(),
                Some(OVERLOAD_RETRY),
            ));
        }
    };
    Ok(match object {
        None => json_response(StatusCode::OK, json!({ "error": "not found" }).to_string()),
        Some(Ok(object)) => json_response(StatusCode::OK, object.expose_secret().to_owned()),
        Some(Err(error)) => source_failed(&error),
    })
}

fn check(req: &HttpRequest, state: &AppState) -> Result<Result<(), Refusal>, ApiError> {
    let access = state.access();
    let TokenBoy(policy) = access.neighbour().ok_or(ApiError::NotFound)?;
    // A source is not an app, so the realm's lists of apps and keys do not apply.
    let signed = |()| {
        caller_check::check_signature(req, b"", policy, &access.realms, Asked::default(), state)
    };
    Ok(caller_check::check(req, state, policy, Effect::Reads).and_then(signed))
}

fn failed(status: StatusCode, error: &str, retry_after: Option<u64>) -> HttpResponse {
    let mut response = json_response(status, json!({ "error": error }).to_string());
    response.extensions_mut().insert(Shaped { error: None });
    if let Some(seconds) = retry_after {
        response
            .headers_mut()
            .insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

/// The response to a failure of the source. The store's own words may name hosts and paths, so they
/// go only to the log.
fn source_failed(error: &SourceError) -> HttpResponse {
    let message = error.to_string();
    match error {
        SourceError::Upstream {
            source: UpstreamError::TimedOut { .. },
            ..
        }
        | SourceError::TooSlow { .. } => failed(StatusCode::GATEWAY_TIMEOUT, &message, None),
        SourceError::Upstream { .. } => failed(StatusCode::BAD_GATEWAY, &message, None),
        SourceError::CoolingDown { retry_after, .. } => {
            // Rounded up, so that a caller that retries exactly then is not too early.
            let seconds = u64::try_from(retry_after.as_millis().div_ceil(1000))
                .unwrap_or(u64::MAX)
                .max(1);
            failed(StatusCode::SERVICE_UNAVAILABLE, &message, Some(seconds))
        }
        SourceError::Store(fault) => {
            let message = format!(
                "the {}store does not answer, and the credential is not cached here; retry in a moment",
                store_name(fault)
            );
            failed(StatusCode::SERVICE_UNAVAILABLE, &message, Some(STORE_RETRY))
        }
        SourceError::Lost { .. } => failed(StatusCode::INTERNAL_SERVER_ERROR, &message, None),
    }
}
