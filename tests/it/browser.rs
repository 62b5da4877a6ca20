//! The browser helper `static/jsdkd.js` in a real browser, from another origin than the server's.

use serde_json::{Value, json};

use super::support::app::{APP, TestApp};
use super::support::page::{HELPER, Visit};

const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148 MicroMessenger/8.0.49";
const ANDROID: &str = "Mozilla/5.0 (Linux; Android 14; Pixel 8) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/122.0 Mobile Safari/537.36 MicroMessenger/8.0.49";

/// A script that does nothing, used instead of the helper.
const NOTHING: &str = "data:text/javascript,0";

/// A visit to a shop's page with an allowed origin, which loads the helper from the server.
async fn shop(user_agent: Option<&str>, server: &str, script: &str) -> Option<Value> {
    let helper = format!("{server}/jsdkd.js");
    Visit {
        host: "shop.example.com",
        path: "/cart?a=1&b=%20#/top",
        user_agent,
        helper: &helper,
        script,
    }
    .report()
    .await
}

/// The URLs passed to `wx.config`, without their origins, whose ports are random.
fn signed(report: &Value) -> Vec<&str> {
    let seen = report["seen"].as_array().expect("the stub's list");
    let urls = seen
        .iter()
        .map(|config| config["url"].as_str().expect("an address"));
    urls.map(|url| {
        url.strip_prefix("http://shop.example.com:")
            .expect("the page's origin")
            .split_once('/')
            .expect("a path")
            .1
    })
    .collect()
}

