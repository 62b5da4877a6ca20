//! Sends a message or an event to a message server as WeChat does, and returns the decrypted and
//! checked answer. Needs no running sandbox. `message_builder` writes the message, `reply_check`
//! checks the answer.

use std::fmt;
use std::time::Duration;

use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::message_builder::{Head, MessageBuilder, beside, envelope};
use super::mint;
use super::push_mode::PushMode;
use super::reply_check::{ReplyCheck, ReplyFault, UNAVAILABLE};
use super::visitors::SAMPLES;
use clock::{Clock, UnixSeconds};
use wechat::account::AppId;
use wechat::crypt::{self, EnvelopeKey, EnvelopeKeyError};
use wechat::message::{Fields, Form, Message};
use wechat::signature;
use wechat::{chain, is_loopback};

/// WeChat's timeout for a whole answer. Source: WeChat, 接收普通消息.
const DEADLINE: Duration = Duration::from_secs(5);

/// How often WeChat sends a message in total if there is no answer.
const TRIES: u32 = 3;

/// Longer than any reply; the rest of an answer is not read.
const MAX_BODY_LEN: usize = 64 * 1024;

/// Sends `push` and returns the message server's answer.
///
/// ```no_run
/// # use wechat as jsdkd_wechat;
/// use jsdkd_wechat::account::AppId;
/// use jsdkd_sandbox::{Push, PushMode, MessageBuilder, push};
///
/// # async fn example() -> Result<(), Box<dyn std::error::Error>> {
/// let url = "http://127.0.0.1:3030/wechat/wx5823bf96d3bd56c7".parse()?;
/// let mut hello = Push::new(url, "QDG6eK".into(), AppId::parse("wx5823bf96d3bd56c7")?, MessageBuilder::text("Hello"));
/// assert!(push(&hello).await?.is_success());
///
/// hello.mode = PushMode::Safe;
/// hello.aes_key = Some("jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C".into());
/// let answer = push(&hello).await?;
/// assert_eq!(answer.reply.as_ref().and_then(|reply| reply.text("Content")), Some("You said Hello"));
/// # Ok(())
/// # }
/// ```
pub async fn push(push: &Push) -> Result<PushAnswer, PushError> {
    let key = push.key()?;
    let client = client(&push.url)?;
    let mut tries = 1;
    loop {
        match push.deliver(&client, key.as_ref()).await {
            // WeChat repeats a message only without an answer; a wrong answer is not repeated.
            Err(_) if tries < push.tries => tries += 1,
            Err(silence) => return Err(silence),
            Ok(answer) => return Ok(PushAnswer { tries, ..answer }),
        }
    }
}

/// What is sent, where to, and for which account. Pushing the same value twice repeats it as WeChat
/// does: the same message with another timestamp and nonce.
#[derive(Clone, Debug)]
pub struct Push {
    /// The message server's URL. Its own query is kept in front of WeChat's parameters.
    pub url: Url,
    /// The token in the server's settings.
    pub token: SecretString,
    /// The account's appid, which is part of an envelope.
    pub app_id: AppId,
    /// The EncodingAESKey; required except in plain mode.
    pub aes_key: Option<SecretString>,
    /// How the message is encrypted.
    pub mode: PushMode,
    /// Its format (数据格式); raw text keeps its own.
    pub form: Form,
    /// The message.
    pub message: MessageBuilder,
    /// The sender.
    pub openid: String,
    /// The account's original id.
    pub to: String,
    /// When the message was sent.
    pub created: UnixSeconds,
    /// The message's id; events have none.
    pub msg_id: String,
    /// The signed time of the delivery; `None` means now.
    pub timestamp: Option<UnixSeconds>,
    /// The signed nonce; `None` means a new one per delivery.
    pub nonce: Option<String>,
    /// Timeout for the whole answer to one delivery.
    pub deadline: Duration,
    /// How often it is delivered in total if there is no answer.
    pub tries: u32,
}

/// The message server's answer.
#[derive(Clone, Debug)]
pub struct PushAnswer {
    /// The HTTP status.
    pub status: u16,
    /// From sending the last delivery to the end of its answer.
    pub took: Duration,
    /// The number of deliveries.
    pub tries: u32,
    /// The body as received, still encrypted if it was; invalid UTF-8 is replaced.
    pub body: String,
    /// The decrypted reply; `None` if there is none or WeChat does not accept it.
    pub reply: Option<Fields>,
    /// Why WeChat does not accept the answer.
    pub fault: Option<ReplyFault>,
}

/// Why there is no answer. Contains no URL, because URLs carry signatures.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// All modes except plain require a key.
    #[error("an EncodingAESKey is needed, except in plain mode")]
    NoKey,
    /// Not a valid EncodingAESKey.
    #[error("the EncodingAESKey: {0}")]
    BadKey(EnvelopeKeyError),
    /// The HTTP client could not be created.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
    /// No complete answer within the timeout.
    #[error("no answer within {}; the user sees {UNAVAILABLE}", humantime::format_duration(*.after))]
    TimedOut {
        /// The timeout of each delivery.
        after: Duration,
    },
    /// No connection, or it broke.
    #[error("no answer: {cause}; the user sees {UNAVAILABLE}")]
    Unreachable {
        /// The network error.
        cause: String,
    },
}

