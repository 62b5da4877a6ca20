//! What every request passes and every answer wears: the origin check before anything else, the safety headers after, errors in
//! one envelope. CORS headers themselves are actix-cors's work, set up here from our policy.

use actix_cors::Cors;
use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{Error, ResponseError, web};

use super::error::{ApiError, PROBLEM_JSON};
use super::hot::Hot;
use super::login::beginner::lets_in;
use super::neighbours::OwnShape;
use super::page::ForVisitors;
use super::state::AppState;
use super::{log, login};

/// A browser remembers a preflight's answer for a day.
const PREFLIGHT_AGE: usize = 24 * 3600;

/// CORS headers for the origins that [`pass`] has let in.
pub(super) fn cors() -> Cors {
    Cors::default()
        .allowed_origin_fn(|_, _| true)
        .allowed_methods([Method::GET, Method::HEAD, Method::POST, Method::OPTIONS])
        .allow_any_header()
        .max_age(PREFLIGHT_AGE)
        // We name Origin alone: nothing else of ours varies by the two headers that actix-cors would add.
        .disable_vary_header()
}

/// The outermost room: nothing is answered without passing it. No future is boxed here, since every request pays for it.
pub(super) fn pass<S, B>(
    state: web::Data<AppState>,
    req: ServiceRequest,
    inner: &S,
) -> impl Future<Output = Result<ServiceResponse<BoxBody>, Error>> + use<S, B>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error>,
    B: MessageBody + 'static,
{
    let begun = state.clock().steady();
    let origin = req.headers().get(header::ORIGIN);
    let crosses = origin.is_some();
    let way =
        if origin.is_some_and(|origin| !let_in(&state, origin) && !lets_in(req.request(), &state, origin)) && !is_own_form(&req) {
            Way::Refused(req)
        } else if !crosses && Hot::of(req.method(), req.path()).is_some() {
            // Without an Origin there is nothing for CORS to do either.
            Way::Hot(req)
        } else {
            Way::Routed(inner.call(req))
        };
    let hot = matches!(way, Way::Hot(_));
    async move {
        let mut response = match way {
            Way::Hot(req) => Hot::answer(&state, req).await,
            Way::Routed(call) => call.await?.map_into_boxed_body(),
            Way::Refused(req) => req.error_response(ApiError::OriginNotAllowed),
        };
        let status = response.status();
        if status.is_client_error() || status.is_server_error() {
            response = in_envelope(response);
        }
        let preflight = crosses && response.request().method() == Method::OPTIONS;
        dress(response.headers_mut(), crosses, preflight);
        if !hot {
            // What may never be stored cannot be confused with what another origin was told.
            response.headers_mut().append(header::VARY, HeaderValue::from_static("Origin"));
        }
        log::tell(&state, &response, begun.until(state.clock().steady()));
        Ok(response)
    }
}

/// The three ways of a request.
enum Way<F> {
    Hot(ServiceRequest),
    Routed(F),
    Refused(ServiceRequest),
}

/// The one address that a form of our own page posts to. A page without a referrer has the origin `null`; what proves that the form is
/// ours is the token in it.
fn is_own_form(req: &ServiceRequest) -> bool {
    *req.method() == Method::POST && req.path() == login::CALLBACK
}

fn let_in(state: &AppState, origin: &HeaderValue) -> bool {
    let access = state.access();
    access.origins.allows_any() || origin.to_str().is_ok_and(|origin| access.origins.allows(origin))
}

/// Puts an error that is not ours, such as actix's or actix-cors's own, into our envelope. A page is for a person to read, and a
/// neighbour's answer for its clients.
fn in_envelope(response: ServiceResponse<BoxBody>) -> ServiceResponse<BoxBody> {
    let extensions = response.response().extensions();
    let is_shaped = extensions.contains::<ForVisitors>() || extensions.contains::<OwnShape>();
    drop(extensions);
    if is_shaped || response.headers().get(header::CONTENT_TYPE) == Some(&PROBLEM_JSON) {
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

/// The headers that every answer wears.
fn dress(headers: &mut HeaderMap, crosses: bool, preflight: bool) {
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    if preflight
        && !headers.contains_key(header::ACCESS_CONTROL_ALLOW_HEADERS)
        && headers.contains_key(header::ACCESS_CONTROL_MAX_AGE)
    {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("Content-Type"));
    } else if crosses && !preflight && headers.contains_key(header::ACCESS_CONTROL_ALLOW_ORIGIN) {
        let exposed = HeaderValue::from_static("Credential-Expires-In, Retry-After, Warning");
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, exposed);
    }
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;
    use actix_web::{HttpResponse, HttpResponseBuilder};

    use super::*;
    use crate::http::page::{Page, visitor};

    fn through(response: HttpResponse) -> ServiceResponse<BoxBody> {
        in_envelope(ServiceResponse::new(TestRequest::default().to_http_request(), response))
    }

    #[test]
    fn a_refusal_on_a_page_stays_a_page_and_any_other_is_put_into_the_envelope() {
        let page = through(visitor(&TestRequest::default().to_http_request(), Page::Taken { site: "a" }));
        let content_type = |response: &ServiceResponse<BoxBody>| response.headers().get(header::CONTENT_TYPE).cloned();
        assert_eq!(content_type(&page), Some(HeaderValue::from_static("text/html; charset=utf-8")));
        for html in ["text/html; charset=utf-8", "text/html", "text/plain; charset=utf-8"] {
            let foreign = HttpResponseBuilder::new(StatusCode::BAD_REQUEST).content_type(html).body("<h1>Bad</h1>");
            assert_eq!(content_type(&through(foreign)), Some(PROBLEM_JSON), "{html}");
        }
    }
}
