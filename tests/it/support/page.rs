//! A web page of a given origin that runs a script beside the helper and reports the result.

use std::net::TcpListener;
use std::time::Duration;

use actix_web::dev::ServerHandle;
use actix_web::http::Method;
use actix_web::web::{self, Bytes, Data};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::chromium::Chromium;

/// The helper as served.
pub(crate) const HELPER: &str = include_str!("../../../static/jsdkd.js");

/// What a page needs besides the helper: a `wx` that behaves like WeChat's script (`ready` fires at
/// once if any config was ever answered, and also after a refusal), and a way to report.
const STUB: &str = r"
var seen = [], refusal = null;
var wx = (function () {
  var answered = false, readies = [], refused = function () {};
  return {
    config: function (c) {
      seen.push(c);
      setTimeout(function () {
        answered = true;
        if (refusal) refused({ errMsg: refusal });
        readies.splice(0).forEach(function (f) { f(); });
      }, 50);
    },
    ready: function (f) { if (answered) f(); else readies.push(f); },
    error: function (f) { refused = f; }
  };
})();
function report(value) { fetch('/report', { method: 'POST', body: JSON.stringify(value) }); }
function tell(promise) {
  promise.then(function (got) {
    report({ seen: seen, resolved: got === wx });
  }, function (e) {
    report({ seen: seen, resolved: false, message: e.message, fields: e, error: e instanceof Error });
  });
}
window.onerror = function (message) { report({ seen: seen, thrown: message }); };
";

/// One visit of a browser to one page.
pub(crate) struct Visit<'a> {
    /// The host of the page's origin; any name resolves to this machine.
    pub(crate) host: &'a str,
    /// The page's path, query and fragment.
    pub(crate) path: &'a str,
    /// The browser's `User-Agent`, if not its own.
    pub(crate) user_agent: Option<&'a str>,
    /// The helper's URL; a path is on the page's own origin.
    pub(crate) helper: &'a str,
    /// The page's script: it calls `tell(promise)` or `report(value)` once.
    pub(crate) script: &'a str,
}

impl Visit<'_> {
    /// Returns the page's report; `None` without a browser.
    pub(crate) async fn report(&self) -> Option<Value> {
        let (reports, mut reported) = mpsc::unbounded_channel();
        let (port, _serving) = serve(document(self.helper, self.script), reports);
        let _browser = Chromium::open(
            &format!("http://{}:{port}{}", self.host, self.path),
            self.user_agent,
        )
        .await?;
        let report = tokio::time::timeout(Duration::from_secs(60), reported.recv()).await;
        let report = report
            .expect("the page reports within a minute")
            .expect("the page's server holds the sender");
        assert_eq!(report.get("thrown"), None, "the page's script failed");
        Some(report)
    }
}

/// Serves a page that loads `helper` and runs `script` until the guard is dropped. Returns its
/// port; any host name works.
pub(crate) fn site(helper: &str, script: &str) -> (u16, Serving) {
    serve(document(helper, script), mpsc::unbounded_channel().0)
}

fn document(helper: &str, script: &str) -> String {
    format!(
        "<!doctype html><meta charset=utf-8><body><script>{STUB}</script><script src=\"{helper}\"></script><script>{script}</script>"
    )
}

/// Stops a test's server when dropped.
pub(crate) struct Serving(pub(crate) ServerHandle);

impl Drop for Serving {
    fn drop(&mut self) {
        // The call itself sends the stop command; there is no need to wait.
        drop(self.0.stop(false));
    }
}

fn serve(page: String, reports: mpsc::UnboundedSender<Value>) -> (u16, Serving) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("a bound socket").port();
    let (page, reports) = (Data::new(page), Data::new(reports));
    let app = move || {
        App::new()
            .app_data(page.clone())
            .app_data(reports.clone())
            .default_service(web::to(answer))
    };
    let server = HttpServer::new(app)
        .workers(1)
        .disable_signals()
        .listen(listener)
        .expect("a listening socket")
        .run();
    let serving = Serving(server.handle());
    tokio::spawn(server);
    (port, serving)
}

/// Serves the page; the helper below any path; a config service below any path, which hangs below
/// `/silent/`; and a redirect to the target after `/moved-to`.
async fn answer(
    request: HttpRequest,
    body: Bytes,
    page: Data<String>,
    reports: Data<mpsc::UnboundedSender<Value>>,
) -> HttpResponse {
    let path = request.path();
    if path == "/report" {
        let _ = reports.send(serde_json::from_slice(&body).expect("the page reports JSON"));
        return HttpResponse::Ok().finish();
    }
    if let Some(moved) = request
        .uri()
        .path_and_query()
        .and_then(|path| path.as_str().strip_prefix("/moved-to"))
    {
        return HttpResponse::Found()
            .insert_header(("location", moved))
            .finish();
    }
    if path.starts_with("/silent/") && request.method() == Method::POST {
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    match *request.method() {
        Method::POST => HttpResponse::Ok().json(json!({ "signature": "s", "path": path })),
        _ if path.ends_with("/jsdkd.js") => HttpResponse::Ok()
            .content_type("text/javascript")
            .body(HELPER),
        _ => HttpResponse::Ok()
            .content_type("text/html; charset=utf-8")
            .body(page.to_string()),
    }
}
