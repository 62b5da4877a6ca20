//! HTTP/1.1 on an accepted connection, with a bound on the memory that one connection can use.

use std::future::ready;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, KeepAlive, Request};
use actix_server::GracefulShutdownSignal;
use actix_service::{Service, ServiceFactory, ServiceFactoryExt, fn_service};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceResponse};
use tokio::net::{TcpSocket, TcpStream};

use super::capacity;
use crate::http::HangUp;
use clock::Clock;
use idle_timeout::IdleTimeout;
use requests::{SharedFlow, Tracked};
use stream::BoundedStream;

mod flow;
mod idle_timeout;
mod request_line;
mod requests;
mod stream;

/// Longer than the 60 s for which a proxy such as nginx keeps idle connections. Otherwise a request
/// could arrive while we close.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// Timeout for the headers of a request.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);

/// Timeout for a client to close after we have closed our side.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Size of the dispatcher's write buffer. Together with one more piece of an answer and the
/// client's unread bytes, this is most of what a connection holds.
const WRITE_BUFFER: usize = 16 * 1024;

/// Connections that the system completes before we accept them.
const BACKLOG: u32 = 1024;

/// Serves `app` on accepted connections until `shutdown`.
pub(super) fn service<S, B>(
    app: S,
    shutdown: GracefulShutdownSignal,
    clock: Clock,
) -> impl ServiceFactory<TcpStream, Config = (), Response = (), Error = DispatchError, InitError = ()>
where
    S: ServiceFactory<
            Request,
            Config = AppConfig,
            Response = ServiceResponse<B>,
            Error = Error,
            InitError = (),
        > + 'static,
    S::Future: 'static,
    <S::Service as Service<Request>>::Future: 'static,
    B: MessageBody + 'static,
{
    let accept = move |socket: TcpStream| {
        capacity::bound_silence(&socket);
        // Without this, each pipelined answer would wait until the client acknowledges the previous
        // one.
        socket.set_nodelay(true).ok();
        let peer = socket.peer_addr().ok();
        let idle = IdleTimeout::new(clock.clone());
        ready(Ok((BoundedStream::new(socket, idle), peer)))
    };
    let http = HttpService::build()
        .graceful_shutdown_signal(move || {
            let signal = shutdown.clone();
            async move { signal.notified().await }
        })
        // Without a timeout, which `IdleTimeout` is.
        .keep_alive(KeepAlive::Os)
        .client_request_timeout(HEADERS_TIMEOUT)
        .client_disconnect_timeout(DISCONNECT_TIMEOUT)
        .h1_write_buffer_size(WRITE_BUFFER)
        .on_connect_ext(|stream: &BoundedStream, data| {
            data.insert::<SharedFlow>(Rc::clone(stream.flow()));
            data.insert::<HangUp>(stream.hang_up().clone());
        })
        .h1(Tracked(app));
    fn_service(accept).and_then(http)
}

/// Binds every address that `wanted` resolves to. Fails only if none can be bound.
pub(super) fn listen(wanted: &str) -> io::Result<Vec<TcpListener>> {
    let mut refused = None;
    let mut listeners = Vec::new();
    for address in wanted.to_socket_addrs()? {
        match listen_on(address) {
            Ok(listener) => listeners.push(listener),
            Err(error) => refused = Some(error),
        }
    }
    match refused {
        Some(error) if listeners.is_empty() => Err(error),
        _ => Ok(listeners),
    }
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)?.into_std()
}
