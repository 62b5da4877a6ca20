//! Handing a message to a back end: signed with the account's token as WeChat signs, so that a back end that was written for WeChat
//! can stand behind us unchanged. What it answers is read and judged here; when, and how often, is the inbox's.

use std::time::Duration;

use reqwest::Client;
use secrecy::ExposeSecret;
use serde::Deserialize;
use url::Url;

use crate::account::Account;
use crate::clock::UnixSeconds;
use crate::signature;
use crate::wechat::message::{Article, Message, Music, Reply};
use crate::wechat::{ClientError, chain};

/// No answer is longer; a longer one is refused.
const LONGEST_ANSWER: usize = 64 * 1024;

/// How long a back end may take to be connected to.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

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
    #[error("its answer is neither empty, nor success, nor a reply")]
    NoReply,
}

/// What a back end that is spoken to in JSON may answer, besides WeChat's XML.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
enum JsonReply {
    Text(String),
    Image(String),
    Voice(String),
    News(Vec<JsonArticle>),
    #[serde(rename_all = "camelCase")]
    Video {
        media_id: String,
        title: Option<String>,
        description: Option<String>,
    },
    #[serde(rename_all = "camelCase")]
    Music {
        title: Option<String>,
        description: Option<String>,
        url: Option<String>,
        hq_url: Option<String>,
        thumb_media_id: String,
    },
    #[serde(rename = "transfer_customer_service")]
    Transfer(Option<Staff>),
}

/// `true` or nothing for whoever is free, or one by name.
#[derive(Deserialize)]
#[serde(untagged)]
enum Staff {
    Anyone(#[expect(dead_code, reason = "it counts that it is no name")] bool),
    One(String),
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct JsonArticle {
    title: String,
    description: String,
    pic_url: String,
    url: String,
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
            .connect_timeout(CONNECT_WITHIN)
            .pool_idle_timeout(Duration::from_secs(30))
            .no_proxy();
        http.build().map(Self).map_err(|error| ClientError::of(&error))
    }

    /// Hands `message` to `target`; what it answers is XML for WeChat, or nothing.
    pub(super) async fn hand_to(
        &self,
        target: &Target,
        account: &Account,
        message: &Message,
        xml: &[u8],
        now: UnixSeconds,
        patience: Duration,
    ) -> Result<Option<String>, ForwardError> {
        let url = signed(&target.url, account, message, now);
        let request = match target.written {
            As::Xml => self.0.post(url).header("content-type", "text/xml; charset=utf-8").body(xml.to_vec()),
            As::Json => self.0.post(url).header("content-type", "application/json").body(message.fields.to_json()),
        };
        let exchange = async {
            let mut response = request.send().await.map_err(unreachable)?;
            if response.status() != 200 {
                return Err(ForwardError::Status(response.status().as_u16()));
            }
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
                body.extend_from_slice(&chunk);
                if body.len() > LONGEST_ANSWER {
                    return Err(ForwardError::NoReply);
                }
            }
            Ok(body)
        };
        let body = tokio::time::timeout(patience, exchange).await.map_err(|_| ForwardError::TooSlow(patience))??;
        let text = String::from_utf8(body).map_err(|_| ForwardError::NoReply)?;
        judge(text, message)
    }
}

/// The address with WeChat's own parameters: whoever knows the account's token can check them.
/// Source: 接入指南 (验证消息的确来自微信服务器).
fn signed(url: &Url, account: &Account, message: &Message, now: UnixSeconds) -> Url {
    let token = account.push_token.as_ref().map_or("", |token| token.expose_secret());
    let (timestamp, nonce) = (now.to_string(), (rand::random::<u32>() % 2_000_000_000).to_string());
    let mut url = url.clone();
    url.query_pairs_mut()
        .append_pair("signature", &signature::push(token, &timestamp, &nonce).text())
        .append_pair("timestamp", &timestamp)
        .append_pair("nonce", &nonce)
        .append_pair("openid", &message.from);
    url
}

