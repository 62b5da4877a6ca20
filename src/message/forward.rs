//! Handing a message to a back end: signed with the account's token as WeChat signs, so that a back
//! end that was written for WeChat can stand behind us unchanged. What it answers is read in
//! `answer`; when, and how often it is asked, is the inbox's.

use std::time::Duration;

use reqwest::Client;
use secrecy::ExposeSecret;
use url::Url;

use super::answer;
use clock::UnixSeconds;
use wechat::account::Account;
use wechat::message::{Form, Message, ReceivedReply, ReplyError, write};
use wechat::signature;
use wechat::{ClientError, chain};

/// No answer is longer; a longer one is refused.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// How long a back end may take to be connected to.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A back end.
#[derive(Clone, Debug)]
pub struct Target {
    /// Where it listens.
    pub url: Url,
    /// How the message is written.
    pub written: As,
    /// Whether its answer is WeChat's answer.
    pub answers: bool,
}

/// How a message is written.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum As {
    /// As WeChat's own XML.
    #[default]
    Xml,
    /// As a JSON object of the same fields.
    Json,
}

/// Why a back end's answer does not count.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForwardError {
    #[error("it cannot be reached: {0}")]
    Unreachable(String),
    #[error("it did not answer within {}", humantime::format_duration(*.0))]
    TooSlow(Duration),
    #[error("it answered with HTTP {0}")]
    Status(u16),
    #[error("its answer is longer than {MAX_ANSWER_BYTES} bytes")]
    TooLong,
    #[error("WeChat could not show its answer: {0}")]
    Reply(#[from] ReplyError),
}

/// The client of all back ends.
#[derive(Debug)]
pub(super) struct Forwarder(Client);

impl Forwarder {
    pub(super) fn new() -> Result<Self, ClientError> {
        let http = Client::builder()
            .user_agent(concat!("jsdkd/", env!("CARGO_PKG_VERSION")))
            // A redirect would carry a follower's words to a host that nobody configured.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(30))
            .no_proxy();
        http.build()
            .map(Self)
            .map_err(|error| ClientError::of(&error))
    }

    /// Hands `message`, which came as `clear`, to `target`; what it answers is a reply for WeChat,
    /// or nothing.
    pub(super) async fn send(
        &self,
        target: &Target,
        account: &Account,
        message: &Message,
        clear: &[u8],
        now: UnixSeconds,
        patience: Duration,
    ) -> Result<Option<ReceivedReply>, ForwardError> {
        let url = signed(&target.url, account, message, now);
        let content_type = match target.written {
            As::Xml => "text/xml; charset=utf-8",
            As::Json => "application/json",
        };
        let request = self
            .0
            .post(url)
            .header("content-type", content_type)
            .body(written(message, clear, target.written));
        let exchange = async {
            let mut response = request.send().await.map_err(unreachable)?;
            if response.status() != 200 {
                return Err(ForwardError::Status(response.status().as_u16()));
            }
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
                body.extend_from_slice(&chunk);
                if body.len() > MAX_ANSWER_BYTES {
                    return Err(ForwardError::TooLong);
                }
            }
            Ok(body)
        };
        let body = tokio::time::timeout(patience, exchange)
            .await
            .map_err(|_| ForwardError::TooSlow(patience))??;
        // What is said by one whose answer does not count is nobody's business.
        Ok(if target.answers {
            answer::read(&body, message)?
        } else {
            None
        })
    }
}

/// The body for a back end: to the letter if WeChat wrote it in the form that the back end asks
/// for.
fn written(message: &Message, clear: &[u8], wanted: As) -> Vec<u8> {
    match (message.form, wanted) {
        (Form::Xml, As::Xml) | (Form::Json, As::Json) if !message.is_repaired => {
            // Many JSON parsers refuse a byte order mark.
            clear
                .strip_prefix("\u{feff}".as_bytes())
                .unwrap_or(clear)
                .to_vec()
        }
        (_, As::Xml) => write::document(&message.fields, Form::Xml).into_bytes(),
        // XML has no numbers: every value is a text.
        (Form::Xml, As::Json) => message.fields.to_json().into_bytes(),
        (Form::Json, As::Json) => write::document(&message.fields, Form::Json).into_bytes(),
    }
}

/// The address with WeChat's own parameters: whoever knows the account's token can check them.
/// Source: 接入指南 (验证消息的确来自微信服务器).
fn signed(url: &Url, account: &Account, message: &Message, now: UnixSeconds) -> Url {
    let token = account
        .push_token
        .as_ref()
        .map_or("", |token| token.expose_secret());
    let (timestamp, nonce) = (
        now.to_string(),
        (rand::random::<u32>() % 2_000_000_000).to_string(),
    );
    let mut url = url.clone();
    url.query_pairs_mut()
        .append_pair(
            "signature",
            &signature::push(token, &timestamp, &nonce).text(),
        )
        .append_pair("timestamp", &timestamp)
        .append_pair("nonce", &nonce);
    if !message.from.is_empty() {
        url.query_pairs_mut().append_pair("openid", &message.from);
    }
    url
}

fn unreachable(error: reqwest::Error) -> ForwardError {
    // The address carries a signature.
    ForwardError::Unreachable(chain(&error.without_url()))
}
