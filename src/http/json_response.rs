//! The response that most routes send.

use actix_web::HttpResponse;
use actix_web::body::BoxBody;
use actix_web::http::{StatusCode, header};

use super::headers::{JSON, NO_STORE};

/// A JSON body that no cache stores.
pub(super) fn json_response(status: StatusCode, body: String) -> HttpResponse {
    let mut response = HttpResponse::with_body(status, BoxBody::new(body));
    let headers = response.headers_mut();
    // There are no others yet, and `insert` would spend a third more on what it replaces.
    headers.append(header::CONTENT_TYPE, JSON);
    headers.append(header::CACHE_CONTROL, NO_STORE);
    response
}
