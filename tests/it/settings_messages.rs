//! `messages`, `aesKey` and `mode` of an app: what is accepted, and every fault with its place.

use jsdkd::message::Answers;
use jsdkd::settings::{Environment, Source, load};

use crate::settings::{check_faults, check_lines, faults, good};

const KEY: &str = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C";

/// One app with `more` appended to its object, on a separate line.
fn app(more: &str) -> String {
    format!("{{ apps: [{{ key: 'wx1', secret: 's', token: 't',\n{more} }}] }}")
}

/// Asserts the faults of `messages: [rule]`, each without the file and the common path.
#[track_caller]
fn check_rule(rule: &str, expected: &[&str]) {
    let told = faults(&app(&format!("messages: [{rule}]")));
    let lines: Vec<&str> = told
        .lines()
        .map(|line| {
            assert!(line.starts_with("jsdkd.json:2:"), "{told}");
            let of_rule = line.split_once("apps[0].messages");
            of_rule.unwrap_or_else(|| panic!("{told}")).1
        })
        .collect();
    check_lines(&lines, expected);
}

#[test]
fn rules_of_every_kind_are_accepted() {
    let loaded = good(&app(
        "messages: [
          { on: 'text', match: '^(?P<word>hi) (.*)', reply: { text: '{word} {2} {{}} {content}' } },
          { on: 'image', reply: { image: '{media_id}' } },
          { on: 'voice', reply: { voice: 'M' } },
          { on: 'video', reply: { video: { mediaId: 'M', title: 'T', description: 'D' } } },
          { on: 'link', reply: { music: { thumbMediaId: 'M', url: 'https://a', hqUrl: 'https://b', title: 'T', description: 'D' } } },
          { on: 'event:CLICK', reply: { news: [{ title: 'T', description: 'D', picUrl: 'https://p', url: 'https://u' }] } },
          { on: 'event', reply: { news: { title: 'T' } } },
          { on: 'location', reply: { transfer_customer_service: true } },
          { on: 'shortvideo', reply: { transfer_customer_service: 'kf2001@gh' } },
          { on: 'info:component_verify_ticket', forward: 'http://backend:8080/tickets' },
          { on: 'miniprogrampage', forward: 'http://backend:8080/hook?a=1', late: 'push' },
          { on: '*', forward: ['http://a/', { url: 'https://b/', as: 'json', answers: true }], as: 'xml', late: 'drop' },
        ]",
    ));
    assert_eq!(loaded.warnings, Vec::<String>::new());
    assert!(
        matches!(&loaded.config.messages.of("wx1").answers, Answers::Rules(rules) if rules.len() == 12)
    );
    assert!(matches!(
        good(&app("messages: 'echo'"))
            .config
            .messages
            .of("wx1")
            .answers,
        Answers::Echo
    ));
    assert!(matches!(
        good(&app("")).config.messages.of("wx1").answers,
        Answers::Nothing
    ));
}

#[test]
fn keys_and_modes_are_read() {
    let keys = |more: &str| {
        let policy = good(&app(more)).config.messages.of("wx1");
        (policy.keys.len(), policy.takes_plain)
    };
    assert_eq!(keys(&format!("aesKey: '{KEY}'")), (1, false));
    assert_eq!(
        keys(&format!(
            "aesKey: ['{KEY}', '{}'], mode: 'plain'",
            "A".repeat(43)
        )),
        (2, true)
    );
    assert_eq!(keys(&format!("aesKey: '{KEY}', mode: 'safe'")), (1, false));
    let wrong = app("aesKey: 'topsecret', mode: 'open'");
    check_faults(
        &wrong,
        &[
            "jsdkd.json:2:1 apps[0].aesKey: 43 … EncodingAESKey",
            "jsdkd.json:2:22 apps[0].mode: \"open\" … \"plain\" … \"compatible\" … \"safe\"",
        ],
    );
    assert!(!faults(&wrong).contains("topsecret"));
    check_faults(
        &app("mode: 'safe'"),
        &["jsdkd.json:2:1 apps[0].mode: aesKey"],
    );
    let untold = good("{ apps: [{ key: 'wx1', secret: 's', messages: 'echo' }] }").warnings;
    assert!(
        untold.len() == 1 && untold[0].contains("messages") && untold[0].contains("token"),
        "{untold:?}"
    );
}

#[test]
fn every_fault_of_a_rule_is_named() {
    check_rule(
        "{ on: 'txt', match: 'a(b', reply: { text: 'x' } }",
        &[
            "[0].on: \"txt\" … \"event:NAME\" … miniprogrampage … \"text\"",
            "[0].match: \"a(b\" … regular expression",
        ],
    );
    check_rule(
        "{ reply: { text: 'x' }, forward: 'http://a/' }, { on: '*' }, 5",
        &[
            "[0].on: missing … \"event:NAME\" … miniprogrampage",
            "[0]: either reply or forward",
            "[1]: reply … forward",
            "[2]: number … object",
        ],
    );
    check_rule(
        "{ on: '*', reply: {} }, { on: '*', reply: { text: 'a', image: 'b' } }, { on: '*', reply: { text: '{1}' } }, { on: '*', reply: { text: '{' } }",
        &[
            "[0].reply: one of text, image … transfer_customer_service",
            "[1].reply: one of text, image … transfer_customer_service",
            "[2].reply.text: {1} … match",
            "[3].reply.text: brace … {{",
        ],
    );
    check_rule(
        "{ on: '*', forward: 'backend' }, { on: '*', forward: [] }, { on: '*', forward: [{ url: 'http://a/', answers: true }, { url: 'http://b/', answers: true }] }, { on: '*', forward: 'http://u:pass@/', late: 'send', as: 'yaml' }",
        &[
            "[0].forward: \"http://backend:8080/hook\"",
            "[1].forward: at least one address",
            "[2].forward: answers … one answer",
            "[3].forward: \"http://backend:8080/hook\"",
            "[3].late: \"send\" … \"push\" … \"drop\"",
            "[3].as: \"yaml\" … \"xml\" … \"json\"",
        ],
    );
    check_rule(
        "{ on: '*', reply: { news: [] } }, { on: '*', reply: { music: { title: 'T' } } }, { on: '*', reply: { video: 'M' } }, { on: '*', reply: { news: [{ url: 'u' }] } }",
        &[
            "[0].reply.news: one to eight articles",
            "[1].reply.music.thumbMediaId: missing … text",
            "[2].reply.video: text … object",
            "[3].reply.news[0].title: missing … text",
        ],
    );
}

#[test]
fn wechat_servers_variables_enable_its_answers() {
    let variables: Environment = [
        ("WECHAT_APP_ID", "wx1"),
        ("WECHAT_APP_SECRET", "s"),
        ("WECHAT_APP_TOKEN", "t"),
    ]
    .into_iter()
    .collect();
    let alone = load(&Source::file(None), &variables).expect("they suffice");
    assert!(matches!(
        alone.config.messages.of("wx1").answers,
        Answers::Echo
    ));
    let written = load(
        &Source::text("jsdkd.json", "{ apps: [{ key: 'wx1', secret: 's' }] }"),
        &variables,
    )
    .expect("good");
    assert!(
        matches!(written.config.messages.of("wx1").answers, Answers::Nothing),
        "an app that is written says itself what it answers"
    );
}
