//! The demo's page, which fetches a `wx.config`, shows every step of its signature and logs its reader in, and what only a demo tells
//! it. Served by `jsdkd demo` alone, whose account is a sandbox's: the ticket shown here opens nothing.

use std::net::SocketAddr;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::ExposeSecret;

use super::error::ApiError;
use super::oauth;
use super::params::Params;
use super::state::{AppState, Demo, LocalAddress};
use super::{GET, JSON, NO_STORE, RouteEntry, entry, read};
use crate::realm::presets::{CALLBACK_IP, TOKEN};
use clock::UnixMillis;
use wechat::credential::CredentialKind;
use wechat::signature;

const PAGE: &str = include_str!("../../static/demo.html");
const SCRIPT: &str = include_str!("../../static/demo.js");
const LOGIN_SCRIPT: &str = include_str!("../../static/demo-login.js");
const STYLE: &str = include_str!("../../static/demo.css");

/// The demo's own routes.
pub(super) fn route_table() -> Vec<RouteEntry> {
    vec![
        entry("/", GET, |route| route.route(read().to(home))),
        entry("/demo.html", GET, |route| route.route(read().to(|| asset(PAGE, "text/html; charset=utf-8")))),
        entry("/demo.js", GET, |route| route.route(read().to(|| asset(SCRIPT, "text/javascript; charset=utf-8")))),
        entry("/demo-login.js", GET, |route| route.route(read().to(|| asset(LOGIN_SCRIPT, "text/javascript; charset=utf-8")))),
        entry("/demo.css", GET, |route| route.route(read().to(|| asset(STYLE, "text/css; charset=utf-8")))),
        entry("/demo/ticket", GET, |route| route.route(read().to(ticket))),
        entry("/demo/user", GET, |route| route.route(read().to(user))),
    ]
}

async fn home() -> HttpResponse {
    HttpResponse::Found().insert_header((header::LOCATION, "/demo.html")).finish()
}

async fn asset(text: &'static str, content_type: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, content_type))
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'self'"))
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        .body(text)
}

/// The ticket that the next config will be signed with, so that the page can compute the signature itself.
async fn ticket(state: web::Data<AppState>, req: HttpRequest) -> Result<HttpResponse, ApiError> {
    let demo = state.options.demo.as_ref().ok_or(ApiError::NotFound)?;
    let holding = state.keeper.holding(&demo.app_id).ok_or(ApiError::UnknownApp)?;
    let ticket = holding.credential(CredentialKind::JsapiTicket).get().await?;
    // As the browser called us: forwarded headers count for nothing here, since a demo stands behind no proxy.
    let port = req.app_data::<LocalAddress>().map_or(80, |local| local.0.port());
    let host = req.headers().get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("localhost");
    let server = format!("http://{host}");
    let answer = serde_json::json!({
        "ticket": ticket.value().expose_secret(),
        "appid": demo.app_id,
        "sandbox": demo.sandbox,
        "phone": demo.phone.map(|ip| format!("http://{}", SocketAddr::new(ip, port))),
        "curl": demo.curl_lines(&server, state.clock().wall()),
        "virtual_secret": demo.virtual_secret,
    });
    let headers = ((header::CONTENT_TYPE, JSON), (header::CACHE_CONTROL, NO_STORE));
    Ok(HttpResponse::Ok().insert_header(headers.0).insert_header(headers.1).body(answer.to_string()))
}

/// Who logged in, as a site's back end would ask for them with `GET /oauth/{appid}/user`. The demo is its own site, and asks itself
/// without a signature.
async fn user(state: web::Data<AppState>, req: HttpRequest) -> Result<HttpResponse, ApiError> {
    let demo = state.options.demo.as_ref().ok_or(ApiError::NotFound)?;
    let ticket = Params::of(&req).one("ticket")?.unwrap_or_default().to_owned();
    oauth::user::behind(&state, &demo.app_id, &ticket, req.method()).await
}

impl Demo {
    /// A virtual token, and a call with one, through the gateway.
    pub fn gateway_lines(&self, server: &str) -> Vec<String> {
        let Self { app_id, virtual_secret, .. } = self;
        let token = format!("'{server}{TOKEN}?grant_type=client_credential&appid={app_id}&secret={virtual_secret}'");
        vec![format!("curl {token}"), format!("curl \"{server}{CALLBACK_IP}?access_token=$(curl -s {token} | cut -d '\"' -f 4)\"")]
    }

    /// Lines to paste into a shell: a config, a credential (its signature is good for five minutes), and a check file.
    pub fn curl_lines(&self, server: &str, now: UnixMillis) -> Vec<String> {
        let Self { app_id, realm, realm_secret, .. } = self;
        let nonce = format!("{:016x}", rand::random::<u64>());
        let ts = now.to_string();
        let pairs = [("realm", realm.as_str()), ("nonce", nonce.as_str()), ("ts", ts.as_str()), ("key", "token")];
        let query = signature::canonical_query(pairs);
        let path = format!("/jsapi/{app_id}/query");
        let sign = signature::realm_v2(realm_secret, "GET", &path, &query, b"").text();
        vec![
            format!(
                "curl -X POST {server}/jsapi/{app_id}/config -H 'Content-Type: application/json' -d '{{\"url\":\"https://example.com/\",\"jsApiList\":[\"chooseImage\"]}}'"
            ),
            format!("curl '{server}{path}?{query}&sign={sign}'"),
            format!("curl {server}/MP_verify_dBGMo51NUVEVlQo5.txt"),
            format!("curl {server}/ping"),
        ]
    }
}
