//! `GET /cgi-bin/token` and `POST /cgi-bin/stable_token`: requests and answers.

use actix_web::http::Method;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Sandbox;
use super::exchange::answer;
use super::refusal::Refusal;
use super::world::Grant;

pub(super) const BASIC: &str = "/cgi-bin/token";
pub(super) const STABLE: &str = "/cgi-bin/stable_token";

/// The parameters of both endpoints, in the query of one and the body of the other.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Demand {
    grant_type: String,
    appid: String,
    secret: String,
    force_refresh: bool,
}

pub(super) async fn basic(sandbox: Data<Sandbox>, request: HttpRequest) -> HttpResponse {
    let demand = Demand::from_query(request.query_string());
    answer(&sandbox, &request, &demand.appid, |world| {
        if request.method() != Method::GET {
            return Err(Refusal::GET_ONLY);
        }
        demand.check()?;
        world
            .basic_token(&demand.appid, &demand.secret)
            .map(granted)
    })
    .await
}

pub(super) async fn stable(
    sandbox: Data<Sandbox>,
    request: HttpRequest,
    body: Result<Bytes, actix_web::Error>,
) -> HttpResponse {
    // A body that is too large is refused like one that is not JSON.
    let demand = body
        .map_err(|_| Refusal::BAD_BODY)
        .and_then(|body| Demand::from_body(&body));
    let app_id = demand.as_ref().map_or("", |demand| &demand.appid);
    answer(&sandbox, &request, app_id, |world| {
        if request.method() != Method::POST {
            return Err(Refusal::POST_ONLY);
        }
        let demand = demand.as_ref().map_err(Clone::clone)?;
        demand.check()?;
        world
            .stable_token(&demand.appid, &demand.secret, demand.force_refresh)
            .map(granted)
    })
    .await
}

impl Demand {
    fn from_query(query: &str) -> Self {
        let mut demand = Self::default();
        for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
            match name.as_ref() {
                "grant_type" => demand.grant_type = value.into_owned(),
                "appid" => demand.appid = value.into_owned(),
                "secret" => demand.secret = value.into_owned(),
                _ => {}
            }
        }
        demand
    }

    fn from_body(body: &[u8]) -> Result<Self, Refusal> {
        if body.is_empty() {
            return Err(Refusal::EMPTY_BODY);
        }
        serde_json::from_slice(body).map_err(|_| Refusal::BAD_BODY)
    }

    fn check(&self) -> Result<(), Refusal> {
        if self.appid.is_empty() {
            Err(Refusal::NO_APPID)
        } else if self.secret.is_empty() {
            Err(Refusal::NO_SECRET)
        } else if self.grant_type != "client_credential" {
            Err(Refusal::BAD_GRANT_TYPE)
        } else {
            Ok(())
        }
    }
}

/// A successful answer has no `errcode` here.
fn granted(grant: Grant) -> Value {
    json!({"access_token": grant.value, "expires_in": grant.expires_in})
}
