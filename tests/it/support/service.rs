//! A service that grants expiring credentials: it records its requests and gives configurable
//! answers.

use std::net::TcpListener;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use serde_json::{Value, json};

use super::page::Serving;

/// One received request.
#[derive(Clone, Debug)]
pub(crate) struct Asked {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) content_type: String,
    pub(crate) authorization: String,
    pub(crate) body: String,
}

type Answer = dyn Fn(&Asked, u64) -> (u16, String) + Send + Sync;

/// A running service.
pub(crate) struct Service {
    pub(crate) url: String,
    shared: Data<Shared>,
    _serving: Serving,
}

struct Shared {
    asked: Mutex<Vec<Asked>>,
    count: AtomicU64,
    answer: Mutex<Arc<Answer>>,
    after: Mutex<Duration>,
}

impl Service {
    /// Starts a service whose answer is computed from the request and its number, counted from 1.
    pub(crate) fn start(
        answer: impl Fn(&Asked, u64) -> (u16, String) + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let url = format!("http://{}", listener.local_addr().expect("a bound socket"));
        let (answer, after) = (
            Mutex::new(Arc::new(answer) as Arc<Answer>),
            Mutex::default(),
        );
        let shared = Data::new(Shared {
            asked: Mutex::default(),
            count: AtomicU64::new(0),
            answer,
            after,
        });
        let data = shared.clone();
        let server = HttpServer::new(move || {
            App::new()
                .app_data(data.clone())
                .default_service(web::to(reply))
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

    /// Starts a service whose N-th call returns `token-N` with this lifetime in seconds.
    pub(crate) fn granting(lifetime: u64) -> Self {
        Self::start(move |_, number| {
            (
                200,
                json!({ "access_token": format!("token-{number}"), "expires_in": lifetime })
                    .to_string(),
            )
        })
    }

    /// Changes the following answers.
    pub(crate) fn order(
        &self,
        answer: impl Fn(&Asked, u64) -> (u16, String) + Send + Sync + 'static,
    ) {
        *self.shared.answer.lock().expect("no test panics here") = Arc::new(answer);
    }

    /// Delays every answer.
    pub(crate) fn think(&self, after: Duration) {
        *self.shared.after.lock().expect("no test panics here") = after;
    }

    /// All requests so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.shared
            .asked
            .lock()
            .expect("no test panics here")
            .clone()
    }

    /// The number of requests to `path`.
    pub(crate) fn calls(&self, path: &str) -> usize {
        self.asked()
            .iter()
            .filter(|asked| asked.path == path)
            .count()
    }
}

/// The value of `name` in a query or a form.
pub(crate) fn pair(text: &str, name: &str) -> Option<String> {
    url::form_urlencoded::parse(text.as_bytes())
        .find(|(pair, _)| pair == name)
        .map(|(_, value)| value.into_owned())
}

/// A refusal as WeChat words it.
pub(crate) fn errcode(code: i64, message: &str) -> (u16, String) {
    (
        200,
        Value::to_string(&json!({ "errcode": code, "errmsg": message })),
    )
}

async fn reply(request: HttpRequest, body: Bytes, shared: Data<Shared>) -> HttpResponse {
    let header = |name: &str| {
        request
            .headers()
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let asked = Asked {
        method: request.method().to_string(),
        path: request.path().to_owned(),
        query: request.query_string().to_owned(),
        content_type: header("content-type"),
        authorization: header("authorization"),
        body: String::from_utf8(body.to_vec()).expect("a service is sent text"),
    };
    shared
        .asked
        .lock()
        .expect("no test panics here")
        .push(asked.clone());
    let number = shared.count.fetch_add(1, Ordering::SeqCst) + 1;
    let (answer, after) = {
        let answer = Arc::clone(&shared.answer.lock().expect("no test panics here"));
        (answer, *shared.after.lock().expect("no test panics here"))
    };
    tokio::time::sleep(after).await;
    let (status, body) = answer(&asked, number);
    HttpResponse::build(StatusCode::from_u16(status).expect("a status")).body(body)
}
