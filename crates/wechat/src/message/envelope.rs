//! The XML or JSON envelope of an encrypted message, in both directions. Encryption is in
//! [`crypt`].

use serde_json::json;

use super::write::{Xml, legal};
use super::{Document, Form, MessageError, document};
use crate::crypt;
use clock::UnixSeconds;

/// A push to an account in safe or compatible mode: the encrypted message and its recipient.
///
/// Compatible mode also sends the fields in clear text. They are ignored, because `msg_signature`
/// covers only the encrypted part.
///
/// ```
/// use jsdkd_wechat::account::AppId;
/// use clock::UnixSeconds;
/// use jsdkd_wechat::crypt::{self, EnvelopeKey};
/// use jsdkd_wechat::message::{Body, Envelope, Message, Reply, sealed_reply};
/// use secrecy::SecretString;
///
/// let key = EnvelopeKey::parse(&SecretString::from("jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C"))?;
/// let (app_id, token) = (AppId::parse("wx5823bf96d3bd56c7")?, "QDG6eK");
///
/// // What came: a body, and in the query timestamp, nonce and msg_signature.
/// # let pushed = b"<xml><ToUserName>gh_0123456789ab</ToUserName><FromUserName>oABCDEF</FromUserName>\
/// #                <CreateTime>1409659813</CreateTime><MsgType>text</MsgType><Content>Hello</Content><MsgId>1</MsgId></xml>";
/// # let encrypt = key.encrypt(&app_id, pushed, *b"fedcba9876543210");
/// # let body = format!("<xml><ToUserName>gh_0123456789ab</ToUserName><Encrypt>{encrypt}</Encrypt></xml>");
/// # let msg_signature = crypt::signature(token, "1409659813", "1372623149", &encrypt).text();
/// # let (timestamp, nonce) = ("1409659813", "1372623149");
/// let envelope = Envelope::parse(body.as_bytes())?;
/// assert!(crypt::signature(token, timestamp, nonce, &envelope.encrypt).matches(&msg_signature));
/// let message = Message::parse(&key.decrypt(&app_id, &envelope.encrypt)?)?;
/// assert!(matches!(&message.body, Body::Text { content, .. } if content == "Hello"));
///
/// // What goes back; the sixteen bytes are drawn anew for every message.
/// let now = UnixSeconds(1409659814);
/// let reply = Reply::Text { content: "Hello to you".to_owned() }.to_xml(&message, now)?;
/// let encrypt = key.encrypt(&app_id, reply.as_bytes(), *b"0123456789abcdef");
/// let answer = sealed_reply(token, &encrypt, now, nonce);
/// assert!(answer.starts_with("<xml><Encrypt><![CDATA["));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// The recipient account's original id (`gh_…`).
    pub to: Option<String>,
    /// The encrypted message, as signed.
    pub encrypt: String,
    /// The form of the push, and so of its reply.
    pub form: Form,
}

impl Envelope {
    /// Parses the body of a push whose `encrypt_type` is `aes`.
    pub fn parse(body: &[u8]) -> Result<Self, MessageError> {
        let Document { fields, form, .. } = document(body)?;
        let encrypt = fields
            .text("Encrypt")
            .map(str::trim)
            .filter(|encrypt| !encrypt.is_empty());
        let encrypt = encrypt.ok_or(MessageError::Missing("Encrypt"))?.to_owned();
        Ok(Self {
            to: fields.optional("ToUserName"),
            encrypt,
            form,
        })
    }
}

/// Returns the XML of an encrypted reply. `encrypt` is from
/// [`EnvelopeKey::encrypt`](crypt::EnvelopeKey::encrypt) over the reply's XML; `nonce` is the
/// push's or any other.
pub fn sealed_reply(token: &str, encrypt: &str, now: UnixSeconds, nonce: &str) -> String {
    // Sign the nonce as it will arrive: it is untrusted text.
    let nonce = legal(nonce);
    let mut xml = Xml::new();
    xml.text("Encrypt", encrypt);
    xml.text(
        "MsgSignature",
        &crypt::signature(token, &now.to_string(), &nonce, encrypt).text(),
    );
    xml.number("TimeStamp", now);
    xml.text("Nonce", &nonce);
    xml.finish()
}

