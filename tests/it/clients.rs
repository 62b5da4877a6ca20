//! The snippets of `clients/`: each queries a credential from a server, if its language is
//! installed.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::json;

use crate::support::app::{APP, TestApp};
use crate::support::programs;

/// Characters that each language's encoder treats differently.
const REALM: &str = "R 1~*(é)+/&=";
const SECRET: &str =
    "a secret of more than sixty-four bytes, é & % included, which HMAC hashes first";

/// The server for the snippets.
async fn server() -> TestApp {
    TestApp::with(json!({ "realms": [{ "key": REALM, "secret": SECRET }] })).await
}

/// Runs the snippet four times: by default, for another key, signed as version 1, and with a wrong
/// secret.
async fn asks(program: &Path, arguments: &[&str]) {
    let server = server().await;
    let run = |secret: &str, algorithm: &str, key: Option<&str>| {
        Command::new(program)
            .args(arguments)
            .args(key)
            .env("JSDKD_URL", &server.url)
            .env("JSDKD_APPID", APP)
            .env("JSDKD_REALM", REALM)
            .env("JSDKD_SECRET", secret)
            .env("JSDKD_ALGORITHM", algorithm)
            .output()
            .unwrap()
    };
    let token = printed(&run(SECRET, "hmac-sha256", None)).to_owned();
    assert!(server.sandbox.accepts(&token), "{token}");
    let ticket = printed(&run(SECRET, "hmac-sha256", Some("ticket"))).to_owned();
    assert_eq!(Some(ticket), server.sandbox.current_ticket(APP));
    assert_eq!(printed(&run(SECRET, "md5", Some("token"))), token);

    let refused = run("a wrong one", "hmac-sha256", None);
    let words = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success());
    assert_eq!(refused.stdout, b"");
    assert!(
        words.contains("unknown realm") && !words.contains("a wrong one"),
        "{words}"
    );
}

#[track_caller]
fn printed(output: &Output) -> &str {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    std::str::from_utf8(&output.stdout).unwrap().trim_end()
}

fn snippet(name: &str) -> String {
    format!("{}/clients/{name}", env!("CARGO_MANIFEST_DIR"))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_curl_snippet_asks_for_a_credential() {
    let (Some(bash), Some(_)) = (programs::require("bash"), programs::require("curl")) else {
        return;
    };
    asks(&bash, &[&snippet("query.sh")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_javascript_snippet_asks_for_a_credential() {
    let Some(node) = programs::find("node") else {
        return;
    };
    asks(&node, &[&snippet("query.mjs")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_python_snippet_asks_for_a_credential() {
    let Some(python) = programs::require("python3") else {
        return;
    };
    asks(&python, &[&snippet("query.py")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_php_snippet_asks_for_a_credential() {
    let Some(php) = programs::find("php") else {
        return;
    };
    asks(&php, &[&snippet("query.php")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_java_snippet_asks_for_a_credential() {
    let Some(java) = programs::find("java") else {
        return;
    };
    // A runtime without the compiler cannot start a source file.
    let Some(_) = programs::find("javac") else {
        return;
    };
    asks(&java, &[&snippet("Query.java")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_go_snippet_asks_for_a_credential() {
    let Some(go) = programs::find("go") else {
        return;
    };
    // Built once instead of by each of four `go run`s.
    let folder = tempfile::tempdir().unwrap();
    let program: PathBuf = folder.path().join("query");
    let built = Command::new(go)
        .arg("build")
        .arg("-o")
        .arg(&program)
        .arg(snippet("query.go"))
        .output()
        .unwrap();
    assert!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    asks(&program, &[]).await;
}
