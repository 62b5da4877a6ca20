//! micro-plat/wetoken's contract: an account's token or ticket with its expiry, a new account, a
//! code to a follower, for programs in the networks of `wetoken.allow`. Every answer to every
//! method has status 200 and an `errcode`, as it has there. Without the section in the settings the
//! routes do not exist.

use std::sync::Arc;

use actix_web::http::Method;
use actix_web::http::header;
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use secrecy::ExposeSecret;
use serde::Serialize;

use self::date::LocalDate;
use self::fields::Fields;
use self::refused::{Refused, json};
use super::caller_check::{self, Asked, Effect};
use super::neighbour::{Neighbour, Opening};
use crate::http::body;
use crate::http::error::ApiError;
use crate::http::route::{Call, GET_AND_POST, Handler, Route};
use crate::http::state::{AppState, NeighbourSettings};
use crate::registry::{Code, NewApp, Payment};
use crate::settings::CallerPolicy;
use credentials::keeper::Cached;
use wechat::credential::CredentialKind;

mod date;
mod fields;
mod refused;

use CredentialKind::{AccessToken, JsapiTicket};
use Wanted::{Create, Get, Query, Refresh, Send};

pub(super) const NEIGHBOUR: Neighbour = Neighbour {
    // Those of its library and of its server; first the four that are busy.
    routes: &[
        route("/{appid}/wechat/token/get", |call| {
            Box::pin(answer(call, Get(AccessToken)))
        }),
        route("/{appid}/wechat/ticket/get", |call| {
            Box::pin(answer(call, Get(JsapiTicket)))
        }),
        route("/wx/{appid}/token/get", |call| {
            Box::pin(answer(call, Get(AccessToken)))
        }),
        route("/wx/{appid}/ticket/get", |call| {
            Box::pin(answer(call, Get(JsapiTicket)))
        }),
        route("/{appid}/wechat/token/refresh", |call| {
            Box::pin(answer(call, Refresh(AccessToken)))
        }),
        route("/{appid}/wechat/ticket/refresh", |call| {
            Box::pin(answer(call, Refresh(JsapiTicket)))
        }),
        route("/wx/{appid}/token/query", |call| {
            Box::pin(answer(call, Query(AccessToken)))
        }),
        route("/wx/{appid}/token/refresh", |call| {
            Box::pin(answer(call, Refresh(AccessToken)))
        }),
        route("/wx/{appid}/ticket/query", |call| {
            Box::pin(answer(call, Query(JsapiTicket)))
        }),
        route("/wx/{appid}/ticket/refresh", |call| {
            Box::pin(answer(call, Refresh(JsapiTicket)))
        }),
        route("/wx/{appid}/wxcode/send", |call| {
            Box::pin(answer(call, Send))
        }),
        route("/token/query", |call| {
            Box::pin(answer(call, Query(AccessToken)))
        }),
        route("/wechat/app/create", |call| Box::pin(answer(call, Create))),
    ],
    settings: |config| Some(Arc::new(Wetoken(config.wetoken.clone()?))),
    opening: |state| {
        let policy = state
            .access()
            .neighbour()
            .map(|Wetoken(policy)| policy.clone())?;
        let routes = "/{appid}/wechat/…, /wx/{appid}/…, /token/query, /wechat/app/create";
        Some(Opening {
            routes,
            section: "wetoken",
            policy,
        })
    },
};

const fn route(path: &'static str, handler: Handler) -> Route {
    Route::any_method(path, GET_AND_POST, handler)
        .no_store()
        .after_gateway()
        .exists_if(|state| state.access().neighbour::<Wetoken>().is_some())
        .errors(|error| Refused::Api(error).into_response())
}

/// Who may call.
#[derive(Debug)]
struct Wetoken(CallerPolicy);

impl NeighbourSettings for Wetoken {}

/// What a route does.
#[derive(Clone, Copy)]
enum Wanted {
    /// The credential, fetched if necessary.
    Get(CredentialKind),
    /// The credential that the store holds.
    Query(CredentialKind),
    /// The credential, renewed if it is due.
    Refresh(CredentialKind),
    /// A new app.
    Create,
    /// A code to a follower.
    Send,
}

