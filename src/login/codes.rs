//! Login by code (songquanpeng/wechat-server's contract). A follower asks for a code in the
//! account's chat and types it at a site; the site's back end exchanges it for the openid. A code
//! works once, for three minutes, at whichever instance.

use std::net::IpAddr;
use std::time::Duration;

use rand::RngExt;
use serde::{Deserialize, Serialize};

use super::{LoginError, Logins};
use crate::client_network::ClientNetwork;

/// How long a code works. Source: wechat-server, `VerificationValidMinutes`.
const CODE_LIFE: Duration = Duration::from_secs(180);

/// How long a message's code is remembered, so that a repeated delivery gets the same one. A
/// delivery is accepted for five minutes, by either clock.
const ASKED_LIFE: Duration = Duration::from_secs(11 * 60);

/// The most codes that one follower gets within [`CODE_LIFE`].
const EACH: u32 = 5;

/// The most codes of one account within [`CODE_LIFE`].
const ISSUED: u32 = 3000;

/// The most wrong codes that one client network may send within [`CODE_LIFE`].
const WRONG_FROM: u32 = 30;

/// The most wrong codes of one account within [`CODE_LIFE`], wherever they come from. A site sends
/// its visitors' guesses from its own address, so the bound on networks alone is not enough.
const WRONG: u32 = 100;

/// How many numbers are tried before an account with many codes gives up.
const DRAWS: usize = 8;

/// The longest openid. WeChat's have 28 characters.
const LONGEST_OPENID: usize = 64;

/// Whose code it is.
#[derive(Serialize, Deserialize)]
struct Issued {
    openid: String,
}

/// The code that a message was answered with.
#[derive(Serialize, Deserialize)]
struct Asked {
    code: String,
}

/// True if `text` has the format of a code: six digits, the first not 0.
pub fn is_code(text: &str) -> bool {
    text.len() == 6 && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// True if `text` can be an openid.
pub fn is_openid(text: &str) -> bool {
    (1..=LONGEST_OPENID).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
}

impl Logins {
    /// Returns a code for the follower `openid` of `app_id`. `message` identifies the message that
    /// asks for it; the same message gets the same code.
    pub async fn issue_code(
        &self,
        app_id: &str,
        openid: &str,
        message: &str,
    ) -> Result<String, LoginError> {
        let issued = Issued {
            openid: openid.to_owned(),
        };
        let (app_id, message) = (app_id.to_owned(), message.to_owned());
        self.finish(async move |logins| logins.issue(&app_id, &issued, &message).await)
            .await
    }

    async fn issue(
        &self,
        app_id: &str,
        issued: &Issued,
        message: &str,
    ) -> Result<String, LoginError> {
        let records = &self.0.records;
        let asked = format!("login.asked.{app_id}.{message}");
        if let Some(found) = records.get::<Asked>(&asked).await? {
            return Ok(found.record.code);
        }
        let each = format!("login.codes.{app_id}.{}", issued.openid);
        let all = format!("login.codes.{app_id}");
        let permits = [(each, EACH), (all, ISSUED)];
        for (key, limit) in &permits {
            self.count_code("code", key, *limit).await?;
        }
        for _ in 0..DRAWS {
            let code = rand::rng().random_range(100_000..1_000_000_u32).to_string();
            let key = code_key(app_id, &code);
            if !records.claim(&key, issued, self.after(CODE_LIFE)).await? {
                continue;
            }
            let answer = Asked { code };
            if records
                .claim(&asked, &answer, self.after(ASKED_LIFE))
                .await?
            {
                return Ok(answer.code);
            }
            // Another delivery of the same message was first; its code is the answer.
            records.take::<Issued>(&key).await?;
            for (key, _) in &permits {
                records.return_permit(key).await?;
            }
            let first = records.get::<Asked>(&asked).await?;
            return first.map(|found| found.record.code).ok_or(LoginError::Lost);
        }
        Err(LoginError::TooMany {
            retry_after: CODE_LIFE,
        })
    }

    /// Exchanges `code` for the openid, once; `None` if there is no such code. `from` is the
    /// caller's address.
    pub async fn redeem_code(
        &self,
        app_id: &str,
        code: &str,
        from: Option<IpAddr>,
    ) -> Result<Option<String>, LoginError> {
        if !is_code(code) {
            return Ok(None);
        }
        let (app_id, code) = (app_id.to_owned(), code.to_owned());
        let network = from.and_then(ClientNetwork::of);
        self.finish(async move |logins| {
            let records = &logins.0.records;
            // Each guess holds permits while it is looked up, so that many at once are bounded, too.
            // A right one gives them back.
            let of_network =
                network.map(|network| (format!("login.wrong.{app_id}.{network}"), WRONG_FROM));
            let of_all = (format!("login.wrong.{app_id}"), WRONG);
            let permits: Vec<_> = of_network.into_iter().chain([of_all]).collect();
            for (key, limit) in &permits {
                logins.count_code("wrong code", key, *limit).await?;
            }
            let Some(issued) = records.take::<Issued>(&code_key(&app_id, &code)).await? else {
                return Ok(None);
            };
            for (key, _) in &permits {
                records.return_permit(key).await?;
            }
            Ok(Some(issued.openid))
        })
        .await
    }

    /// Takes one of `limit` permits within [`CODE_LIFE`], across all instances.
    async fn count_code(
        &self,
        what: &'static str,
        key: &str,
        limit: u32,
    ) -> Result<(), LoginError> {
        if self.0.records.take_permit(key, limit, CODE_LIFE).await? {
            return Ok(());
        }
        if let Some(unlogged) = self.0.log_limit.admit(what) {
            let unlogged = Some(unlogged).filter(|unlogged| *unlogged > 0);
            tracing::warn!(
                key,
                limit,
                unlogged,
                "limit of {what}s within three minutes reached; refusing"
            );
        }
        Err(LoginError::TooMany {
            retry_after: CODE_LIFE,
        })
    }
}

fn code_key(app_id: &str, code: &str) -> String {
    format!("login.code.{app_id}.{code}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_six_digits_are_a_code() {
        assert!(is_code("123456") && is_code("999999"));
        for wrong in [
            "",
            "12345",
            "1234567",
            "012345",
            "12345a",
            "１２３４５６",
            "12 456",
        ] {
            assert!(!is_code(wrong), "{wrong}");
        }
    }

    #[test]
    fn an_openid_has_plain_characters() {
        assert!(is_openid("o9O5bW0Wiry4iGfY1Z9JMIFVcnjV") && is_openid("o-_"));
        for wrong in ["", "o.1", "o 1", "o/1", "o\u{e9}", &"o".repeat(65)] {
            assert!(!is_openid(wrong), "{wrong}");
        }
    }
}
