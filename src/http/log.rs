//! Logs requests: refusals and slow ones always, every request if the settings ask for it. Similar
//! lines are limited to one a second, with the number of those left out, so that an outage or
//! somebody who guesses signatures does not fill a disk. The query string is never logged: it
//! contains signatures.

use std::time::Duration;

use actix_web::HttpMessage;
use actix_web::body::BoxBody;
use actix_web::dev::ServiceResponse;

use super::marks::{AlreadyLogged, LongPoll, Shaped};
use super::request_id::request_id;
use super::route::Route;
use super::state::AppState;

/// Requests that take longer are logged whatever the settings say.
const SLOW: Duration = Duration::from_secs(1);

/// Logs a response that took `took`, if it is to be logged.
pub(super) fn write(
    state: &AppState,
    route: &Route,
    response: &ServiceResponse<BoxBody>,
    took: Duration,
) {
    let status = response.status();
    // The status on the wire is 200 for every answer of wetoken's, so the error decides.
    let error = response
        .response()
        .extensions()
        .get::<Shaped>()
        .and_then(|shaped| shaped.error);
    let (code, severity) = error.map_or(("-", status), |(code, status)| (code, status));
    let severity = severity.as_u16();
    let request = response.request();
    // The concurrency limit logs its own refusals, many in one line.
    let is_logged = || code == "overloaded" || request.extensions().contains::<AlreadyLogged>();
    let refused = matches!(severity, 401 | 403 | 500..) && !is_logged();
    let slow = took >= SLOW && !request.extensions().contains::<LongPoll>();
    let unlogged = match refused || slow {
        true => match state.log_limit.admit(if refused { code } else { "slow" }) {
            Some(unlogged) => Some(unlogged).filter(|unlogged| *unlogged > 0),
            None => return,
        },
        false if state.options.access_log => None,
        false => return,
    };
    let (method, status) = (request.method().as_str(), status.as_u16());
    let route_name = route.pattern;
    // Whoever knows a login's id can ask who logged in.
    let path = if route.has_secret_path {
        route.pattern
    } else {
        request.path()
    };
    let caller = state
        .client_ip(request.head())
        .map(|address| address.to_string());
    let caller = caller.as_deref().unwrap_or("-");
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let request_id = request_id(request);
    if severity >= 500 {
        tracing::warn!(
            method,
            route = route_name,
            path,
            status,
            code,
            duration_ms,
            caller,
            request_id,
            unlogged,
            "failed"
        );
    } else if refused {
        tracing::warn!(
            method,
            route = route_name,
            path,
            status,
            code,
            duration_ms,
            caller,
            request_id,
            unlogged,
            "refused"
        );
    } else if slow {
        tracing::warn!(
            method,
            route = route_name,
            path,
            status,
            duration_ms,
            caller,
            request_id,
            unlogged,
            "slow"
        );
    } else {
        tracing::info!(
            method,
            route = route_name,
            path,
            status,
            duration_ms,
            caller,
            request_id,
            "request"
        );
    }
}
