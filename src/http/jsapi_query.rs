//! `GET /jsapi/{appid}/query`: a credential for a caller that signs as a realm.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use secrecy::ExposeSecret;
use serde::Serialize;

use super::error::ApiError;
use super::headers::{CREDENTIAL_EXPIRES_IN, number};
use super::json_response::json_response;
use super::route::{Call, Route};
use super::signed_request::CredentialQuery;

pub(super) const ROUTES: &[Route] =
    &[Route::get("/jsapi/{appid}/query", |call| Box::pin(get(call))).no_store()];

/// The credential. A header has the seconds until it expires.
async fn get(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let query = CredentialQuery::verify(&call).await?;
    let kind = query.kind;
    let credential = query.credential(call.state, call.req).await?;
    let json = body(kind.name(), credential.value().expose_secret())?;
    let left = credential.left(call.state.clock()).as_secs();
    let mut response = json_response(StatusCode::OK, json);
    response
        .headers_mut()
        .append(CREDENTIAL_EXPIRES_IN, number(left));
    Ok(response)
}

/// `{"key":…,"value":…}`. Clients compare the body as a whole, so nothing else may be in it.
///
/// serde_json looks at a text byte by byte, which is a twentieth of the work for a query. WeChat's
/// credentials have needed no escapes so far, and that is seen at once.
fn body(key: &str, value: &str) -> Result<String, ApiError> {
    // Folded, because a loop without an early exit compiles to a few wide instructions.
    let is_plain = value.bytes().fold(true, |is_plain, byte| {
        is_plain & (byte >= b' ') & (byte != b'"') & (byte != b'\\')
    });
    if is_plain {
        let parts = ["{\"key\":\"", key, "\",\"value\":\"", value, "\"}"];
        let mut json = String::with_capacity(parts.iter().map(|part| part.len()).sum());
        parts.iter().for_each(|part| json.push_str(part));
        return Ok(json);
    }
    serde_json::to_string(&Answer { key, value }).map_err(|_| ApiError::Internal)
}

#[derive(Serialize)]
struct Answer<'a> {
    key: &'a str,
    value: &'a str,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_written_as_serde_json_writes_it() {
        for value in [
            "",
            "58_a-B",
            "sM4AOVdWfPE4",
            "a\"b",
            "a\\b",
            "a\nb",
            "\u{7f}",
            "票",
        ] {
            let expected = serde_json::to_string(&Answer {
                key: "token",
                value,
            })
            .unwrap();
            assert_eq!(body("token", value).unwrap(), expected);
        }
    }
}
