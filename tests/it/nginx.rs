//! Behind the sample configuration for nginx: what the server receives, and what the logs do not
//! contain.

use std::net::SocketAddr;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, Route, web};
use reqwest::{Client, Method, StatusCode};
use serde_json::{Value, json};

use crate::support::app::{APP, TestApp, signed_v1, signed_v2};
use crate::support::fake_server::{Guard, serve};
use crate::support::nginx::Nginx;

/// A server behind nginx that answers with the request it received.
async fn upstream() -> (SocketAddr, Guard) {
    serve(echo)
}

fn echo() -> Route {
    web::to(async |request: HttpRequest, body: web::Bytes| {
        let header = |name: &str| {
            request
                .headers()
                .get(name)
                .map(|value| value.to_str().unwrap().to_owned())
        };
        HttpResponse::Ok().json(json!({
            "method": request.method().as_str(),
            "address": request.uri().to_string(),
            "body": String::from_utf8_lossy(&body),
            "peer": request.peer_addr(),
            "host": header("host"),
            "for": header("x-forwarded-for"),
            "proto": header("x-forwarded-proto"),
            "forwarded_host": header("x-forwarded-host"),
        }))
    })
}

/// A client that resolves `example.com` to nginx and follows no redirects.
pub(crate) fn client(nginx: &Nginx) -> Client {
    // The first installation wins; all are the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .no_proxy()
        .resolve("example.com", nginx.https)
        .tls_danger_accept_invalid_certs(true)
        .redirect(reqwest::redirect::Policy::none())
        .timeout(Duration::from_secs(10))
        .build()
        .unwrap()
}

async fn reached(
    client: &Client,
    nginx: &Nginx,
    method: Method,
    address: &str,
    body: &'static str,
) -> Value {
    let url = format!("https://example.com:{}{address}", nginx.https.port());
    let answer = client.request(method, url).body(body).send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK, "{address}");
    serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
}

#[tokio::test]
async fn every_address_arrives_as_it_was_sent() {
    let (address, _guard) = upstream().await;
    let Some(nginx) = Nginx::start(address).await else {
        return;
    };
    let client = client(&nginx);
    for address in [
        "/jsapi/wx12345678/query?key=token&realm=R%20123&nonce=a%2Bb&ts=1589203758&sign=6f3c945f",
        "/jsapi/wx%31%32345678/query?x=%e4%bd%a0",
        "/MP_verify_dBGMo51NUVEVlQo5.txt",
        "/shop/second/WW_verify_dBGMo51NUVEVlQo5.txt",
        "/jsdkd.js?v=1",
        "/ping",
    ] {
        assert_eq!(
            reached(&client, &nginx, Method::GET, address, "").await["address"],
            address
        );
    }
    let posted = reached(
        &client,
        &nginx,
        Method::POST,
        "/jsapi/wx12345678/config",
        r#"{"url":"https://example.com/"}"#,
    )
    .await;
    assert_eq!(posted["method"], "POST");
    assert_eq!(posted["body"], r#"{"url":"https://example.com/"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_config_a_query_and_a_check_file_work_through_nginx() {
    let app = TestApp::start().await;
    let Some(nginx) = Nginx::start(app.address()).await else {
        return;
    };
    let base = format!("https://example.com:{}", nginx.https.port());
    let client = client(&nginx);
    let post = client
        .post(format!("{base}/jsapi/{APP}/config"))
        .header("content-type", "application/json");
    let config: Value = serde_json::from_str(
        &post
            .body(r#"{"url":"https://example.com/"}"#)
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap(),
    )
    .unwrap();
    assert_eq!(config["appId"], APP);
    for path in [signed_v1(APP, ""), signed_v2("GET", APP, &[])] {
        let answer = client
            .get(format!("{base}{path}"))
            .send()
            .await
            .unwrap()
            .text()
            .await
            .unwrap();
        let answer: Value = serde_json::from_str(&answer).unwrap();
        assert!(
            app.sandbox
                .accepts(answer["value"].as_str().expect("a value")),
            "{answer}"
        );
    }
    let code = client
        .get(format!("{base}/MP_verify_dBGMo51NUVEVlQo5.txt"))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    assert_eq!(code, "dBGMo51NUVEVlQo5");
}

#[tokio::test]
async fn the_server_sees_the_client_and_the_scheme() {
    let (address, _guard) = upstream().await;
    let Some(nginx) = Nginx::start(address).await else {
        return;
    };
    let seen = reached(&client(&nginx), &nginx, Method::GET, "/ping", "").await;
    let told = [
        &seen["host"],
        &seen["for"],
        &seen["proto"],
        &seen["forwarded_host"],
    ];
    assert_eq!(told, ["example.com", "127.0.0.1", "https", "example.com"]);
}

#[tokio::test]
async fn connections_to_the_server_are_reused() {
    let (address, _guard) = upstream().await;
    let Some(nginx) = Nginx::start(address).await else {
        return;
    };
    let client = client(&nginx);
    let first = reached(&client, &nginx, Method::GET, "/ping", "").await;
    let second = reached(&client, &nginx, Method::GET, "/ping", "").await;
    assert_eq!(first["peer"], second["peer"]);
}

#[tokio::test]
async fn http_serves_only_the_verification_file() {
    let (address, _guard) = upstream().await;
    let Some(nginx) = Nginx::start(address).await else {
        return;
    };
    let client = client(&nginx);
    let verified = client
        .get(format!("http://{}/MP_verify_abc.txt", nginx.http))
        .send()
        .await
        .unwrap();
    assert_eq!(verified.status(), StatusCode::OK);
    let moved = client
        .get(format!("http://{}/jsapi/wx1/query?a=b", nginx.http))
        .send()
        .await
        .unwrap();
    assert_eq!(moved.status(), StatusCode::MOVED_PERMANENTLY);
    assert_eq!(
        moved.headers()["location"],
        "https://127.0.0.1/jsapi/wx1/query?a=b"
    );
}

#[tokio::test]
async fn no_nginx_log_has_a_signature() {
    let (address, guard) = upstream().await;
    let Some(nginx) = Nginx::start(address).await else {
        return;
    };
    let client = client(&nginx);
    let url = format!(
        "https://example.com:{}/jsapi/wx1/query?realm=R1&sign=5ec2e7",
        nginx.https.port()
    );
    let ask = || {
        client
            .get(&url)
            .header("referer", "https://example.com/?sign=5ec2e7")
            .send()
    };
    assert_eq!(ask().await.unwrap().status(), StatusCode::OK);
    drop(guard);
    let mut status = StatusCode::OK;
    for _ in 0..200 {
        status = ask().await.unwrap().status();
        if status == StatusCode::BAD_GATEWAY {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    assert_eq!(status, StatusCode::BAD_GATEWAY);
    // nginx answers first and writes the log afterwards.
    let mut logs = nginx.logs();
    for _ in 0..200 {
        if logs.contains(r#""GET /jsapi/wx1/query HTTP/1.1" 502"#) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
        logs = nginx.logs();
    }
    assert!(
        logs.contains(r#""GET /jsapi/wx1/query HTTP/1.1" 502"#),
        "{logs}"
    );
    assert!(!logs.contains("5ec2e7"), "{logs}");
}
