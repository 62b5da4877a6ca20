//! `GET /jsapi/{appid}/query`: a credential for a caller that signs as a realm.

use actix_web::HttpResponse;
use actix_web::http::header::{self, HeaderValue};
use secrecy::ExposeSecret;

use super::error::ApiError;
use super::headers::{CREDENTIAL_EXPIRES_IN, JSON, NO_STORE};
use super::json_text::push_escaped;
use super::route::{Call, Route};
use super::signed_request::CredentialQuery;

pub(super) const ROUTES: &[Route] = &[Route::get("/jsapi/{appid}/query", |call| Box::pin(get(call))).no_store()];

/// Answers exactly `{"key": "...", "value": "..."}`, because clients compare it as a whole. A header has the seconds until the expiry.
async fn get(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let query = CredentialQuery::verify(&call).await?;
    let kind = query.kind;
    let credential = query.credential(call.state).await?;
    let value = credential.value().expose_secret();
    let mut json = String::with_capacity(value.len() + 40);
    json.push_str("{\"key\":\"");
    json.push_str(kind.name());
    json.push_str("\",\"value\":");
    push_escaped(&mut json, value)?;
    json.push('}');
    let left = credential.left(call.state.clock()).as_secs();
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, JSON))
        .insert_header((header::CACHE_CONTROL, NO_STORE))
        .insert_header((CREDENTIAL_EXPIRES_IN, HeaderValue::from(left)));
    Ok(response.body(json))
}
