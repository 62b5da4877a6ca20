//! WeChat's check files: those whose content follows from their name, and those in `server.static`.

use std::path::Path;

use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::support::app::TestApp;
use crate::support::raw;

#[tokio::test(flavor = "multi_thread")]
async fn a_check_file_contains_the_code_of_its_name() {
    let app = TestApp::start().await;
    for (path, code) in [
        ("/MP_verify_dBGMo51NUVEVlQo5.txt", "dBGMo51NUVEVlQo5"),
        ("/WW_verify_0_aZ.txt", "0_aZ"),
        ("/mp_VERIFY_aBc.TXT", "aBc"),
        ("/ww_verify__.txt", "_"),
        ("/shop/wx/MP_verify_x1.txt", "x1"),
        ("/jsapi/wx1/MP_verify_x2.txt", "x2"),
        ("//MP_verify_x3.txt", "x3"),
        ("/MP_verify_x4.txt?t=1&a=/../b", "x4"),
        ("/%E5%BE%AE/MP_verify_x5.txt", "x5"),
    ] {
        let answer = raw::send(app.address(), &format!("GET {path}"), "", b"").await;
        assert_eq!((answer.status, answer.body.as_str()), (200, code), "{path}");
        assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_long_code_is_still_a_code() {
    let app = TestApp::start().await;
    let code = "a".repeat(4000);
    assert_eq!(app.get(&format!("/MP_verify_{code}.txt")).await.body, code);
}

#[tokio::test(flavor = "multi_thread")]
async fn names_that_resemble_a_check_file_are_not_found() {
    let app = TestApp::start().await;
    for path in [
        "/MP_verify_.txt",
        "/MP_verify_a-b.txt",
        "/MP_verify_a%62.txt",
        "/MP_verify_a%00.txt",
        "/MP_verify_a",
        "/MP_verify_a.txt/",
        "/MP_verify_a.txt.html",
        "/xMP_verify_a.txt",
        "/MP_verify_%E5%BE%AE.txt",
        "/MP_verify_%3Cscript%3E.txt",
        "/nothing",
        "/jsapi",
        "/jsapi/wx1",
        "/jsapi/wx1/other",
        "/jsapi//config",
    ] {
        let answer = raw::send(app.address(), &format!("GET {path}"), "", b"").await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "not_found"),
            "{path}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_check_file_is_only_read() {
    let app = TestApp::start().await;
    for method in [Method::POST, Method::PUT, Method::DELETE] {
        let answer = app.send(app.request(method, "/MP_verify_a.txt")).await;
        answer.problem(405, "method_not_allowed");
        assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS");
    }
    let head = app
        .send(app.request(Method::HEAD, "/MP_verify_abc.txt"))
        .await;
    assert_eq!(
        (
            head.status.as_u16(),
            head.header("content-length"),
            head.body.as_str()
        ),
        (200, "3", "")
    );
}

async fn with_files(under: &Path) -> TestApp {
    TestApp::with(json!({ "server": { "static": under } })).await
}

#[tokio::test(flavor = "multi_thread")]
async fn any_other_text_file_comes_from_the_static_folder() {
    let folder = TempDir::new().unwrap();
    std::fs::write(folder.path().join("8Fh2kd-x_1.txt"), "not its name\n").unwrap();
    std::fs::write(folder.path().join("MP_verify_own.txt"), "never this").unwrap();
    let app = with_files(folder.path()).await;
    let answer = app.get("/8Fh2kd-x_1.txt").await;
    assert_eq!(
        (answer.status.as_u16(), answer.body.as_str()),
        (200, "not its name\n")
    );
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(app.get("/MP_verify_own.txt").await.body, "own");
    let head = app.send(app.request(Method::HEAD, "/8Fh2kd-x_1.txt")).await;
    assert_eq!(
        (
            head.status.as_u16(),
            head.header("content-length"),
            head.body.as_str()
        ),
        (200, "13", "")
    );
    // A file that is added later is served without a restart.
    app.get("/later.txt").await.problem(404, "not_found");
    std::fs::write(folder.path().join("later.txt"), "").unwrap();
    assert_eq!(app.get("/later.txt").await.body, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_text_files_of_the_folder_itself_are_served() {
    let above = TempDir::new().unwrap();
    let folder = above.path().join("static");
    std::fs::create_dir_all(folder.join("folder.txt")).unwrap();
    std::fs::create_dir_all(folder.join("sub")).unwrap();
    for name in [
        "secret.txt",
        "static/sub/a.txt",
        "static/.hidden.txt",
        "static/a.html",
        "static/a b.txt",
        "static/微.txt",
    ] {
        std::fs::write(above.path().join(name), "secret").unwrap();
    }
    std::fs::write(folder.join("large.txt"), vec![b'a'; 64 * 1024 + 1]).unwrap();
    std::fs::write(folder.join("whole.txt"), vec![b'a'; 64 * 1024]).unwrap();
    let app = with_files(&folder).await;
    for path in [
        "/../secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e/secret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..\\secret.txt",
        "/..%5csecret.txt",
        "/sub/../../secret.txt",
        "/sub/a.txt",
        "/sub%2fa.txt",
        "//whole.txt",
        "/./whole.txt",
        "/.hidden.txt",
        "/..txt",
        "/.txt",
        "/a.html",
        "/a%20b.txt",
        "/%E5%BE%AE.txt",
        "/whole.txt%00",
        "/whole.txt%00.txt",
        "/folder.txt",
        "/large.txt",
        "/absent.txt",
    ] {
        let answer = raw::send(app.address(), &format!("GET {path}"), "", b"").await;
        assert_eq!(
            (answer.status, answer.code().as_str()),
            (404, "not_found"),
            "{path}"
        );
    }
    assert_eq!(app.get("/whole.txt").await.body.len(), 64 * 1024);
    let long = format!("/{}.txt", "a".repeat(5000));
    app.get(&long).await.problem(404, "not_found");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_static_folder_nothing_is_served() {
    let folder = TempDir::new().unwrap();
    with_files(&folder.path().join("absent"))
        .await
        .get("/a.txt")
        .await
        .problem(404, "not_found");
}
