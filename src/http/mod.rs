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
mod realm_refused;
mod script;
mod state;
mod upstream;
mod users;
mod verify_file;
mod wecom_config;

pub use config_request::ConfigRequest;
pub use error::ApiError;
pub use state::{Access, AppState, Demo, HttpOptions, LocalAddress};

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

/// One route: where it is, which methods `Allow` names, and what answers them.
struct RouteEntry {
    path: String,
    allow: &'static str,
    handlers: Box<dyn Fn(Resource) -> Resource>,
}

fn entry(path: &str, allow: &'static str, handlers: impl Fn(Resource) -> Resource + 'static) -> RouteEntry {
    RouteEntry { path: path.to_owned(), allow, handlers: Box::new(handlers) }
}

/// The path and the `Allow` of every route: those of the server, then those that `jsdkd demo` adds.
pub fn list_routes() -> Vec<(String, &'static str)> {
    let entries = route_table().into_iter().chain(demo::route_table());
    entries.map(|entry| (entry.path, entry.allow)).collect()
}

/// The route table: the only list of paths, in the order in which the router tries them.
fn route_table() -> Vec<RouteEntry> {
    let mut table = vec![
        entry(QUERY, GET, |route| route.route(read().to(jsapi_query::get))),
        entry(CONFIG, GET_AND_POST, |route| route.route(web::post().to(jsapi_config::post)).route(read().to(jsapi_config::get))),
        entry(&format!("/oauth/{APP}/callback"), GET, |route| route.route(read().to(oauth::callback::get))),
        entry(&format!("/oauth/{APP}/user"), GET, |route| route.route(read().to(oauth::user::get))),
        entry(&format!("/oauth/{APP}"), GET, |route| route.route(read().to(oauth::begin::get))),
        entry(&format!("/users/{APP}/{OPENID}"), GET, |route| route.route(read().to(users::get))),
        entry("/login", POST, |route| route.route(web::post().to(login::open::post))),
        entry(&format!("/login/{UUID}"), GET, |route| route.route(read().to(login::poll::get))),
        entry(login::CALLBACK, GET_AND_POST, |route| {
            route.route(read().to(login::scanned::get)).route(web::post().to(login::scanned::post))
        }),
        entry("/wechat", GET_AND_POST, |route| route.route(read().to(challenge::get)).route(web::post().to(push::post))),
        entry(&format!("/wechat/{APP}"), GET_AND_POST, |route| {
            route.route(read().to(challenge::get)).route(web::post().to(push::post))
        }),
    ];
    // These two groups answer every method themselves: without their settings they do not exist.
    table.extend(
        neighbours::hub::ADDRESSES.map(|address| {
            entry(address.path, GET, move |route| route.route(web::to(move |req, state| address.routed(req, state))))
        }),
    );
    table.extend(neighbours::wetoken::ADDRESSES.map(|address| {
        let routed = move |req, state, payload| address.routed(req, state, payload);
        entry(address.path, GET_AND_POST, move |route| route.route(web::to(routed)))
    }));
    table.extend([
        entry("/ping", GET, |route| route.route(read().to(ping::get))),
        entry("/jsdkd.js", GET, |route| route.route(read().to(script::get))),
        entry("/qrcode/{text:.*}", GET, |route| route.route(read().to(qrcode::get))),
        entry(neighbours::tokenboy::TOKEN, GET, |route| {
            route.guard(guard::fn_guard(has_sources)).route(read().to(neighbours::tokenboy::get))
        }),
    ]);
    table
}

/// Without sources the path does not exist, also after a reload.
fn has_sources(request: &guard::GuardContext<'_>) -> bool {
    request.app_data::<web::Data<AppState>>().is_some_and(|state| !state.sources.is_empty())
}

/// Registers every route as it is written in the table, then a second time in any letter case and with an optional slash at the end,
/// as the original's framework accepted them. The second spelling comes last, so that the first costs nothing extra.
fn routes(app: &mut web::ServiceConfig, demo: bool) {
    let register = |app: &mut web::ServiceConfig, path: &str, entry: &RouteEntry| {
        app.service((entry.handlers)(resource(path, entry.allow)));
    };
    if demo {
        demo::route_table().iter().for_each(|entry| register(app, &entry.path, entry));
    }
    let table = route_table();
    table.iter().for_each(|entry| register(app, &entry.path, entry));
    table.iter().for_each(|entry| register(app, &loosely(&entry.path), entry));
    let root = resource("/", GET).route(read().to(challenge::root)).route(web::post().to(push::root));
    app.service(root).default_service(web::to(verify_file::any));
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
