//! Header names and values that several routes send.

use actix_web::http::header::{HeaderName, HeaderValue};

pub(super) const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
pub(super) const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
pub(super) const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The media type of our error envelope, RFC 9457.
pub(super) const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// Seconds until the credential in the body expires.
pub(super) const CREDENTIAL_EXPIRES_IN: HeaderName =
    HeaderName::from_static("credential-expires-in");

/// The value for a number. It allocates once; `HeaderValue::from` allocates twice.
pub(super) fn number(number: u64) -> HeaderValue {
    HeaderValue::from_str(itoa::Buffer::new().format(number)).expect("digits are visible ASCII")
}
