//! What the log says of requests: refusals and slow ones always, every request when asked for. Of many alike the first of each second are told,
//! and how many more there were: an outage, or somebody who guesses signatures, must not fill a disk. Never a query string: it carries signatures.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
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
use crate::clock::{Clock, SteadyMillis};

const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What stands in the pattern of an address whose path opens something.
const SECRET_SEGMENTS: [&str; 2] = ["{uuid", "{text"];

/// So many lines of one kind are told in a second.
const LINES: u32 = 20;

const SECOND: Duration = Duration::from_secs(1);

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
        true => match state.complaints.may_be_said(if refused { code } else { "slow" }) {
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

/// How many lines of each kind were told in this second. The kinds are codes of ours, of which there are few.
pub(super) struct Complaints {
    clock: Clock,
    kinds: Mutex<HashMap<&'static str, Said>>,
}

#[derive(Default)]
struct Said {
    since: SteadyMillis,
    lines: u32,
    unlogged: u64,
}

impl Complaints {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, kinds: Mutex::default() }
    }

    /// Whether one line more of this kind may be told.
    pub(super) fn has_room(&self, kind: &'static str) -> bool {
        self.may_be_said(kind).is_some()
    }

    /// Whether one line more of this kind may be told, and how many were not since the last one that was.
    fn may_be_said(&self, kind: &'static str) -> Option<u64> {
        let now = self.clock.steady();
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let said = kinds.entry(kind).or_default();
        if said.lines > 0 && said.since.until(now) < SECOND {
            if said.lines == LINES {
                said.unlogged += 1;
                return None;
            }
            said.lines += 1;
        } else {
            (said.since, said.lines) = (now, 1);
        }
        Some(std::mem::take(&mut said.unlogged))
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;
    use crate::clock::UnixMillis;

    #[test]
    fn of_many_alike_the_first_of_each_second_are_told_and_how_many_more_there_were() {
        let clock = Clock::manual(UnixMillis(0));
        let complaints = Complaints::new(clock.clone());
        let told = (0..1000).filter(|_| complaints.may_be_said("cooling_down").is_some()).count();
        assert_eq!(told, 20);
        assert_eq!(complaints.may_be_said("upstream_refused"), Some(0), "another kind");
        clock.advance(SECOND);
        assert_eq!((complaints.may_be_said("cooling_down"), complaints.may_be_said("cooling_down")), (Some(980), Some(0)));
    }

    #[test]
    fn a_request_has_one_name_however_often_it_is_asked_for() {
        let own = TestRequest::default().to_http_request();
        assert_eq!((request_id(&own), request_id(&own).len()), (request_id(&own), 16));
        let named = |id: &str| TestRequest::default().insert_header((X_REQUEST_ID, id)).to_http_request();
        assert_eq!(request_id(&named("r-1")), "r-1");
        assert_eq!(request_id(&named(&"r".repeat(65))).len(), 16);
    }
}
