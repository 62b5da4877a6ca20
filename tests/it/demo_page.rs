//! The demo page, `static/demo.html`, in a real browser against a real demo.

use jsdkd::http::Demo;
use serde_json::json;

use super::support::app::{APP, REALM, REALM_SECRET, TestApp};
use super::support::chromium::Chromium;

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_page_computes_the_same_signature_as_the_server() {
    let demo = Demo {
        app_id: APP.to_owned(),
        realm: REALM.to_owned(),
        realm_secret: REALM_SECRET.to_owned(),
        sandbox: "http://127.0.0.1:1".to_owned(),
    };
    let server = TestApp::build(json!({})).demo(demo).start().await;
    let Some(document) = Chromium::document(&format!("{}/demo.html?你好=%20#top", server.url)).await else { return };
    assert!(document.contains(r#"data-state="equal""#), "{document}");
    server.stop().await;
}
