//! The maximum length of a redirect, checked when the login begins, by the URL that will be sent at
//! its end.

use sandbox::Answer;
use url::form_urlencoded::byte_serialize;

use crate::oauth::one_site;
use crate::support::app::{APP, TestApp};
use crate::support::nginx::Nginx;
use crate::support::visitor::{Browser, returned};

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect()
}

/// A redirect with `letter` repeated `count` times in the path and in the query.
fn redirect(letter: &str, count: usize) -> String {
    format!("https://shop.example.com/{0}?q={0}", letter.repeat(count))
}

/// The largest count that is accepted when the login begins.
async fn most(app: &TestApp, letter: &str, more: &str) -> usize {
    let accepts = async |count: usize| {
        let begun = app
            .get(&format!(
                "/oauth/{APP}?redirect={}{more}",
                encoded(&redirect(letter, count))
            ))
            .await;
        if begun.status != 302 {
            let told = begun.problem(400, "invalid_redirect");
            assert!(told["detail"].as_str().unwrap().contains("3600"), "{told}");
        }
        begun.status == 302
    };
    // A request with 12,000 bytes of URL still fits into the 16 KiB of a head.
    let (mut good, mut bad) = (1, 6000 / encoded(letter).len());
    while bad - good > 1 {
        let middle = usize::midpoint(good, bad);
        if accepts(middle).await {
            good = middle
        } else {
            bad = middle
        }
    }
    good
}

#[tokio::test]
async fn an_accepted_login_always_comes_back() {
    let app = TestApp::with(one_site()).await;
    let long_state = encoded(&"é&=%".repeat(100));
    for letter in ["a", "微", "é", "%20", "\u{1f600}"] {
        for more in [
            "",
            "&mode=relay",
            &format!("&state={long_state}"),
            &format!("&mode=relay&state={long_state}"),
        ] {
            let count = most(&app, letter, more).await;
            let query = format!("redirect={}{more}", encoded(&redirect(letter, count)));
            for answer in [Answer::Agree, Answer::Refuse, Answer::Snapshot] {
                let browser = Browser::new(&app);
                let back = browser.trip(APP, &query, "Alice", answer).await;
                assert_eq!(
                    back.status, 302,
                    "{letter} {count} {more} {answer:?}: {}",
                    back.body
                );
                let sent = back.header("location");
                assert!(
                    sent.starts_with("https://shop.example.com/") && sent.len() <= 3600,
                    "{} bytes",
                    sent.len()
                );
                assert_eq!(returned(&back, "state").is_some(), more.contains("state"));
            }
        }
    }
}

#[tokio::test]
async fn urls_of_two_thousand_bytes_are_accepted() {
    let app = TestApp::with(one_site()).await;
    let site = format!("https://shop.example.com/?q={}", "a".repeat(2048 - 28));
    assert_eq!(site.len(), 2048);
    for more in [
        String::new(),
        format!("&state={}", "s".repeat(512)),
        format!("&state={}", "%26".repeat(480)),
    ] {
        let back = Browser::new(&app)
            .trip(
                APP,
                &format!("redirect={}{more}", encoded(&site)),
                "Alice",
                Answer::Agree,
            )
            .await;
        assert!(back.header("location").starts_with(&site), "{}", back.body);
    }
    // Chinese characters count as sent: nine bytes each.
    let chinese = format!("https://shop.example.com/?q={}", "微".repeat(600));
    assert_eq!(chinese.len(), 1828);
    app.get(&format!("/oauth/{APP}?redirect={}", encoded(&chinese)))
        .await
        .problem(400, "invalid_redirect");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_return_passes_nginx() {
    let app = TestApp::with(one_site()).await;
    let Some(nginx) = Nginx::start(app.address()).await else {
        return;
    };
    let client = crate::nginx::client(&nginx);
    let get = async |path: String, cookie: String| {
        let url = format!("https://example.com:{}{path}", nginx.https.port());
        crate::support::app::Response::of(
            client
                .get(url)
                .header("cookie", cookie)
                .send()
                .await
                .unwrap(),
        )
        .await
    };
    let state = format!("&state={}", "%26".repeat(500));
    let count = most(&app, "a", &state).await;
    let begun = get(
        format!(
            "/oauth/{APP}?redirect={}{state}",
            encoded(&redirect("a", count))
        ),
        String::new(),
    )
    .await;
    let cookie = begun
        .header("set-cookie")
        .split(';')
        .next()
        .unwrap()
        .to_owned();
    let callback = app
        .sandbox
        .visit(begun.header("location"), "Alice", Answer::Agree)
        .unwrap();
    let back = get(
        callback
            .strip_prefix("https://example.com")
            .unwrap()
            .to_owned(),
        cookie,
    )
    .await;
    assert_eq!(back.status, 302, "{}", back.body);
    assert!(
        back.header("location").len() > 3590,
        "{} bytes",
        back.header("location").len()
    );
}
