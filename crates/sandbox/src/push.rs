//! The sandbox as the other side of a message server: it sends a message or an event as WeChat
//! would and hands back the answer, opened and judged. It needs no running sandbox; how a message
//! is written is in `message_builder`, what an answer is worth in `reply_check`.

use std::fmt;
use std::time::Duration;

use reqwest::Client;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::message_builder::{Head, MessageBuilder, beside, envelope};
use super::mint;
use super::reply_check::{ReplyCheck, ReplyFault, UNAVAILABLE};
use super::visit::SAMPLES;
use clock::{Clock, UnixSeconds};
use wechat::account::AppId;
use wechat::crypt::{self, EnvelopeKey, EnvelopeKeyError};
use wechat::message::{Fields, Form, Message};
use wechat::signature;
use wechat::{chain, is_loopback};

/// How long WeChat waits for a whole answer.
/// Source: WeChat, 接收普通消息.
const DEADLINE: Duration = Duration::from_secs(5);

/// How often WeChat sends a message in all while nobody answers.
const TRIES: u32 = 3;

/// No reply is longer; more of an answer is not read.
const MAX_BODY_LEN: usize = 64 * 1024;

/// Sends `push` and hands back what the message server says to it.
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
            // Only silence makes WeChat repeat a message; an answer that it does not take is an
            // answer.
            Err(_) if tries < push.tries => tries += 1,
            Err(silence) => return Err(silence),
            Ok(answer) => return Ok(PushAnswer { tries, ..answer }),
        }
    }
}

/// What is sent, where to, and for which account. To push the same one twice is to repeat it, as
/// WeChat does when nobody answers: the same message with another timestamp and nonce.
#[derive(Clone, Debug)]
pub struct Push {
    /// The message server's address. A query of its own stays in front of what WeChat adds.
    pub url: Url,
    /// The token of its settings.
    pub token: SecretString,
    /// The account's appid, which an envelope ends with.
    pub app_id: AppId,
    /// The EncodingAESKey, for all modes but plain.
    pub aes_key: Option<SecretString>,
    /// How the message is encrypted.
    pub mode: PushMode,
    /// How it is written (数据格式); raw text keeps its own form.
    pub form: Form,
    /// The message.
    pub message: MessageBuilder,
    /// Who sends it.
    pub openid: String,
    /// The account's original id.
    pub to: String,
    /// When it was sent.
    pub created: UnixSeconds,
    /// Its number, which events lack.
    pub msg_id: String,
    /// When it is delivered, which is signed; now, if `None`.
    pub timestamp: Option<UnixSeconds>,
    /// The nonce that is signed; a new one for every delivery, if `None`.
    pub nonce: Option<String>,
    /// How long a delivery waits for the whole answer.
    pub deadline: Duration,
    /// How often it is delivered in all while nobody answers.
    pub tries: u32,
}

/// How a message is encrypted (消息加解密方式).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PushMode {
    /// 明文: not at all.
    Plain,
    /// 兼容: with the same in the clear beside it.
    Compatible,
    /// 安全: whole.
    Safe,
}

/// What the message server said.
#[derive(Clone, Debug)]
pub struct PushAnswer {
    /// The HTTP status.
    pub status: u16,
    /// From sending the last delivery to the end of its answer.
    pub took: Duration,
    /// How many deliveries it took.
    pub tries: u32,
    /// The answer as it came, still encrypted if it was; what is not UTF-8 is replaced.
    pub body: String,
    /// The reply in the clear; `None` if there is none, or none that WeChat takes.
    pub reply: Option<Fields>,
    /// Why WeChat would not take the answer.
    pub fault: Option<ReplyFault>,
}

/// Why there is no answer. It holds no address, because addresses carry signatures.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// Only a plain message needs no key.
    #[error("an EncodingAESKey is needed, except in plain mode")]
    NoKey,
    /// Not the key that WeChat shows.
    #[error("the EncodingAESKey: {0}")]
    BadKey(EnvelopeKeyError),
    /// Nothing was sent.
    #[error("the HTTP client cannot be set up: {0}")]
    Client(String),
    /// No whole answer in time.
    #[error("no answer within {}; the user sees {UNAVAILABLE}", humantime::format_duration(*.after))]
    TimedOut {
        /// The deadline of each delivery.
        after: Duration,
    },
    /// No connection, or one that broke.
    #[error("no answer: {cause}; the user sees {UNAVAILABLE}")]
    Unreachable {
        /// What the network said.
        cause: String,
    },
}

impl Push {
    /// A plain message by the first of the sandbox's sample visitors, sent now.
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

    /// The same, delivered three times in all if nobody answers, as WeChat does.
    #[must_use]
    pub fn repeated(self) -> Self {
        Self {
            tries: TRIES,
            ..self
        }
    }

    /// The message in the clear.
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
        // WeChat's own headers, by which some firewalls know it.
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

    /// The address with WeChat's parameters, and the body. `signature` is there in every mode,
    /// though it does not cover the body. Source: WeChat, 接入指南 and 消息加解密说明.
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
    /// Whether WeChat would take the answer: `success`, nothing, or a reply.
    pub fn is_success(&self) -> bool {
        self.fault.is_none()
    }

    /// What WeChat writes into the chat in place of an answer that it does not take.
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
    // It fails when there is a provider already, which serves as well.
    rustls::crypto::ring::default_provider()
        .install_default()
        .ok();
    // Where an answer redirects to, WeChat does not go.
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
    fn a_sealed_message_is_signed_and_only_in_compatible_mode_stands_in_the_clear_too() {
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
    fn two_deliveries_carry_one_message_and_two_nonces() {
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
    fn no_key_and_a_bad_one_are_told_and_no_secret_is_shown() {
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
