//! WeCom's (企业微信) token and tickets. The appid is the corpid, the secret the corpsecret. Unlike
//! WeChat's, a repeated request returns the same token until it expires, and every answer has an
//! `errcode`. Source: 企业微信, 获取access_token.

use actix_web::http::Method;
use actix_web::web::Data;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::json;

use super::Sandbox;
use super::exchange::answer;
use super::probe::{owner, parameter};
use super::refusal::Refusal;
use super::world::TicketKind;

pub(super) const TOKEN: &str = "/cgi-bin/gettoken";
pub(super) const TICKET: &str = "/cgi-bin/get_jsapi_ticket";
pub(super) const AGENT_TICKET: &str = "/cgi-bin/ticket/get";

pub(super) async fn token(sandbox: Data<Sandbox>, request: HttpRequest) -> HttpResponse {
    let (corp, secret) = (
        parameter(&request, "corpid"),
        parameter(&request, "corpsecret"),
    );
    answer(&sandbox, &request, &corp, |world| {
        if request.method() != Method::GET {
            return Err(Refusal::GET_ONLY);
        }
        // WeCom has one code for a wrong secret and for an invalid token.
        let in_its_words = |refusal| if refusal == Refusal::WRONG_SECRET { Refusal::BAD_CREDENTIAL } else { refusal };
        let grant = world.stable_token(&corp, &secret, false).map_err(in_its_words)?;
        Ok(json!({"errcode": 0, "errmsg": "ok", "access_token": grant.value, "expires_in": grant.expires_in}))
    })
    .await
}

/// The ticket of the whole company, or of one application with `type=agent_config`.
pub(super) async fn ticket(sandbox: Data<Sandbox>, request: HttpRequest) -> HttpResponse {
    let token = parameter(&request, "access_token");
    answer(&sandbox, &request, &owner(&sandbox, &token), |world| {
        if request.method() != Method::GET {
            return Err(Refusal::GET_ONLY);
        }
        world.admit(&token)?;
        let kind = match (request.path(), parameter(&request, "type").as_str()) {
            (TICKET, _) => TicketKind::Jsapi,
            (_, "agent_config") => TicketKind::Agent,
            _ => return Err(Refusal::BAD_ARGUMENT),
        };
        let grant = world.ticket(&token, kind)?;
        Ok(json!({"errcode": 0, "errmsg": "ok", "ticket": grant.value, "expires_in": grant.expires_in}))
    })
    .await
}
