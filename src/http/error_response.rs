//! An [`ApiError`] as an answer: problem+json (RFC 9457) and its headers.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, ResponseError};

use super::error::ApiError;
use super::headers::{NO_STORE, PROBLEM_JSON};
use super::marks::Shaped;

impl ResponseError for ApiError {
    fn status_code(&self) -> StatusCode {
        self.code().1
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        response
            .insert_header((header::CONTENT_TYPE, PROBLEM_JSON))
            .insert_header((header::CACHE_CONTROL, NO_STORE));
        if let Some(pause) = self.retry_after_seconds() {
            response.insert_header((header::RETRY_AFTER, pause));
        }
        match self {
            Self::MethodNotAllowed { allow } => {
                response.insert_header((header::ALLOW, *allow));
            }
            Self::Unauthorized | Self::RealmOver | Self::TimestampOutOfRange { .. } => {
                response.insert_header((
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static("Realm-Signature"),
                ));
            }
            _ => {}
        }
        let mut response = response.body(envelope(self));
        response.extensions_mut().insert(Shaped {
            error: Some(self.code()),
        });
        response
    }
}

/// The body: problem+json, with WeChat's own code if it refused.
fn envelope(error: &ApiError) -> String {
    let (code, status) = error.code();
    let mut envelope = serde_json::json!({
        "status": status.as_u16(),
        "title": status.canonical_reason().unwrap_or("Error"),
        "detail": error.to_string(),
        "code": code,
    });
    if let Some((code, message)) = error.refusal() {
        envelope["errcode"] = code.0.into();
        envelope["errmsg"] = message.into();
    }
    envelope.to_string()
}
