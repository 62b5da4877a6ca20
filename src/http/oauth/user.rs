//! `GET /oauth/{appid}/user`: the user behind a one-time ticket, for a back end that signs as a
//! realm.

use actix_web::HttpResponse;

use super::redeem::redeem;
use crate::http::error::ApiError;
use crate::http::route::{Call, Route};
use crate::http::signed_request::SignedRequestFor;

pub(super) const ROUTE: Route =
    Route::get("/oauth/{appid}/user", |call| Box::pin(get(call))).words_only();

async fn get(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let SignedRequestFor { credentials, query } = SignedRequestFor::verify(&call).await?;
    let _permit = call.state.permit(&credentials)?;
    redeem(
        &call,
        credentials.account.app_id.as_str(),
        &query.get("ticket").unwrap_or_default(),
    )
    .await
}
