//! WeCom through the gateway: several applications of one corp, and tickets from what is held.

use serde_json::{Value, json};

use crate::support::app::{APP, Response, TestApp, config_of};
use crate::support::gateway::{VIRTUAL, settings, token};

const CORP: &str = "ww0123456789abcdef";
const SEND: &str = "/cgi-bin/message/send";
const ONE: &str = "0neAgentV1rtual0neAgentV1rtual01";

fn errcode(answer: &Response) -> i64 {
    answer.json()["errcode"].as_i64().unwrap_or_default()
}

/// One corp with three applications. The realm `shop` may use the first two, `one` the third.
async fn start() -> TestApp {
    let app = TestApp::build(settings(json!({}), json!({})));
    let app = app
        .sandbox(|sandbox| {
            let secret = "corp-secret".to_owned();
            sandbox.accounts.push((CORP.to_owned(), secret));
        })
        .start()
        .await;
    let agent = |id: u32| json!({ "corpid": CORP, "agentid": id, "secret": "corp-secret", "api": app.sandbox.url() });
    let realms = json!([
        { "key": "shop", "secret": VIRTUAL, "gateway": ["notify", "read", "tickets"],
          "apps": [APP, format!("{CORP}/1000002"), format!("{CORP}/1000003")] },
        { "key": "one", "secret": ONE, "apps": [format!("{CORP}/1000004")], "gateway": ["all"] },
    ]);
    let wecom = json!([agent(1_000_002), agent(1_000_003), agent(1_000_004)]);
    let all = json!({ "realms": realms, "wecom": wecom });
    app.reloader.apply(config_of(&app.sandbox, all));
    app
}

