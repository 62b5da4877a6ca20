//! What is done with an accepted connection: HTTP/1.1, with a bound on what one connection can make
//! the process hold.

use std::future::ready;
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::rc::Rc;
use std::time::Duration;

use actix_http::error::DispatchError;
use actix_http::{HttpService, Request};
use actix_server::GracefulShutdownSignal;
use actix_service::{Service, ServiceFactory, ServiceFactoryExt, fn_service};
use actix_web::Error;
use actix_web::body::MessageBody;
use actix_web::dev::{AppConfig, ServiceResponse};
use tokio::net::{TcpSocket, TcpStream};

use super::capacity;
use crate::http::HangUp;
use requests::{SharedFlow, Tracked};
use stream::BoundedStream;

mod flow;
mod request_line;
mod requests;
mod stream;

/// A proxy such as nginx keeps idle connections for 60 s; ours must outlive them, or a request
/// could meet a closing door.
const KEEP_ALIVE: Duration = Duration::from_secs(75);

/// The headers of a request must arrive within this time.
const HEADERS_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a client that is told to close may take to do so.
const DISCONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers that the dispatcher collects before it writes. With one piece more of an answer and what
/// the client sent, this is most of what a connection holds.
const WRITE_BUFFER: usize = 16 * 1024;

/// Connections that the system completes before we accept them.
const BACKLOG: u32 = 1024;

/// Serves `app` on accepted connections until `shutdown`.
pub(super) fn service<S, B>(
    app: S,
    shutdown: GracefulShutdownSignal,
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
    let accept = |socket: TcpStream| {
        capacity::bound_silence(&socket);
        // Pipelined answers are written one by one, and each would wait until the client confirms
        // the one before.
        socket.set_nodelay(true).ok();
        let peer = socket.peer_addr().ok();
        ready(Ok((BoundedStream::new(socket), peer)))
    };
    let http = HttpService::build()
        .graceful_shutdown_signal(move || {
            let signal = shutdown.clone();
            async move { signal.notified().await }
        })
        .keep_alive(KEEP_ALIVE)
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

/// Listeners on every address that `wanted` means; it is an error if none of them can be listened
/// on.
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
