//! Reads `wechatServer`: songquanpeng/wechat-server's routes.

use secrecy::ExposeSecret;

use super::config::WechatServerConfig;
use super::hub::chosen_app;
use super::reader::At;
use wechat::account::Account;

const KNOWN: [&str; 3] = ["token", "app", "words"];

/// The word that wechat-server answers by a code.
const USUAL_WORD: &str = "验证码";

/// In bytes. The token alone opens the account's token and its followers' logins.
const SHORT: usize = 16;

/// WeChat's longest text, in characters, is about this.
const LONGEST_WORD: usize = 600;

/// `Some(None)` = no section, so its routes are not served; `None` after a fault.
pub(super) fn wechat_server(
    root: &At<'_>,
    accounts: &[Account],
    holds_apps: bool,
) -> Option<Option<WechatServerConfig>> {
    let Some(section) = root.get("wechatServer") else {
        return Some(None);
    };
    if !section.is_table(&KNOWN) {
        return None;
    }
    let token = section
        .need("token", "the secret that callers send as Authorization")
        .and_then(|token| {
            let secret = token.secret()?;
            if secret.expose_secret().len() < SHORT {
                token.note("this token is shorter than 16 bytes; anyone who guesses it gets the account's token and can log in as its followers");
            }
            Some(secret)
        });
    let app = match section.get("app") {
        Some(app) => chosen_app(&app, accounts, holds_apps),
        None => {
            let first = accounts.first().map(|account| account.app_id.clone());
            if first.is_none() && holds_apps {
                section.fault("no app is chosen; write app: \"wx…\"");
            }
            first
        }
    };
    let words = section.get("words").map_or_else(
        || Some(vec![USUAL_WORD.to_owned()]),
        |words| self::words(&words),
    );
    let account = accounts
        .iter()
        .find(|account| Some(&account.app_id) == app.as_ref());
    if account.is_some_and(|account| account.push_token.is_none()) {
        section.note("its app has no token, so WeChat's messages are refused and nobody gets a code; copy the token (令牌) from WeChat's console into the app's token");
    }
    Some(Some(WechatServerConfig {
        token: token?,
        app: app?,
        words: words?,
    }))
}

fn words(at: &At<'_>) -> Option<Vec<String>> {
    const EXPECTED: &str = "a text that followers send, such as \"验证码\"";
    // Read every entry, so that all faulty ones are reported.
    let items = at.one_or_more();
    let read = |item: &At<'_>| {
        let word = item.text(EXPECTED)?.trim();
        let is_word = (1..=LONGEST_WORD).contains(&word.chars().count());
        if !is_word {
            item.expected(EXPECTED);
        }
        is_word.then(|| word.to_owned())
    };
    let words: Vec<_> = items.iter().map(read).collect();
    if words.is_empty() {
        at.note("no text is answered by a code");
    }
    words.into_iter().collect()
}
