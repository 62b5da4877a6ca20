//! The id of a request, which connects a log line with the page that a visitor sees.

use actix_web::http::header::HeaderName;
use actix_web::{HttpMessage, HttpRequest};

pub(super) const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A proxy's id is used up to this many bytes.
const MAX_LEN: usize = 64;

/// The proxy's `X-Request-Id`, or a random id that stays the same for this request.
pub(super) fn request_id(request: &HttpRequest) -> String {
    let given = request
        .headers()
        .get(X_REQUEST_ID)
        .and_then(|id| id.to_str().ok())
        .filter(|id| id.len() <= MAX_LEN);
    let own = || {
        request
            .extensions_mut()
            .get_or_insert_with(|| RequestId(format!("{:016x}", rand::random::<u64>())))
            .0
            .clone()
    };
    given.map_or_else(own, str::to_owned)
}

/// The span of a request that waits. Log lines of work that it starts carry its id.
pub(super) fn request_span(request: &HttpRequest) -> tracing::Span {
    tracing::info_span!("request", request_id = request_id(request))
}

struct RequestId(String);

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_request_keeps_its_id() {
        let own = TestRequest::default().to_http_request();
        assert_eq!(
            (request_id(&own), request_id(&own).len()),
            (request_id(&own), 16)
        );
        let named = |id: &str| {
            TestRequest::default()
                .insert_header((X_REQUEST_ID, id))
                .to_http_request()
        };
        assert_eq!(request_id(&named("r-1")), "r-1");
        assert_eq!(request_id(&named(&"r".repeat(65))).len(), 16);
    }
}