impl Push {
    /// A plain message from the sandbox's first sample visitor, sent now.
    pub fn new(url: Url, token: SecretString, app_id: AppId, message: MessageBuilder) -> Self {
        Self {
            openid: mint::openid(app_id.as_str(), SAMPLES[0]),
            to: mint::original_id(app_id.as_str()),
            created: Clock::system().wall().seconds(),
            msg_id: mint::msg_id(),
            timestamp: None,
            nonce: None,
            deadline: DEADLINE,
            tries: 1,
            aes_key: None,
            mode: PushMode::Plain,
            form: Form::Xml,
            url,
            token,
            app_id,
            message,
        }
    }

    /// Delivers it up to three times if there is no answer, as WeChat does.
    #[must_use]
    pub fn repeated(self) -> Self {
        Self {
            tries: TRIES,
            ..self
        }
    }

    /// The unencrypted message.
    pub fn clear(&self) -> String {
        let head = Head {
            to: &self.to,
            from: &self.openid,
            created: self.created,
            msg_id: &self.msg_id,
        };
        self.message.write(&head, self.form())
    }

    fn form(&self) -> Form {
        self.message.form().unwrap_or(self.form)
    }

    fn key(&self) -> Result<Option<EnvelopeKey>, PushError> {
        if self.mode == PushMode::Plain {
            return Ok(None);
        }
        let key = self.aes_key.as_ref().ok_or(PushError::NoKey)?;
        EnvelopeKey::parse(key).map(Some).map_err(PushError::BadKey)
    }

    async fn deliver(
        &self,
        client: &Client,
        key: Option<&EnvelopeKey>,
    ) -> Result<PushAnswer, PushError> {
        let (url, body) = self.delivery(key);
        // WeChat's own headers, which some firewalls check.
        let content_type = match self.form() {
            Form::Xml => "text/xml",
            Form::Json => "application/json",
        };
        let request = client
            .post(url)
            .header("content-type", content_type)
            .header("pragma", "no-cache")
            .body(body);
        let (clock, timed_out) = (
            Clock::system(),
            PushError::TimedOut {
                after: self.deadline,
            },
        );
        let began = clock.steady();
        let answer = tokio::time::timeout(self.deadline, exchange(request))
            .await
            .map_err(|_| timed_out)?;
        let (status, body) = answer.map_err(|error| PushError::Unreachable {
            cause: chain(&error.without_url()),
        })?;
        let sent = Message::parse(self.clear().as_bytes()).ok();
        let reply_check = ReplyCheck {
            token: &self.token,
            app_id: &self.app_id,
            key,
            mode: self.mode,
            form: self.form(),
            sent,
        };
        let judged = if body.len() > MAX_BODY_LEN {
            Err(ReplyFault::TooLong)
        } else {
            reply_check.check(status, &body)
        };
        Ok(PushAnswer {
            status,
            took: began.until(clock.steady()),
            tries: 1,
            body: String::from_utf8_lossy(&body).into_owned(),
            fault: judged.as_ref().err().cloned(),
            reply: judged.unwrap_or_default(),
        })
    }

    /// The URL with WeChat's parameters, and the body. `signature` is always present, although it
    /// does not cover the body. Source: WeChat, 接入指南 and 消息加解密说明.
    fn delivery(&self, key: Option<&EnvelopeKey>) -> (Url, String) {
        let timestamp = self
            .timestamp
            .unwrap_or_else(|| Clock::system().wall().seconds())
            .to_string();
        let nonce = self.nonce.clone().unwrap_or_else(mint::nonce);
        let (token, clear) = (self.token.expose_secret(), self.clear());
        let mut url = self.url.clone();
        let signature = signature::push(token, &timestamp, &nonce).text();
        let parameters = [
            ("signature", signature.as_str()),
            ("timestamp", &timestamp),
            ("nonce", &nonce),
            ("openid", &self.openid),
        ];
        url.query_pairs_mut().extend_pairs(parameters);
        let Some(key) = key else { return (url, clear) };
        let encrypt = key.encrypt(&self.app_id, clear.as_bytes(), rand::random());
        let signature = crypt::signature(token, &timestamp, &nonce, &encrypt).text();
        url.query_pairs_mut()
            .append_pair("encrypt_type", "aes")
            .append_pair("msg_signature", &signature);
        let is_safe = self.mode == PushMode::Safe;
        let body = if is_safe {
            envelope(&self.to, &encrypt, self.form())
        } else {
            beside(&clear, &encrypt)
        };
        (url, body)
    }
}

impl PushAnswer {
    /// True if WeChat accepts the answer: `success`, an empty body, or a reply.
    pub fn is_success(&self) -> bool {
        self.fault.is_none()
    }

    /// What WeChat shows in the chat instead of an answer that it does not accept.
    pub fn user_sees(&self) -> Option<&'static str> {
        self.fault.as_ref().map(|_| UNAVAILABLE)
    }
}

