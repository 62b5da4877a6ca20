//! The routes of the listener `server.admin`: what operators, Prometheus and Kubernetes read. They
//! only read. The listener serves no other route, and no other listener serves these, except
//! `/ready` and `/ping`.

mod guard;
mod json;
mod page;

use actix_web::http::header::{self, HeaderValue};
use actix_web::{HttpResponse, HttpResponseBuilder};

use super::error::ApiError;
use super::headers::{JSON, NO_STORE};
use super::page::reads_chinese;
use super::route::{Call, GET, Pages, Route};
use super::{ping, ready};
use crate::status::{Live, Overview};

/// All rows.
pub(super) const ROUTES: &[Route] = &[
    Route::get("/status", |call| Box::pin(status(call))).pages(Pages::None),
    Route::get("/status.json", |call| Box::pin(status_json(call))).pages(Pages::None),
    Route::get("/status.css", |call| Box::pin(style_sheet(call))).pages(Pages::None),
    Route::get("/metrics", |call| Box::pin(metrics(call))).pages(Pages::None),
    Route::get("/ready", |call| {
        Box::pin(async {
            guard::check(&call)?;
            ready::get(call).await
        })
    })
    .pages(Pages::None),
    Route::get("/ping", |call| {
        Box::pin(async {
            guard::check(&call)?;
            ping::get(call).await
        })
    })
    .pages(Pages::None),
];

/// Answers every other path.
pub(super) static FALLBACK: Route = Route::any_method("-", GET, |call| {
    Box::pin(async move {
        guard::check(&call)?;
        Err(ApiError::NotFound)
    })
})
.pages(Pages::None);

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

const CSS: HeaderValue = HeaderValue::from_static("text/css; charset=utf-8");

/// The content type of Prometheus' text format.
const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// The page loads its style sheet and nothing else.
const CSP: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// `GET /status`, in the browser's language.
async fn status(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    guard::check(&call)?;
    let zh = is_chinese(&call);
    let html = page::html(&overview(&call), zh).map_err(|_| ApiError::Internal)?;
    let mut response = answer(HTML);
    response
        .insert_header((header::CONTENT_SECURITY_POLICY, CSP))
        .insert_header((header::CONTENT_LANGUAGE, if zh { "zh-CN" } else { "en" }))
        .insert_header((header::VARY, "Accept-Language"));
    Ok(response.body(html))
}

/// `GET /status.json`.
async fn status_json(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    guard::check(&call)?;
    let zh = is_chinese(&call);
    let object = json::object(&overview(&call), zh);
    let mut response = answer(JSON);
    response.insert_header((header::VARY, "Accept-Language"));
    Ok(response.body(object.to_string()))
}

/// `GET /status.css`.
async fn style_sheet(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    guard::check(&call)?;
    Ok(answer(CSS).body(include_str!("../../../static/status/status.css")))
}

fn overview(call: &Call<'_>) -> Overview {
    let state = call.state;
    state.options.status.overview(&state.realm_uses())
}

fn is_chinese(call: &Call<'_>) -> bool {
    reads_chinese(call.req, false)
}

/// A response that no cache keeps and no page of another origin may embed.
fn answer(content_type: HeaderValue) -> HttpResponseBuilder {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, content_type))
        .insert_header((header::CACHE_CONTROL, NO_STORE))
        .insert_header((header::CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"));
    response
}

/// `GET /metrics`.
async fn metrics(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    guard::check(&call)?;
    let state = call.state;
    let realms = state.access();
    let gateway_realms = realms
        .realms
        .iter()
        .filter(|realm| realm.gateway.is_some())
        .map(|realm| realm.key.clone());
    let live = Live {
        waiting: state.concurrency.waiting(),
        overloads: state.concurrency.refused(),
        gateway_realms: gateway_realms.collect(),
    };
    let text = state
        .options
        .status
        .metrics(live)
        .map_err(|_| ApiError::Internal)?;
    Ok(answer(PROMETHEUS).body(text))
}
