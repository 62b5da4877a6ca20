//! `GET /jsapi/{appid}/query`: a credential for a caller that signs as a realm.

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use secrecy::ExposeSecret;
use serde::Serialize;

use super::error::ApiError;
use super::headers::{CREDENTIAL_EXPIRES_IN, JSON, NO_STORE};
use super::route::{Call, Route};
use super::signed_request::CredentialQuery;

pub(super) const ROUTES: &[Route] =
    &[Route::get("/jsapi/{appid}/query", |call| Box::pin(get(call))).no_store()];

/// Clients compare the body as a whole, so nothing else may be in it.
#[derive(Serialize)]
struct Answer<'a> {
    key: &'a str,
    value: &'a str,
}

/// The credential. A header has the seconds until it expires.
async fn get(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let query = CredentialQuery::verify(&call).await?;
    let kind = query.kind;
    let credential = query.credential(call.state, call.req).await?;
    let answer = Answer {
        key: kind.name(),
        value: credential.value().expose_secret(),
    };
    let json = serde_json::to_string(&answer).map_err(|_| ApiError::Internal)?;
    let left = credential.left(call.state.clock()).as_secs();
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, JSON))
        .insert_header((header::CACHE_CONTROL, NO_STORE))
        .insert_header((CREDENTIAL_EXPIRES_IN, HeaderValue::from(left)));
    Ok(response.body(json))
}
