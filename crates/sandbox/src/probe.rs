//! `GET /cgi-bin/getcallbackip`, the cheapest call to check a token; and helpers for all calls with
//! a token.

use actix_web::http::Method;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::Sandbox;
use super::exchange::answer;
use super::refusal::Refusal;

pub(super) const PATH: &str = "/cgi-bin/getcallbackip";

pub(super) async fn callback_ip(sandbox: Data<Sandbox>, request: HttpRequest) -> HttpResponse {
    let token = parameter(&request, "access_token");
    answer(&sandbox, &request, &owner(&sandbox, &token), |world| {
        if request.method() != Method::GET {
            return Err(Refusal::GET_ONLY);
        }
        world.admit(&token)?;
        // Addresses from the ranges reserved for documentation.
        Ok(json!({"ip_list": ["192.0.2.10", "198.51.100.0/25"]}))
    })
    .await
}

/// A query parameter; empty if absent, which WeChat treats alike.
pub(super) fn parameter(request: &HttpRequest, wanted: &str) -> String {
    let mut pairs = url::form_urlencoded::parse(request.query_string().as_bytes());
    pairs
        .find(|(name, _)| name == wanted)
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default()
}

/// The account that a token was issued to; empty for an unknown token.
pub(super) fn owner(sandbox: &Sandbox, token: &str) -> String {
    sandbox
        .state()
        .world
        .owner(token)
        .unwrap_or_default()
        .to_owned()
}
