//! A back end behind the message server: it records its requests and gives configurable answers.

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};

use super::page::Serving;

/// One received request.
#[derive(Clone, Debug)]
pub(crate) struct Received {
    pub(crate) query: String,
    pub(crate) content_type: String,
    pub(crate) body: String,
}

/// The answer to every request.
#[derive(Clone, Debug)]
pub(crate) struct Orders {
    pub(crate) after: Duration,
    pub(crate) status: u16,
    pub(crate) body: String,
}

/// A running back end.
pub(crate) struct Backend {
    pub(crate) url: String,
    shared: Data<Shared>,
    _serving: Serving,
}

struct Shared {
    received: Mutex<Vec<Received>>,
    orders: Mutex<Orders>,
}

impl Backend {
    /// Starts a back end that answers `body` at once.
    pub(crate) fn answering(body: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!(
            "http://{}/hook?own=1",
            listener.local_addr().expect("a bound socket")
        );
        let orders = Orders {
            after: Duration::ZERO,
            status: 200,
            body: body.to_owned(),
        };
        let shared = Data::from(Arc::new(Shared {
            received: Mutex::default(),
            orders: Mutex::new(orders),
        }));
        let data = shared.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .default_service(web::to(answer))
        });
        let server = server
            .workers(1)
            .disable_signals()
            .listen(listener)
            .expect("a listening socket")
            .run();
        let serving = Serving(server.handle());
        tokio::spawn(server);
        Self {
            url,
            shared,
            _serving: serving,
        }
    }

    /// Changes the following answers.
    pub(crate) fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.shared.orders.lock().expect("no test panics here"));
    }

    /// All requests so far.
    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared
            .received
            .lock()
            .expect("no test panics here")
            .clone()
    }
}

async fn answer(request: HttpRequest, body: Bytes, shared: Data<Shared>) -> HttpResponse {
    let content_type = request
        .headers()
        .get("content-type")
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default()
        .to_owned();
    let body = String::from_utf8(body.to_vec()).expect("a back end is handed text");
    let received = Received {
        query: request.query_string().to_owned(),
        content_type,
        body,
    };
    shared
        .received
        .lock()
        .expect("no test panics here")
        .push(received);
    let orders = shared.orders.lock().expect("no test panics here").clone();
    tokio::time::sleep(orders.after).await;
    HttpResponse::build(StatusCode::from_u16(orders.status).expect("a status")).body(orders.body)
}