#[test]
fn the_helper_is_under_11_kb() {
    assert!(HELPER.len() < 11_000, "{} bytes", HELPER.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_another_origin_gets_its_config() {
    let (server, app, _guard) = server().await;
    let script = format!(
        "tell(jsdkd.config({{ appid: '{app}', jsApiList: ['chooseImage'], openTagList: ['wx-open-launch-app'], debug: true }}))"
    );
    let Some(report) = shop(None, &server, &script).await else {
        return;
    };
    assert_eq!(report["resolved"], true, "{report}");
    let config = &report["seen"][0];
    assert_eq!(config["appId"], app);
    assert!(config["timestamp"].is_u64(), "{config}");
    assert_eq!(
        config["nonceStr"].as_str().map(str::len),
        Some(32),
        "{config}"
    );
    assert_eq!(
        config["signature"].as_str().map(str::len),
        Some(40),
        "{config}"
    );
    assert_eq!(config["jsApiList"][0], "chooseImage");
    assert_eq!(config["openTagList"][0], "wx-open-launch-app");
    assert_eq!(config["debug"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_url_is_sent_without_its_fragment() {
    let (server, app, _guard) = server().await;
    let Some(report) = shop(
        None,
        &server,
        &format!("tell(jsdkd.config({{ appid: '{app}' }}))"),
    )
    .await
    else {
        return;
    };
    assert_eq!(signed(&report), ["cart?a=1&b=%20"]);
}

/// Signs, navigates inside the page, and signs again.
fn walk(app: &str) -> String {
    format!(
        "jsdkd.config({{ appid: '{app}' }}).then(function () {{
           history.pushState(null, '', '/item/7?c=2#x');
           tell(jsdkd.config({{ appid: '{app}' }}));
         }});"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_iphone_keeps_the_address_first_entered_and_one_signature() {
    let (server, app, _guard) = server().await;
    let Some(report) = shop(Some(IPHONE), &server, &walk(&app)).await else {
        return;
    };
    assert_eq!(report["resolved"], true, "{report}");
    assert_eq!(signed(&report), ["cart?a=1&b=%20"]);
    let late =
        format!("history.pushState(null, '', '/item/7'); tell(jsdkd.config({{ appid: '{app}' }}))");
    let Some(report) = shop(Some(IPHONE), &server, &late).await else {
        return;
    };
    assert_eq!(signed(&report), ["cart?a=1&b=%20"]);
}

/// A page whose router navigates before the helper is loaded, as a bundle or a lazy route does.
fn loads_late(server: &str, app: &str) -> String {
    format!(
        "history.replaceState(null, '', '/home#/a'); history.pushState({{}}, '', '/item/7?c=2#x');
         var late = document.createElement('script');
         late.src = '{server}/jsdkd.js';
         late.onload = function () {{ tell(jsdkd.config({{ appid: '{app}' }})); }};
         document.body.appendChild(late);"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_helper_loaded_late_signs_the_entry_address_on_an_iphone() {
    let (server, app, _guard) = server().await;
    for (agent, expected) in [(IPHONE, "cart?a=1&b=%20"), (ANDROID, "item/7?c=2")] {
        let script = loads_late(&server, &app);
        let visit = Visit {
            host: "shop.example.com",
            path: "/cart?a=1&b=%20#/top",
            user_agent: Some(agent),
            helper: NOTHING,
            script: &script,
        };
        let Some(report) = visit.report().await else {
            return;
        };
        assert_eq!(
            (report["resolved"].as_bool(), signed(&report)),
            (Some(true), vec![expected]),
            "{report}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_without_a_record_of_its_entry_signs_what_it_has() {
    let (server, app, _guard) = server().await;
    for broken in [
        "performance.getEntriesByType = undefined",
        "performance.getEntriesByType = function () { return []; }",
        "performance.getEntriesByType = function () { return [{ name: 'document' }]; }",
    ] {
        let script = format!("{broken}; {}", loads_late(&server, &app));
        let visit = Visit {
            host: "shop.example.com",
            path: "/cart",
            user_agent: Some(IPHONE),
            helper: NOTHING,
            script: &script,
        };
        let Some(report) = visit.report().await else {
            return;
        };
        assert_eq!(signed(&report), ["item/7?c=2"], "{broken}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redirect_to_the_page_is_not_its_entry() {
    let (server, app, _guard) = server().await;
    let script = loads_late(&server, &app);
    let visit = Visit {
        host: "shop.example.com",
        path: "/moved-to/cart?a=1",
        user_agent: Some(IPHONE),
        helper: NOTHING,
        script: &script,
    };
    let Some(report) = visit.report().await else {
        return;
    };
    assert_eq!(signed(&report), ["cart?a=1"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_android_signs_the_current_address_each_time_it_changes() {
    let (server, app, _guard) = server().await;
    let Some(report) = shop(Some(ANDROID), &server, &walk(&app)).await else {
        return;
    };
    assert_eq!(report["resolved"], true, "{report}");
    assert_eq!(signed(&report), ["cart?a=1&b=%20", "item/7?c=2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_page_asked_twice_is_signed_once() {
    let (server, app, _guard) = server().await;
    let script = format!(
        "var ask = function () {{ return jsdkd.config({{ appid: '{app}' }}); }};
         ask(); ask().then(ask).then(function () {{ tell(ask()); }});"
    );
    let Some(report) = shop(None, &server, &script).await else {
        return;
    };
    assert_eq!(signed(&report).len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_app_rejects_with_the_servers_error() {
    let (server, _app, _guard) = server().await;
    let Some(report) = shop(None, &server, "tell(jsdkd.config({ appid: 'wx_nobody' }))").await
    else {
        return;
    };
    assert_eq!(report["error"], true);
    assert_eq!(report["fields"]["status"], 404, "{report}");
    assert!(
        report["fields"]["code"]
            .as_str()
            .is_some_and(|code| !code.is_empty()),
        "{report}"
    );
    assert!(report["fields"]["detail"].is_string(), "{report}");
    assert_eq!(report["message"], report["fields"]["detail"]);
    assert_eq!(report["seen"].as_array().map(Vec::len), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_wx_rejects_with_the_script_to_include() {
    let (server, app, _guard) = server().await;
    let script = format!("wx = undefined; tell(jsdkd.config({{ appid: '{app}' }}))");
    let Some(report) = shop(None, &server, &script).await else {
        return;
    };
    assert_eq!(report["fields"]["code"], "no_wx");
    let message = report["message"].as_str().expect("a message");
    assert!(
        message.contains("https://res.wx.qq.com/open/js/jweixin-1.6.0.js"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_by_wechat_rejects_with_its_errmsg() {
    let (server, app, _guard) = server().await;
    let script =
        format!("refusal = 'config:invalid signature'; tell(jsdkd.config({{ appid: '{app}' }}))");
    let Some(report) = shop(None, &server, &script).await else {
        return;
    };
    assert_eq!(report["error"], true);
    assert_eq!(report["fields"]["errMsg"], "config:invalid signature");
    assert_eq!(report["fields"]["code"], "wx_error");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_a_later_config_is_not_hidden_by_the_first_ready() {
    let (server, app, _guard) = server().await;
    let script = walk(&app).replace("tell(", "refusal = 'config:invalid signature'; tell(");
    let Some(report) = shop(Some(ANDROID), &server, &script).await else {
        return;
    };
    assert_eq!(
        report["fields"]["errMsg"], "config:invalid signature",
        "{report}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_of_a_refused_origin_gets_no_signature() {
    let (server, app, _guard) = server().await;
    let helper = format!("{server}/jsdkd.js");
    let script = format!("tell(jsdkd.config({{ appid: '{app}' }}))");
    let visit = Visit {
        host: "evil.test",
        path: "/",
        user_agent: None,
        helper: &helper,
        script: &script,
    };
    let Some(report) = visit.report().await else {
        return;
    };
    assert_eq!(report["fields"]["code"], "network", "{report}");
    assert!(
        report["message"]
            .as_str()
            .is_some_and(|text| text.contains("refuses http://evil.test")),
        "{report}"
    );
    assert_eq!(report["seen"].as_array().map(Vec::len), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_derived_from_the_scripts_url() {
    let script = "tell(jsdkd.config({ appid: 'wx1' }))";
    let visit = Visit {
        host: "localhost",
        path: "/",
        user_agent: None,
        helper: "/pre/fix/jsdkd.js?v=2",
        script,
    };
    let Some(report) = visit.report().await else {
        return;
    };
    assert_eq!(report["seen"][0]["path"], "/pre/fix/jsapi/wx1/config");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_server_rejects_after_the_timeout() {
    let script = "tell(jsdkd.config({ server: '/silent/', appid: 'wx1', timeout: 200 }))";
    let visit = Visit {
        host: "localhost",
        path: "/",
        user_agent: None,
        helper: "/jsdkd.js",
        script,
    };
    let Some(report) = visit.report().await else {
        return;
    };
    assert_eq!(report["fields"]["code"], "timeout", "{report}");
}

/// A server that allows pages of `example.com`: its address, its app, and its guard.
async fn server() -> (String, String, TestApp) {
    let server = TestApp::with(json!({ "cors": ["example\\.com"] })).await;
    (server.url.clone(), APP.to_owned(), server)
}
