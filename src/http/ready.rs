//! `GET /ready`: whether a load balancer should send requests here. 200 if the store answers and
//! every account that is in use or kept always has a valid token, else 503 with the reasons.

use actix_web::http::header;
use actix_web::{HttpMessage, HttpResponse};
use serde_json::json;

use super::error::ApiError;
use super::headers::{JSON, NO_STORE};
use super::marks::{AlreadyLogged, Shaped};
use super::route::{Call, Pages, Route};

pub(super) const ROUTES: &[Route] =
    &[Route::get("/ready", |call| Box::pin(get(call))).pages(Pages::None)];

/// The name under which requests wait for the store.
const ASKING: &str = "readiness";

/// `{"ready":true}`, or 503 and `{"ready":false,"reasons":[…]}`.
pub(super) async fn get(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let (state, head) = (call.state, call.req.head());
    let asking = state.options.status.readiness();
    let limited = state
        .concurrency
        .limit_if_pending(ASKING, || state.network(head), asking);
    let readiness = limited.await?;
    let mut response = if readiness.reasons.is_empty() {
        HttpResponse::Ok()
    } else {
        // A probe asks every few seconds; what is wrong is in the log already.
        call.req.extensions_mut().insert(AlreadyLogged);
        HttpResponse::ServiceUnavailable()
    };
    response
        .insert_header((header::CONTENT_TYPE, JSON))
        .insert_header((header::CACHE_CONTROL, NO_STORE));
    let body = match &readiness.reasons[..] {
        [] => json!({ "ready": true }),
        reasons => json!({ "ready": false, "reasons": reasons }),
    };
    let mut response = response.body(body.to_string());
    response.extensions_mut().insert(Shaped { error: None });
    Ok(response)
}
