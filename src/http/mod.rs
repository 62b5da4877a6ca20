//! The HTTP server: routes, who may call them, and how answers and errors look. `route.rs`
//! describes the way of a request.

use std::sync::Arc;

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::{App, Error, web};

use crate::settings::Config;

mod admin;
mod body;
mod client_ip;
mod concurrency_limit;
mod config_request;
mod demo;
mod error;
mod error_response;
mod explain;
mod gateway;
mod gateway_body;
mod headers;
mod jsapi_config;
mod jsapi_query;
mod json_response;
mod log;
mod login;
mod marks;
mod message_server;
mod middleware;
mod neighbours;
mod oauth;
mod own_host;
mod page;
mod params;
mod ping;
mod public_address;
mod push;
mod push_account;
mod push_fault_log;
mod qrcode;
mod rate_limit;
mod ready;
mod request_id;
mod route;
mod route_table;
mod routes;
mod script;
mod server_check;
mod signed_config;
mod signed_request;
mod state;
mod upstream_errors;
mod users;
mod verify_file;
mod wecom_config;
mod wecom_tickets;

pub use config_request::ConfigRequest;
pub use error::ApiError;
pub use marks::{HangUp, RawQuery};
pub use neighbours::{Opening, openings};
pub use routes::{list_routes, patterns};
pub use state::{Access, AppState, Demo, HttpOptions, LocalAddress};

/// The whole application, the same for the server and for its tests. The layer that is wrapped last
/// is the outermost.
pub fn create_app(
    state: web::Data<AppState>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    app_of(routes::table(state.options.demo.is_some()), state)
}

/// The application of the admin listener.
pub fn create_admin_app(
    state: web::Data<AppState>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    app_of(routes::admin_table(), state)
}

/// An application that answers by `table`. It is made once in each thread, whose counters it takes.
fn app_of(
    table: route_table::RouteTable,
    state: web::Data<AppState>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<impl MessageBody>,
        Error = Error,
        InitError = (),
    >,
> {
    let routes = Arc::new(table.counted_by(&state.options.status.counters().routes));
    let middleware = middleware::Middleware {
        state: state.clone(),
        routes,
        login_origins: login::may_call,
    };
    App::new()
        .app_data(state.clone())
        .wrap_fn(move |req, _| middleware::answer(state.clone(), req))
        .wrap(middleware::cors())
        .wrap_fn(move |req, with_cors| middleware.handle(req, with_cors))
}

/// Who may call, by these settings.
pub fn access(config: &Config) -> Access {
    Access {
        realms: config.realms.clone(),
        origins: config.origins.clone(),
        oauth: config.oauth.clone(),
        login: config.login.clone(),
        wecom: config.wecom.corps.clone(),
        first_app: config
            .accounts
            .first()
            .map(|account| account.app_id.clone()),
        neighbours: neighbours::settings(config),
    }
}
