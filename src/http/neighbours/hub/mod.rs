//! waynecraig/wechat-token-hub's contract: `/access-token` and `/ticket` are a credential as plain
//! text, for callers with a JWT that one of the hub's keys signed. Without keys in the settings the
//! routes do not exist.

use std::sync::Arc;

use actix_web::http::header::{self, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::{HttpRequest, HttpResponse};
use secrecy::{ExposeSecret, SecretString};

use self::bearer::Claims;
use self::jwt_cache::JwtCache;
use super::neighbour::Neighbour;
use crate::http::error::ApiError;
use crate::http::headers::{CREDENTIAL_EXPIRES_IN, NO_STORE, TEXT, number};
use crate::http::marks::Shaped;
use crate::http::params::Params;
use crate::http::route::{Call, GET, Handler, Route, other_method};
use crate::http::signed_request::CredentialQuery;
use crate::http::state::{AppState, NeighbourSettings};
use crate::settings::HubConfig;
use wechat::WechatError;
use wechat::account::AppId;
use wechat::credential::CredentialKind;

mod bearer;
mod jwt_cache;

pub(super) const NEIGHBOUR: Neighbour = Neighbour {
    // The original's page says `/access-token`, its program `/access_token`.
    routes: &[
        route("/access-token", |call| {
            Box::pin(answer(call, Wanted::Token))
        }),
        route("/access_token", |call| {
            Box::pin(answer(call, Wanted::Token))
        }),
        route("/ticket", |call| Box::pin(answer(call, Wanted::Ticket))),
        route("/hub/{appid}/access-token", |call| {
            Box::pin(answer(call, Wanted::Token))
        }),
        route("/hub/{appid}/access_token", |call| {
            Box::pin(answer(call, Wanted::Token))
        }),
        route("/hub/{appid}/ticket", |call| {
            Box::pin(answer(call, Wanted::Ticket))
        }),
    ],
    settings: |config| {
        let config = config.hub.clone()?;
        bearer::install();
        Some(Arc::new(Hub {
            config,
            proven: JwtCache::default(),
        }))
    },
    // Every caller has a token.
    opening: |_| None,
};

const fn route(path: &'static str, handler: Handler) -> Route {
    Route::any_method(path, GET, handler)
        .no_store()
        .exists_if(|state| state.access().neighbour::<Hub>().is_some())
        .errors(|error| error_response(&error))
}

/// The hub's settings, and the tokens whose signature was verified with its keys.
struct Hub {
    config: HubConfig,
    proven: JwtCache<Claims>,
}

impl NeighbourSettings for Hub {}

impl std::fmt::Debug for Hub {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.config.fmt(f)
    }
}

#[derive(Clone, Copy)]
enum Wanted {
    Token,
    Ticket,
}

async fn answer(call: Call<'_>, wanted: Wanted) -> Result<HttpResponse, ApiError> {
    if !matches!(*call.req.method(), Method::GET | Method::HEAD) {
        return other_method(call.req.method(), GET);
    }
    // The guard of the settings is dropped here, before any wait.
    let own_app = authenticate(call.state, call.req)?;
    let named = call.app_id();
    let app_id = if named.is_empty() {
        own_app.as_str()
    } else {
        named
    };
    let credentials = call.state.account(app_id).await?;
    let params = Params::of(call.req);
    let (kind, rotate) = match wanted {
        Wanted::Token => (CredentialKind::AccessToken, "rotate_token"),
        Wanted::Ticket => (ticket(&params)?, "rotate_ticket"),
    };
    let rotate = params.one(rotate)?.map(SecretString::from);
    write(
        CredentialQuery {
            credentials,
            kind,
            rotate,
        },
        call.state,
        call.req,
    )
    .await
}

/// Refuses callers without a valid token. Returns the app for paths that name none.
fn authenticate(state: &AppState, req: &HttpRequest) -> Result<AppId, ApiError> {
    let access = state.access();
    let Hub { config, proven } = access.neighbour().ok_or(ApiError::NotFound)?;
    let token = bearer::token(req.headers()).ok_or(ApiError::Unauthorized)?;
    if !bearer::is_valid(
        token,
        |kid| config.keys.get(kid),
        proven,
        state.clock().wall(),
    ) {
        return Err(ApiError::Unauthorized);
    }
    Ok(config.app.clone())
}

fn ticket(params: &Params<'_>) -> Result<CredentialKind, ApiError> {
    const TYPES: [(&str, CredentialKind); 2] = [
        ("jsapi", CredentialKind::JsapiTicket),
        ("wx_card", CredentialKind::CardTicket),
    ];
    let kind = params.word("type", &TYPES)?;
    kind.ok_or_else(|| {
        ApiError::MalformedQuery("type is missing; it must be jsapi or wx_card".to_owned())
    })
}

async fn write(
    query: CredentialQuery,
    state: &AppState,
    req: &HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let credential = query.credential(state, req).await?;
    let left = credential.left(state.clock()).as_secs();
    let mut response = HttpResponse::Ok();
    response
        .insert_header((header::CONTENT_TYPE, TEXT))
        .insert_header((header::CACHE_CONTROL, NO_STORE))
        .insert_header((CREDENTIAL_EXPIRES_IN, number(left)));
    Ok(response.body(credential.value().expose_secret().to_owned()))
}

/// An error in the hub's form: a line of text, and 500 for every failure of a credential. The
/// original has no concurrency limit, so that refusal keeps our status, which proxies understand.
fn error_response(error: &ApiError) -> HttpResponse {
    let mut response = HttpResponse::build(status(error));
    response
        .insert_header((header::CONTENT_TYPE, TEXT))
        .insert_header((header::CACHE_CONTROL, NO_STORE));
    if let Some(pause) = error.retry_after_seconds() {
        response.insert_header((header::RETRY_AFTER, pause));
    }
    match error {
        ApiError::MethodNotAllowed { allow } => {
            response.insert_header((header::ALLOW, *allow));
        }
        ApiError::Unauthorized => drop(
            response.insert_header((header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))),
        ),
        _ => {}
    }
    let mut response = response.body(text(error));
    response.extensions_mut().insert(Shaped {
        error: Some(error.code()),
    });
    response
}

fn status(error: &ApiError) -> StatusCode {
    let (_, ours) = error.code();
    let is_overloaded = matches!(error, ApiError::Overloaded);
    if ours.is_server_error() && !is_overloaded {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        ours
    }
}

fn text(error: &ApiError) -> String {
    match error {
        ApiError::Unauthorized => {
            "unauthorized: send one Authorization: Bearer header with a JWT, signed with HS256 under one of this \
            server's keys, its kid in the header, its aud wechat-token-hub, within its nbf and exp"
                .to_owned()
        }
        ApiError::Keeper(failure) => match failure.refusal() {
            // The hub's clients search for these two words.
            Some(refusal @ WechatError::Refused { code, message, .. }) => {
                let advice = refusal.advice().map(|advice| format!("; {advice}")).unwrap_or_default();
                format!("WeChat refused, code: {}, message: {message}{advice}", code.0)
            }
            _ => error.to_string(),
        },
        _ => error.to_string(),
    }
}
