//! The proxies of outgoing calls, as variables name them, on the gateway's way to WeChat.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};

use sandbox::{RunningSandbox, Sandbox, SandboxOptions};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use crate::support::app::{APP, APP_SECRET};
use crate::support::gateway::{VIRTUAL, settings};
use crate::support::nginx::Nginx;
use crate::support::process::{self, Process, folder, write_settings};
use crate::support::redis::make_certificates_for;
use crate::support::socks::Socks;
use crate::support::tcp_wechat::{REAL_TOKEN, TcpWechat, json as good};

const CALL: &str = "/cgi-bin/get_api_domain_ip";

async fn wechat() -> (Sandbox, RunningSandbox) {
    let options = SandboxOptions {
        accounts: vec![(APP.to_owned(), APP_SECRET.to_owned())],
        ..SandboxOptions::default()
    };
    Sandbox::start(([127, 0, 0, 1], 0).into(), options)
        .await
        .expect("a free port")
}

/// The answer to a call through a server with these variables whose WeChat is at `api`, and
/// everything that the server said.
async fn call(api: &str, variables: &[(&str, &str)], odd: &str) -> (Value, String) {
    let folder = folder();
    let over = json!({ "wechat": { "timeout": "3s" } });
    let all = settings(json!({}), over);
    write_settings(folder.path(), &process::settings(api, all));
    let server = Process::start(folder.path(), &[], variables)
        .listening()
        .await;
    let ask = format!("/cgi-bin/token?grant_type=client_credential&appid={APP}&secret={VIRTUAL}");
    let token = server.get(&ask).await.json()["access_token"].clone();
    let token = token.as_str().expect("a token");
    let answer = server
        .get(&format!("{CALL}?{odd}access_token={token}"))
        .await
        .json();
    server.signal("TERM");
    let ended = server.ended().await;
    (answer, ended.out + &ended.err)
}

