//! The public address: its listeners, and the workers that answer the requests.

use std::io;
use std::net::{SocketAddr, TcpListener};

use actix_server::Server;
use actix_service::IntoServiceFactory;
use actix_web::web;

use super::error::StartError;
use super::{capacity, connection};
use crate::http::{self, AppState};
use crate::settings::ServerConfig;

/// What the settings say about the public address.
pub(super) struct Options {
    address: String,
    workers: usize,
    connections_a_worker: usize,
    grace_seconds: u64,
}

impl Options {
    pub(super) fn of(server: &ServerConfig) -> Self {
        Self {
            address: wanted_address(&server.bind, server.port),
            workers: server.workers,
            connections_a_worker: capacity::connections_a_worker(
                server.max_connections,
                server.workers,
            ),
            grace_seconds: server.shutdown_grace.as_secs().max(1),
        }
    }
}

/// Binds every address that the settings mean. Returns the first one, with its actual port, and
/// the server, which answers as soon as it is awaited.
pub(super) fn listen(
    options: &Options,
    state: &web::Data<AppState>,
) -> Result<(SocketAddr, Server), StartError> {
    let refused = |source| StartError::Bind {
        address: options.address.clone(),
        source,
    };
    let mut server = Server::build()
        .max_concurrent_connections(options.connections_a_worker)
        .shutdown_timeout(options.grace_seconds)
        .disable_signals();
    if options.workers > 0 {
        server = server.workers(options.workers);
    }
    let listeners = connection::listen(&options.address).map_err(refused)?;
    let address = listeners
        .first()
        .ok_or(io::ErrorKind::AddrNotAvailable.into())
        .and_then(TcpListener::local_addr);
    let address = address.map_err(refused)?;
    for listener in listeners {
        let (shared, shutdown) = (state.clone(), server.graceful_shutdown_signal());
        let clock = state.clock().clone();
        let local = http::LocalAddress(listener.local_addr().map_err(refused)?);
        let app = move || {
            http::create_app(shared.clone())
                .app_data(local)
                .into_factory()
        };
        server = server
            .listen("http", listener, move || {
                connection::service(app(), shutdown.clone(), clock.clone())
            })
            .map_err(refused)?;
    }
    Ok((address, server.run()))
}

/// Formats `bind` and `port` as an address, with brackets around an IPv6 address.
fn wanted_address(bind: &str, port: u16) -> String {
    if bind.contains(':') && !bind.starts_with('[') {
        format!("[{bind}]:{port}")
    } else {
        format!("{bind}:{port}")
    }
}
