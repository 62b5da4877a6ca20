//! What a service answers, by the rules of its source: a grant with a lifetime, a refusal, or
//! unreadable; never two of them. Pure.

use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::error::UpstreamError;
use super::object;
use super::source::{Expires, Source, Success};
use crate::engine::Granted;
use wechat::{Call, Errcode, Kind};

/// The lifetime of an answer that names none, as with TokenBoy.
const WITHOUT_AN_END: Duration = Duration::from_secs(7000);

/// A longer lifetime is a fault of the service.
const MAX_LIFETIME: Duration = Duration::from_secs(366 * 24 * 3600);

/// The longest message of a service that we repeat.
const MAX_MESSAGE_LEN: usize = 300;

/// Shorter texts are words such as `jsapi`, which a message may contain.
const SHORTEST_SECRET: usize = 4;

/// Fields with a service's error message, the most specific first.
const MESSAGES: [&str; 6] = [
    "errmsg",
    "error_description",
    "error",
    "message",
    "msg",
    "errorMessage",
];

/// Reads `body`. `sent` is removed from the service's messages, in case it echoes what it was sent.
pub(super) fn read(
    source: &Source,
    status: u16,
    body: &[u8],
    sent: &[SecretString],
) -> Result<Granted, UpstreamError> {
    let unreadable = |cause: &str| UpstreamError::Unreadable {
        status,
        cause: cause.to_owned(),
    };
    let good = (200..300).contains(&status);
    let Some(text) = object::text(body) else {
        // A refusal need not be JSON; its status is enough.
        let refused = || UpstreamError::Refused {
            code: status.to_string(),
            message: String::new(),
            kind: kind(source, None, status),
        };
        return Err(if (400..500).contains(&status) {
            refused()
        } else {
            unreadable("the body is not a JSON object")
        });
    };
    let (granted, code) = match &source.ok {
        Success::Zero(path) => match object::field(&text, path) {
            None => (
                good && object::field(&text, &["error"]).is_none_or(|error| error.is_null()),
                None,
            ),
            // Zero is success whatever the status; so it is with WeChat.
            Some(value) if is_zero(&value) => (true, None),
            Some(value) => (false, Some(value)),
        },
        Success::Equals(path, wanted) => match object::field(&text, path) {
            Some(value) if value == *wanted => (good, None),
            code => (false, code),
        },
    };
    if !granted {
        let number = code.as_ref().and_then(integer);
        let shown = code
            .and_then(object::as_text)
            .unwrap_or_else(|| status.to_string());
        let kind = kind(source, number, status);
        return Err(UpstreamError::Refused {
            code: without(&shown, sent),
            message: message(&text, sent),
            kind,
        });
    }
    let lifetime = lifetime(source, &text).map_err(|cause| unreadable(&cause))?;
    Ok(Granted {
        value: text.into(),
        expires_in: lifetime,
        lifetime,
    })
}

fn lifetime(source: &Source, text: &str) -> Result<Duration, String> {
    let told = |path: &[&str]| object::field(text, path).map(|value| object::seconds(&value));
    let field = source.expires_field();
    match (&source.expires, field.as_deref().and_then(told)) {
        (Expires::Fixed(span), _) => Ok(*span),
        (_, Some(Some(seconds))) => Ok(Duration::from_secs(seconds).min(MAX_LIFETIME)),
        (Expires::Usual, None) => Ok(WITHOUT_AN_END),
        _ => Err(format!(
            "it has no {} above zero",
            field.unwrap_or_default().join(".")
        )),
    }
}

/// What to do about a refusal with this code and status.
fn kind(source: &Source, code: Option<i64>, status: u16) -> Kind {
    let told = code.unwrap_or_else(|| status.into());
    if source.stale.contains(&told) {
        return Kind::StaleToken;
    }
    match code.map(|code| Errcode(code).kind(Call::Token)) {
        Some(Kind::Permanent | Kind::Visitor) => Kind::Permanent,
        // Too Early and Too Many Requests are temporary, as a timeout is.
        _ if (400..500).contains(&status) && ![408, 425, 429].contains(&status) => Kind::Permanent,
        _ => Kind::Temporary,
    }
}

fn integer(value: &Value) -> Option<i64> {
    value
        .as_i64()
        .or_else(|| value.as_str()?.trim().parse().ok())
}

fn is_zero(value: &Value) -> bool {
    integer(value) == Some(0)
}

fn message(text: &str, sent: &[SecretString]) -> String {
    let said = MESSAGES
        .iter()
        .find_map(|name| object::field(text, &[name])?.as_str().map(str::to_owned))
        .unwrap_or_default();
    without(&said, sent)
}