async fn answer(call: Call<'_>, wanted: Wanted) -> Result<HttpResponse, ApiError> {
    let answered = match authorize(&call, wanted) {
        Ok(Authorized::OnlyOptions) => {
            return Ok(HttpResponse::NoContent()
                .insert_header((header::ALLOW, GET_AND_POST))
                .finish());
        }
        Ok(Authorized::Unsigned) if let Get(kind) = wanted => {
            credential(call.state, call.req, call.app_id(), kind).await
        }
        Ok(authorized) => {
            wanted
                .answer(call, authorized == Authorized::MustSign)
                .await
        }
        Err(refused) => Err(refused),
    };
    answered.or_else(|refused| Ok(refused.into_response()))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Authorized {
    /// `OPTIONS`, which anybody may ask.
    OnlyOptions,
    /// The network is enough.
    Unsigned,
    /// The network is allowed, and a signature is to be checked.
    MustSign,
}

fn authorize(call: &Call<'_>, wanted: Wanted) -> Result<Authorized, Refused> {
    let access = call.state.access();
    let Wetoken(policy) = access.neighbour().ok_or(ApiError::NotFound)?;
    if *call.req.method() == Method::OPTIONS {
        return Ok(Authorized::OnlyOptions);
    }
    caller_check::check(call.req, call.state, policy, wanted.effect()).map_err(Refused::Caller)?;
    Ok(if policy.realm.is_some() {
        Authorized::MustSign
    } else {
        Authorized::Unsigned
    })
}

impl Wanted {
    fn effect(self) -> Effect {
        match self {
            Get(_) | Query(_) => Effect::Reads,
            Refresh(_) | Create | Send => Effect::Changes,
        }
    }

    /// The requested credential.
    fn kind(self) -> Option<CredentialKind> {
        match self {
            Get(kind) | Query(kind) | Refresh(kind) => Some(kind),
            Create | Send => None,
        }
    }

    async fn answer(self, mut call: Call<'_>, must_sign: bool) -> Result<HttpResponse, Refused> {
        let app_id = call.app_id();
        let (state, req) = (call.state, call.req);
        let is_head = *req.method() == Method::HEAD;
        let has_fields = matches!(self, Create | Send) || app_id.is_empty();
        let reads_body = must_sign || (has_fields && !is_head && Fields::are_in_body(req));
        let body = if reads_body {
            body::raw(&mut call).await?
        } else {
            Bytes::new()
        };
        let fields = if has_fields {
            Fields::of(req, &body)
        } else {
            Ok(Fields::default())
        };
        let named = fields
            .as_ref()
            .ok()
            .and_then(|fields| fields.one("appid").ok().flatten());
        let app_id = if app_id.is_empty() {
            named.unwrap_or_default().to_owned()
        } else {
            app_id.to_owned()
        };
        if must_sign {
            let app = Some(app_id.as_str()).filter(|app_id| !app_id.is_empty());
            check_signature(
                state,
                req,
                &body,
                Asked {
                    app,
                    kind: self.kind(),
                },
            )?;
        }
        let fields = fields?;
        match self {
            Get(kind) => credential(state, req, &app_id, kind).await,
            Query(kind) => {
                if app_id.is_empty() {
                    fields.need("appid")?;
                }
                let credentials = state.account(&app_id).await?;
                let _permit = state.permit(&credentials)?;
                let found = credentials
                    .credential(kind)
                    .stored()
                    .await
                    .map_err(ApiError::from)?;
                write(state, kind, &*found.ok_or(Refused::NothingStored)?)
            }
            Refresh(kind) if is_head => credential(state, req, &app_id, kind).await,
            Refresh(kind) => {
                let credentials = state.account(&app_id).await?;
                let _permit = state.permit(&credentials)?;
                write(
                    state,
                    kind,
                    &*credentials
                        .credential(kind)
                        .refresh()
                        .await
                        .map_err(ApiError::from)?,
                )
            }
            // HEAD must change nothing.
            Create | Send if is_head => Err(Refused::Head),
            Create => create(state, &fields).await,
            Send => send(state, &fields, &app_id).await,
        }
    }
}

/// Checks that the realm in the settings signed the request and may ask for this.
fn check_signature(
    state: &AppState,
    req: &HttpRequest,
    body: &[u8],
    asked: Asked<'_>,
) -> Result<(), Refused> {
    let access = state.access();
    let Wetoken(policy) = access.neighbour().ok_or(ApiError::NotFound)?;
    caller_check::check_signature(req, body, policy, &access.realms, asked, state)
        .map_err(Refused::Caller)
}

async fn credential(
    state: &AppState,
    req: &HttpRequest,
    app_id: &str,
    kind: CredentialKind,
) -> Result<HttpResponse, Refused> {
    let credentials = state.account(app_id).await?;
    write(
        state,
        kind,
        &*state.credential(req, &credentials, kind).await?,
    )
}

/// The name under which requests wait that create an app.
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
    let _permit = state.concurrency.acquire(CREATION)?;
    state.registry.create(app).await?;
    Ok(success())
}

async fn send(state: &AppState, fields: &Fields, app_id: &str) -> Result<HttpResponse, Refused> {
    let [user_name, system_name, code] =
        ["user_name", "system_name", "code"].map(|name| fields.need(name).map(str::to_owned));
    let code = Code {
        user_name: user_name?,
        system_name: system_name?,
        code: code?,
    };
    let credentials = state.account(app_id).await?;
    let _permit = state.permit(&credentials)?;
    state.registry.send_code(&credentials, code).await?;
    Ok(success())
}

fn success() -> HttpResponse {
    json(r#"{"errcode":0,"errmsg":"success"}"#.to_owned())
}

/// The answer with a credential, its members in wetoken's order.
#[derive(Serialize)]
struct Answer<'a> {
    errcode: u8,
    errmsg: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_token: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ticket: Option<&'a str>,
    expires_in: u64,
    expires_date: String,
}

fn write(
    state: &AppState,
    kind: CredentialKind,
    credential: &Cached,
) -> Result<HttpResponse, Refused> {
    let value = credential.value().expose_secret();
    let answer = Answer {
        errcode: 0,
        errmsg: "success",
        access_token: Some(value).filter(|_| kind == AccessToken),
        ticket: Some(value).filter(|_| kind != AccessToken),
        expires_in: credential.left(state.clock()).as_secs(),
        expires_date: LocalDate::of(credential.expires_at()).digits(),
    };
    Ok(json(
        serde_json::to_string(&answer).map_err(|_| ApiError::Internal)?,
    ))
}
