//! One complete run: a config, a credential, a stop.

use serde_json::json;

use crate::support::app::TestApp;

#[tokio::test(flavor = "multi_thread")]
async fn a_config_and_a_query_cost_one_fetch_each() {
    let app = TestApp::start().await;
    let config = app
        .config(json!({ "url": "https://example.com/" }))
        .await
        .json();
    assert_eq!(config["appId"], crate::support::app::APP);
    let token = app.value("token").await;
    assert!(app.sandbox.accepts(&token));
    assert_eq!(
        (
            app.sandbox.calls("/cgi-bin/token"),
            app.sandbox.calls("/cgi-bin/ticket/getticket")
        ),
        (1, 1)
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paths_match_in_any_case_and_with_a_trailing_slash() {
    let app = TestApp::start().await;
    for path in ["/ping", "/PING", "/ping/", "/Ping/"] {
        assert!(app.get(path).await.json()["pong"].is_u64(), "{path}");
    }
    assert_eq!(
        app.get("/jsapi/wx0123456789abcdef/Config/").await.json()["appId"],
        crate::support::app::APP
    );
    app.get("/jsapi/WX0123456789ABCDEF/config")
        .await
        .problem(404, "unknown_app");
    app.get("/pings").await.problem(404, "not_found");
    app.get("/jsdkdXjs").await.problem(404, "not_found");
}
