//! What a browser must hear before it lets a page of another origin read our answers: the preflight's answer, and the headers of
//! every other. Whether an origin is let in at all is for the gate to say.

use actix_web::dev::ServiceRequest;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::{HttpResponse, ResponseError};

use super::error::ApiError;
use actix_web::http::StatusCode;

/// What any route of ours answers.
const METHODS: [&str; 4] = ["GET", "HEAD", "POST", "OPTIONS"];

const METHODS_LISTED: HeaderValue = HeaderValue::from_static("GET, HEAD, POST, OPTIONS");

/// A browser remembers a preflight's answer for a day.
const PREFLIGHT_AGE: HeaderValue = HeaderValue::from_static("86400");

/// The headers of ours that a page may read beside the few that it always may.
const EXPOSED: HeaderValue = HeaderValue::from_static("Credential-Expires-In, Retry-After, Warning");

/// Whether a browser asks for permission before the request proper.
pub(super) fn is_preflight(req: &ServiceRequest) -> bool {
    req.method() == Method::OPTIONS && req.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
}

/// The answer to a preflight from an origin that is let in. Any header may be sent: we read none that could do harm.
pub(super) fn preflight(req: &ServiceRequest) -> HttpResponse {
    let asked = |name| req.headers().get(name);
    let method = asked(header::ACCESS_CONTROL_REQUEST_METHOD).and_then(|method| method.to_str().ok()).unwrap_or_default();
    if !METHODS.contains(&method) {
        return ApiError::Other(StatusCode::BAD_REQUEST).error_response();
    }
    let headers = asked(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    HttpResponse::Ok()
        .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, METHODS_LISTED))
        .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, headers.unwrap_or(HeaderValue::from_static("Content-Type"))))
        .insert_header((header::ACCESS_CONTROL_MAX_AGE, PREFLIGHT_AGE))
        .finish()
}

/// Lets the page of `origin` read the answer, an error as well as any other.
pub(super) fn open_to(origin: HeaderValue, preflight: bool, headers: &mut HeaderMap) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    if !preflight {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}
