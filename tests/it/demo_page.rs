//! The demo's page, `static/demo.html`, in a real browser against the real `jsdkd demo`.

use serde_json::{Value, json};
use tempfile::TempDir;

use super::support::devtools::{Devtools, Tab};
use super::support::process::{Process, folder};
use super::support::visitor::parameter;

/// A running demo.
struct Demo {
    process: Process,
    _folder: TempDir,
}

impl Demo {
    async fn start(arguments: &[&str]) -> Self {
        let folder = folder();
        let mut process = Process::start(
            folder.path(),
            &[&["demo", "--port", "0"], arguments].concat(),
            &[],
        );
        let open = process.said("/demo.html").await;
        process.url = open
            .trim_start_matches("Open")
            .trim()
            .trim_end_matches("/demo.html")
            .to_owned();
        process.said("Ctrl-C").await;
        Self {
            process,
            _folder: folder,
        }
    }

    async fn show(&self, tab: &Tab<'_>, more: &str) {
        tab.go(&format!("{}/demo.html{more}", self.process.url))
            .await;
    }
}

/// The text of a box once a person is known, or once it is known that nobody is.
async fn told(tab: &Tab<'_>, id: &str) -> (Value, String) {
    let state = tab
        .until(&format!("document.getElementById('{id}').dataset.state"))
        .await;
    (
        state,
        tab.value(&format!("document.getElementById('{id}').innerText"))
            .await
            .as_str()
            .expect("a text")
            .to_owned(),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn the_demo_page_computes_the_same_signature_as_the_server() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let demo = Demo::start(&[]).await;
    let tab = browser.tab().await;
    demo.show(&tab, "?你好=%20#top").await;
    let state =
        tab.until("['equal', 'fault'].find(function (s) { return document.getElementById('verdict').dataset.state === s; })");
    assert_eq!(state.await, "equal");
}

/// Language, README and its picture.
const PICTURES: [(&str, &str, &str); 2] = [
    ("en", "README.md", "docs/demo.png"),
    ("zh-CN", "README.zh-CN.md", "docs/demo.zh-CN.png"),
];

/// `cargo test --test it the_pictures -- --ignored`, after a change of the page. It needs a font
/// with Chinese characters.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "writes into docs/"]
async fn the_pictures_of_the_readmes_are_taken() {
    let browser = Devtools::start().await.expect("Chromium");
    let demo = Demo::start(&[]).await;
    for (language, _, picture) in PICTURES {
        let tab = browser.tab().await;
        demo.show(&tab, "").await;
        tab.press(&format!("nav button[data-lang={language}]"))
            .await;
        tab.until("document.getElementById('verdict').dataset.state === 'equal'")
            .await;
        tab.value("document.getElementById('address').value = 'https://shop.example.com/?id=7'")
            .await;
        tab.press("#form button").await;
        tab.until(
            "document.getElementById('in-url').innerText === 'https://shop.example.com/?id=7' \
             && document.getElementById('verdict').dataset.state === 'equal'",
        )
        .await;
        tab.value("document.documentElement.style.scrollbarWidth = 'none'; scrollTo(0, 0)")
            .await;
        let png = tab.window_picture(840, 620).await;
        std::fs::write(format!("{}/{picture}", env!("CARGO_MANIFEST_DIR")), png).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_button_logs_in_and_shows_the_user() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let demo = Demo::start(&[]).await;
    let tab = browser.tab().await;
    demo.show(&tab, "?x=1").await;
    tab.press("nav button[data-lang=en]").await;
    tab.press("#go:enabled").await;
    tab.press("input[value=Alice]").await;
    tab.press("button.yes").await;
    let (state, text) = told(&tab, "visitor").await;
    assert_eq!(state, "known", "{text}");
    assert!(
        text.starts_with("Hello, Alice! Your back end learns:") && text.contains("\"openid\": \"o"),
        "{text}"
    );
    assert_eq!(
        tab.value("location.href").await,
        format!("{}/demo.html?x=1", demo.process.url)
    );

    let other = browser.tab().await;
    demo.show(&other, "").await;
    other.press("nav button[data-lang=zh-CN]").await;
    other.press("#go:enabled").await;
    other.press("button[value=refuse]").await;
    assert_eq!(
        told(&other, "visitor").await,
        (json!("fault"), "没有登录：你没有同意。".to_owned())
    );

    let stale = demo
        .process
        .get("/demo/user?ticket=0123456789abcdef0123456789abcdef")
        .await;
    stale.problem(404, "unknown_ticket");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_qr_code_can_be_opened_as_a_link() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let demo = Demo::start(&[]).await;
    let (tab, phone) = (browser.tab().await, browser.tab().await);
    demo.show(&tab, "").await;
    tab.until(
        "document.querySelector('#qr img') && document.querySelector('#qr img').naturalWidth",
    )
    .await;
    let address = tab
        .until("document.querySelector('#by-hand[href]').href")
        .await;
    phone.go(address.as_str().expect("an address")).await;
    phone.press("button.yes").await;
    // The person who scanned has to confirm, because a page began the login.
    phone.press("button[value=yes]").await;
    let (state, text) = told(&tab, "scanned").await;
    assert!(state == "known" && text.contains("小明"), "{text}");

    tab.press("#again").await;
    let link = "document.getElementById('by-hand').href";
    let another = tab.until(&format!("{link} !== {address} && {link}")).await;
    assert_ne!(
        parameter(another.as_str().unwrap(), "state"),
        parameter(address.as_str().unwrap(), "state")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_phone_on_the_same_network_can_log_in() {
    let demo = Demo::start(&["--bind", "0.0.0.0"]).await;
    let facts = demo.process.get("/demo/ticket").await.json();
    // Without a network there is no address that a phone could use.
    let Some(home) = facts["phone"].as_str() else {
        return;
    };
    demo.process.said(&format!("Phone  {home}/demo.html")).await;
    let client = reqwest::Client::builder()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap();
    let get = async |address: &str| client.get(address).send().await.expect("an answer");
    let begun = get(&format!(
        "{home}/oauth/wxdemo0000000001?redirect={home}/demo.html"
    ))
    .await;
    assert_eq!(begun.status(), 302);
    let asked = begun.headers()["location"].to_str().unwrap().to_owned();
    let host = home.rsplit_once(':').expect("a port").0;
    assert!(
        asked.starts_with(host) && !asked.contains("127.0.0.1"),
        "{asked}"
    );
    assert_eq!(get(&asked).await.status(), 200);
}
