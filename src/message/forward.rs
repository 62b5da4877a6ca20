//! Forwards a message to a back end. The request is signed with the account's token as WeChat signs
//! it, so a back end written for WeChat works unchanged. `answer` reads the response; the inbox
//! decides when to send.

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

/// Maximum size of a response; a longer one is refused.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Timeout for connecting to a back end.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A back end.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its URL.
    pub url: Url,
    /// The format of the forwarded message.
    pub written: As,
    /// True if its response is the answer to WeChat.
    pub answers: bool,
}

/// The format of a forwarded message.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum As {
    /// WeChat's own XML.
    #[default]
    Xml,
    /// A JSON object with the same fields.
    Json,
}

/// Why a back end's response is not used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ForwardError {
    #[error("it is unreachable: {0}")]
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

/// The HTTP client for all back ends.
#[derive(Debug)]
pub(super) struct Forwarder(Client);

impl Forwarder {
    pub(super) fn new() -> Result<Self, ClientError> {
        let http = Client::builder()
            .user_agent(concat!("jsdkd/", env!("CARGO_PKG_VERSION")))
            // A redirect could send a follower's message to a host that is not configured.
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(30))
            .no_proxy();
        http.build()
            .map(Self)
            .map_err(|error| ClientError::of(&error))
    }

    /// Sends `message` to `target` and returns its reply, if any. `clear` is the decrypted message,
    /// byte for byte.
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
        // The response of a target that does not answer WeChat is ignored.
        Ok(if target.answers {
            answer::read(&body, message)?
        } else {
            None
        })
    }
}

/// The body for a back end: the original bytes if WeChat used the requested form, otherwise
/// converted.
fn written(message: &Message, clear: &[u8], wanted: As) -> Vec<u8> {
    match (message.form, wanted) {
        (Form::Xml, As::Xml) | (Form::Json, As::Json) if !message.is_repaired => {
            // Many JSON parsers reject a byte order mark.
            clear
                .strip_prefix("\u{feff}".as_bytes())
                .unwrap_or(clear)
                .to_vec()
        }
        (_, As::Xml) => write::document(&message.fields, Form::Xml).into_bytes(),
        // XML does not distinguish numbers from text, so every value becomes a string.
        (Form::Xml, As::Json) => message.fields.to_json().into_bytes(),
        (Form::Json, As::Json) => write::document(&message.fields, Form::Json).into_bytes(),
    }
}

/// Appends WeChat's signature parameters to the URL, so that the back end can verify the request
/// with the account's token. Source: 接入指南 (验证消息的确来自微信服务器).
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
    // The URL contains a signature.
    ForwardError::Unreachable(chain(&error.without_url()))
}
