//! What WeChat tells of a follower (用户基本信息), and the languages it tells it in.

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
    const NAMES: [(&'static str, Self); 3] = [("zh_CN", Self::Simplified), ("zh_TW", Self::Traditional), ("en", Self::English)];

    /// WeChat's word.
    pub fn name(self) -> &'static str {
        Self::NAMES[self as usize].0
    }

    /// The language of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::NAMES.iter().find(|(known, _)| *known == name).map(|(_, language)| *language)
    }
}

impl WechatClient {
    /// What WeChat tells of `openid` to the account of the app-level `token`: its JSON object as it came. Who does not follow the
    /// account is little more than `{"subscribe": 0, "openid": …}`. Source: 获取用户基本信息.
    pub async fn user_info(&self, token: &SecretString, openid: &str, language: Language) -> Result<String, WechatError> {
        let query = [("access_token", token.expose_secret()), ("openid", openid), ("lang", language.name())];
        let (status, body) = self.send("/cgi-bin/user/info", &query, None).await?;
        let object = reply::success(Call::WithToken, status, &body, &[token])?;
        // Passed through as it is; only what a strict reader would refuse is written anew.
        Ok(String::from_utf8(body)
            .ok()
            .filter(|text| serde_json::from_str::<&serde_json::value::RawValue>(text).is_ok())
            .unwrap_or_else(|| serde_json::Value::Object(object).to_string()))
    }
}
