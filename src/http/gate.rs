//! What every request passes and every answer wears: the origin check before anything else, the safety headers after, errors in
//! one envelope, and the log.

use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::Next;
use actix_web::{Error, ResponseError, web};

use super::error::{ApiError, PROBLEM_JSON};
use super::hot::Hot;
use super::state::{AppState, SLOW};
use super::{caller, cors};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The outermost room: nothing is answered without passing it.
pub(super) async fn gate(
    state: web::Data<AppState>,
    req: ServiceRequest,
    next: Next<BoxBody>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let begun = state.clock().steady();
    let origin = req.headers().get(header::ORIGIN).cloned();
    let preflight = origin.is_some() && cors::is_preflight(&req);
    let stranger = origin.as_ref().is_some_and(|origin| !let_in(&state, origin));
    let mut response = if stranger {
        req.error_response(ApiError::OriginNotAllowed)
    } else if preflight {
        let answer = cors::preflight(&req);
        req.into_response(answer)
    } else {
        answer(&state, req, next).await?
    };
    let status = response.status();
    if status.is_client_error() || status.is_server_error() {
        response = in_envelope(response);
    }
    dress(response.headers_mut());
    if let Some(origin) = origin.filter(|_| !stranger) {
        cors::open_to(origin, preflight, response.headers_mut());
    }
    log(&state, &response, begun.until(state.clock().steady()));
    Ok(response)
}

/// What the address answers.
async fn answer(state: &AppState, req: ServiceRequest, next: Next<BoxBody>) -> Result<ServiceResponse<BoxBody>, Error> {
    let (req, payload) = req.into_parts();
    if let Some((hot, app_id)) = Hot::of(req.method(), req.path()) {
        let response = hot.answer(app_id, state, &req, payload).await;
        return Ok(ServiceResponse::new(req, response));
    }
    next.call(ServiceRequest::from_parts(req, payload)).await
}

fn let_in(state: &AppState, origin: &HeaderValue) -> bool {
    let access = state.access();
    access.origins.allows_any() || origin.to_str().is_ok_and(|origin| access.origins.allows(origin))
}

/// Puts an error that is not ours, such as actix's own, into our envelope.
fn in_envelope(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    if response.headers().get(header::CONTENT_TYPE) == Some(&PROBLEM_JSON) {
        return response;
    }
    let error = match response.status() {
        StatusCode::NOT_FOUND => ApiError::NotFound,
        status if status.is_server_error() => ApiError::Internal,
        status => ApiError::Other(status),
    };
    let (request, _) = response.into_parts();
    ServiceResponse::new(request, error.error_response())
}

/// The headers that every answer wears.
fn dress(headers: &mut HeaderMap) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
}

/// Refusals and slow requests are logged always, every request when asked for. Never a query string: it carries signatures.
fn log(state: &AppState, response: &ServiceResponse<BoxBody>, took: Duration) {
    let status = response.status().as_u16();
    let refused = matches!(status, 401 | 403 | 500..);
    let slow = took >= SLOW;
    if !(refused || slow || state.options.access_log) {
        return;
    }
    let request = response.request();
    let method = request.method().as_str();
    let hot = Hot::of(request.method(), request.path()).map(|(hot, _)| hot.route().to_owned());
    let route = hot.or_else(|| request.match_pattern()).unwrap_or_else(|| "-".to_owned());
    let path = request.path();
    let caller = caller::address(request.head(), state).map(|address| address.to_string());
    let caller = caller.as_deref().unwrap_or("-");
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let request_id = request.headers().get(X_REQUEST_ID).and_then(|id| id.to_str().ok());
    let request_id =
        request_id.filter(|id| id.len() <= 64).map_or_else(|| format!("{:016x}", rand::random::<u64>()), str::to_owned);
    let code = response.response().error().and_then(|error| error.as_error::<ApiError>()).map_or("-", |error| error.code().0);
    if status >= 500 {
        tracing::warn!(method, route, path, status, code, duration_ms, caller, request_id, "failed");
    } else if refused {
        tracing::warn!(method, route, path, status, code, duration_ms, caller, request_id, "refused");
    } else if slow {
        tracing::warn!(method, route, path, status, duration_ms, caller, request_id, "slow");
    } else {
        tracing::info!(method, route, path, status, duration_ms, caller, request_id, "request");
    }
}
