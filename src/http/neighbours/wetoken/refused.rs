//! Errors in wetoken's form: status 200, and as `errcode` 403 for a caller that is refused, else
//! 400.

use actix_web::HttpResponse;
use actix_web::http::{StatusCode, header};

use crate::http::error::ApiError;
use crate::http::json_response::json_response;
use crate::http::marks::Shaped;
use crate::http::neighbours::caller_check::Refusal;
use crate::registry::{CodeError, CreateError};

/// A refusal; its `Display` is the errmsg.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refused {
    #[error("{}", .0.message("wetoken"))]
    Caller(Refusal),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is given more than once")]
    Repeated(&'static str),
    #[error("the body is no JSON object; send one such as {{\"appid\": \"wx…\"}}, or a form")]
    NoObject,
    #[error("{0} must be a text")]
    NoText(String),
    #[error("no unexpired credential is cached; call token/get or ticket/get to fetch one")]
    NothingStored,
    #[error("HEAD does nothing here; send GET or POST")]
    Head,
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error("{}", code_error(.0))]
    Code(#[from] CodeError),
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// A token's failure is described as on every other route.
fn code_error(error: &CodeError) -> String {
    match error {
        CodeError::Keeper(error) => ApiError::from(error.clone()).to_string(),
        other => other.to_string(),
    }
}

impl Refused {
    /// The code and the status for the log, which are those that other routes would send.
    fn code(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Caller(_) => ("not_let_in", StatusCode::FORBIDDEN),
            Self::Api(error) => error.code(),
            Self::Code(CodeError::Keeper(error)) => ApiError::from(error.clone()).code(),
            Self::Create(CreateError::Store(_)) | Self::Code(CodeError::Store(_)) => {
                ("store_unavailable", StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::Create(CreateError::Lost) | Self::Code(CodeError::Lost) => {
                ("internal_error", StatusCode::INTERNAL_SERVER_ERROR)
            }
            _ => ("malformed_query", StatusCode::BAD_REQUEST),
        }
    }

    pub(super) fn into_response(self) -> HttpResponse {
        let errcode = if matches!(self, Self::Caller(_)) {
            403
        } else {
            400
        };
        // Assembled by hand for the order of its members.
        let body = format!(
            r#"{{"errcode":{errcode},"errmsg":{}}}"#,
            serde_json::Value::from(self.to_string())
        );
        let mut response = json(body);
        response.extensions_mut().insert(Shaped {
            error: Some(self.code()),
        });
        if let Self::Api(error) = self
            && let Some(Ok(pause)) = error.retry_after_seconds().map(|pause| pause.parse())
        {
            response.headers_mut().insert(header::RETRY_AFTER, pause);
        }
        response
    }
}

/// A JSON answer with status 200.
pub(super) fn json(body: String) -> HttpResponse {
    json_response(StatusCode::OK, body)
}
