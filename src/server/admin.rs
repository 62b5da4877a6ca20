//! The admin listener. It has a thread and connections of its own, so that a scrape delays no
//! request and a flood of requests delays no scrape.

use std::io;
use std::net::{SocketAddr, TcpListener};

use actix_server::ServerHandle;
use actix_service::IntoServiceFactory;
use actix_web::web;
use tokio::task::JoinHandle;

use super::{StartError, connection};
use crate::http::{self, AppState};

/// Prometheus, probes and a few persons need no more.
const CONNECTIONS: usize = 256;

/// A running admin listener.
pub(super) struct Admin {
    pub(super) address: SocketAddr,
    pub(super) running: JoinHandle<io::Result<()>>,
    pub(super) handle: ServerHandle,
}

/// Listens on every address that `wanted` means, before anything is served.
pub(super) fn listen(wanted: &str) -> Result<Vec<TcpListener>, StartError> {
    connection::listen(wanted).map_err(|source| refused(wanted, source))
}

fn refused(wanted: &str, source: io::Error) -> StartError {
    StartError::BindAdmin {
        address: wanted.to_owned(),
        source,
    }
}

/// Serves on `listeners`, within a second of grace when it is stopped.
pub(super) fn serve(
    wanted: &str,
    listeners: Vec<TcpListener>,
    state: &web::Data<AppState>,
) -> Result<Admin, StartError> {
    let refused = |source| refused(wanted, source);
    let mut server = actix_server::Server::build()
        .workers(1)
        .max_concurrent_connections(CONNECTIONS)
        .shutdown_timeout(1)
        .disable_signals();
    let address = listeners
        .first()
        .ok_or_else(|| io::ErrorKind::AddrNotAvailable.into())
        .and_then(TcpListener::local_addr)
        .map_err(refused)?;
    for listener in listeners {
        let (shared, shutdown) = (state.clone(), server.graceful_shutdown_signal());
        let clock = state.clock().clone();
        let app = move || http::create_admin_app(shared.clone()).into_factory();
        server = server
            .listen("admin", listener, move || {
                connection::service(app(), shutdown.clone(), clock.clone())
            })
            .map_err(refused)?;
    }
    let running = server.run();
    Ok(Admin {
        address,
        handle: running.handle(),
        running: tokio::spawn(running),
    })
}
