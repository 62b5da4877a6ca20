//! waynecraig/wechat-token-hub: `/access-token` and `/ticket`, a credential as plain text for who brings a token signed with one of
//! the hub's keys. Without a key there are no such addresses.

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::{ExposeSecret, SecretString};

use super::Shaped;
use super::bearer::{self, Claims};
use super::known::Known;
use crate::http::error::ApiError;
use crate::http::jsapi_query::CREDENTIAL_EXPIRES_IN;
use crate::http::params::Params;
use crate::http::state::AppState;
use crate::http::{GET, NO_STORE, TEXT, extract, other_method};
use crate::settings::HubConfig;
use wechat::WechatError;
use wechat::account::AppId;
use wechat::credential::CredentialKind;

/// One of the hub's addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) struct Address {
    pub(in crate::http) path: &'static str,
    asks: Asks,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asks {
    Token,
    Ticket,
}

/// The page of the original says `/access-token`, its program `/access_token`.
pub(in crate::http) const ADDRESSES: [Address; 6] = [
    Address { path: "/access-token", asks: Asks::Token },
    Address { path: "/access_token", asks: Asks::Token },
    Address { path: "/ticket", asks: Asks::Ticket },
    Address { path: "/hub/{appid}/access-token", asks: Asks::Token },
    Address { path: "/hub/{appid}/access_token", asks: Asks::Token },
    Address { path: "/hub/{appid}/ticket", asks: Asks::Ticket },
];

impl Address {
    /// The address that `path` is, and the appid in it; an empty one is the hub's own.
    pub(in crate::http) fn of(path: &str) -> Option<(Self, &str)> {
        let named = path.strip_prefix("/hub/").and_then(|rest| rest.split_once('/'));
        let (app_id, word, list) = match named {
            Some((app_id, word)) => (app_id, word, &ADDRESSES[3..]),
            None => ("", path.strip_prefix('/')?, &ADDRESSES[..3]),
        };
        let found = list.iter().find(|address| address.path.rsplit('/').next() == Some(word))?;
        (named.is_none() || !app_id.is_empty()).then_some((*found, app_id))
    }

    /// The router's handler of this address.
    pub(in crate::http) async fn routed(
        self,
        req: HttpRequest,
        state: web::Data<AppState>,
    ) -> Result<HttpResponse, actix_web::Error> {
        let app_id = req.match_info().get("appid").unwrap_or_default();
        self.answer(&state, &req, app_id).await
    }

    /// The answer to whatever comes to this address; an empty appid is the hub's own.
    pub(in crate::http) async fn answer(
        self,
        state: &AppState,
        req: &HttpRequest,
        app_id: &str,
    ) -> Result<HttpResponse, actix_web::Error> {
        // Nothing of the guard is held while the credential is waited for.
        let access = state.access();
        let admitted = match &access.hub {
            None => return Err(ApiError::NotFound.into()),
            Some(_) if !matches!(*req.method(), Method::GET | Method::HEAD) => other_method(req.method(), GET).map(Err),
            Some(hub) => self.admitted(hub, &access.hub_tokens, state, req, app_id).map(Ok),
        };
        drop(access);
        let answer = match admitted {
            Ok(Ok(usual)) => self.granted(state, req, usual.as_ref().map_or(app_id, AppId::as_str)).await,
            Ok(Err(told)) => Ok(told),
            Err(error) => Err(error),
        };
        answer.map_err(|error| Shaped { error, shape }.into())
    }

    /// Lets a caller in who holds one of the keys; before that nobody learns anything. `Some`: the app that is meant, where the path names
    /// none.
    fn admitted(
        self,
        hub: &HubConfig,
        known: &Known<Claims>,
        state: &AppState,
        req: &HttpRequest,
        app_id: &str,
    ) -> Result<Option<AppId>, ApiError> {
        let token = bearer::token(req.headers()).ok_or(ApiError::Unauthorized)?;
        if !bearer::holds(token, |kid| hub.keys.get(kid), known, state.clock().wall()) {
            return Err(ApiError::Unauthorized);
        }
        Ok(app_id.is_empty().then(|| hub.app.clone()))
    }

