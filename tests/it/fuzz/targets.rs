//! What must hold for any input at all: one function for each parser that strangers can reach.
//! cargo-fuzz drives them from `fuzz/`, and `tests/it/fuzz.rs` for some seconds in every test run.

use clock::{UnixMillis, UnixSeconds};
use jsdkd::http::ConfigRequest;
use jsdkd::realm::{Accept, Realm, RealmError, Realms, SignedRequest};
use jsdkd::settings::{self, Environment, Source};
use secrecy::SecretString;
use serde_json::Value;
use serde_json::value::RawValue;
use url::form_urlencoded;
use wechat::account::AppId;
use wechat::crypt::{self, EnvelopeKey};
use wechat::message::{
    Body, Envelope, Event, Form, Message, ReceivedReply, Reply, ReplyError, sealed_reply,
    sealed_reply_as,
};
use wechat::signature;

const SECRET: &str = "realm_secret";
const NOW: UnixMillis = UnixMillis(1_589_203_758_000);
const PATH: &str = "/jsapi/wx0123456789abcdef/query";

/// A query string: none opens by chance, and whatever else stands in it, one that is signed opens
/// where it was signed for and nowhere else.
pub fn query(data: &[u8]) {
    let Ok(raw) = std::str::from_utf8(data) else {
        return;
    };
    let verify = |raw_query: &str, path: &str, accept| {
        let request = SignedRequest {
            method: "GET",
            path,
            raw_query,
            body: b"",
        };
        realms()
            .verify(&request, "wx0123456789abcdef", || None, NOW, accept)
            .map(|(_, query)| query.into_owned())
    };
    for accept in [Accept::AnyVersion, Accept::V2Only] {
        assert!(
            verify(raw, PATH, accept).is_err(),
            "{raw:?} opened unsigned"
        );
    }
    let unsigned = format!("{raw}&realm=R123&nonce=caa3c9d793b&ts=1589203758");
    let pairs: Vec<_> = form_urlencoded::parse(unsigned.as_bytes()).collect();
    let covered = signature::canonical_query(
        pairs
            .iter()
            .map(|(name, value)| (name.as_ref(), value.as_ref())),
    );
    let sign = signature::realm_v2(SECRET, "GET", PATH, &covered, b"").text();
    let signed = format!("{unsigned}&sign={sign}");
    match verify(&signed, PATH, Accept::V2Only) {
        Ok(query) => {
            for name in ["key", "rotate", "realm"] {
                let meant = pairs
                    .iter()
                    .find(|(pair, _)| pair == name)
                    .map(|(_, value)| value.as_ref());
                assert_eq!(query.get(name).as_deref(), meant, "{name} in {signed:?}");
            }
            let elsewhere = verify(&signed, "/jsapi/another/query", Accept::AnyVersion);
            assert_eq!(
                elsewhere.err(),
                Some(RealmError::Unauthorized),
                "{signed:?}"
            );
        }
        Err(refused) => assert!(
            matches!(refused, RealmError::Repeated(_)),
            "{signed:?}: {refused}"
        ),
    }
}

fn realms() -> Realms {
    [Realm::new("R123", SecretString::from(SECRET))]
        .into_iter()
        .collect()
}

/// The body of a config request: what is echoed is JSON, has none of our four fields and all
/// others, and an object that is plain JSON is refused for its `url` alone.
pub fn body(data: &[u8]) {
    const OURS: [&str; 4] = ["appId", "timestamp", "nonceStr", "signature"];
    let sent = serde_json::from_slice::<Value>(data).ok();
    match ConfigRequest::from_body(data) {
        Ok(request) => {
            let url = request.url_or(None).to_owned();
            assert!(
                !url.contains('#')
                    && (url.is_empty()
                        || url
                            .get(..4)
                            .is_some_and(|start| start.eq_ignore_ascii_case("http")))
            );
            let whole = format!("{}\"appId\":1}}", request.into_echo());
            assert!(
                serde_json::from_str::<&RawValue>(&whole).is_ok(),
                "{whole:?}"
            );
            let (Some(Value::Object(mut sent)), Ok(Value::Object(mut echoed))) =
                (sent, serde_json::from_str(&whole))
            else {
                return;
            };
            assert_eq!(echoed.remove("appId"), Some(1.into()), "{whole:?}");
            OURS.iter().for_each(|ours| drop(sent.remove(*ours)));
            assert_eq!(echoed, sent);
        }
        Err(refused) => {
            let code = refused.code().0;
            assert!(
                !matches!(sent, Some(Value::Object(_))) || code == "invalid_url",
                "{code}: {data:?}"
            );
        }
    }
}

/// The text of a settings file: it is taken or refused, and a refusal says at least one thing.
pub fn settings(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // A secret may be read from a file, and those of the system may never end.
    if ["dev", "proc", "sys"]
        .iter()
        .any(|folder| text.contains(folder))
    {
        return;
    }
    for strict in [false, true] {
        match settings::load(
            &Source::text("fuzzed.json", text).strict(strict),
            &Environment::default(),
        ) {
            Ok(loaded) => assert!(!loaded.config.accounts.is_empty()),
            Err(error) => assert!(!error.faults().is_empty() && !error.to_string().is_empty()),
        }
    }
}

