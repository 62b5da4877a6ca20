//! `GET /cgi-bin/ticket/getticket`: request and answer.

use actix_web::http::Method;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::Sandbox;
use super::exchange::answer;
use super::probe::{owner, parameter};
use super::refusal::Refusal;
use super::world::TicketKind;

pub(super) const PATH: &str = "/cgi-bin/ticket/getticket";

pub(super) async fn ticket(sandbox: Data<Sandbox>, request: HttpRequest) -> HttpResponse {
    let token = parameter(&request, "access_token");
    let kind = parameter(&request, "type");
    answer(&sandbox, &request, &owner(&sandbox, &token), |world| {
        if request.method() != Method::GET {
            return Err(Refusal::GET_ONLY);
        }
        world.admit(&token)?;
        let kind = match kind.as_str() {
            "jsapi" => TicketKind::Jsapi,
            "wx_card" => TicketKind::Card,
            _ => return Err(Refusal::BAD_ARGUMENT),
        };
        let grant = world.ticket(&token, kind)?;
        // Unlike a token, a ticket is sent with an `errcode` of 0.
        Ok(json!({"errcode": 0, "errmsg": "ok", "ticket": grant.value, "expires_in": grant.expires_in}))
    })
    .await
}
