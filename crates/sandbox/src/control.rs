//! The `/sandbox/...` routes, by which a test in any language, or a person with curl, controls the
//! sandbox. They are not part of WeChat: they are not counted, and faults do not affect them.
//! Mistakes are answered with 400 and what is accepted.

use std::time::Duration;

use actix_web::web::{self, Bytes, Data, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use url::Host;

use super::Sandbox;
use super::fault::Fault;
use super::paths::paths;
use super::probe::parameter;
use super::state_report::state_report;
use super::visit::visit;
use super::world::{TokenKind, World};

/// New rules for a running sandbox. An absent field does not change its rule.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tuning {
    /// Lifetime of new tokens and tickets, in seconds.
    pub lifetime: Option<u32>,
    /// How long an old token stays valid beside its successor, in seconds. By default a
    /// twenty-fourth of `lifetime`, as at WeChat.
    pub overlap: Option<u32>,
    /// Tokens a day from `/cgi-bin/token`.
    pub daily_quota: Option<u32>,
    /// Whether a repeated fetch returns the same ticket until its last five minutes.
    pub ticket_reuse: Option<bool>,
    /// Whether `snsapi_base` is granted without the authorize page, as at WeChat, to the first
    /// sample visitor, 小明. By default the page is shown, so that a person can choose the visitor.
    pub silent: Option<bool>,
    /// Sandbox seconds per real second, 1 to 3600. All durations shrink for the client, including
    /// `expires_in`.
    pub time_scale: Option<u32>,
}

impl Tuning {
    pub(super) fn apply(self, world: &mut World) {
        if let Some(seconds) = self.lifetime {
            world.lifetime = Duration::from_secs(seconds.into());
        }
        if let Some(seconds) = self.overlap {
            world.overlap = Some(Duration::from_secs(seconds.into()));
        }
        world.daily_quota = self.daily_quota.unwrap_or(world.daily_quota);
        world.ticket_reuse = self.ticket_reuse.unwrap_or(world.ticket_reuse);
        world.silent = self.silent.unwrap_or(world.silent);
        if let Some(scale) = self.time_scale {
            world.time.set_scale(scale);
        }
    }

