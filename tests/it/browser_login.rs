//! `jsdkd.login` of `static/jsdkd.js` in a real browser: from a shop's page to the sandbox's
//! authorize page, a click there, and back. Every page calls `login` as soon as it is opened, so
//! that a redirect loop would show.

use sandbox::Answer;
use serde_json::{Value, json};

use crate::oauth::{EXCHANGE, redeeming};
use crate::support::app::{APP, APP_SECRET, TestApp, config_of};
use crate::support::devtools::{Devtools, Tab};
use crate::support::page::{Serving, site};
use crate::support::visitor::parameter;

/// The page's own query and route, which a login must restore exactly.
const CART: &str = "/cart?a=1&b=%20&c#/top?d=2";

/// A shop whose page logs its visitors in, and the server that it uses.
struct Shop {
    server: TestApp,
    home: String,
    _serving: Serving,
}

impl Shop {
    /// `options` is passed to `jsdkd.login` besides the appid; `first` runs before it.
    async fn open(options: &str, first: &str) -> Self {
        let server = TestApp::with(json!({ "cors": ["example\\.com"] })).await;
        let script = format!(
            "var outcome, again = function () {{
               return jsdkd.login({{ appid: '{APP}', {options} }}).then(
                 function (got) {{ return {{ got: got }}; }},
                 function (e) {{ return {{ code: e.code, message: e.message, error: e instanceof Error }}; }});
             }};
             var returned = jsdkd.returned, entered = location.href;
             {first};
             again().then(function (came) {{ outcome = came; }});"
        );
        let (port, serving) = site(&format!("{}/jsdkd.js", server.url), &script);
        let home = format!("http://shop.example.com:{port}");
        let oauth = json!({ "redirects": [format!("{home}/")] });
        server.reloader.apply(config_of(
            &server.sandbox,
            json!({ "cors": ["example\\.com"], "apps": [{ "key": APP, "secret": APP_SECRET, "oauth": oauth }] }),
        ));
        Self {
            server,
            home,
            _serving: serving,
        }
    }

    /// Opens the shop and waits for WeChat's page; returns its URL.
    async fn at_wechat(&self, tab: &Tab<'_>, path: &str) -> String {
        tab.go(&format!("{}{path}", self.home)).await;
        self.asked(tab).await
    }

    async fn asked(&self, tab: &Tab<'_>) -> String {
        tab.until("document.querySelector('button.yes') && location.href")
            .await
            .as_str()
            .expect("an address")
            .to_owned()
    }
}

/// The result of the login, once the page has it.
async fn outcome(tab: &Tab<'_>) -> Value {
    tab.until("window.outcome").await
}

