//! `GET /jsdkd.js`: the helper for web pages, compiled in so that it always matches the server.

use actix_web::HttpResponse;
use actix_web::http::header;

use super::error::ApiError;
use super::route::{Call, Route};

const SCRIPT: &str = include_str!("../../static/jsdkd.js");

pub(super) const ROUTES: &[Route] = &[Route::get("/jsdkd.js", |call| Box::pin(get(call)))];

/// The script. Pages request it at every visit, so browsers may cache it for an hour.
async fn get(_: Call<'_>) -> Result<HttpResponse, ApiError> {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, "text/javascript; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "public, max-age=3600"));
    Ok(response.body(SCRIPT))
}