impl fmt::Display for PushMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain => "plain",
            Self::Compatible => "compatible",
            Self::Safe => "safe",
        })
    }
}

fn client(url: &Url) -> Result<Client, PushError> {
    // Fails if there is a provider already, which works as well.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    // WeChat does not follow redirects.
    let mut client = Client::builder()
        .user_agent("Mozilla/4.0")
        .redirect(reqwest::redirect::Policy::none());
    if is_loopback(url) {
        client = client.no_proxy();
    }
    client
        .build()
        .map_err(|error| PushError::Client(chain(&error)))
}

async fn exchange(request: reqwest::RequestBuilder) -> Result<(u16, Vec<u8>), reqwest::Error> {
    let mut response = request.send().await?;
    let (status, mut body) = (response.status().as_u16(), Vec::new());
    while let Some(chunk) = response.chunk().await? {
        body.extend_from_slice(&chunk);
        if body.len() > MAX_BODY_LEN {
            break;
        }
    }
    Ok((status, body))
}

#[cfg(test)]
mod tests {
    use super::*;
    use wechat::message::Envelope;

    const KEY: &str = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C";

    fn hello(mode: PushMode) -> Push {
        let app_id = AppId::parse("wx5823bf96d3bd56c7").expect("an appid");
        let url = "http://127.0.0.1:1/wechat?a=b".parse().expect("a URL");
        let plain = Push::new(url, "QDG6eK".into(), app_id, MessageBuilder::text("Hello"));
        Push {
            mode,
            aes_key: Some(KEY.into()),
            ..plain
        }
    }

    fn parameter(url: &Url, wanted: &str) -> Option<String> {
        url.query_pairs()
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.into_owned())
    }

    #[test]
    fn the_parameters_are_those_of_wechats_own_example() {
        let mut push = hello(PushMode::Plain);
        (push.token, push.timestamp) = ("AAAAA".into(), Some(UnixSeconds(1_714_037_059)));
        (push.nonce, push.openid) = (Some("486452656".to_owned()), "o1".to_owned());
        let (url, body) = push.delivery(None);
        let signature = "899cf89e464efb63f54ddac96b0a0a235f53aa78";
        assert_eq!(
            url.query(),
            Some(
                format!("a=b&signature={signature}&timestamp=1714037059&nonce=486452656&openid=o1")
                    .as_str()
            )
        );
        assert_eq!(body, push.clear());
    }

    #[test]
    fn only_compatible_mode_also_sends_plain_text() {
        let modes = [(PushMode::Compatible, true), (PushMode::Safe, false)];
        for (mode, stands_clear, form) in modes
            .iter()
            .flat_map(|(mode, clear)| [Form::Xml, Form::Json].map(|form| (*mode, *clear, form)))
        {
            let push = Push {
                form,
                ..hello(mode)
            };
            let key = push.key().expect("a good key").expect("a key");
            let (url, body) = push.delivery(Some(&key));
            let envelope = Envelope::parse(body.as_bytes()).expect("an envelope");
            let [timestamp, nonce, signature] = ["timestamp", "nonce", "msg_signature"]
                .map(|name| parameter(&url, name).expect("a parameter"));
            assert!(
                crypt::signature("QDG6eK", &timestamp, &nonce, &envelope.encrypt)
                    .matches(&signature)
            );
            assert_eq!(
                (
                    parameter(&url, "encrypt_type").as_deref(),
                    envelope.to.as_deref()
                ),
                (Some("aes"), Some(push.to.as_str()))
            );
            assert_eq!(
                key.decrypt(&push.app_id, &envelope.encrypt).as_deref(),
                Ok(push.clear().as_bytes())
            );
            let outside = Message::parse(body.as_bytes()).expect("a document");
            assert_eq!(
                (outside.fields.text("Content").is_some(), outside.form),
                (stands_clear, form),
                "{body}"
            );
        }
        assert_eq!(
            beside("no end", "E"),
            "no end<Encrypt><![CDATA[E]]></Encrypt>"
        );
    }

    #[test]
    fn two_deliveries_have_one_message_and_two_nonces() {
        let push = hello(PushMode::Plain);
        let [one, two] = [(); 2].map(|()| push.delivery(None));
        assert_eq!(one.1, two.1);
        assert_ne!(parameter(&one.0, "nonce"), parameter(&two.0, "nonce"));
        assert_ne!(hello(PushMode::Plain).msg_id, push.msg_id);
        assert!(
            push.openid.len() == 28 && push.to.len() == 15 && push.msg_id.len() == 19,
            "{push:?}"
        );
    }

    #[test]
    fn a_missing_or_bad_key_is_reported_without_secrets() {
        let mut push = hello(PushMode::Safe);
        assert!(
            !format!("{push:?}").contains("QDG6eK") && !format!("{push:?}").contains(&KEY[..4])
        );
        push.aes_key = Some("short".into());
        assert_eq!(push.key().err(), Some(PushError::BadKey(EnvelopeKeyError)));
        push.aes_key = None;
        assert_eq!(push.key().err(), Some(PushError::NoKey));
        push.mode = PushMode::Plain;
        assert!(matches!(push.key(), Ok(None)));
    }
}
