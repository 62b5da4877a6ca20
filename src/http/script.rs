//! `GET /jsdkd.js`: the browser's half, compiled in so that it always fits the server it comes from.

use actix_web::HttpResponse;
use actix_web::http::header;

const SCRIPT: &str = include_str!("../../static/jsdkd.js");

/// The helper. An hour of caching: a page asks for it at every visit.
pub(super) async fn get() -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, "text/javascript; charset=utf-8"))
        .insert_header((header::CACHE_CONTROL, "public, max-age=3600"))
        .body(SCRIPT)
}