/// The XML or JSON of a push: it is a message or refused without a word of it, its JSON is JSON,
/// and an answer to it says what was meant. As a back end's answer it is a reply that says the same
/// in the form of the message, or refused.
pub fn message(data: &[u8]) {
    let message = match Message::parse(data) {
        Ok(message) => message,
        Err(refused) => {
            assert!(!refused.to_string().contains("marker"), "{refused}");
            return;
        }
    };
    assert_eq!(message.form, Form::of(data));
    let Ok(Value::Object(json)) = serde_json::from_str(&message.fields.to_json()) else {
        panic!("not an object")
    };
    assert_eq!(
        json.get("FromUserName").and_then(Value::as_str),
        message.fields.text("FromUserName")
    );
    for (name, _) in message.fields.iter().take(8) {
        message.fields.lookup(name);
        message.fields.lookup(&format!("{name}.0.{name}"));
    }
    received(&message, data);
    assert_eq!(
        message.dedup_key(),
        Message::parse(data).expect("the same").dedup_key()
    );
    match &message.body {
        Body::Text { content, .. } => echo(&message, content),
        Body::Event(Event::View { url, .. }) => echo(&message, url),
        _ => echo(
            &message,
            message.fields.lookup("msgtype").unwrap_or_default(),
        ),
    }
}

/// Reads `data` as what a back end answers to the one whom it is for.
fn received(message: &Message, data: &[u8]) {
    let asked = |form| {
        let (to, from) = (&message.from, &message.to);
        let text = match form {
            Form::Xml => format!(
                "<xml><ToUserName>{to}</ToUserName><FromUserName>{from}</FromUserName></xml>"
            ),
            Form::Json => serde_json::json!({ "ToUserName": to, "FromUserName": from }).to_string(),
        };
        Message::parse(text.as_bytes())
            .ok()
            .filter(|asked| (&asked.to, &asked.from) == (to, from))
    };
    let text = String::from_utf8_lossy(data);
    for asked in [Form::Xml, Form::Json].into_iter().filter_map(asked) {
        match ReceivedReply::read(&text, &asked) {
            Ok(reply) => {
                let again = ReceivedReply::read(&reply.text, &asked)
                    .unwrap_or_else(|error| panic!("{error}: {}", reply.text));
                assert_eq!(again.text, reply.text, "what goes on is to the letter");
                assert_eq!(Form::of(reply.text.as_bytes()), asked.form);
            }
            Err(refused) => assert!(
                !refused.to_string().contains("marker")
                    || matches!(refused, ReplyError::UnknownType(_))
            ),
        }
    }
}

/// Answers `message` with `content`, and reads the answer as WeChat would.
fn echo(message: &Message, content: &str) {
    let now = UnixSeconds(1_409_659_814);
    let reply = Reply::Text {
        content: content.to_owned(),
    };
    let sent = match reply.write(message, now) {
        Ok(text) => {
            Message::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"))
        }
        Err(refused) => {
            assert!(
                matches!(
                    refused,
                    ReplyError::Empty("Content") | ReplyError::TooLong(_) | ReplyError::NoRecipient
                ),
                "{refused}"
            );
            return;
        }
    };
    let Body::Text {
        content: arrived, ..
    } = sent.body
    else {
        panic!("another kind: {:?}", sent.body)
    };
    // Line ends are the one thing about a text that XML does not keep; what it cannot carry was
    // replaced already.
    let kept = |text: &str| text.replace("\r\n", "\n").replace('\r', "\n");
    let arrived = if sent.form == Form::Xml {
        arrived
    } else {
        kept(&arrived)
    };
    assert_eq!(arrived, kept(content));
    assert_eq!(
        (sent.created, sent.form, sent.is_repaired),
        (now, message.form, false)
    );
}

/// An envelope: none that is for another app opens, whatever is put into one comes out as it was,
/// and a stranger's nonce stays text.
pub fn envelope(data: &[u8]) {
    let key = EnvelopeKey::parse(&SecretString::from(
        "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C",
    ))
    .expect("a key");
    let app = AppId::parse("wx0123456789abcdef").expect("an appid");
    let text = String::from_utf8_lossy(data);
    assert!(key.decrypt(&app, &text).is_err(), "{text:?} opened");
    if let Ok(envelope) = Envelope::parse(data) {
        assert!(!envelope.encrypt.is_empty());
        assert!(
            key.decrypt(&app, &envelope.encrypt).is_err(),
            "{text:?} opened"
        );
    }
    let random = std::array::from_fn(|at| data.get(at).copied().unwrap_or_default());
    let encrypt = key.encrypt(&app, data, random);
    assert_eq!(key.decrypt(&app, &encrypt).as_deref(), Ok(data));

    let sealed = sealed_reply("QDG6eK", &encrypt, UnixSeconds(1_409_659_814), &text);
    let opened = Envelope::parse(sealed.as_bytes()).expect("our own envelope");
    assert_eq!(opened.encrypt, encrypt);
    let sealed_json = sealed_reply_as(
        Form::Json,
        "QDG6eK",
        &encrypt,
        UnixSeconds(1_409_659_814),
        &text,
    );
    let opened = Envelope::parse(sealed_json.as_bytes()).expect("our own envelope");
    assert_eq!(
        (opened.encrypt.as_str(), opened.form),
        (encrypt.as_str(), Form::Json)
    );
    let signed = crypt::signature("QDG6eK", "1409659814", &text, &encrypt).text();
    assert!(
        sealed_json.contains(&format!("\"MsgSignature\":\"{signed}\"")),
        "{sealed_json}"
    );
    // Line ends are the one thing about a nonce that XML does not keep.
    if !text.contains(|c: char| c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}')) {
        let signed = crypt::signature("QDG6eK", "1409659814", &text, &encrypt).text();
        assert!(
            sealed.contains(&format!(
                "<MsgSignature><![CDATA[{signed}]]></MsgSignature>"
            )),
            "{sealed}"
        );
    }
}
