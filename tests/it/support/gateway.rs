//! A server with one realm that may call through the gateway.

use reqwest::Method;
use serde_json::{Value, json};

use super::app::{APP, TestApp, lay};

/// The virtual AppSecret of the realm `shop`.
pub(crate) const VIRTUAL: &str = "5ca1ab1e5ca1ab1e5ca1ab1e5ca1ab1e";

/// Settings with the realm `shop`: `realm` is merged into the realm, `over` into everything.
pub(crate) fn settings(realm: Value, over: Value) -> Value {
    let mut shop = json!({ "key": "shop", "secret": VIRTUAL, "apps": [APP], "gateway": ["all"] });
    lay(&mut shop, realm);
    let mut settings = json!({ "realms": [shop] });
    lay(&mut settings, over);
    settings
}

/// A virtual token of the realm `shop`.
pub(crate) async fn token(app: &TestApp) -> String {
    let path = format!("/cgi-bin/token?grant_type=client_credential&appid={APP}&secret={VIRTUAL}");
    let answer = app.send(app.request(Method::GET, &path)).await.json();
    answer["access_token"]
        .as_str()
        .unwrap_or_else(|| panic!("no token: {answer}"))
        .to_owned()
}
