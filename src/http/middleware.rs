//! What happens to every request and every response: the route is found, the origin is checked,
//! then the handler runs; the response gets the security headers, and an error that is not ours
//! gets our envelope. CORS headers are actix-cors's work, set up here from our policy.

use std::sync::Arc;

use actix_cors::Cors;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{Error, HttpMessage, ResponseError, web};

use super::error::ApiError;
use super::log;
use super::marks::{RawQuery, Shaped};
use super::request_id::{X_REQUEST_ID, request_id};
use super::route::Pages;
use super::route_table::{Matched, RouteTable};
use super::state::AppState;

/// Browsers remember the answer to a preflight for a day.
const PREFLIGHT_MAX_AGE: usize = 24 * 3600;

/// Whether a page of this origin may call the routes of logins.
pub(super) type LoginOrigins = fn(&actix_web::HttpRequest, &AppState, &HeaderValue) -> bool;

/// Every request goes through here.
#[derive(Clone)]
pub(super) struct Middleware {
    pub(super) state: web::Data<AppState>,
    pub(super) routes: Arc<RouteTable>,
    pub(super) login_origins: LoginOrigins,
}

/// CORS headers for the origins that [`Middleware::handle`] has allowed.
pub(super) fn cors() -> Cors {
    Cors::default()
        .allowed_origin_fn(|_, _| true)
        .allowed_methods([Method::GET, Method::HEAD, Method::POST, Method::OPTIONS])
        .allow_any_header()
        .max_age(PREFLIGHT_MAX_AGE)
        // Our answers vary by Origin only, not by the two headers that actix-cors would add.
        .disable_vary_header()
}

impl Middleware {
    /// The outermost layer. `with_cors` is actix-cors around [`answer`].
    pub(super) fn handle<S, B>(
        &self,
        req: ServiceRequest,
        with_cors: &S,
    ) -> impl Future<Output = Result<ServiceResponse<BoxBody>, Error>> + use<S, B>
    where
        S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
        B: MessageBody + 'static,
    {
        let state = self.state.clone();
        let begun = state.clock().steady();
        let matched = self.routes.find(&state, req.request());
        let origin = req.headers().get(header::ORIGIN);
        let has_origin = origin.is_some();
        let next = match origin {
            _ if !matched.route.raw_query && req.extensions().contains::<RawQuery>() => {
                Next::Refuse(req, ApiError::Other(StatusCode::BAD_REQUEST))
            }
            // Without an Origin there is nothing for actix-cors to do.
            None => Next::Handler(req),
            Some(_) if matched.route.pages == Pages::None => Next::Handler(req),
            Some(origin) if self.allows(origin, matched, &req) => {
                req.extensions_mut().insert(matched);
                Next::Cors(with_cors.call(req))
            }
            Some(_) => Next::Refuse(req, ApiError::OriginNotAllowed),
        };
        async move {
            let mut response = match next {
                Next::Handler(req) => matched.answer(&state, req).await,
                Next::Cors(response) => response.await?.map_into_boxed_body(),
                Next::Refuse(req, error) => req.error_response(error),
            };
            let status = response.status();
            if status.is_client_error() || status.is_server_error() {
                response = in_envelope(response);
                // With it the caller's error is found in our log.
                if let Ok(id) = request_id(response.request()).try_into() {
                    response.headers_mut().insert(X_REQUEST_ID, id);
                }
            }
            let is_preflight = has_origin && response.request().method() == Method::OPTIONS;
            add_headers(response.headers_mut(), has_origin, is_preflight);
            if has_origin || !matched.route.no_store {
                response
                    .headers_mut()
                    .append(header::VARY, HeaderValue::from_static("Origin"));
            }
            let took = begun.until(state.clock().steady());
            let (worker, row) = matched.counter;
            let counters = &state.options.status.counters().routes;
            counters.count(worker, row, response.status().as_u16(), took);
            log::write(&state, matched.route, &response, took);
            Ok(response)
        }
    }

