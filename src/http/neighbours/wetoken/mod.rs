//! micro-plat/wetoken's contract: an account's token or ticket with its end, a new account, a code to a follower, for programs in the
//! networks of `wetoken.allow`. Every answer has status 200 and an `errcode`, by any method, as it is there. Without the settings'
//! section there are no such addresses.

use actix_web::dev::Payload;
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::web::{self, Bytes};
use actix_web::{HttpRequest, HttpResponse};
use secrecy::ExposeSecret;

use super::caller_check::{self, Asked, Effect};
use crate::http::error::ApiError;
use crate::http::jsapi_query::push_escaped;
use crate::http::state::AppState;
use crate::http::{GET_AND_POST, JSON, NO_STORE, body};
use crate::registry::{Code, NewApp, Payment};
use credentials::keeper::Cached;
use date::LocalDate;
use fields::Fields;
use wechat::credential::CredentialKind;

mod date;
mod fields;
mod refused;

pub(in crate::http) use refused::Refused;

/// One of wetoken's addresses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::http) struct Address {
    pub(in crate::http) path: &'static str,
    asks: Asks,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asks {
    /// The credential, fetched if need be.
    Get(CredentialKind),
    /// The credential that the store holds.
    Query(CredentialKind),
    /// The credential, renewed if it is due.
    Refresh(CredentialKind),
    Create,
    Send,
}

use Asks::{Create, Get, Query, Refresh, Send};
use CredentialKind::{AccessToken, JsapiTicket};

/// Its library's and its server's own; first the four that are asked all day.
pub(in crate::http) const ADDRESSES: [Address; 13] = [
    Address { path: "/{appid}/wechat/token/get", asks: Get(AccessToken) },
    Address { path: "/{appid}/wechat/ticket/get", asks: Get(JsapiTicket) },
    Address { path: "/wx/{appid}/token/get", asks: Get(AccessToken) },
    Address { path: "/wx/{appid}/ticket/get", asks: Get(JsapiTicket) },
    Address { path: "/{appid}/wechat/token/refresh", asks: Refresh(AccessToken) },
    Address { path: "/{appid}/wechat/ticket/refresh", asks: Refresh(JsapiTicket) },
    Address { path: "/wx/{appid}/token/query", asks: Query(AccessToken) },
    Address { path: "/wx/{appid}/token/refresh", asks: Refresh(AccessToken) },
    Address { path: "/wx/{appid}/ticket/query", asks: Query(JsapiTicket) },
    Address { path: "/wx/{appid}/ticket/refresh", asks: Refresh(JsapiTicket) },
    Address { path: "/wx/{appid}/wxcode/send", asks: Send },
    Address { path: "/token/query", asks: Query(AccessToken) },
    Address { path: "/wechat/app/create", asks: Create },
];

impl Address {
    /// The address that is asked all day and that `path` is, and the appid in it.
    pub(in crate::http) fn of(path: &str) -> Option<(Self, &str)> {
        if let Some(rest) = path.strip_prefix("/wx/") {
            let (app_id, word) = rest.split_once('/')?;
            let at = match word {
                "token/get" => 2,
                "ticket/get" => 3,
                _ => return None,
            };
            return Some((ADDRESSES[at], app_id));
        }
        let rest = path.strip_suffix("/get")?.strip_prefix('/')?;
        let with = |(at, word)| Some((ADDRESSES[at], rest.strip_suffix(word)?));
        [(0, "/wechat/token"), (1, "/wechat/ticket")].into_iter().find_map(with)
    }

    /// The router's handler of this address.
    pub(in crate::http) async fn routed(
        self,
        req: HttpRequest,
        state: web::Data<AppState>,
        payload: web::Payload,
    ) -> Result<HttpResponse, actix_web::Error> {
        let app_id = req.match_info().get("appid").unwrap_or_default();
        self.answer(&state, &req, payload.into_inner(), app_id).await
    }

    /// The answer to whatever comes to this address.
    pub(in crate::http) async fn answer(
        self,
        state: &AppState,
        req: &HttpRequest,
        payload: Payload,
        app_id: &str,
    ) -> Result<HttpResponse, actix_web::Error> {
        // Nothing of the guard is held while a credential is waited for.
        let must_sign = {
            let access = state.access();
            let policy = access.wetoken.as_ref().ok_or(ApiError::NotFound)?;
            if *req.method() == Method::OPTIONS {
                return Ok(HttpResponse::NoContent().insert_header((header::ALLOW, GET_AND_POST)).finish());
            }
            caller_check::check(req, state, policy, self.asks.effect()).map_err(Refused::Outside)?;
            policy.realm.is_some()
        };
        match self.asks {
            Get(kind) if !must_sign => credential(state, app_id, kind).await.map_err(Into::into),
            // What else is asked for is rare, or costs little beside its signature.
            asks => Box::pin(asks.answer(state, req, payload, app_id, must_sign)).await.map_err(Into::into),
        }
    }
}

impl Asks {
    fn effect(self) -> Effect {
        match self {
            Get(_) | Query(_) => Effect::Reads,
            Refresh(_) | Create | Send => Effect::Changes,
        }
    }

    /// The credential that is asked for.
    fn kind(self) -> Option<CredentialKind> {
        match self {
            Get(kind) | Query(kind) | Refresh(kind) => Some(kind),
            Create | Send => None,
        }
    }