    async fn granted(self, state: &AppState, req: &HttpRequest, app_id: &str) -> Result<HttpResponse, ApiError> {
        let holding = state.account(app_id).await?;
        let params = Params::of(req);
        let (kind, rotate) = match self.asks {
            Asks::Token => (CredentialKind::AccessToken, "rotate_token"),
            Asks::Ticket => (ticket(&params)?, "rotate_ticket"),
        };
        let rotate = params.one(rotate)?.map(SecretString::from);
        written(extract::CredentialQuery { holding, kind, rotate }, state).await
    }
}

fn ticket(params: &Params<'_>) -> Result<CredentialKind, ApiError> {
    const TYPES: [(&str, CredentialKind); 2] = [("jsapi", CredentialKind::JsapiTicket), ("wx_card", CredentialKind::CardTicket)];
    let kind = params.word("type", &TYPES)?;
    kind.ok_or_else(|| ApiError::MalformedQuery("type is missing; it must be jsapi or wx_card".to_owned()))
}

async fn written(query: extract::CredentialQuery, state: &AppState) -> Result<HttpResponse, ApiError> {
    let credential = query.credential(state).await?;
    let left = credential.left(state.clock()).as_secs();
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, TEXT))
        .insert_header((header::CACHE_CONTROL, NO_STORE))
        .insert_header((CREDENTIAL_EXPIRES_IN, HeaderValue::from(left)));
    Ok(response.body(credential.value().expose_secret().to_owned()))
}

/// An error as the hub tells it: a line of text, and 500 for everything that befalls a credential. The hub itself refuses nobody for want of
/// room, so there its callers, and the proxies between, are told as on every other route.
fn shape(error: &ApiError) -> HttpResponse {
    let mut response = HttpResponse::build(status(error));
    response.insert_header((header::CONTENT_TYPE, TEXT)).insert_header((header::CACHE_CONTROL, NO_STORE));
    if let Some(pause) = error.retry_after_seconds() {
        response.insert_header((header::RETRY_AFTER, pause));
    }
    match error {
        ApiError::MethodNotAllowed { allow } => drop(response.insert_header((header::ALLOW, *allow))),
        ApiError::Unauthorized => drop(response.insert_header((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer")))),
        _ => {}
    }
    response.body(text(error))
}

fn status(error: &ApiError) -> StatusCode {
    let (_, ours) = error.code();
    let is_crowded = matches!(error, ApiError::Overloaded);
    if ours.is_server_error() && !is_crowded { StatusCode::INTERNAL_SERVER_ERROR } else { ours }
}

fn text(error: &ApiError) -> String {
    match error {
        ApiError::Unauthorized => {
            "unauthorized: send one Authorization: Bearer header with a JWT, signed with HS256 under one of this \
            server's keys, its kid in the header, its aud wechat-token-hub, within its nbf and exp"
                .to_owned()
        }
        ApiError::Keeper(failure) => match failure.refusal() {
            // Its clients look for these two words.
            Some(refusal @ WechatError::Refused { code, message, .. }) => {
                let advice = refusal.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
                format!("WeChat refused, code: {}, message: {message}{advice}", code.0)
            }
            _ => error.to_string(),
        },
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_known_by_its_path_alone() {
        for address in ADDRESSES {
            let path = address.path.replace("{appid}", "wx1");
            let app_id = if address.path.contains('{') { "wx1" } else { "" };
            assert_eq!(Address::of(&path), Some((address, app_id)));
        }
        for path in
            ["/", "/access", "/ticket/", "/hub/ticket", "/hub//ticket", "/hub/wx1/", "/hub/wx1/ticket/", "/hub/wx1/x/ticket"]
        {
            assert_eq!(Address::of(path), None, "{path}");
        }
    }
}
