//! `GET /ping`: alive, and what time it is here.

use actix_web::http::header;
use actix_web::{HttpResponse, web};

use super::JSON;
use super::state::AppState;

/// `{"pong": <unix ms>}`.
pub(super) async fn get(state: web::Data<AppState>) -> HttpResponse {
    let body = format!("{{\"pong\":{}}}", state.clock().wall());
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, JSON))
        .insert_header((header::CACHE_CONTROL, super::NO_STORE))
        .body(body)
}