    async fn answer(
        self,
        state: &AppState,
        req: &HttpRequest,
        payload: Payload,
        app_id: &str,
        must_sign: bool,
    ) -> Result<HttpResponse, Refused> {
        let only_looks = *req.method() == Method::HEAD;
        let has_fields = matches!(self, Create | Send) || app_id.is_empty();
        let reads_body = must_sign || (has_fields && !only_looks && Fields::are_in_body(req));
        let body = if reads_body { body::raw(req, payload, state).await? } else { Bytes::new() };
        let fields = if has_fields { Fields::of(req, &body) } else { Ok(Fields::default()) };
        let named = fields.as_ref().ok().and_then(|fields| fields.one("appid").ok().flatten());
        let app_id = if app_id.is_empty() { named.unwrap_or_default().to_owned() } else { app_id.to_owned() };
        if must_sign {
            let app = Some(app_id.as_str()).filter(|app_id| !app_id.is_empty());
            check_signature(state, req, &body, Asked { app, kind: self.kind() })?;
        }
        let fields = fields?;
        match self {
            Get(kind) => credential(state, &app_id, kind).await,
            Query(kind) => {
                if app_id.is_empty() {
                    fields.need("appid")?;
                }
                let holding = state.account(&app_id).await?;
                let _place = state.place(&holding)?;
                let found = holding.credential(kind).stored().await.map_err(ApiError::from)?;
                written(state, kind, &*found.ok_or(Refused::NothingStored)?)
            }
            Refresh(kind) if only_looks => credential(state, &app_id, kind).await,
            Refresh(kind) => {
                let holding = state.account(&app_id).await?;
                let _place = state.place(&holding)?;
                written(state, kind, &*holding.credential(kind).refresh().await.map_err(ApiError::from)?)
            }
            // Whoever follows links to see what is there must change nothing by it.
            Create | Send if only_looks => Err(Refused::OnlyLooks),
            Create => create(state, &fields).await,
            Send => send(state, &fields, &app_id).await,
        }
    }
}

/// Where the settings name a realm, only what that realm signed is answered; its lists of apps and keys count.
fn check_signature(state: &AppState, req: &HttpRequest, body: &[u8], asked: Asked<'_>) -> Result<(), Refused> {
    let access = state.access();
    let policy = access.wetoken.as_ref().ok_or(ApiError::NotFound)?;
    caller_check::check_signature(req, body, policy, &access.realms, asked, state).map_err(Refused::Outside)
}

async fn credential(state: &AppState, app_id: &str, kind: CredentialKind) -> Result<HttpResponse, Refused> {
    let holding = state.account(app_id).await?;
    written(state, kind, &*state.credential(&holding, kind).await?)
}

/// Where those wait who make an app.
const CREATION: &str = "new app";

async fn create(state: &AppState, fields: &Fields) -> Result<HttpResponse, Refused> {
    let app = NewApp {
        app_id: fields.need("appid")?.to_owned(),
        secret: fields.need("secret")?.into(),
        token: fields.need("token")?.into(),
        aes_key: fields.one("aesKey")?.map(Into::into),
        template_id: fields.one("wcode_template_id")?.map(Into::into),
        payment: Payment {
            mchid: fields.one("mchid")?.map(Into::into),
            pay_key: fields.one("payKey")?.map(Into::into),
            sub_appid: fields.one("subAppid")?.map(Into::into),
            sub_mchid: fields.one("subMchid")?.map(Into::into),
        },
    };
    let _place = state.crowd.enter(CREATION)?;
    state.registry.create(app).await?;
    Ok(success())
}

async fn send(state: &AppState, fields: &Fields, app_id: &str) -> Result<HttpResponse, Refused> {
    let [user_name, system_name, code] = ["user_name", "system_name", "code"].map(|name| fields.need(name).map(str::to_owned));
    let code = Code { user_name: user_name?, system_name: system_name?, code: code? };
    let holding = state.account(app_id).await?;
    let _place = state.place(&holding)?;
    state.registry.send_code(&holding, code).await?;
    Ok(success())
}

fn success() -> HttpResponse {
    json(r#"{"errcode":0,"errmsg":"success"}"#.to_owned())
}

/// A credential in wetoken's order of members.
fn written(state: &AppState, kind: CredentialKind, credential: &Cached) -> Result<HttpResponse, Refused> {
    let value = credential.value().expose_secret();
    let mut body = String::with_capacity(value.len() + 128);
    body.push_str(r#"{"errcode":0,"errmsg":"success",""#);
    body.push_str(if kind == AccessToken { "access_token" } else { "ticket" });
    body.push_str("\":");
    push_escaped(&mut body, value)?;
    body.push_str(",\"expires_in\":");
    let left = HeaderValue::from(credential.left(state.clock()).as_secs());
    body.push_str(left.to_str().map_err(|_| ApiError::Internal)?);
    body.push_str(",\"expires_date\":\"");
    LocalDate::of(credential.expires_at()).push_to(&mut body);
    body.push_str("\"}");
    Ok(json(body))
}

fn json(body: String) -> HttpResponse {
    let mut response = HttpResponse::Ok();
    response.insert_header((header::CONTENT_TYPE, JSON)).insert_header((header::CACHE_CONTROL, NO_STORE)).body(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_all_day_is_known_by_its_path_alone() {
        for address in ADDRESSES.into_iter().filter(|address| matches!(address.asks, Get(_))) {
            assert_eq!(Address::of(&address.path.replace("{appid}", "wx1")), Some((address, "wx1")));
        }
        for path in
            ["/", "/get", "/wechat/token/get/", "/wx/wx1/token/query", "/wx/wx1/token/get/", "/wx/", "/wx/wx1", "/token/query"]
        {
            assert_eq!(Address::of(path), None, "{path}");
        }
    }
}
