//! Redeems the one-time ticket that a visitor brought to the site.

use actix_web::HttpResponse;
use actix_web::http::{Method, header};

use crate::http::error::ApiError;
use crate::http::headers::{JSON, NO_STORE};
use crate::http::route::Call;

/// The user who logged in with `ticket`. The caller has checked who asks.
pub(in crate::http) async fn redeem(
    call: &Call<'_>,
    app_id: &str,
    ticket: &str,
) -> Result<HttpResponse, ApiError> {
    let logins = &call.state.logins;
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, JSON))
        .insert_header((header::CACHE_CONTROL, NO_STORE));
    if *call.req.method() == Method::HEAD {
        // HEAD does not use the ticket up.
        return if logins.is_redeemable(app_id, ticket).await? {
            Ok(response.finish())
        } else {
            Err(ApiError::UnknownTicket)
        };
    }
    let user = logins
        .redeem(app_id, ticket)
        .await?
        .ok_or(ApiError::UnknownTicket)?;
    Ok(response.body(serde_json::Value::Object(user).to_string()))
}