fn ask(secret: &str, more: &str) -> String {
    format!("/cgi-bin/gettoken?corpid={CORP}&corpsecret={secret}{more}")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_realm_with_several_applications_names_the_agent() {
    let app = start().await;
    let several = app.get(&ask(VIRTUAL, "")).await;
    assert_eq!(errcode(&several), 48001);
    assert!(several.body.contains("agentid="), "{}", several.body);
    let mut tokens = Vec::new();
    for agent in ["1000002", "1000003"] {
        let answer = app.get(&ask(VIRTUAL, &format!("&agentid={agent}"))).await;
        assert!(
            answer
                .body
                .starts_with(r#"{"errcode":0,"errmsg":"ok","access_token":"jv1_"#),
            "{}",
            answer.body
        );
        let token = answer.json()["access_token"].as_str().unwrap().to_owned();
        let sent = app
            .get(&format!("/cgi-bin/agent/get?access_token={token}"))
            .await;
        assert_ne!(errcode(&sent), 40001, "{}", sent.body);
        tokens.push(token);
    }
    assert_ne!(tokens[0], tokens[1]);
    // Another realm's application, one that nobody has, and nonsense.
    for agent in ["1000004", "1000009", "x", "1000002/1", "01000002"] {
        let answer = app.get(&ask(VIRTUAL, &format!("&agentid={agent}"))).await;
        assert_eq!(errcode(&answer), 40013, "{agent}");
    }
    // A realm with one application needs no agentid, and may write it.
    for more in ["", "&agentid=1000004"] {
        assert_eq!(errcode(&app.get(&ask(ONE, more)).await), 0, "{more}");
    }
    assert_eq!(
        errcode(&app.get(&ask(ONE, "&agentid=1000002")).await),
        40013
    );
    for (path, code) in [
        (ask("wrong", ""), 40125),
        (ask("corp-secret", "&agentid=1000002"), 40125),
        (format!("/cgi-bin/gettoken?corpid={CORP}"), 41004),
        (format!("/cgi-bin/gettoken?corpsecret={VIRTUAL}"), 41002),
        (ask(VIRTUAL, "").replace(CORP, "ww9"), 40013),
    ] {
        assert_eq!(errcode(&app.get(&path).await), code, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_is_taken_away_loses_its_token_alone() {
    let app = start().await;
    let mut tokens = Vec::new();
    for agent in ["1000002", "1000003"] {
        let answer = app.get(&ask(VIRTUAL, &format!("&agentid={agent}"))).await;
        tokens.push(answer.json()["access_token"].as_str().unwrap().to_owned());
    }
    let agent = |id: u32| json!({ "corpid": CORP, "agentid": id, "secret": "corp-secret", "api": app.sandbox.url() });
    let realms = json!([{ "key": "shop", "secret": VIRTUAL, "gateway": ["notify"],
                          "apps": [format!("{CORP}/1000003")] }]);
    let all = json!({ "realms": realms, "wecom": [agent(1_000_002), agent(1_000_003)] });
    app.reloader.apply(config_of(&app.sandbox, all));
    let send = async |token: &str| errcode(&app.get(&format!("{SEND}?access_token={token}")).await);
    assert_eq!(send(&tokens[0]).await, 40001);
    assert_ne!(send(&tokens[1]).await, 40001);
    let answer = app.get(&ask(VIRTUAL, "")).await;
    assert_eq!(errcode(&answer), 0, "only one is left");
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_come_from_what_is_held() {
    let app = TestApp::with(settings(json!({ "gateway": ["tickets"] }), json!({}))).await;
    let token = token(&app).await;
    let path = "/cgi-bin/ticket/getticket";
    for kind in ["jsapi", "wx_card"] {
        let first = format!("{path}?access_token={token}&type={kind}");
        let first = app.get(&first).await.json()["ticket"].clone();
        assert!(first.is_string(), "{kind}");
        let before = app.sandbox.calls(path);
        for spelled in [path.to_owned(), path.replacen('/', "//", 1)] {
            let answer = app
                .get(&format!("{spelled}?access_token={token}&type={kind}"))
                .await
                .json();
            assert_eq!(
                (&answer["errcode"], &answer["ticket"]),
                (&json!(0), &first),
                "{spelled}"
            );
            let left = answer["expires_in"].as_u64().unwrap_or_default();
            assert!((6000..=7200).contains(&left), "{answer}");
        }
        assert_eq!(app.sandbox.calls(path), before, "WeChat is not asked");
    }
    let held = app.sandbox.current_ticket(APP);
    let answer = format!("{path}?access_token={token}&type=jsapi");
    let answer = app.get(&answer).await.json();
    assert_eq!(answer["ticket"].as_str(), held.as_deref());
    // Another spelling is no path of the preset.
    let slash = format!("{path}/?access_token={token}&type=jsapi");
    assert_eq!(errcode(&app.get(&slash).await), 48001);
    // Without the preset there is no ticket, and without a token neither.
    assert_eq!(
        errcode(&app.get(&format!("{path}?type=jsapi")).await),
        41001
    );
    app.reloader.apply(config_of(
        &app.sandbox,
        settings(json!({ "gateway": ["read"] }), json!({})),
    ));
    let asked = format!("{path}?access_token={token}&type=jsapi");
    let refused = app.get(&asked).await;
    assert_eq!(errcode(&refused), 48001);
    assert!(!refused.body.contains("\"ticket\""));
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_of_wecom_come_from_what_is_held() {
    let app = start().await;
    let answer = app.get(&ask(VIRTUAL, "&agentid=1000002")).await;
    let token = answer.json()["access_token"].as_str().unwrap().to_owned();
    for (path, upstream) in [
        ("/cgi-bin/get_jsapi_ticket?", "/cgi-bin/get_jsapi_ticket"),
        (
            "/cgi-bin/ticket/get?type=agent_config&",
            "/cgi-bin/ticket/get",
        ),
    ] {
        let mut tickets = Vec::new();
        for _ in 0..3 {
            let answer: Value = app.get(&format!("{path}access_token={token}")).await.json();
            assert_eq!(answer["errcode"], 0, "{path} {answer}");
            tickets.push(answer["ticket"].as_str().expect("a ticket").to_owned());
        }
        assert!(tickets.windows(2).all(|pair| pair[0] == pair[1]));
        assert_eq!(app.sandbox.calls(upstream), 1, "one fetch of our own");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn wetokens_routes_give_way_below_the_same_prefix() {
    let mut all = settings(
        json!({ "gateway": ["all"] }),
        json!({ "gateway": { "prefix": "/wx" } }),
    );
    all["wetoken"] = json!({});
    let app = TestApp::with(all).await;
    // Without a virtual token: whoever answers it shows by the errcode.
    for path in ["/wx/cgi-bin/ticket/get", "/wx/cgi-bin/token/get"] {
        assert_eq!(errcode(&app.get(path).await), 41001, "{path}");
    }
    for path in ["token", "ticket"].map(|kind| format!("/wx/{APP}/{kind}/get")) {
        assert_eq!(errcode(&app.get(&path).await), 0, "{path}");
    }
}
