//! `GET /jsapi/{appid}/query`: a credential for who signed with a realm's secret.

use actix_web::http::header::{self, HeaderName, HeaderValue};
use actix_web::{HttpResponse, web};
use secrecy::ExposeSecret;

use super::error::ApiError;
use super::extract::CredentialQuery;
use super::state::AppState;
use super::{JSON, NO_STORE};

pub(super) const CREDENTIAL_EXPIRES_IN: HeaderName = HeaderName::from_static("credential-expires-in");

/// Answers exactly `{"key": "...", "value": "..."}`, since clients compare it whole; the seconds left travel in a header.
pub(super) async fn get(query: CredentialQuery, state: web::Data<AppState>) -> Result<HttpResponse, ApiError> {
    asked(query, &state).await
}

/// The answer to a proven query.
pub(super) async fn asked(query: CredentialQuery, state: &AppState) -> Result<HttpResponse, ApiError> {
    let kind = query.kind;
    let credential = query.credential(state).await?;
    let value = credential.value().expose_secret();
    let mut json = String::with_capacity(value.len() + 40);
    json.push_str("{\"key\":\"");
    json.push_str(kind.name());
    json.push_str("\",\"value\":");
    push_escaped(&mut json, value)?;
    json.push('}');
    let left = credential.left(state.clock()).as_secs();
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, JSON))
        .insert_header((header::CACHE_CONTROL, NO_STORE))
        .insert_header((CREDENTIAL_EXPIRES_IN, HeaderValue::from(left)));
    Ok(response.body(json))
}

/// Appends `value` as a JSON text. WeChat promises nothing of a value's alphabet, but all that it has ever sent is plain.
pub(super) fn push_escaped(json: &mut String, value: &str) -> Result<(), ApiError> {
    // Folded and not short-circuited, so that it compiles to a few wide instructions.
    let plain = value.bytes().fold(true, |plain, byte| plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\'));
    if plain {
        json.push('"');
        json.push_str(value);
        json.push('"');
    } else {
        json.push_str(&serde_json::to_string(value).map_err(|_| ApiError::Internal)?);
    }
    Ok(())
}