/// What an answer says: WeChat shows its users an error for anything that is neither of the three.
fn judge(text: String, message: &Message) -> Result<Option<String>, ForwardError> {
    let bare = text.trim();
    if bare.is_empty() || bare == "success" {
        return Ok(None);
    }
    if bare.starts_with('<') {
        return if Message::parse(bare.as_bytes()).is_ok() { Ok(Some(bare.to_owned())) } else { Err(ForwardError::NoReply) };
    }
    let reply: JsonReply = serde_json::from_str(bare).map_err(|_| ForwardError::NoReply)?;
    Reply::from(reply).to_xml(message, message.created).map(Some).map_err(|_| ForwardError::NoReply)
}

impl From<JsonReply> for Reply {
    fn from(reply: JsonReply) -> Self {
        match reply {
            JsonReply::Text(content) => Self::Text { content },
            JsonReply::Image(media_id) => Self::Image { media_id },
            JsonReply::Voice(media_id) => Self::Voice { media_id },
            JsonReply::Video { media_id, title, description } => Self::Video { media_id, title, description },
            JsonReply::Music { title, description, url, hq_url, thumb_media_id } => {
                Self::Music(Music { title, description, url, hq_url, thumb_media_id })
            }
            JsonReply::News(articles) => Self::News(
                articles
                    .into_iter()
                    .map(|JsonArticle { title, description, pic_url, url }| Article { title, description, pic_url, url })
                    .collect(),
            ),
            JsonReply::Transfer(None | Some(Staff::Anyone(_))) => Self::TransferCustomerService { account: None },
            JsonReply::Transfer(Some(Staff::One(account))) => Self::TransferCustomerService { account: Some(account) },
        }
    }
}

fn unreachable(error: reqwest::Error) -> ForwardError {
    // The address carries a signature.
    ForwardError::Unreachable(chain(&error.without_url()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message() -> Message {
        let xml = "<xml><ToUserName>gh_1</ToUserName><FromUserName>o1</FromUserName><CreateTime>7</CreateTime><MsgType>text</MsgType></xml>";
        Message::parse(xml.as_bytes()).expect("a message")
    }

    fn judged(text: &str) -> Result<Option<String>, ForwardError> {
        judge(text.to_owned(), &message())
    }

    #[test]
    fn an_answer_is_nothing_a_reply_or_no_answer() {
        for nothing in ["", " \n", "success", " success\n"] {
            assert!(matches!(judged(nothing), Ok(None)), "{nothing:?}");
        }
        let xml = "<xml><ToUserName>o1</ToUserName><FromUserName>gh_1</FromUserName><CreateTime>9</CreateTime><MsgType>text</MsgType><Content>x</Content></xml>";
        assert_eq!(judged(&format!("\n{xml}\n")).ok().flatten().as_deref(), Some(xml), "as the back end wrote it");
        for wrong in ["ok", "<html>502</html>", "<xml></xml>", "{}", "{\"text\":1}", "{\"txt\":\"x\"}", "{\"text\":\"\"}", "[]"] {
            assert!(matches!(judged(wrong), Err(ForwardError::NoReply)), "{wrong}");
        }
    }

    #[test]
    fn a_reply_may_be_json_too() {
        let text = judged(r#"{"text":"hi ]]> there"}"#).expect("a reply").expect("one that says something");
        assert!(text.contains("<ToUserName><![CDATA[o1]]>") && text.contains("<CreateTime>7<"), "{text}");
        for reply in [
            r#"{"image":"M"}"#,
            r#"{"voice":"M"}"#,
            r#"{"video":{"mediaId":"M","title":"T"}}"#,
            r#"{"music":{"thumbMediaId":"M","hqUrl":"http://x"}}"#,
            r#"{"news":[{"title":"T","picUrl":"http://p"}]}"#,
            r#"{"transfer_customer_service":null}"#,
            r#"{"transfer_customer_service":true}"#,
            r#"{"transfer_customer_service":"kf2001@gh"}"#,
        ] {
            assert!(matches!(judged(reply), Ok(Some(_))), "{reply}");
        }
    }
}