/// Returns an encrypted reply in this form. Source: WeChat, 消息加解密说明; it uses these names in JSON,
/// too.
pub fn sealed_reply_as(
    form: Form,
    token: &str,
    encrypt: &str,
    now: UnixSeconds,
    nonce: &str,
) -> String {
    match form {
        Form::Xml => sealed_reply(token, encrypt, now, nonce),
        Form::Json => {
            let signature = crypt::signature(token, &now.to_string(), nonce, encrypt).text();
            json!({ "Encrypt": encrypt, "MsgSignature": signature, "TimeStamp": now.0, "Nonce": nonce }).to_string()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_envelope_ignores_unencrypted_elements() {
        let safe = "<xml>\n  <ToUserName><![CDATA[gh_1]]></ToUserName>\n  <Encrypt>\n<![CDATA[abc+/=]]>\n</Encrypt>\n</xml>";
        let compatible = "<xml><ToUserName>gh_1</ToUserName><FromUserName>o1</FromUserName><CreateTime>1</CreateTime>\
                          <MsgType>text</MsgType><Content>x</Content><Encrypt> abc+/= </Encrypt></xml>";
        let json =
            " {\"ToUserName\": \"gh_1\", \"FromUserName\": \"o1\", \"Encrypt\": \"abc+\\/=\"}\n";
        for (body, form) in [
            (safe, Form::Xml),
            (compatible, Form::Xml),
            (json, Form::Json),
        ] {
            let meant = Envelope {
                to: Some("gh_1".to_owned()),
                encrypt: "abc+/=".to_owned(),
                form,
            };
            assert_eq!(Envelope::parse(body.as_bytes()), Ok(meant), "{body}");
        }
    }

    #[test]
    fn an_envelope_has_exactly_one_content() {
        for (xml, error) in [
            (
                "<xml><ToUserName>gh_1</ToUserName></xml>",
                MessageError::Missing("Encrypt"),
            ),
            (
                "<xml><Encrypt> </Encrypt></xml>",
                MessageError::Missing("Encrypt"),
            ),
            (
                "<xml><Encrypt><a>1</a></Encrypt></xml>",
                MessageError::Missing("Encrypt"),
            ),
            (
                "<xml><Encrypt>a</Encrypt><Encrypt>b</Encrypt></xml>",
                MessageError::Repeated("Encrypt"),
            ),
            (
                "{\"ToUserName\":\"gh_1\"}",
                MessageError::Missing("Encrypt"),
            ),
            ("{\"Encrypt\":{\"a\":1}}", MessageError::Missing("Encrypt")),
            (
                "{\"Encrypt\":[\"a\",\"b\"]}",
                MessageError::Repeated("Encrypt"),
            ),
            (
                "<xml><ToUserName>a</ToUserName><ToUserName>b</ToUserName><Encrypt>b</Encrypt></xml>",
                MessageError::Repeated("ToUserName"),
            ),
        ] {
            assert_eq!(Envelope::parse(xml.as_bytes()), Err(error), "{xml}");
        }
    }

    #[test]
    fn wechats_example_answer_is_reproduced() {
        let encrypt = "ELGduP2YcVatjqIS+eZbp80MNLoAUWvzzyJxgGzxZO/5sAvd070Bs6qrLARC9nVHm48Y4hyRbtzve1L32tmxSQ==";
        let meant = format!(
            "<xml><Encrypt><![CDATA[{encrypt}]]></Encrypt>\
             <MsgSignature><![CDATA[1b9339964ed2e271e7c7b6ff2b0ef902fc94dea1]]></MsgSignature>\
             <TimeStamp>1713424427</TimeStamp><Nonce><![CDATA[415670741]]></Nonce></xml>"
        );
        assert_eq!(
            sealed_reply("AAAAA", encrypt, UnixSeconds(1_713_424_427), "415670741"),
            meant
        );
        assert_eq!(
            sealed_reply(
                "AAAAA",
                encrypt,
                UnixSeconds(1_713_424_427),
                "4156\u{0}70741"
            ),
            meant
        );
        let json: serde_json::Value = serde_json::from_str(&sealed_reply_as(
            Form::Json,
            "AAAAA",
            encrypt,
            UnixSeconds(1_713_424_427),
            "415670741",
        ))
        .expect("JSON");
        let signature = "1b9339964ed2e271e7c7b6ff2b0ef902fc94dea1";
        let meant = json!({ "Encrypt": encrypt, "MsgSignature": signature, "TimeStamp": 1_713_424_427, "Nonce": "415670741" });
        assert_eq!(json, meant);
    }
}
