//! A server on its own port and thread, stopped on drop.

use std::net::SocketAddr;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, Route, rt};

/// Stops the server on drop.
pub(crate) struct Guard(ServerHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        // The call itself sends the stop command; there is no need to wait.
        drop(self.0.stop(false));
    }
}

/// Starts a server that answers every request with `route`.
pub(crate) fn serve(route: fn() -> Route) -> (SocketAddr, Guard) {
    let (tell, told) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        rt::System::new().block_on(async move {
            let server = HttpServer::new(move || App::new().default_service(route()))
                .workers(1)
                .disable_signals();
            let server = server.bind(("127.0.0.1", 0)).unwrap();
            let address = server.addrs()[0];
            let running = server.run();
            tell.send((address, Guard(running.handle()))).unwrap();
            running.await.unwrap();
        });
    });
    told.recv().unwrap()
}
