//! The whole way once: a config, a credential, a stop.

use serde_json::json;

use crate::support::app::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn a_config_and_a_credential_come_from_one_fetch_each() {
    let app = TestApp::start().await;
    let config = app.config(json!({ "url": "https://example.com/" })).await.json();
    assert_eq!(config["appId"], crate::support::app::APP);
    let token = app.value("token").await;
    assert!(app.sandbox.accepts(&token));
    assert_eq!((app.sandbox.calls("/cgi-bin/token"), app.sandbox.calls("/cgi-bin/ticket/getticket")), (1, 1));
    app.stop().await;
}
