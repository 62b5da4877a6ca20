//! `GET /oauth/{appid}/user`: the user behind a one-time ticket, for a back end that signs with a realm's secret.

use actix_web::http::{Method, header};
use actix_web::{HttpResponse, web};

use crate::http::error::ApiError;
use crate::http::extract::SignedForAccount;
use crate::http::state::AppState;
use crate::http::{JSON, NO_STORE};

pub(in crate::http) async fn get(signed: SignedForAccount, state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    let SignedForAccount { holding, query, method } = signed;
    let _place = state.place(&holding)?;
    behind(&state, holding.account.app_id.as_str(), query.get("ticket").unwrap_or_default(), &method).await
}

/// The user behind `ticket`, for somebody who may know.
pub(in crate::http) async fn behind(
    state: &AppState,
    app_id: &str,
    ticket: &str,
    method: &Method,
) -> Result<HttpResponse, ApiError> {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, JSON)).insert_header((header::CACHE_CONTROL, NO_STORE));
    if *method == Method::HEAD {
        // A look does not redeem.
        return if state.logins.is_redeemable(app_id, ticket).await? {
            Ok(response.finish())
        } else {
            Err(ApiError::UnknownTicket)
        };
    }
    let user = state.logins.redeem(app_id, ticket).await?.ok_or(ApiError::UnknownTicket)?;
    Ok(response.body(serde_json::Value::Object(user).to_string()))
}
