//! Why wetoken's callers get nothing, in its own shape: status 200, 400 as the errcode whatever it was, 403 for those outside.

use actix_web::http::{StatusCode, header};
use actix_web::{HttpResponse, ResponseError};
use serde_json::json;

use super::super::caller_check::Outside;
use crate::http::error::ApiError;
use crate::registry::{CodeError, CreateError};

/// A refusal; its `Display` is the errmsg.
#[derive(Debug, thiserror::Error)]
pub(in crate::http) enum Refused {
    #[error("{}", .0.message("wetoken"))]
    Outside(Outside),
    #[error("{0} is missing")]
    Missing(&'static str),
    #[error("{0} is given more than once")]
    Repeated(&'static str),
    #[error("the body is no JSON object; send one such as {{\"appid\": \"wx…\"}}, or a form")]
    NoObject,
    #[error("{0} must be a text")]
    NoText(String),
    #[error("nothing that still lives is stored; ask at token/get or ticket/get, which fetch it")]
    NothingStored,
    #[error("HEAD only looks, and nothing was done; send GET or POST")]
    OnlyLooks,
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error("{}", code_error(.0))]
    Code(#[from] CodeError),
    #[error(transparent)]
    Api(#[from] ApiError),
}

/// What befalls a token is told here as everywhere.
fn code_error(error: &CodeError) -> String {
    match error {
        CodeError::Keeper(error) => ApiError::from(error.clone()).to_string(),
        other => other.to_string(),
    }
}

impl Refused {
    /// What the log calls it: the code and the status that it would have elsewhere.
    pub(in crate::http) fn code(&self) -> (&'static str, StatusCode) {
        match self {
            Self::Outside(_) => ("not_let_in", StatusCode::FORBIDDEN),
            Self::Api(error) => error.code(),
            Self::Code(CodeError::Keeper(error)) => ApiError::from(error.clone()).code(),
            Self::Create(CreateError::Store(_)) | Self::Code(CodeError::Store(_)) => {
                ("store_unavailable", StatusCode::SERVICE_UNAVAILABLE)
            }
            Self::Create(CreateError::Lost) | Self::Code(CodeError::Lost) => ("internal_error", StatusCode::INTERNAL_SERVER_ERROR),
            _ => ("malformed_query", StatusCode::BAD_REQUEST),
        }
    }
}

impl ResponseError for Refused {
    fn status_code(&self) -> StatusCode {
        StatusCode::OK
    }

    fn error_response(&self) -> HttpResponse {
        let errcode = if matches!(self, Self::Outside(_)) { 403 } else { 400 };
        // Written by hand for the order of its members.
        let body = format!(r#"{{"errcode":{errcode},"errmsg":{}}}"#, json!(self.to_string()));
        let mut response = super::json(body);
        if let Self::Api(error) = self
            && let Some(Ok(pause)) = error.retry_after_seconds().map(|pause| pause.parse())
        {
            response.headers_mut().insert(header::RETRY_AFTER, pause);
        }
        response
    }
}
