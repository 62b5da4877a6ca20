//! The routes of the listener `server.admin`: what operators, Prometheus and Kubernetes read. They
//! only read. The listener serves no other route, and no other listener serves these, except
//! `/ready` and `/ping`.

mod guard;

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};

use super::error::ApiError;
use super::headers::NO_STORE;
use super::route::{Call, GET, Pages, Route};
use super::{ping, ready};
use crate::status::Live;

/// All rows.
pub(super) const ROUTES: &[Route] = &[
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

/// The content type of Prometheus' text format.
const PROMETHEUS: HeaderValue =
    HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

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
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, PROMETHEUS))
        .insert_header((header::CACHE_CONTROL, NO_STORE));
    Ok(response.body(text))
}