    fn check(&self) -> Result<(), String> {
        if self
            .lifetime
            .is_some_and(|seconds| !(1..=7200).contains(&seconds))
        {
            return Err("lifetime: expected 1 to 7200 seconds".to_owned());
        }
        if self.overlap.is_some_and(|seconds| seconds > 7200) {
            return Err("overlap: expected 0 to 7200 seconds".to_owned());
        }
        if self
            .time_scale
            .is_some_and(|scale| !(1..=3600).contains(&scale))
        {
            return Err("time_scale: expected 1 to 3600".to_owned());
        }
        Ok(())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    seconds: u32,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Void {
    appid: String,
    what: What,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum What {
    Token,
    Stable,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewAccount {
    appid: String,
    secret: String,
    /// Empty means any host.
    oauth_domain: Option<String>,
    bound: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewVisitor {
    appid: String,
    visitor: String,
    follows: Option<bool>,
}

/// The answer to an unknown address.
const HELP: &str = "GET /sandbox/state, GET /sandbox/messages, GET /sandbox/calls, POST /sandbox/faults, DELETE /sandbox/faults, POST /sandbox/advance, POST /sandbox/void, \
                    POST /sandbox/accounts, POST /sandbox/visitors, POST /sandbox/visit, POST /sandbox/tuning, POST /sandbox/reset";

/// Registers the routes.
pub(super) fn routes(config: &mut ServiceConfig) {
    config
        .route("/sandbox/state", web::get().to(state))
        .route("/sandbox/messages", web::get().to(messages))
        .route("/sandbox/calls", web::get().to(calls))
        .route("/sandbox/faults", web::post().to(add_fault))
        .route("/sandbox/faults", web::delete().to(clear_faults))
        .route("/sandbox/advance", web::post().to(advance))
        .route("/sandbox/void", web::post().to(void))
        .route("/sandbox/accounts", web::post().to(add_account))
        .route("/sandbox/visitors", web::post().to(add_visitor))
        .route("/sandbox/visit", web::post().to(visit))
        .route("/sandbox/tuning", web::post().to(tune))
        .route("/sandbox/reset", web::post().to(reset));
}

/// Answers an unknown address under `/sandbox`.
pub(super) fn unknown(request: &HttpRequest) -> HttpResponse {
    let error = format!(
        "no {} {}; accepted: {HELP}",
        request.method(),
        request.path()
    );
    HttpResponse::NotFound().json(json!({"error": error}))
}

async fn state(sandbox: Data<Sandbox>) -> HttpResponse {
    HttpResponse::Ok().json(state_report(&sandbox.state()))
}

async fn messages(sandbox: Data<Sandbox>, request: HttpRequest) -> HttpResponse {
    let app_id = parameter(&request, "appid");
    let known = sandbox.state().world.account_mut(&app_id).map(|_| ());
    if let Err(error) = known {
        return obey(Err(format!(
            "{error}; expected /sandbox/messages?appid=wx..."
        )));
    }
    HttpResponse::Ok().json(json!({"messages": sandbox.sent(&app_id)}))
}

/// Returns the last calls, at one path or at all.
async fn calls(sandbox: Data<Sandbox>, request: HttpRequest) -> HttpResponse {
    let arrivals = sandbox.arrivals(&parameter(&request, "path"));
    let calls: Vec<_> = arrivals
        .iter()
        .map(|call| {
            let body = call.body.as_ref().and_then(|body| std::str::from_utf8(body).ok());
            json!({
                "method": call.method, "target": call.target, "headers": call.headers, "length": call.length, "sha256": call.sha256,
                "body": body, "whole": call.whole,
            })
        })
        .collect();
    HttpResponse::Ok().json(json!({"calls": calls}))
}

async fn add_fault(sandbox: Data<Sandbox>, body: Bytes) -> HttpResponse {
    let example = r#"{"path":"/cgi-bin/token","appid":"wx...","times":3,"fault":{"errcode":-1,"errmsg":"system error"}}"#;
    obey(
        parse(&body, example)
            .and_then(|fault: Fault| fault.check(&paths()).map(|()| sandbox.fault(fault))),
    )
}

async fn clear_faults(sandbox: Data<Sandbox>) -> HttpResponse {
    sandbox.clear_faults();
    obey(Ok(()))
}

async fn advance(sandbox: Data<Sandbox>, body: Bytes) -> HttpResponse {
    obey(
        parse(&body, r#"{"seconds":300}"#)
            .map(|order: Advance| sandbox.advance(Duration::from_secs(order.seconds.into()))),
    )
}

async fn void(sandbox: Data<Sandbox>, body: Bytes) -> HttpResponse {
    obey(
        parse(
            &body,
            r#"{"appid":"wx...","what":"token"} or {"appid":"wx...","what":"stable"}"#,
        )
        .and_then(|order: Void| {
            let kind = match order.what {
                What::Token => TokenKind::Basic,
                What::Stable => TokenKind::Stable,
            };
            let voided = sandbox.state().world.void(&order.appid, kind);
            if voided {
                Ok(())
            } else {
                Err(format!(
                    "account {:?} has no current token of this kind; see GET /sandbox/state",
                    order.appid
                ))
            }
        }),
    )
}

async fn add_account(sandbox: Data<Sandbox>, body: Bytes) -> HttpResponse {
    let example = r#"{"appid":"wx...","secret":"...","oauth_domain":"www.example.com","bound":true}, the last two optional"#;
    obey(parse(&body, example).and_then(|account: NewAccount| {
        if account.appid.is_empty() || account.secret.is_empty() {
            return Err("appid and secret: must not be empty".to_owned());
        }
        let NewAccount {
            appid,
            secret,
            oauth_domain,
            bound,
        } = account;
        let domain = oauth_domain.map(|domain| host(&domain)).transpose()?;
        let world = &mut sandbox.state().world;
        world.add_account(&appid, &secret);
        let account = world.account_mut(&appid)?;
        account.bound = bound.unwrap_or(account.bound);
        if let Some(domain) = domain {
            account.oauth_domain = domain;
        }
        Ok(())
    }))
}

async fn add_visitor(sandbox: Data<Sandbox>, body: Bytes) -> HttpResponse {
    let known = parse(
        &body,
        r#"{"appid":"wx...","visitor":"Alice","follows":true}, the last optional"#,
    )
    .and_then(|order: NewVisitor| sandbox.introduce(&order.appid, &order.visitor, order.follows));
    match known {
        Ok(openid) => HttpResponse::Ok().json(json!({"openid": openid})),
        Err(error) => HttpResponse::BadRequest().json(json!({"error": error})),
    }
}

async fn tune(sandbox: Data<Sandbox>, body: Bytes) -> HttpResponse {
    let example = r#"{"lifetime":120,"overlap":10,"daily_quota":5,"ticket_reuse":false,"silent":true,"time_scale":60}, each of them optional"#;
    obey(
        parse(&body, example)
            .and_then(|tuning: Tuning| tuning.check().map(|()| sandbox.tune(tuning))),
    )
}

async fn reset(sandbox: Data<Sandbox>) -> HttpResponse {
    sandbox.reset();
    obey(Ok(()))
}

/// Parses an OAuth domain as WeChat registers it: a host without scheme, port and path. `None` if
/// empty.
pub(super) fn host(text: &str) -> Result<Option<Host>, String> {
    let wrong =
        |error| format!("oauth_domain: {error}; expected a host name, such as www.example.com");
    if text.is_empty() {
        Ok(None)
    } else {
        Host::parse(text).map(Some).map_err(wrong)
    }
}

/// Parses a body. An error names the position of the mistake and a valid example.
fn parse<T: DeserializeOwned>(body: &[u8], example: &str) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("{error}; expected {example}"))
}

fn obey(result: Result<(), String>) -> HttpResponse {
    match result {
        Ok(()) => HttpResponse::Ok().json(json!({"ok": true})),
        Err(error) => HttpResponse::BadRequest().json(json!({"error": error})),
    }
}
