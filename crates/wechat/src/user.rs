//! Follower information (用户基本信息) and its languages.

use secrecy::{ExposeSecret, SecretString};

use super::{Call, WechatClient, WechatError, reply};

/// The language of place names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Language {
    /// `zh_CN`.
    #[default]
    Simplified,
    /// `zh_TW`.
    Traditional,
    /// `en`.
    English,
}

impl Language {
    const NAMES: [(&'static str, Self); 3] = [
        ("zh_CN", Self::Simplified),
        ("zh_TW", Self::Traditional),
        ("en", Self::English),
    ];

    /// Returns WeChat's name for the language.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }

    /// Returns the language of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, language)| *language)
    }
}

impl WechatClient {
    /// Fetches WeChat's JSON object about `openid`, unchanged, with the account's app-level
    /// `token`. For a non-follower it is little more than `{"subscribe": 0, "openid": …}`. Source:
    /// 获取用户基本信息.
    pub async fn user_info(
        &self,
        token: &SecretString,
        openid: &str,
        language: Language,
    ) -> Result<String, WechatError> {
        let query = [
            ("access_token", token.expose_secret()),
            ("openid", openid),
            ("lang", language.name()),
        ];
        let (status, body) = self.send("/cgi-bin/user/info", &query, None).await?;
        let object = reply::success(Call::WithToken, status, &body, &[token])?;
        // Passed through unchanged unless a strict parser would reject it.
        Ok(String::from_utf8(body)
            .ok()
            .filter(|text| serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok())
            .unwrap_or_else(|| serde_json::Value::Object(object).to_string()))
    }
}
