//! The snippets of `clients/`: each asks a server for a credential, wherever its language is installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use actix_web::{HttpRequest, HttpResponse, Route, web};
use jsdkd::signature;
use serde_json::json;

use crate::support::programs;
use crate::support::standin::{Guard, serve};

const APPID: &str = "wx0000000000000001";
/// Characters that each language's own encoder treats in its own way.
const REALM: &str = "R 1~*(é)+/&=";
const SECRET: &str = "a secret of more than sixty-four bytes, é & % included, which HMAC hashes first";

/// The server that the snippets ask: address, appid, realm, secret and what keeps it running.
async fn server() -> (String, &'static str, &'static str, &'static str, Guard) {
    let (address, guard) = serve(query);
    (format!("http://{address}"), APPID, REALM, SECRET, guard)
}

fn query() -> Route {
    web::to(async |request: HttpRequest| {
        let pairs: Vec<(String, String)> = url::form_urlencoded::parse(request.query_string().as_bytes()).into_owned().collect();
        let value = |name: &str| pairs.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value.as_str());
        let canonical = signature::canonical_query(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let (v1, v2) = (
            signature::realm_v1(value("realm"), value("nonce"), value("ts"), SECRET),
            signature::realm_v2(SECRET, request.method().as_str(), request.uri().path(), &canonical, b""),
        );
        let signed = value("realm") == REALM && (v1.matches(value("sign")) || v2.matches(value("sign")));
        match value("key") {
            _ if !signed => {
                HttpResponse::Unauthorized().json(json!({ "detail": "unknown realm, or a \"sign\" that does not fit" }))
            }
            "token" | "ticket" => HttpResponse::Ok().json(json!({ "key": value("key"), "value": format!("a-{}_1", value("key")) })),
            _ => HttpResponse::BadRequest().json(json!({ "detail": "key is one of token, ticket" })),
        }
    })
}

/// Runs the snippet four times: by default, for another key, signed as version 1, and with a wrong secret.
async fn asks(program: &Path, arguments: &[&str]) {
    let (url, appid, realm, secret, _guard) = server().await;
    let run = |secret: &str, algorithm: &str, key: Option<&str>| {
        Command::new(program)
            .args(arguments)
            .args(key)
            .env("JSDKD_URL", &url)
            .env("JSDKD_APPID", appid)
            .env("JSDKD_REALM", realm)
            .env("JSDKD_SECRET", secret)
            .env("JSDKD_ALGORITHM", algorithm)
            .output()
            .unwrap()
    };
    assert_eq!(printed(&run(secret, "hmac-sha256", None)), "a-token_1");
    assert_eq!(printed(&run(secret, "hmac-sha256", Some("ticket"))), "a-ticket_1");
    assert_eq!(printed(&run(secret, "md5", Some("token"))), "a-token_1");

    let refused = run("a wrong one", "hmac-sha256", None);
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    assert_eq!(refused.stdout, b"");
    assert!(words.contains("unknown realm") && !words.contains("a wrong one"), "{words}");
}

#[track_caller]
fn printed(output: &Output) -> &str {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::str::from_utf8(&output.stdout).unwrap().trim_end()
}

fn snippet(name: &str) -> String {
    format!("{}/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test]
async fn the_curl_snippet_asks_for_a_credential() {
    let (Some(bash), Some(_)) = (programs::require("bash"), programs::require("curl")) else { return };
    asks(&bash, &[&snippet("query.sh")]).await;
}

#[tokio::test]
async fn the_javascript_snippet_asks_for_a_credential() {
    let Some(node) = programs::find("node") else { return };
    asks(&node, &[&snippet("query.mjs")]).await;
}

#[tokio::test]
async fn the_python_snippet_asks_for_a_credential() {
    let Some(python) = programs::require("python3") else { return };
    asks(&python, &[&snippet("query.py")]).await;
}

#[tokio::test]
async fn the_php_snippet_asks_for_a_credential() {
    let Some(php) = programs::find("php") else { return };
    asks(&php, &[&snippet("query.php")]).await;
}

#[tokio::test]
async fn the_java_snippet_asks_for_a_credential() {
    let Some(java) = programs::find("java") else { return };
    // A runtime without the compiler cannot start a source file.
    let Some(_) = programs::find("javac") else { return };
    asks(&java, &[&snippet("Query.java")]).await;
}

#[tokio::test]
async fn the_go_snippet_asks_for_a_credential() {
    let Some(go) = programs::find("go") else { return };
    // Built once instead of by each of four `go run`.
    let folder = tempfile::tempdir().unwrap();
    let program: PathBuf = folder.path().join("query");
    let built = Command::new(go).arg("build").arg("-o").arg(&program).arg(snippet("query.go")).output().unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    asks(&program, &[]).await;
}