/// `text` without what was sent, plain or percent-encoded.
fn without(text: &str, sent: &[SecretString]) -> String {
    let mut text = text.to_owned();
    for secret in sent
        .iter()
        .map(SecretString::expose_secret)
        .filter(|secret| secret.len() >= SHORTEST_SECRET)
    {
        let encoded: String = url::form_urlencoded::byte_serialize(secret.as_bytes()).collect();
        text = text.replace(secret, "***").replace(&encoded, "***");
    }
    text.chars()
        .filter(|c| !c.is_control())
        .take(MAX_MESSAGE_LEN)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::source::Payload;

    fn source() -> Source {
        Source {
            name: "a".to_owned(),
            method: reqwest::Method::GET,
            url: SecretString::from("http://x/"),
            query: Vec::new(),
            headers: Vec::new(),
            body: Payload::None,
            expires: Expires::Usual,
            ok: Success::Zero(vec!["errcode".to_owned()]),
            stale: vec![40001, 401],
            reserve: Duration::ZERO,
        }
    }

    fn ask(source: &Source, status: u16, body: &str) -> Result<u64, String> {
        let sent = [SecretString::from("s3cr/t"), SecretString::from("a")];
        let answer = read(source, status, body.as_bytes(), &sent);
        answer
            .map(|granted| granted.lifetime.as_secs())
            .map_err(|error| format!("{:?}: {error}", error.kind()))
    }

    #[test]
    fn an_errcode_decides_and_the_default_lifetime_is_tokenboys() {
        let usual = source();
        assert_eq!(
            ask(&usual, 200, r#"{"access_token":"T","expires_in":7200}"#),
            Ok(7200)
        );
        assert_eq!(
            ask(&usual, 500, r#"{"errcode":0,"t":"T","expires_in":"60"}"#),
            Ok(60)
        );
        assert_eq!(ask(&usual, 200, r#"{"t":"T"}"#), Ok(7000));
        assert_eq!(
            ask(&usual, 200, r#"{"expires_in":1e300}"#),
            Ok(MAX_LIFETIME.as_secs())
        );
        let refused = |body| ask(&usual, 200, body).expect_err(body);
        assert_eq!(
            refused(r#"{"errcode":40013,"errmsg":"invalid appid"}"#),
            "Permanent: it refused: 40013 invalid appid"
        );
        assert_eq!(
            refused(r#"{"errcode":"40001","errmsg":"dead"}"#),
            "StaleToken: it refused: 40001 dead"
        );
        assert_eq!(refused(r#"{"errcode":-1}"#), "Temporary: it refused: -1 ");
        assert_eq!(
            refused(r#"{"error":"nope"}"#),
            "Temporary: it refused: 200 nope"
        );
        assert_eq!(
            refused(r#"{"expires_in":0}"#),
            "Temporary: its answer (HTTP 200) cannot be read: it has no expires_in above zero"
        );
        assert_eq!(
            refused("<html>"),
            "Temporary: its answer (HTTP 200) cannot be read: the body is not a JSON object"
        );
    }

    #[test]
    fn without_a_code_the_status_decides() {
        let usual = source();
        let refused = |status, body| ask(&usual, status, body).expect_err(body);
        assert_eq!(
            refused(400, r#"{"error":"invalid_client"}"#),
            "Permanent: it refused: 400 invalid_client"
        );
        assert_eq!(refused(401, "no"), "StaleToken: it refused: 401 ");
        assert_eq!(refused(429, "slow"), "Temporary: it refused: 429 ");
        assert_eq!(
            refused(503, r#"{"message":"busy"}"#),
            "Temporary: it refused: 503 busy"
        );
    }

    #[test]
    fn success_may_be_a_value_and_the_expiry_nested() {
        let ok = Success::Equals(vec!["code".to_owned()], Value::from("OK"));
        let expires = Expires::Field(vec!["data".to_owned(), "ttl".to_owned()]);
        let deep = Source {
            ok,
            expires,
            ..source()
        };
        assert_eq!(ask(&deep, 200, r#"{"code":"OK","data":{"ttl":9}}"#), Ok(9));
        assert_eq!(
            ask(&deep, 200, r#"{"code":"NO","msg":"x"}"#),
            Err("Temporary: it refused: NO x".to_owned())
        );
        assert!(
            ask(&deep, 200, r#"{"data":{"ttl":9}}"#).is_err()
                && ask(&deep, 200, r#"{"code":"OK"}"#).is_err()
        );
        let fixed = Source {
            expires: Expires::Fixed(Duration::from_secs(5)),
            ..source()
        };
        assert_eq!(ask(&fixed, 200, r#"{"expires_in":7200}"#), Ok(5));
    }

    #[test]
    fn errors_do_not_repeat_sent_secrets() {
        let said = ask(
            &source(),
            200,
            r#"{"errcode":1,"errmsg":"bad s3cr/t in ?k=s3cr%2Ft, a"}"#,
        )
        .expect_err("refused");
        assert_eq!(said, "Temporary: it refused: 1 bad *** in ?k=***, a");
    }
}
