//! The demo's pages and routes, which only `jsdkd demo` has. Its account is the sandbox's, so the
//! ticket shown here is worth nothing.

use std::net::SocketAddr;

use actix_web::HttpResponse;
use actix_web::http::header;
use secrecy::ExposeSecret;

use super::error::ApiError;
use super::headers::{JSON, NO_STORE};
use super::oauth;
use super::params::Params;
use super::route::{Call, Route};
use super::state::{Demo, LocalAddress};
use crate::realm::presets::{CALLBACK_IP, TOKEN};
use clock::UnixMillis;
use wechat::credential::CredentialKind;
use wechat::signature;

const PAGE: &str = include_str!("../../static/demo.html");
const SCRIPT: &str = include_str!("../../static/demo.js");
const LOGIN_SCRIPT: &str = include_str!("../../static/demo-login.js");
const STYLE: &str = include_str!("../../static/demo.css");

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

pub(super) const ROUTES: &[Route] = &[
    Route::get("/", |_| Box::pin(home())),
    Route::get("/demo.html", |_| {
        Box::pin(asset(PAGE, "text/html; charset=utf-8"))
    }),
    Route::get("/demo.js", |_| Box::pin(asset(SCRIPT, JAVASCRIPT))),
    Route::get("/demo-login.js", |_| {
        Box::pin(asset(LOGIN_SCRIPT, JAVASCRIPT))
    }),
    Route::get("/demo.css", |_| {
        Box::pin(asset(STYLE, "text/css; charset=utf-8"))
    }),
    Route::get("/demo/ticket", |call| Box::pin(ticket(call))),
    Route::get("/demo/user", |call| Box::pin(user(call))),
];

async fn home() -> Result<HttpResponse, ApiError> {
    Ok(HttpResponse::Found()
        .insert_header((header::LOCATION, "/demo.html"))
        .finish())
}

async fn asset(text: &'static str, content_type: &'static str) -> Result<HttpResponse, ApiError> {
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, content_type))
        .insert_header((header::CONTENT_SECURITY_POLICY, "default-src 'self'"))
        .insert_header((header::CACHE_CONTROL, "no-cache"));
    Ok(response.body(text))
}

/// The ticket that signs the next config, so that the page can compute the signature itself.
async fn ticket(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let (state, req) = (call.state, call.req);
    let demo = state.options.demo.as_ref().ok_or(ApiError::NotFound)?;
    let credentials = state
        .keeper
        .credentials(&demo.app_id)
        .ok_or(ApiError::UnknownApp)?;
    let ticket = credentials
        .credential(CredentialKind::JsapiTicket)
        .get()
        .await?;
    // As the browser called: a demo has no proxy, so forwarded headers do not count.
    let port = req
        .app_data::<LocalAddress>()
        .map_or(80, |local| local.0.port());
    let host = req
        .headers()
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .unwrap_or("localhost");
    let server = format!("http://{host}");
    let answer = serde_json::json!({
        "ticket": ticket.value().expose_secret(),
        "appid": demo.app_id,
        "sandbox": demo.sandbox,
        "phone": demo.phone.map(|ip| format!("http://{}", SocketAddr::new(ip, port))),
        "curl": demo.curl_lines(&server, state.clock().wall()),
        "virtual_secret": demo.virtual_secret,
    });
    let headers = (
        (header::CONTENT_TYPE, JSON),
        (header::CACHE_CONTROL, NO_STORE),
    );
    Ok(HttpResponse::Ok()
        .insert_header(headers.0)
        .insert_header(headers.1)
        .body(answer.to_string()))
}

/// Who logged in, as a site's back end would ask with `GET /oauth/{appid}/user`. The demo is its
/// own site, so no signature is needed.
async fn user(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let demo = call.state.options.demo.as_ref().ok_or(ApiError::NotFound)?;
    let ticket = Params::of(call.req)
        .one("ticket")?
        .unwrap_or_default()
        .to_owned();
    oauth::redeem(&call, &demo.app_id, &ticket).await
}

impl Demo {
    /// A virtual token, and a call with one, through the gateway.
    pub fn gateway_lines(&self, server: &str) -> Vec<String> {
        let Self {
            app_id,
            virtual_secret,
            ..
        } = self;
        let token = format!(
            "'{server}{TOKEN}?grant_type=client_credential&appid={app_id}&secret={virtual_secret}'"
        );
        vec![
            format!("curl {token}"),
            format!(
                "curl \"{server}{CALLBACK_IP}?access_token=$(curl -s {token} | cut -d '\"' -f 4)\""
            ),
        ]
    }

    /// Commands to paste into a shell: a config, a credential (the signature is valid for five
    /// minutes), a check file and a ping.
    pub fn curl_lines(&self, server: &str, now: UnixMillis) -> Vec<String> {
        let Self {
            app_id,
            realm,
            realm_secret,
            ..
        } = self;
        let nonce = format!("{:016x}", rand::random::<u64>());
        let ts = now.to_string();
        let pairs = [
            ("realm", realm.as_str()),
            ("nonce", nonce.as_str()),
            ("ts", ts.as_str()),
            ("key", "token"),
        ];
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
