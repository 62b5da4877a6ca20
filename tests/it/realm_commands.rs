//! `jsdkd realm new`, and how `jsdkd check` explains realms.

use serde_json::json;

use crate::settings::good;
use crate::support::process::{folder, run, write_settings};

#[tokio::test(flavor = "multi_thread")]
async fn realm_new_prints_a_fresh_secret_and_valid_settings() {
    let folder = folder();
    let args = [
        "realm",
        "new",
        "shop",
        "--app",
        "wx1",
        "--app",
        "ww1/1000002",
        "--gateway",
        "notify",
        "--gateway",
        "/wxa/business/*",
    ];
    let made = run(folder.path(), &args, &[]).await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let secret = made.out.lines().next().expect("a first line");
    assert!(
        secret.len() == 32
            && secret
                .bytes()
                .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')),
        "{secret}"
    );
    let (_, lines) = made.out.split_once('\n').expect("more lines");
    let settings = format!(
        "{{ apps: [{{ key: 'wx1', secret: 's' }}], wecom: [{{ corpid: 'ww1', agentid: 1000002, secret: 's' }}], realms: [\n{lines}] }}"
    );
    let loaded = good(&settings);
    assert_eq!(loaded.warnings, [""; 0]);
    let realm = loaded.config.realms.get("shop").expect("the realm").clone();
    assert!(realm.may_ask("wx1") && realm.may_ask_agent("ww1", "1000002"));
    let scope = realm.gateway.expect("a scope");
    assert!(
        scope.allows("/cgi-bin/message/send")
            && scope.allows("/wxa/business/x")
            && !scope.allows("/cgi-bin/user/info")
    );
    let again = run(folder.path(), &args, &[]).await;
    assert_ne!(again.out.lines().next(), Some(secret), "each secret is new");
}

#[tokio::test(flavor = "multi_thread")]
async fn realm_new_refuses_invalid_arguments() {
    let folder = folder();
    for (args, part) in [
        (&["realm", "new", "shop"][..], "--app"),
        (
            &["realm", "new", "shop", "--app", "wx 1"],
            "expected 2 to 64 characters",
        ),
        (
            &["realm", "new", "shop", "--app", "ww1/x"],
            "an AgentId such as 1000002",
        ),
        (
            &["realm", "new", "shop", "--app", "wx1", "--gateway", "reed"],
            "no preset has this name",
        ),
        (
            &["realm", "new", "", "--app", "wx1"],
            "the realm's name is empty",
        ),
    ] {
        let ended = run(folder.path(), args, &[]).await;
        assert!(
            ended.code != Some(0) && ended.err.contains(part) && ended.out.is_empty(),
            "{args:?}: {ended:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn check_explains_each_realm_in_a_sentence() {
    let folder = folder();
    let secret = |digit: &str| digit.repeat(32);
    let settings = json!({
        "apps": [{ "key": "wx1", "secret": "s1" }, { "key": "wx2", "secret": "s2" }],
        "wecom": [{ "corpid": "ww1", "agentid": 1000002, "secret": "s3" }],
        "realms": [
            { "key": "shop", "secret": secret("a"), "apps": ["wx1"], "gateway": ["read", "messages"], "keys": ["ticket"] },
            { "key": "all", "secret": "s" },
            { "key": "media", "secret": [secret("b"), secret("c")], "apps": ["ww1/1000002"], "gateway": ["notify"],
              "deny": ["/cgi-bin/menu/*"], "networks": ["10.0.0.0/8", "loopback"], "perMinute": 600, "until": "2127-01-01" },
            { "key": "silent", "secret": "s", "keys": [] },
            { "key": "two", "secret": "s", "apps": ["wx1", "wx2"], "keys": ["token", "ticket"] },
        ],
    });
    write_settings(folder.path(), &settings);
    let ended = run(folder.path(), &["check"], &[]).await;
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let sentences: Vec<&str> = ended
        .out
        .lines()
        .skip_while(|line| !line.contains("good;"))
        .skip(1)
        .collect();
    let expected: [&[&str]; 5] = [
        &[
            "all may query ",
            "tokens, tickets and card tickets",
            "every app",
        ],
        &[
            "media may call notify of ww1/1000002",
            "not /cgi-bin/menu/*",
            "two secrets",
            "10.0.0.0/8, loopback",
            "600 calls a minute",
            "until 2127-01-01",
        ],
        &["shop may call read and messages of wx1", "query tickets"],
        &["silent may ", "nothing"],
        &["two may query tokens and tickets of wx1 and wx2"],
    ];
    assert_eq!(sentences.len(), expected.len(), "{sentences:#?}");
    for (sentence, parts) in sentences.iter().zip(expected) {
        assert!(sentence.starts_with(parts[0]), "{sentence}");
        assert!(
            parts.iter().all(|part| sentence.contains(part)),
            "{sentence}"
        );
    }
}
