//! The addresses of other servers, so that their clients find here what they found there: each a thin adapter over the keeper or the sources, with
//! answers and errors in that server's own shape.

use std::fmt;

use actix_web::http::StatusCode;
use actix_web::{HttpResponse, ResponseError};

use super::error::ApiError;

pub(super) mod bearer;
mod browser;
mod caller_check;
pub(super) mod hub;
mod known;
pub(super) mod tokenboy;
pub(super) mod wetoken;

pub(super) use bearer::Claims;
pub(super) use known::Known;

/// Marks an answer whose shape is another server's, so that the gate does not put it into our envelope.
pub(super) struct OwnShape;

/// An error of ours as the clients of another server expect to read it.
pub(super) struct Shaped {
    pub(super) error: ApiError,
    shape: fn(&ApiError) -> HttpResponse,
}

impl ResponseError for Shaped {
    fn status_code(&self) -> StatusCode {
        self.error_response().status()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = (self.shape)(&self.error);
        response.extensions_mut().insert(OwnShape);
        response
    }
}

impl fmt::Debug for Shaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Display for Shaped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}
