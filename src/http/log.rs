//! What the log says of requests: refusals and slow ones always, every request when asked for. Of many alike the first of each second are told,
//! and how many more there were: an outage, or somebody who guesses signatures, must not fill a disk. Never a query string: it carries signatures.

use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::ServiceResponse;
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderName;
use actix_web::{Error, HttpMessage, HttpRequest};

use super::caller;
use super::error::ApiError;
use super::hot::Hot;
use super::neighbours::{Shaped, wetoken};
use super::state::{AppState, SLOW};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What stands in the pattern of an address whose path opens something.
const SECRET_SEGMENTS: [&str; 2] = ["{uuid", "{text"];

/// Marks a request that took its time on purpose.
pub(super) struct Waited;

/// Marks a request whose refusal is logged where it happened.
pub(super) struct Logged;

/// Logs an answer that took so long, if it is worth it.
pub(super) fn tell(state: &AppState, response: &ServiceResponse<BoxBody>, took: Duration) {
    let status = response.status().as_u16();
    let told = response.response().error().and_then(ours);
    // wetoken's refusals all have status 200; what they are decides.
    let weight = told.map_or(status, |(_, weight)| weight.as_u16());
    // Who finds no place to wait is told of by the crowd, many in one line.
    let crowded = told.is_some_and(|(code, _)| code == "overloaded");
    let is_logged = response.request().extensions().contains::<Logged>();
    let refused = matches!(weight, 401 | 403 | 500..) && !crowded && !is_logged;
    let slow = took >= SLOW && !response.request().extensions().contains::<Waited>();
    let code = told.map_or("-", |(code, _)| code);
    let unlogged = match refused || slow {
        true => match state.log_limit.admit(if refused { code } else { "slow" }) {
            Some(unlogged) => Some(unlogged).filter(|unlogged| *unlogged > 0),
            None => return,
        },
        false if state.options.access_log => None,
        false => return,
    };
    let request = response.request();
    let method = request.method().as_str();
    let hot = Hot::of(request.method(), request.path()).map(|(hot, _)| hot.route().to_owned());
    let route = hot.or_else(|| request.match_pattern()).unwrap_or_else(|| "-".to_owned());
    // Whoever knows a login's id can ask who logged in.
    let path = if SECRET_SEGMENTS.iter().any(|secret| route.contains(secret)) { route.as_str() } else { request.path() };
    let caller = caller::address(request.head(), state).map(|address| address.to_string());
    let caller = caller.as_deref().unwrap_or("-");
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let request_id = request_id(request);
    if weight >= 500 {
        tracing::warn!(method, route, path, status, code, duration_ms, caller, request_id, unlogged, "failed");
    } else if refused {
        tracing::warn!(method, route, path, status, code, duration_ms, caller, request_id, unlogged, "refused");
    } else if slow {
        tracing::warn!(method, route, path, status, duration_ms, caller, request_id, unlogged, "slow");
    } else {
        tracing::info!(method, route, path, status, duration_ms, caller, request_id, "request");
    }
}

/// The code and the status of the error of ours that `error` is, in whatever shape.
fn ours(error: &Error) -> Option<(&'static str, StatusCode)> {
    let plain = error.as_error().or_else(|| error.as_error::<Shaped>().map(|shaped| &shaped.error));
    plain.map(ApiError::code).or_else(|| error.as_error().map(wetoken::Refused::code))
}

/// What the log calls this request: the proxy's name for it, or one of our own, which stays the same however often it is asked for.
/// A page shows it as the reference to look for.
pub(super) fn request_id(request: &HttpRequest) -> String {
    let given = request.headers().get(X_REQUEST_ID).and_then(|id| id.to_str().ok()).filter(|id| id.len() <= 64);
    let own = || request.extensions_mut().get_or_insert_with(|| RequestId(format!("{:016x}", rand::random::<u64>()))).0.clone();
    given.map_or_else(own, str::to_owned)
}

struct RequestId(String);

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_request_has_one_name_however_often_it_is_asked_for() {
        let own = TestRequest::default().to_http_request();
        assert_eq!((request_id(&own), request_id(&own).len()), (request_id(&own), 16));
        let named = |id: &str| TestRequest::default().insert_header((X_REQUEST_ID, id)).to_http_request();
        assert_eq!(request_id(&named("r-1")), "r-1");
        assert_eq!(request_id(&named(&"r".repeat(65))).len(), 16);
    }
}
