//! A real server on a free port with its own sandbox as WeChat. Most tests start with this.

use std::time::Duration;

use clock::Clock;
use jsdkd::server::{Reloader, Server};
use jsdkd::settings::{self, Config, Environment, Source};
use jsdkd::telemetry::LostLines;
use reqwest::{Method, StatusCode};
use sandbox::{Sandbox, SandboxOptions};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use wechat::signature;

/// The account of a test server unless its settings say otherwise.
pub(crate) const APP: &str = "wx0123456789abcdef";
pub(crate) const APP_SECRET: &str = "app-secret-marker-5d41";
pub(crate) const REALM: &str = "R123";
pub(crate) const REALM_SECRET: &str = "realm-secret-marker-9e10";

/// A running server.
pub(crate) struct TestApp {
    pub(crate) sandbox: Sandbox,
    pub(crate) url: String,
    /// Where its admin listener is; empty without one.
    pub(crate) admin: String,
    pub(crate) reloader: Reloader,
    client: reqwest::Client,
    stop: Option<oneshot::Sender<()>>,
    ended: JoinHandle<std::io::Result<()>>,
    _running: sandbox::RunningSandbox,
}

/// The options of a test server: settings merged over the defaults, clocks, and a sandbox's
/// options.
pub(crate) struct Builder {
    settings: Value,
    clock: Clock,
    sandbox: SandboxOptions,
}

impl TestApp {
    /// Starts a server with one account, in memory.
    pub(crate) async fn start() -> Self {
        Self::with(json!({})).await
    }

    /// Starts a server with `settings` merged over the defaults; `null` removes a setting.
    pub(crate) async fn with(settings: Value) -> Self {
        Self::build(settings).start().await
    }

    pub(crate) fn build(settings: Value) -> Builder {
        let accounts = vec![(APP.to_owned(), APP_SECRET.to_owned())];
        Builder {
            settings,
            clock: Clock::system(),
            sandbox: SandboxOptions {
                accounts,
                ..SandboxOptions::default()
            },
        }
    }

    /// The bound address.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.url
            .trim_start_matches("http://")
            .parse()
            .expect("our own address")
    }

    /// `GET path`.
    pub(crate) async fn get(&self, path: &str) -> Response {
        self.send(self.request(Method::GET, path)).await
    }

    /// `GET path` of the admin listener.
    pub(crate) async fn admin(&self, path: &str) -> Response {
        let request = self.client.get(format!("{}{path}", self.admin));
        self.send(request).await
    }

    /// `POST /jsapi/APP/config` with a JSON body.
    pub(crate) async fn config(&self, body: Value) -> Response {
        self.config_text(&body.to_string()).await
    }

    /// Like [`TestApp::config`], with any text as the body.
    pub(crate) async fn config_text(&self, body: &str) -> Response {
        let request = self.request(Method::POST, &format!("/jsapi/{APP}/config"));
        self.send(
            request
                .header("content-type", "application/json")
                .body(body.to_owned()),
        )
        .await
    }

    /// A realm query of version 2 for `key`.
    pub(crate) async fn query(&self, key: &str) -> Response {
        self.get(&signed_v2("GET", APP, &[("key", key)])).await
    }

    /// Reports that WeChat refused this value.
    pub(crate) async fn rotate(&self, key: &str, refused: &str) -> Response {
        self.get(&signed_v2("GET", APP, &[("key", key), ("rotate", refused)]))
            .await
    }

    /// The value of a credential.
    #[track_caller]
    pub(crate) fn value(&self, key: &str) -> impl Future<Output = String> {
        let answer = self.query(key);
        async {
            answer.await.json()["value"]
                .as_str()
                .expect("a value")
                .to_owned()
        }
    }

    /// Starts a request to this server, for [`TestApp::send`].
    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    pub(crate) async fn send(&self, request: reqwest::RequestBuilder) -> Response {
        Response::of(request.send().await.expect("the server answers")).await
    }

    /// Stops the server as SIGTERM does, and waits until it has stopped.
    pub(crate) async fn stop(mut self) {
        self.stop
            .take()
            .expect("it is stopped once")
            .send(())
            .expect("the server still runs");
        (&mut self.ended)
            .await
            .expect("the server's task ends")
            .expect("the server ends well");
    }
}

impl Builder {
    pub(crate) fn clock(mut self, clock: Clock) -> Self {
        self.clock = clock;
        self
    }

    pub(crate) fn sandbox(mut self, change: impl FnOnce(&mut SandboxOptions)) -> Self {
        change(&mut self.sandbox);
        self
    }

    /// Serves these accounts instead of the one, all with the same secret.
    pub(crate) fn accounts(mut self, accounts: &[String]) -> Self {
        let app = |key: &String| json!({ "key": key, "secret": APP_SECRET });
        self.settings["apps"] = accounts.iter().map(app).collect();
        let secret = |key: &String| (key.clone(), APP_SECRET.to_owned());
        self.sandbox.accounts = accounts.iter().map(secret).collect();
        self
    }

