//! Web pages in a real browser that call routes meant for programs. No page may create an app, send
//! a code or read an answer; people and programs may still use the routes.

use std::process::Command;
use std::time::Duration;

use reqwest::Method;
use serde_json::json;

use crate::support::app::{APP, APP_SECRET, TestApp};
use crate::support::devtools::{Devtools, Tab};
use crate::support::page::site;
use crate::support::programs;
use crate::support::service::Service;
use crate::wetoken::{refused, succeeded};

/// A host name of the server for which browsers send no `Sec-Fetch-Site`, as for every insecure
/// address except this machine's own.
const OWN: &str = "tokens.example.com";

const TEMPLATE_SEND: &str = "/cgi-bin/message/template/send";

/// Every way in which a page can make a browser send a request. Each is a promise that settles with
/// the answer.
const ATTACKS: &str = r#"
  function element(name, set) {
    return new Promise(function (done) {
      var made = document.createElement(name);
      made.onload = made.onerror = made.onloadeddata = done;
      set(made);
      document.body.appendChild(made);
      setTimeout(done, 3000);
    });
  }
  function form(method, type, url, fields) {
    return element('iframe', function (frame) {
      frame.name = 'frame-' + Math.random();
      setTimeout(function () {
        var form = document.createElement('form');
        form.method = method; form.action = url; form.target = frame.name; form.enctype = type;
        new URLSearchParams(fields).forEach(function (value, name) {
          var input = document.createElement('input');
          input.name = name; input.value = value; form.appendChild(input);
        });
        document.body.appendChild(form);
        form.submit();
      }, 50);
    });
  }
  function settle(promise) { return promise.then(function () {}, function () {}); }
  function attacks(base, query) {
    var number = 0;
    function next() { number += 1; return query.replace('NUMBER', number); }
    function url() { return base + '?' + next(); }
    return [
      element('img', function (e) { e.src = url(); }),
      element('img', function (e) { e.referrerPolicy = 'no-referrer'; e.src = url(); }),
      element('script', function (e) { e.src = url(); }),
      element('link', function (e) { e.rel = 'stylesheet'; e.href = url(); }),
      element('video', function (e) { e.src = url(); }),
      element('audio', function (e) { e.src = url(); }),
      element('iframe', function (e) { e.src = url(); }),
      element('iframe', function (e) { e.sandbox = ''; e.referrerPolicy = 'no-referrer'; e.src = url(); }),
      element('object', function (e) { e.data = url(); }),
      form('GET', '', base, next()),
      form('POST', 'application/x-www-form-urlencoded', base, next()),
      form('POST', 'text/plain', url(), 'x=1'),
      form('POST', 'multipart/form-data', url(), 'x=1'),
      settle(fetch(url(), { mode: 'no-cors' })),
      settle(fetch(url(), { mode: 'no-cors', referrerPolicy: 'no-referrer', credentials: 'omit' })),
      settle(fetch(base, { mode: 'no-cors', method: 'POST', body: new URLSearchParams(next()) })),
      settle(fetch(url(), { mode: 'no-cors', method: 'POST', body: '{}' })),
      settle(fetch(url())),
      settle(fetch(base, { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' })),
      Promise.resolve(navigator.sendBeacon(url())),
    ];
  }
  var ended = false;
"#;

async fn server() -> (TestApp, Service) {
    let service = Service::granting(7200);
    let over = json!({
        "wetoken": {}, "sources": { "a": { "url": service.url } }, "server": { "hosts": [OWN] },
    });
    (TestApp::with(over).await, service)
}

/// `name` with the server's port.
fn at(name: &str, app: &TestApp) -> String {
    format!("http://{name}:{}", app.address().port())
}

/// Makes a foreign page call `base` in every way, with `query`, and waits until all attempts are
/// answered.
async fn attack(tab: &Tab<'_>, host: &str, base: &str, query: &str) {
    let script = format!(
        "{ATTACKS} Promise.all(attacks('{base}', '{query}')).then(function () {{ ended = true; }});"
    );
    let (port, _serving) = site("data:,", &script);
    tab.go(&format!("http://{host}:{port}/")).await;
    tab.until("window.ended").await;
    // And by a link in the page.
    tab.value(&format!(
        "location.href = '{base}?{}'",
        query.replace("NUMBER", "99")
    ))
    .await;
    tab.until("location.pathname.length > 1 && document.body.innerText")
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_page_creates_an_app_or_sends_a_code() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let (app, _service) = server().await;
    succeeded(
        &app.get(&format!(
            "/wechat/app/create?appid=wx-own&secret={APP_SECRET}&token=t&wcode_template_id=T1"
        ))
        .await,
    );
    app.sandbox.add_account("wx-own", APP_SECRET);
    let openid = app.sandbox.follow("wx-own", "Alice", true).unwrap();
    let tab = browser.tab().await;
    for name in [OWN, "127.0.0.1", "localhost", "jsdkd"] {
        let create = format!("{}/wechat/app/create", at(name, &app));
        attack(
            &tab,
            "evil.example",
            &create,
            "appid=wx-NUMBER&secret=s&token=t",
        )
        .await;
        assert_eq!(
            tab.value("JSON.parse(document.body.innerText).errcode")
                .await,
            403,
            "{name}"
        );
        let send = format!("{}/wx/wx-own/wxcode/send", at(name, &app));
        attack(
            &tab,
            "evil.example",
            &send,
            &format!("user_name={openid}&system_name=NUMBER&code=1"),
        )
        .await;
        let refresh = format!("{}/wx/{APP}/token/refresh", at(name, &app));
        attack(&tab, "evil.example", &refresh, "x=NUMBER").await;
    }
    // A URL that a person types or opens from a bookmark changes nothing either.
    let typed = browser.tab().await;
    typed
        .go(&format!(
            "{}/wechat/app/create?appid=wx-typed&secret=s&token=t",
            at(OWN, &app)
        ))
        .await;
    assert_eq!(
        typed
            .until("document.body.innerText && JSON.parse(document.body.innerText).errcode")
            .await,
        403
    );
    assert_eq!(
        (app.reloader.accounts(), app.sandbox.calls(TEMPLATE_SEND)),
        (2, 0)
    );
    assert_eq!(
        app.sandbox.calls_of(APP, "/cgi-bin/token"),
        0,
        "a refresh would have fetched one"
    );
    // The same by a program.
    let code = format!("/wx/wx-own/wxcode/send?user_name={openid}&system_name=s&code=1");
    succeeded(&app.get(&code).await);
    succeeded(
        &app.get("/wechat/app/create?appid=wx-program&secret=s&token=t")
            .await,
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dns_rebinding_reads_and_changes_nothing() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let (app, _service) = server().await;
    let (token, object) = (app.value("token").await, "token-1");
    assert!(app.get("/token?name=a").await.body.contains(object));
    let tab = browser.tab().await;
    // The page has the server's own origin, as after DNS rebinding.
    tab.go(&format!("{}/ping", at("evil.example", &app))).await;
    tab.until("document.body.innerText.indexOf('pong') > 0")
        .await;
    let get = format!("/wx/{APP}/token/get");
    let paths = [
        "/token?name=a",
        &get,
        &format!("/wx/{APP}/token/query"),
        "/wechat/app/create?appid=wx-evil&secret=s&token=t",
    ];
    for path in paths {
        for options in [
            "{}",
            "{ referrerPolicy: 'no-referrer', credentials: 'omit' }",
            "{ headers: { 'X-Forwarded-For': '127.0.0.1', 'X-Forwarded-Host': 'localhost', 'Forwarded': 'host=localhost' } }",
            "{ method: 'POST', headers: { 'Content-Type': 'application/json' }, body: '{}' }",
        ] {
            tab.value(&format!("window.heard = null; fetch('{path}', {options}).then(function (r) {{ return r.text(); }}).then(function (t) {{ heard = t; }})")).await;
            let heard = tab.until("window.heard").await.to_string();
            assert!(
                !heard.contains(&token) && !heard.contains(object) && !heard.contains("success"),
                "{path} {options}: {heard}"
            );
        }
    }
    assert_eq!(app.reloader.accounts(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_may_still_look_at_a_token() {
    let Some(browser) = Devtools::start().await else {
        return;
    };
    let (app, _service) = server().await;
    let tab = browser.tab().await;
    for name in ["127.0.0.1", "localhost", OWN, "jsdkd"] {
        tab.go(&format!("{}/token?name=a", at(name, &app))).await;
        let object = tab
            .until("document.body.innerText.indexOf('{') == 0 && document.body.innerText")
            .await;
        assert!(
            object
                .as_str()
                .is_some_and(|object| object.contains("token-1")),
            "{name}: {object}"
        );
        tab.go("about:blank").await;
        tab.until("location.href == 'about:blank'").await;
    }
    tab.go(&format!("{}/wx/{APP}/token/get", at(OWN, &app)))
        .await;
    tab.until("document.body.innerText.indexOf('\"errcode\":0') == 1")
        .await;
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_with_their_usual_headers_create_apps() {
    let (app, _service) = server().await;
    let query = |name: &str| {
        format!(
            "{}/wechat/app/create?appid=wx-{name}&secret=s&token=t",
            app.url
        )
    };
    let node = |call: &str| format!("{call}.then(r => r.text()).then(console.log)");
    let (by_fetch, by_post) = (query("fetch"), format!("{}/wechat/app/create", app.url));
    let post = format!(
        "fetch('{by_post}', {{ method: 'POST', headers: {{ 'Content-Type': 'application/json' }}, body: JSON.stringify({{ appid: 'wx-json', secret: 's', token: 't' }}) }})"
    );
    let urllib = format!(
        "import urllib.request; print(urllib.request.urlopen('{}').read().decode())",
        query("urllib")
    );
    let java = format!(
        "class A {{ public static void main(String[] a) throws Exception {{ System.out.println(new String(new java.net.URL(\"{}\").openStream().readAllBytes())); }} }}",
        query("java")
    );
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("A.java");
    std::fs::write(&source, java).unwrap();
    let source = source.display().to_string();
    let mut runs: Vec<(&str, Vec<String>)> = vec![
        ("curl", vec!["-sS".to_owned(), query("curl")]),
        (
            "curl",
            vec![
                "-sS".to_owned(),
                "-d".to_owned(),
                "appid=wx-form&secret=s&token=t".to_owned(),
                by_post.clone(),
            ],
        ),
        ("python3", vec!["-c".to_owned(), urllib]),
        (
            "node",
            vec!["-e".to_owned(), node(&format!("fetch('{by_fetch}')"))],
        ),
        ("node", vec!["-e".to_owned(), node(&post)]),
    ];
    if programs::find("javac").is_some() {
        runs.push(("java", vec![source]));
    }
    for (name, arguments) in runs {
        let Some(program) = programs::find(name) else {
            continue;
        };
        let run = Command::new(program).args(&arguments).output().unwrap();
        assert_eq!(
            String::from_utf8_lossy(&run.stdout).trim(),
            r#"{"errcode":0,"errmsg":"success"}"#,
            "{name} {arguments:?}: {run:?}"
        );
    }
    // The other programs by the headers that they are known to send.
    for (number, headers) in [
        &[
            ("user-agent", "Go-http-client/1.1"),
            ("accept-encoding", "gzip"),
        ][..],
        &[
            ("user-agent", "python-requests/2.32.3"),
            ("accept", "*/*"),
            ("accept-encoding", "gzip, deflate"),
        ],
        &[
            ("user-agent", "Java/1.8.0_402"),
            (
                "accept",
                "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
            ),
        ],
        &[("user-agent", "okhttp/4.12.0"), ("accept-encoding", "gzip")],
        &[
            ("user-agent", "axios/1.11.0"),
            ("accept", "application/json, text/plain, */*"),
        ],
        &[("user-agent", "GuzzleHttp/7")],
    ]
    .iter()
    .enumerate()
    {
        let path = format!("/wechat/app/create?appid=wx-as-{number}&secret=s&token=t");
        let request = headers
            .iter()
            .fold(app.request(Method::GET, &path), |request, (name, value)| {
                request.header(*name, *value)
            });
        succeeded(&app.send(request.timeout(Duration::from_secs(20))).await);
        let traced = app
            .request(Method::GET, &path)
            .header("user-agent", "Mozilla/5.0");
        assert!(refused(&app.send(traced).await, 403).contains("refuses browsers"));
    }
    app.stop().await;
}