/// Asserts that the page is not redirected and that nothing of a login is stored.
async fn stays(tab: &Tab<'_>, address: &str) {
    assert_eq!(
        tab.value("sessionStorage.getItem('jsdkd.login') + ' ' + location.href")
            .await,
        format!("{{}} {address}")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_visitor_who_agrees_returns_with_a_ticket() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let shop = Shop::open("scope: 'snsapi_userinfo', state: { from: 'cart' }", "").await;
    let tab = browser.tab().await;
    shop.at_wechat(&tab, CART).await;
    tab.press("button.yes").await;

    let came = outcome(&tab).await;
    assert_eq!(came["got"]["state"], json!({ "from": "cart" }), "{came}");
    let ticket = came["got"]["ticket"].as_str().expect("a ticket");
    assert_eq!(
        shop.server.get(&redeeming(ticket)).await.json()["nickname"],
        "小明"
    );
    assert_eq!(tab.value("returned && !jsdkd.returned").await, true);
    let entered = tab
        .value("entered")
        .await
        .as_str()
        .expect("an address")
        .to_owned();
    assert!(
        entered.contains(&format!("&ticket={ticket}&state=jsdkd.")),
        "{entered}"
    );
    let cart = format!("{}{CART}", shop.home);
    stays(&tab, &cart).await;

    // Two parts of a page that log in at the same time get the same result and cause one redirect.
    let twice = "again().then(function (got) { window.second = got; })";
    tab.value(twice).await;
    assert_eq!(tab.until("window.second").await, came);
    stays(&tab, &cart).await;

    tab.value("location.reload()").await;
    shop.asked(&tab).await;
    assert_eq!(
        shop.server.sandbox.calls(EXCHANGE),
        1,
        "a page that is loaded again begins again and uses nothing twice"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_returns_wechats_code() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let shop = Shop::open("mode: 'relay', redirect: '/in?x=1'", "").await;
    let tab = browser.tab().await;
    let asked = shop.at_wechat(&tab, "/cart?ticket=7&state=open").await;
    assert_eq!(parameter(&asked, "scope").as_deref(), Some("snsapi_base"));
    tab.press("button.yes").await;
    let came = outcome(&tab).await;
    let code = came["got"]["code"].as_str().expect("a code");
    let theirs = format!(
        "{}{EXCHANGE}?appid={APP}&secret={APP_SECRET}&code={code}&grant_type=authorization_code",
        shop.server.sandbox.url()
    );
    let grant = reqwest::get(theirs).await.unwrap().text().await.unwrap();
    assert!(grant.contains("\"openid\""), "{grant}");
    stays(&tab, &format!("{}/in?x=1", shop.home)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_and_a_snapshot_reject_without_a_retry() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    for mode in ["login", "relay"] {
        let shop = Shop::open(&format!("mode: '{mode}', scope: 'snsapi_userinfo'"), "").await;
        let tab = browser.tab().await;
        shop.at_wechat(&tab, CART).await;
        tab.press("button[value=refuse]").await;
        let came = outcome(&tab).await;
        assert_eq!(
            (&came["code"], &came["error"]),
            (&json!("access_denied"), &json!(true)),
            "{came}"
        );
        stays(&tab, &format!("{}{CART}", shop.home)).await;
        if mode == "login" {
            tab.value("location.reload()").await;
            shop.asked(&tab).await;
            tab.press("input[name=snapshot]").await;
            tab.press("button.yes").await;
            assert_eq!(outcome(&tab).await["code"], "snapshot_user");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_old_link_restarts_the_login() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let shop = Shop::open("", "").await;
    let tab = browser.tab().await;
    for old in [
        "ticket=0123&state=jsdkd.k00000.x1",
        "error=access_denied&state=jsdkd.k00000.x1",
    ] {
        shop.at_wechat(&tab, &format!("/cart?a=1&{old}#/top")).await;
        tab.press("button.yes").await;
        assert_eq!(
            outcome(&tab).await["got"]["ticket"].as_str().map(str::len),
            Some(32)
        );
        stays(&tab, &format!("{}/cart?a=1#/top", shop.home)).await;
    }
    let now = tab.value("Date.now().toString(36)").await;
    tab.go(&format!(
        "{}/cart?a=1&ticket=0123&state=jsdkd.{}.x1#/top",
        shop.home,
        now.as_str().unwrap()
    ))
    .await;
    assert_eq!(outcome(&tab).await["code"], "state_mismatch");
    stays(&tab, &format!("{}/cart?a=1#/top", shop.home)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_causes_no_redirect_loop() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let shop = Shop::open("", "").await;
    let tab = browser.tab().await;
    shop.at_wechat(&tab, CART).await;
    tab.go(&format!("{}/home", shop.home)).await;
    assert_eq!(outcome(&tab).await["code"], "no_answer");
    stays(&tab, &format!("{}/home", shop.home)).await;
    tab.value("again()").await;
    shop.asked(&tab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_router_that_changes_the_url_first_loses_nothing() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let shop = Shop::open(
        "",
        "history.replaceState({ n: 1 }, '', '/home?state=open#/x')",
    )
    .await;
    let tab = browser.tab().await;
    shop.at_wechat(&tab, "/").await;
    tab.press("button.yes").await;
    assert_eq!(
        outcome(&tab).await["got"]["ticket"].as_str().map(str::len),
        Some(32)
    );
    stays(&tab, &format!("{}/home?state=open#/x", shop.home)).await;
    assert_eq!(tab.value("history.state.n").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_session_storage_the_login_rejects() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let denied = "Object.defineProperty(window, 'sessionStorage', { get: function () { throw new Error('denied'); } })";
    let shop = Shop::open("", denied).await;
    let tab = browser.tab().await;
    let home = format!("{}/", shop.home);
    tab.go(&home).await;
    assert_eq!(outcome(&tab).await["code"], "no_storage");
    assert_eq!(tab.value("location.href").await, home);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_profiles_callback_consumes_nothing() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let shop = Shop::open("scope: 'snsapi_userinfo'", "").await;
    let (own, other) = (browser.tab().await, browser.tab().await);
    let asked = shop.at_wechat(&own, CART).await;
    let callback = shop
        .server
        .sandbox
        .visit(&asked, "Alice", Answer::Agree)
        .unwrap();
    other.go(&callback).await;
    let refused =
        other.until("document.readyState === 'complete' && location.href !== 'about:blank' && document.body.innerText").await;
    assert!(!refused.as_str().unwrap().is_empty());
    assert_eq!(
        other
            .value(
                "performance.getEntriesByType('navigation')[0].responseStatus + ' ' + location.href"
            )
            .await,
        format!("400 {callback}")
    );
    assert_eq!(shop.server.sandbox.calls(EXCHANGE), 0);
    own.go(&callback).await;
    let ticket = outcome(&own).await["got"]["ticket"]
        .as_str()
        .expect("a ticket")
        .to_owned();
    assert_eq!(
        shop.server.get(&redeeming(&ticket)).await.json()["nickname"],
        "Alice"
    );
}