    pub(crate) async fn start(self) -> TestApp {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let (sandbox, running) = Sandbox::start(([127, 0, 0, 1], 0).into(), self.sandbox)
            .await
            .expect("a free port");
        let config = config_of(&sandbox, self.settings);
        let server = Server::bind_with(config, self.clock, None, LostLines::default())
            .await
            .expect("the server starts");
        let (stop, stopped) = oneshot::channel::<()>();
        let (url, reloader) = (format!("http://{}", server.address()), server.reloader());
        let admin = server.admin_address();
        let admin = admin.map_or_else(String::new, |address| format!("http://{address}"));
        let ended = tokio::spawn(server.run_until(async { drop(stopped.await) }));
        let client = reqwest::Client::builder()
            .timeout(Duration::from_secs(60))
            .no_proxy();
        let client = client
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .expect("a client");
        TestApp {
            sandbox,
            url,
            admin,
            reloader,
            client,
            stop: Some(stop),
            ended,
            _running: running,
        }
    }
}

/// The default test settings with `over` merged over them, validated.
pub(crate) fn config_of(sandbox: &Sandbox, over: Value) -> Config {
    let mut settings = json!({
        "apps": [{ "key": APP, "secret": APP_SECRET }],
        "realms": [{ "key": REALM, "secret": REALM_SECRET }],
        "server": { "bind": "127.0.0.1", "port": 0, "workers": 1, "shutdownGrace": "2s" },
        "wechat": { "api": [sandbox.url()], "open": sandbox.url(), "timeout": "2s" },
    });
    lay(&mut settings, over);
    settings::load(
        &Source::text("test settings", settings.to_string()),
        &Environment::default(),
    )
    .expect("good settings")
    .config
}

/// Merges `over` into `under`; `null` removes a member.
pub(crate) fn lay(under: &mut Value, over: Value) {
    match (under, over) {
        (Value::Object(under), Value::Object(over)) => {
            for (name, value) in over {
                if value.is_null() {
                    under.remove(&name);
                } else {
                    lay(under.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        (under, over) => *under = over,
    }
}

/// The time as a realm's `ts`.
pub(crate) fn now_ms() -> String {
    Clock::system().wall().to_string()
}

/// A signed path of version 2 with `pairs` besides the required parameters.
pub(crate) fn signed_v2(method: &str, app: &str, pairs: &[(&str, &str)]) -> String {
    let (path, ts) = (format!("/jsapi/{app}/query"), now_ms());
    let mut pairs = pairs.to_vec();
    pairs.extend([("realm", REALM), ("nonce", "n-1"), ("ts", &ts)]);
    let query = signature::canonical_query(pairs);
    let sign = signature::realm_v2(REALM_SECRET, method, &path, &query, b"").text();
    format!("{path}?{query}&sign={sign}")
}

/// A signed path of version 1, as the original's clients write it; `ts` is in milliseconds.
pub(crate) fn signed_v1(app: &str, extra: &str) -> String {
    let ts = now_ms();
    let sign = signature::realm_v1(REALM, "n-1", &ts, REALM_SECRET).text();
    format!("/jsapi/{app}/query?{extra}realm={REALM}&nonce=n-1&ts={ts}&sign={sign}")
}

/// A complete answer.
#[must_use = "an answer that nobody looks at proves nothing"]
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    headers: reqwest::header::HeaderMap,
    pub(crate) body: String,
}

impl Response {
    pub(crate) async fn of(response: reqwest::Response) -> Self {
        let (status, headers) = (response.status(), response.headers().clone());
        Self {
            status,
            headers,
            body: response.text().await.expect("a whole body"),
        }
    }

    /// A header's value; empty if it is missing.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers
            .get(name)
            .map_or("", |value| value.to_str().expect("a plain header"))
    }

    pub(crate) fn headers(&self) -> &reqwest::header::HeaderMap {
        &self.headers
    }

    /// The body of a successful answer.
    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{}", self.body);
        serde_json::from_str(&self.body).expect("a JSON body")
    }

    /// The body of a problem with this status and code.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let problem: Value = serde_json::from_str(&self.body)
            .unwrap_or_else(|_| panic!("no problem+json: {self:?}"));
        assert_eq!(
            (self.status.as_u16(), problem["code"].as_str()),
            (status, Some(code)),
            "{}",
            self.body
        );
        assert_eq!(
            (problem["status"].as_u64(), self.header("content-type")),
            (Some(status.into()), "application/problem+json")
        );
        assert!(
            problem["title"].is_string()
                && problem["detail"]
                    .as_str()
                    .is_some_and(|detail| detail.len() > 10),
            "{problem}"
        );
        problem
    }
}