#[tokio::test(flavor = "multi_thread")]
async fn forwarded_calls_go_through_a_socks_proxy() {
    let (sandbox, _running) = wechat().await;
    let (named, numbered) = ("http://wechat.test", "http://192.0.2.7:8080");
    for (variable, scheme, api, wanted) in [
        ("ALL_PROXY", "socks5h", named, "wechat.test:80"),
        ("all_proxy", "socks5", numbered, "192.0.2.7:8080"),
        ("HTTP_PROXY", "socks4a", named, "wechat.test:80"),
        ("http_proxy", "socks4", numbered, "192.0.2.7:8080"),
    ] {
        let proxy = Socks::leading_to(sandbox.address(), None).await;
        let (before, variable) = (
            sandbox.calls(CALL),
            (variable, &*format!("{scheme}://{}", proxy.address)),
        );
        let (answer, said) = call(api, &[variable], "").await;
        assert!(answer["ip_list"].is_array(), "{scheme}: {answer} {said}");
        assert_eq!(sandbox.calls(CALL), before + 1);
        let all = proxy.wanted();
        assert!(
            all.len() > 1 && all.iter().all(|to| to == wanted),
            "{all:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_password_of_a_socks_proxy_is_sent_and_never_shown() {
    let (sandbox, _running) = wechat().await;
    let proxy = Socks::leading_to(sandbox.address(), Some("user:MARKER 1")).await;
    let url = |password: &str| format!("socks5h://user:{password}@{}", proxy.address);
    let (answer, said) = call(
        "http://wechat.test",
        &[("ALL_PROXY", &url("MARKER%201"))],
        "",
    )
    .await;
    assert!(answer["ip_list"].is_array(), "{answer} {said}");
    assert!(!said.contains("MARKER"), "{said}");
    for bad in [
        url("MARKER2"),
        "socks4://user:MARKER@127.0.0.1:9".to_owned(),
        "http://user:MARKER@127.0.0.1:9".to_owned(),
        "https://user:MARKER@127.0.0.1:9".to_owned(),
    ] {
        let (answer, said) = call("http://wechat.test", &[("ALL_PROXY", &bad)], "").await;
        assert_eq!(answer["errcode"], -1, "{bad}: {answer}");
        let all = format!("{answer} {said}");
        assert!(!all.contains("MARKER"), "{bad}: {all}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_for_plain_http_is_sent_the_whole_address() {
    let wire = TcpWechat::answering(|_| good(r#"{"ip_list":["192.0.2.1"]}"#)).await;
    let proxy = format!("http://user:MARKER%201@{}", wire.address);
    for odd in ["", "a=\"<>&"] {
        let before = wire.seen().len();
        let (answer, said) = call("http://wechat.test/base", &[("HTTP_PROXY", &proxy)], odd).await;
        assert!(answer["ip_list"].is_array(), "{answer} {said}");
        let seen = &wire.seen()[before..];
        let decoded = odd
            .replace('"', "%22")
            .replace('<', "%3C")
            .replace('>', "%3E");
        assert_eq!(
            seen.iter().map(|seen| seen.target()).collect::<Vec<_>>(),
            [format!(
                "http://wechat.test/base{CALL}?{decoded}access_token={REAL_TOKEN}"
            )]
        );
        assert_eq!(
            seen[0].header("proxy-authorization"),
            Some("Basic dXNlcjpNQVJLRVIgMQ==")
        );
        assert_eq!(seen[0].header("host"), Some("wechat.test"));
        assert!(!said.contains("MARKER"), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_proxy_excepts_and_this_machine_are_called_straight() {
    let (sandbox, _running) = wechat().await;
    let dead = ("ALL_PROXY", "socks5://127.0.0.1:9");
    let (answer, said) = call(&sandbox.url(), &[dead], "").await;
    assert!(answer["ip_list"].is_array(), "{answer} {said}");
    let proxy = Socks::leading_to(sandbox.address(), None).await;
    let variables = [
        ("ALL_PROXY", &*format!("socks5h://{}", proxy.address)),
        ("NO_PROXY", "wechat.test"),
    ];
    let (answer, _) = call("http://wechat.test", &variables, "").await;
    assert_eq!((&answer["errcode"], proxy.wanted().len()), (&json!(-1), 0));
}

/// A proxy that opens tunnels, all to one place.
struct Tunnels {
    address: SocketAddr,
    heads: Arc<Mutex<Vec<String>>>,
    running: JoinHandle<()>,
}

impl Drop for Tunnels {
    fn drop(&mut self) {
        self.running.abort();
    }
}

impl Tunnels {
    async fn leading_to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let heads = Arc::<Mutex<Vec<String>>>::default();
        let seen = Arc::clone(&heads);
        let running = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        let Ok(byte) = client.read_u8().await else {
                            return;
                        };
                        head.push(byte);
                    }
                    let head = String::from_utf8(head).unwrap();
                    seen.lock().unwrap().push(head);
                    client
                        .write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")
                        .await
                        .unwrap();
                    let mut there = TcpStream::connect(target).await.unwrap();
                    drop(copy_bidirectional(&mut client, &mut there).await);
                });
            }
        });
        Self {
            address,
            heads,
            running,
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_goes_through_a_tunnel_and_the_certificate_is_checked() {
    let (sandbox, _running) = wechat().await;
    let Some((nginx, ca)) = Nginx::with_tls(sandbox.address(), "DNS:wechat.test").await else {
        return;
    };
    let proxy = Tunnels::leading_to(nginx.https).await;
    let (url, ca) = (
        format!("http://user:MARKER@{}", proxy.address),
        ca.to_str().unwrap(),
    );
    let variables = [("HTTPS_PROXY", &*url), ("SSL_CERT_FILE", ca)];
    let (answer, said) = call("https://wechat.test", &variables, "").await;
    assert!(answer["ip_list"].is_array(), "{answer} {said}");
    let heads = std::mem::take(&mut *proxy.heads.lock().unwrap());
    assert!(heads.len() > 1, "the keeper's and the gateway's: {heads:?}");
    for head in heads {
        let head = head.to_ascii_lowercase();
        assert!(
            head.starts_with("connect wechat.test:443 http/1.1\r\n")
                && head.contains("proxy-authorization: basic dxnlcjpnqvjlrvi=\r\n")
                && !head.contains("access_token"),
            "{head}"
        );
    }
    assert!(!said.contains("MARKER"), "{said}");
    // Another name than the certificate's, and an authority that did not sign it.
    let stranger = folder();
    make_certificates_for(stranger.path(), "DNS:wechat.test");
    let stranger = stranger.path().join("ca.crt");
    for (api, ca) in [
        ("https://other.test", ca),
        ("https://wechat.test", stranger.to_str().unwrap()),
    ] {
        let before = sandbox.calls(CALL);
        let variables = [("HTTPS_PROXY", &*url), ("SSL_CERT_FILE", ca)];
        let (answer, _) = call(api, &variables, "").await;
        assert_eq!(
            (&answer["errcode"], sandbox.calls(CALL)),
            (&json!(-1), before),
            "{api} {ca}"
        );
    }
}
