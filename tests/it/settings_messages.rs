//! `messages`, `aesKey` and `mode` of an app: what is accepted, and every fault with its place.

use jsdkd::message::Answers;
use jsdkd::settings::{Environment, Source, load};

use crate::settings::{faults, good};

const KEY: &str = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C";

/// One app with `more` appended to its object, on a separate line.
fn app(more: &str) -> String {
    format!("{{ apps: [{{ key: 'wx1', secret: 's', token: 't',\n{more} }}] }}")
}

/// The faults of `messages: [rule]`, each without the file and the common path.
#[track_caller]
fn rule_faults(rule: &str) -> Vec<String> {
    let told = faults(&app(&format!("messages: [{rule}]")));
    told.lines()
        .map(|line| {
            line.split_once("apps[0].messages")
                .unwrap_or_else(|| panic!("{told}"))
                .1
                .to_owned()
        })
        .collect()
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
    assert_eq!(
        faults(&app("aesKey: 'topsecret', mode: 'open'")),
        "jsdkd.json:2:1 apps[0].aesKey: found a text, expected the 43 letters and digits of WeChat's EncodingAESKey\n\
         jsdkd.json:2:22 apps[0].mode: found \"open\", expected \"plain\" or \"compatible\" or \"safe\""
    );
    assert_eq!(
        faults(&app("mode: 'safe'")),
        "jsdkd.json:2:1 apps[0].mode: needs the app's aesKey; no delivery can be decrypted without it"
    );
    let untold = good("{ apps: [{ key: 'wx1', secret: 's', messages: 'echo' }] }").warnings;
    assert!(
        untold.len() == 1 && untold[0].contains("has no effect without the app's token"),
        "{untold:?}"
    );
}

#[test]
fn every_fault_of_a_rule_is_named() {
    assert_eq!(
        rule_faults("{ on: 'txt', match: 'a(b', reply: { text: 'x' } }"),
        [
            "[0].on: found \"txt\", expected \"*\", \"event\", \"event:NAME\", \"info:NAME\" or one of text, image, voice, video, shortvideo, location, link, miniprogrampage; did you mean \"text\"?",
            "[0].match: found \"a(b\", expected a regular expression: unclosed group",
        ]
    );
    assert_eq!(
        rule_faults("{ reply: { text: 'x' }, forward: 'http://a/' }, { on: '*' }, 5"),
        [
            "[0].on: missing, expected \"*\", \"event\", \"event:NAME\", \"info:NAME\" or one of text, image, voice, video, shortvideo, location, link, miniprogrampage",
            "[0]: a rule has either reply or forward; remove one, or write two rules",
            "[1]: does nothing: expected reply: { text: \"…\" } or forward: \"http://…\"",
            "[2]: found a number, expected an object {…}",
        ]
    );
    assert_eq!(
        rule_faults(
            "{ on: '*', reply: {} }, { on: '*', reply: { text: 'a', image: 'b' } }, { on: '*', reply: { text: '{1}' } }, { on: '*', reply: { text: '{' } }"
        ),
        [
            "[0].reply: found an object, expected one of text, image, voice, video, music, news, transfer_customer_service: { text: \"…\" }",
            "[1].reply: found an object, expected one of text, image, voice, video, music, news, transfer_customer_service: { text: \"…\" }",
            "[2].reply.text: the text has a placeholder {1}, but the rule's match has no such group",
            "[3].reply.text: the text has an unmatched brace; write {{ or }} for a literal brace",
        ]
    );
    assert_eq!(
        rule_faults(
            "{ on: '*', forward: 'backend' }, { on: '*', forward: [] }, { on: '*', forward: [{ url: 'http://a/', answers: true }, { url: 'http://b/', answers: true }] }, { on: '*', forward: 'http://u:pass@/', late: 'send', as: 'yaml' }"
        ),
        [
            "[0].forward: found a text, expected a back end's full address such as \"http://backend:8080/hook\"",
            "[1].forward: found a list, expected at least one address",
            "[2].forward: more than one back end has answers: true, but WeChat accepts one answer",
            "[3].forward: found a text, expected a back end's full address such as \"http://backend:8080/hook\"",
            "[3].late: found \"send\", expected \"push\" or \"drop\"",
            "[3].as: found \"yaml\", expected \"xml\" or \"json\"",
        ]
    );
    assert_eq!(
        rule_faults(
            "{ on: '*', reply: { news: [] } }, { on: '*', reply: { music: { title: 'T' } } }, { on: '*', reply: { video: 'M' } }, { on: '*', reply: { news: [{ url: 'u' }] } }"
        ),
        [
            "[0].reply.news: found a list, expected one to eight articles: [{ title: \"…\", url: \"https://…\" }]",
            "[1].reply.music.thumbMediaId: missing, expected a text",
            "[2].reply.video: found a text, expected an object {…}",
            "[3].reply.news[0].title: missing, expected a text",
        ]
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