    /// Whether a page of `origin` may call the route.
    fn allows(&self, origin: &HeaderValue, matched: Matched, req: &ServiceRequest) -> bool {
        let access = self.state.access();
        if access.origins.allows_any()
            || origin
                .to_str()
                .is_ok_and(|origin| access.origins.allows(origin))
        {
            return true;
        }
        match matched.route.pages {
            Pages::Cors | Pages::None => false,
            Pages::LoginSites => (self.login_origins)(req.request(), &self.state, origin),
            Pages::OwnForm => *req.method() == Method::POST,
        }
    }
}

/// Where a request goes.
enum Next<F> {
    Handler(ServiceRequest),
    Cors(F),
    Refuse(ServiceRequest, ApiError),
}

/// The layer inside actix-cors: runs the handler of the route that [`Middleware::handle`] has
/// found.
pub(super) async fn answer(
    state: web::Data<AppState>,
    req: ServiceRequest,
) -> Result<ServiceResponse, Error> {
    let matched = req.extensions().get::<Matched>().copied();
    match matched {
        Some(matched) => Ok(matched.answer(&state, req).await),
        None => Ok(req.error_response(ApiError::NotFound)),
    }
}

/// Puts an error that is not ours, such as actix-cors's, into our envelope.
fn in_envelope(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    if response.response().extensions().contains::<Shaped>() {
        return response;
    }
    let error = match response.status() {
        StatusCode::NOT_FOUND => ApiError::NotFound,
        status if status.is_server_error() => ApiError::Internal,
        status => ApiError::Other(status),
    };
    let (request, before) = response.into_parts();
    let mut response = ServiceResponse::new(request, error.error_response());
    for (name, value) in before.headers() {
        if name.as_str().starts_with("access-control-") {
            response.headers_mut().insert(name.clone(), value.clone());
        }
    }
    response
}

/// The headers of every response.
fn add_headers(headers: &mut HeaderMap, has_origin: bool, is_preflight: bool) {
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(
        header::REFERRER_POLICY,
        HeaderValue::from_static("no-referrer"),
    );
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    if is_preflight
        && !headers.contains_key(header::ACCESS_CONTROL_ALLOW_HEADERS)
        && headers.contains_key(header::ACCESS_CONTROL_MAX_AGE)
    {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_HEADERS,
            HeaderValue::from_static("Content-Type"),
        );
    } else if has_origin
        && !is_preflight
        && headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN)
    {
        let exposed = HeaderValue::from_static("Credential-Expires-In, Retry-After, Warning");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use actix_web::{HttpResponse, HttpResponseBuilder};

    use super::*;
    use crate::http::headers::PROBLEM_JSON;
    use crate::http::page::{Page, visitor};

    fn through(response: HttpResponse) -> ServiceResponse<BoxBody> {
        in_envelope(ServiceResponse::new(
            TestRequest::default().to_http_request(),
            response,
        ))
    }

    #[test]
    fn only_foreign_errors_get_the_envelope() {
        let page = through(visitor(
            &TestRequest::default().to_http_request(),
            Page::Taken { site: "a" },
        ));
        let content_type = |response: &ServiceResponse<BoxBody>| {
            response.headers().get(header::CONTENT_TYPE).cloned()
        };
        assert_eq!(
            content_type(&page),
            Some(HeaderValue::from_static("text/html; charset=utf-8"))
        );
        for html in [
            "text/html; charset=utf-8",
            "text/html",
            "text/plain; charset=utf-8",
        ] {
            let foreign = HttpResponseBuilder::new(StatusCode::BAD_REQUEST)
                .content_type(html)
                .body("<h1>Bad</h1>");
            assert_eq!(
                content_type(&through(foreign)),
                Some(PROBLEM_JSON),
                "{html}"
            );
        }
    }
}
