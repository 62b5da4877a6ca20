//! Proxies for outgoing calls, from the environment: used, or a fault at start.

use sandbox::{RunningSandbox, Sandbox, SandboxOptions};
use serde_json::{Value, json};

use crate::support::app::{APP, APP_SECRET, signed_v2};
use crate::support::process::{self, Process, folder, settings, write_settings};
use crate::support::socks::Socks;

async fn wechat() -> (Sandbox, RunningSandbox) {
    let options = SandboxOptions {
        accounts: vec![(APP.to_owned(), APP_SECRET.to_owned())],
        ..SandboxOptions::default()
    };
    Sandbox::start(([127, 0, 0, 1], 0).into(), options)
        .await
        .expect("a free port")
}

/// The answer of a server with these variables that uses WeChat at `api`, and its output.
async fn token(api: &str, variables: &[(&str, &str)]) -> (Value, String) {
    let folder = folder();
    write_settings(
        folder.path(),
        &settings(api, json!({ "wechat": { "timeout": "3s" } })),
    );
    let server = Process::start(folder.path(), &[], variables)
        .listening()
        .await;
    let answer = server
        .get(&signed_v2("GET", APP, &[("key", "token")]))
        .await
        .body;
    let answer = serde_json::from_str(&answer).expect("JSON");
    server.signal("TERM");
    let ended = server.ended().await;
    (answer, ended.out + &ended.err)
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_go_through_a_socks_proxy() {
    let (sandbox, _running) = wechat().await;
    let (named, numbered) = ("http://wechat.test", "http://192.0.2.7:8080");
    for (variable, scheme, api, wanted) in [
        ("ALL_PROXY", "socks5h", named, "wechat.test:80"),
        ("all_proxy", "socks5", numbered, "192.0.2.7:8080"),
        ("HTTP_PROXY", "socks4a", named, "wechat.test:80"),
        ("http_proxy", "socks4", numbered, "192.0.2.7:8080"),
    ] {
        let proxy = Socks::leading_to(sandbox.address(), None).await;
        let (answer, said) =
            token(api, &[(variable, &format!("{scheme}://{}", proxy.address))]).await;
        let value = answer["value"]
            .as_str()
            .unwrap_or_else(|| panic!("{scheme}: {answer} {said}"));
        assert!(sandbox.accepts(value));
        assert_eq!(proxy.wanted(), [wanted], "{scheme}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxys_password_is_sent_and_never_shown() {
    let (sandbox, _running) = wechat().await;
    let proxy = Socks::leading_to(sandbox.address(), Some("user:MARKER 1")).await;
    let url = |password: &str| format!("socks5h://user:{password}@{}", proxy.address);
    let (answer, said) = token("http://wechat.test", &[("ALL_PROXY", &url("MARKER%201"))]).await;
    assert!(sandbox.accepts(answer["value"].as_str().expect("a value")));
    assert!(!said.contains("MARKER"), "{said}");
    let dead = "user:MARKER@127.0.0.1:9";
    for bad in [
        url("MARKER2"),
        format!("socks4://{dead}"),
        format!("http://{dead}"),
        format!("https://{dead}"),
        dead.to_owned(),
    ] {
        let (answer, said) = token("http://192.0.2.7", &[("ALL_PROXY", &bad)]).await;
        assert_eq!(answer["value"], Value::Null, "{bad}: {answer}");
        assert!(
            !said.contains("MARKER") && !answer.to_string().contains("MARKER"),
            "{bad}: {answer} {said}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_proxy_and_loopback_are_called_directly() {
    let (sandbox, _running) = wechat().await;
    let dead = ("ALL_PROXY", "socks5://127.0.0.1:9");
    let (answer, said) = token(&sandbox.url(), &[dead]).await;
    assert!(answer["value"].is_string(), "{answer} {said}");
    let proxy = Socks::leading_to(sandbox.address(), None).await;
    let variables = [
        ("ALL_PROXY", &*format!("socks5h://{}", proxy.address)),
        ("NO_PROXY", "wechat.test"),
    ];
    assert_eq!(
        token("http://wechat.test", &variables).await.0["value"],
        Value::Null
    );
    assert_eq!(proxy.wanted().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_proxy_still_works() {
    let (sandbox, _running) = wechat().await;
    // It accepts an absolute URL as well, which is all that such a proxy needs.
    let (answer, said) = token(
        "http://wechat.test",
        &[("HTTP_PROXY", &sandbox.address().to_string())],
    )
    .await;
    assert!(
        answer["value"]
            .as_str()
            .is_some_and(|value| sandbox.accepts(value)),
        "{answer} {said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_that_cannot_be_used_is_a_fault_at_start() {
    let folder = folder();
    write_settings(folder.path(), &settings("http://127.0.0.1:9", json!({})));
    for variable in [
        "HTTPS_PROXY",
        "https_proxy",
        "HTTP_PROXY",
        "http_proxy",
        "ALL_PROXY",
        "all_proxy",
    ] {
        for value in [
            "socks://user:MARKER@127.0.0.1:1080",
            "http://user:MARKER@x@proxy:1",
            "http://proxy:MARKER",
            "ftp://proxy",
        ] {
            for arguments in [&[][..], &["check"]] {
                let ended = process::run(folder.path(), arguments, &[(variable, value)]).await;
                assert_eq!(ended.code, Some(78), "{variable}={value}: {ended:?}");
                assert!(
                    ended.err.contains(&format!("{variable}: "))
                        && ended.err.contains("socks5h://127.0.0.1:1080"),
                    "{ended:?}"
                );
                assert!(!ended.err.contains("MARKER"), "{ended:?}");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_that_ask_this_machine_use_no_proxy() {
    let folder = folder();
    let server = Process::serve(folder.path(), &settings("http://127.0.0.1:9", json!({}))).await;
    let dead = [("HTTP_PROXY", "http://127.0.0.1:9")];
    let ended = process::run(folder.path(), &["healthcheck", "--url", &server.url], &dead).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
}
