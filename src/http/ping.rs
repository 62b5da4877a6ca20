//! `GET /ping`: a health check that returns the server's time.

use actix_web::HttpResponse;
use actix_web::http::header;

use super::error::ApiError;
use super::headers::{JSON, NO_STORE};
use super::route::{Call, Route};

pub(super) const ROUTES: &[Route] = &[Route::get("/ping", |call| Box::pin(get(call)))];

/// `{"pong": <Unix time in ms>}`.
pub(super) async fn get(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let body = format!("{{\"pong\":{}}}", call.state.clock().wall());
    let mut response = HttpResponse::Ok();
    Ok(response
        .insert_header((header::CONTENT_TYPE, JSON))
        .insert_header((header::CACHE_CONTROL, NO_STORE))
        .body(body))
}
