//! A server on a port of its own and in a thread of its own, for as long as its guard lives.

use std::net::SocketAddr;

use actix_web::dev::ServerHandle;
use actix_web::{App, HttpServer, Route, rt};

/// Stops the server when it goes.
pub(crate) struct Guard(ServerHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        // The order is given by the call; there is no need to wait for its end.
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
