//! The demo page, `static/demo.html`, in a real browser.

use super::support::chromium::Chromium;
use super::support::page::Serving;

#[tokio::test]
async fn the_demo_page_computes_the_same_signature_as_the_server() {
    let (demo, _guard) = demo().await;
    let Some(document) = Chromium::document(&format!("{demo}/demo.html?你好=%20#top")).await else { return };
    assert!(document.contains(r#"data-state="equal""#), "{document}");
}

/// A demo server and what keeps it running.
async fn demo() -> (String, Serving) {
    stand_in::start()
}

/// What the page needs of `jsdkd demo`, in small.
mod stand_in {
    use actix_web::{App, HttpResponse, HttpServer, web};
    use serde_json::{Map, Value, json};

    use crate::support::page::{HELPER, Serving};

    const TICKET: &str = "sandbox_ticket_1";
    const NONCE: &str = "00112233445566778899aabbccddeeff";

    pub(super) fn start() -> (String, Serving) {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound socket");
        let app = || {
            App::new()
                .route("/demo.html", file("text/html; charset=utf-8", include_str!("../../static/demo.html")))
                .route("/demo.js", file("text/javascript", include_str!("../../static/demo.js")))
                .route("/demo.css", file("text/css", include_str!("../../static/demo.css")))
                .route("/jsdkd.js", file("text/javascript", HELPER))
                .route("/demo/ticket", web::get().to(ticket))
                .route("/jsapi/wx_demo/config", web::post().to(config))
        };
        let server = HttpServer::new(app).workers(1).disable_signals().listen(listener).expect("a listening socket").run();
        let serving = Serving(server.handle());
        tokio::spawn(server);
        (format!("http://{address}"), serving)
    }

    /// Nothing inline is allowed: the page must do without.
    fn file(content_type: &'static str, text: &'static str) -> actix_web::Route {
        let policy = ("Content-Security-Policy", "default-src 'self'");
        web::get().to(move || async move { HttpResponse::Ok().content_type(content_type).insert_header(policy).body(text) })
    }

    async fn ticket() -> HttpResponse {
        HttpResponse::Ok().json(json!({ "ticket": TICKET, "appid": "wx_demo", "sandbox": "http://127.0.0.1:1" }))
    }

    async fn config(mut body: web::Json<Map<String, Value>>) -> HttpResponse {
        let signature = jsdkd::signature::jsapi(TICKET, NONCE, 1_589_203_758, body["url"].as_str().expect("an address")).text();
        for (name, value) in [("nonceStr", json!(NONCE)), ("timestamp", json!(1_589_203_758)), ("signature", json!(signature))] {
            body.insert(name.to_owned(), value);
        }
        HttpResponse::Ok().json(body.into_inner())
    }
}
