//! The outside: routes, who may pass, and how answers and errors look. Handlers parse, ask the keeper, and answer; none of them
//! knows a store or WeChat.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::Method;
use actix_web::http::header::{self, HeaderValue};
use actix_web::{App, Error, HttpResponse, Resource, Route, guard, web};

mod body;
mod caller;
mod challenge;
mod config_request;
mod crowd;
mod demo;
mod error;
mod extract;
mod gate;
mod hot;
mod jsapi_config;
mod jsapi_query;
mod log;
mod login;
mod neighbours;
mod oauth;
mod own_host;
mod page;
mod params;
mod ping;
mod public;
mod push;
mod push_faults;
mod qrcode;
mod script;
mod state;
mod upstream;
mod users;
mod verify_file;
mod wecom_config;

pub use config_request::ConfigRequest;
pub use error::ApiError;
pub use state::{Access, AppState, Demo, HttpOptions};

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The addresses that [`hot`] meets before the router does.
const CONFIG: &str = "/jsapi/{appid}/config";
const QUERY: &str = "/jsapi/{appid}/query";
const PUSH: &str = "/wechat/{appid}";

/// `Allow` of an address that is only read.
const GET: &str = "GET, HEAD, OPTIONS";
const GET_AND_POST: &str = "GET, HEAD, POST, OPTIONS";
const POST: &str = "POST, OPTIONS";

/// Segments that name an account, a login or a user. Without a dot, so that a check file may lie beside them.
const APP: &str = "{appid:[A-Za-z0-9_-]+}";
const UUID: &str = "{uuid:[A-Za-z0-9_-]+}";
const OPENID: &str = "{openid:[A-Za-z0-9_-]+}";

/// What the process must have before an application answers. It may be called again.
pub fn install() {
    neighbours::bearer::install();
}

/// The whole application, the same for the server and for its tests.
pub fn create_app(
    state: web::Data<AppState>,
) -> App<
    impl ServiceFactory<ServiceRequest, Config = (), Response = ServiceResponse<impl MessageBody>, Error = Error, InitError = ()>,
> {
    // The layer wrapped last is the outermost.
    let demo = state.options.demo.is_some();
    let (at_the_router, at_the_gate) = (state.clone(), state.clone());
    App::new()
        .app_data(state)
        .configure(|app| routes(app, demo))
        .wrap_fn(move |req, router| hot::Hot::or_routed(at_the_router.clone(), req, router))
        .wrap(gate::cors())
        .wrap_fn(move |req, inner| gate::pass(at_the_gate.clone(), req, inner))
}

/// The route table: the only list of addresses. Each is served as it stands here; behind them all, and so at no cost to them, also
/// in any case and with a slash at the end, as the original's framework did.
fn routes(app: &mut web::ServiceConfig, demo: bool) {
    if demo {
        app.configure(demo::routes);
    }
    let spellings: [fn(&str) -> String; 2] = [str::to_owned, loosely];
    for spelled in spellings {
        app.service(resource(&spelled(QUERY), GET).route(read().to(jsapi_query::get)))
            .service(
                resource(&spelled(CONFIG), GET_AND_POST)
                    .route(web::post().to(jsapi_config::post))
                    .route(read().to(jsapi_config::get)),
            )
            .service(resource(&spelled(&format!("/oauth/{APP}/callback")), GET).route(read().to(oauth::callback::get)))
            .service(resource(&spelled(&format!("/oauth/{APP}/user")), GET).route(read().to(oauth::user::get)))
            .service(resource(&spelled(&format!("/oauth/{APP}")), GET).route(read().to(oauth::begin::get)))
            .service(resource(&spelled(&format!("/users/{APP}/{OPENID}")), GET).route(read().to(users::get)))
            .service(resource(&spelled("/login"), POST).route(web::post().to(login::open::post)))
            .service(resource(&spelled(&format!("/login/{UUID}")), GET).route(read().to(login::poll::get)))
            .service(
                resource(&spelled(login::CALLBACK), GET_AND_POST)
                    .route(read().to(login::scanned::get))
                    .route(web::post().to(login::scanned::post)),
            )
            .service(resource(&spelled("/wechat"), GET_AND_POST).route(read().to(challenge::get)).route(web::post().to(push::post)))
            .service(
                resource(&spelled(&format!("/wechat/{APP}")), GET_AND_POST)
                    .route(read().to(challenge::get))
                    .route(web::post().to(push::post)),
            )
            .configure(|app| hub(app, spelled))
            .configure(|app| wetoken(app, spelled))
            .service(resource(&spelled("/ping"), GET).route(read().to(ping::get)))
            .service(resource(&spelled("/jsdkd.js"), GET).route(read().to(script::get)))
            .service(resource(&spelled("/qrcode/{text:.*}"), GET).route(read().to(qrcode::get)));
    }
    // Without sources the address does not exist, also after a reload.
    let has_sources = |request: &guard::GuardContext<'_>| {
        request.app_data::<web::Data<AppState>>().is_some_and(|state| !state.sources.is_empty())
    };
    for spelling in spellings {
        let token = resource(&spelling(neighbours::tokenboy::TOKEN), GET).guard(guard::fn_guard(has_sources));
        app.service(token.route(read().to(neighbours::tokenboy::get)));
    }
    let root = resource("/", GET).route(read().to(challenge::root)).route(web::post().to(push::root));
    app.service(root).default_service(web::to(verify_file::any));
}

/// Every method is the hub's own to answer, because without a key there is nothing at its addresses.
fn hub(app: &mut web::ServiceConfig, spelled: fn(&str) -> String) {
    for address in neighbours::hub::ADDRESSES {
        app.route(&spelled(address.path), web::to(move |req, state| address.routed(req, state)));
    }
}

/// wetoken's framework answers by any method.
fn wetoken(app: &mut web::ServiceConfig, spelled: fn(&str) -> String) {
    for address in neighbours::wetoken::ADDRESSES {
        app.route(&spelled(address.path), web::to(move |req, state, payload| address.routed(req, state, payload)));
    }
}

/// The pattern of `path` with its words in any case and perhaps a slash at the end.
fn loosely(path: &str) -> String {
    let mut pattern = String::new();
    for (at, part) in path.split('/').enumerate().skip(1) {
        if part.starts_with('{') {
            pattern.push_str(&format!("/{part}"));
        } else {
            pattern.push_str(&format!("/{{word{at}:(?i:{})}}", part.replace('.', "\\.")));
        }
    }
    pattern + "{end:/?}"
}

/// An address that names its methods to who asks for them or uses another.
fn resource(path: &str, allow: &'static str) -> Resource {
    web::resource(path).default_service(web::to(move |method: Method| async move { other_method(&method, allow) }))
}

/// The answer to a method that an address has no answer for. A browser's own questions end at [`gate::cors`] before they come here.
fn other_method(method: &Method, allow: &'static str) -> Result<HttpResponse, ApiError> {
    if *method == Method::OPTIONS {
        return Ok(HttpResponse::NoContent().insert_header((header::ALLOW, allow)).finish());
    }
    Err(ApiError::MethodNotAllowed { allow })
}

/// `HEAD` works wherever `GET` does.
fn read() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Method(Method::HEAD)))
}
