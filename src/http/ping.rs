//! `GET /ping`: a health check that returns the server's time.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;

use super::error::ApiError;
use super::json_response::json_response;
use super::route::{Call, Route};

pub(super) const ROUTES: &[Route] = &[Route::get("/ping", |call| Box::pin(get(call)))];

/// `{"pong": <Unix time in ms>}`.
pub(super) async fn get(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let body = format!("{{\"pong\":{}}}", call.state.clock().wall());
    Ok(json_response(StatusCode::OK, body))
}
