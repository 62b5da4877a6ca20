//! Runs the sandbox on its own thread and runtime, so that a blocking test, or one that stops its
//! runtime, can use it too.

use std::fmt;
use std::io;
use std::net::TcpListener;
use std::thread::{self, JoinHandle};

use actix_web::dev::{Server, ServerHandle};
use actix_web::web::{self, Data, ServiceConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use tokio::sync::oneshot;

use super::Sandbox;
use super::exchange::{answer, remember_socket};
use super::refusal::Refusal;
use super::{authorize, call, control, message, probe, sns, ticket, token, user, visit, wecom};

/// Keeps the server alive; dropping it stops the server.
pub struct RunningSandbox {
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
    ended: oneshot::Receiver<()>,
}

impl RunningSandbox {
    pub(super) async fn start(listener: TcpListener, sandbox: Sandbox) -> io::Result<Self> {
        let (started, starting) = oneshot::channel();
        let (ending, ended) = oneshot::channel();
        let thread = thread::Builder::new()
            .name("sandbox".to_owned())
            .spawn(move || {
                actix_web::rt::System::new().block_on(async {
                    let server = match serve(listener, sandbox) {
                        Ok(server) => server,
                        Err(error) => return drop(started.send(Err(error))),
                    };
                    // A failed send means that the caller no longer waits, so that nobody could
                    // stop the server.
                    if started.send(Ok(server.handle())).is_ok()
                        && let Err(error) = server.await
                    {
                        tracing::error!(%error, "sandbox stopped");
                    }
                });
                // The receiver is gone if the sandbox was dropped instead of stopped.
                let _ = ending.send(());
            })?;
        let handle = starting.await.map_err(io::Error::other)??;
        Ok(Self {
            handle,
            thread: Some(thread),
            ended,
        })
    }

    /// Stops at once. When this returns, the port is free and every connection closed. Running
    /// requests are not awaited.
    pub async fn stop(mut self) {
        self.handle.stop(false).await;
        // Fails only if the thread has ended already.
        let _ = (&mut self.ended).await;
    }
}

impl Drop for RunningSandbox {
    fn drop(&mut self) {
        // The call itself sends the stop command; only its completion needs an await.
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            // The thread has reported its own panic.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for RunningSandbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RunningSandbox").finish_non_exhaustive()
    }
}

fn serve(listener: TcpListener, sandbox: Sandbox) -> io::Result<Server> {
    let sandbox = Data::new(sandbox);
    let server = HttpServer::new(move || App::new().app_data(sandbox.clone()).configure(routes))
        .workers(1)
        .disable_signals()
        // If a client gives up on a hanging call, the call ends.
        .h1_allow_half_closed(false)
        .on_connect(remember_socket)
        .listen(listener)?;
    Ok(server.run())
}

fn routes(config: &mut ServiceConfig) {
    config
        .route(token::BASIC, web::to(token::basic))
        .route(token::STABLE, web::to(token::stable))
        .route(ticket::PATH, web::to(ticket::ticket))
        .route(wecom::TOKEN, web::to(wecom::token))
        .route(wecom::TICKET, web::to(wecom::ticket))
        .route(wecom::AGENT_TICKET, web::to(wecom::ticket))
        .route(probe::PATH, web::to(probe::callback_ip))
        .route(user::PATH, web::to(user::info))
        .route(message::CUSTOM, web::to(message::custom))
        .route(message::TEMPLATE, web::to(message::template))
        .route(authorize::PATH, web::get().to(visit::authorize))
        .route(sns::ACCESS, web::to(sns::access_token))
        .route(sns::REFRESH, web::to(sns::refresh_token))
        .route(sns::USERINFO, web::to(sns::userinfo))
        .route(sns::AUTH, web::to(sns::auth))
        .configure(call::routes)
        .configure(control::routes)
        .default_service(web::to(unknown));
}

async fn unknown(sandbox: Data<Sandbox>, request: HttpRequest) -> HttpResponse {
    if request.path().starts_with("/sandbox") {
        return control::unknown(&request);
    }
    answer(&sandbox, &request, "", |_| Err(Refusal::UNKNOWN_PATH)).await
}
