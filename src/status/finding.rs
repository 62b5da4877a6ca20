//! Findings: what an operator should know about an account, with what to do. They are read from the
//! ledgers that all instances share.

use std::time::Duration;

use clock::{UnixMillis, UnixSeconds};
use credentials::ledger::Ledger;

/// The code of the finding that another program fetches an account's token.
pub const FOREIGN_REFRESH: &str = "foreign_refresh";

/// A finding that happened within this time makes the sentence a warning.
const RECENT: Duration = Duration::from_secs(24 * 3600);

/// What to do, in this order, in English and in Chinese.
const STEPS: [(&str, &str); 4] = [
    (
        "Find the program that fetches tokens of this account itself, and let it call WeChat through the gateway of jsdkd instead.",
        "找出自己获取这个公众号 token 的程序，让它改为经 jsdkd 的网关调用微信。",
    ),
    (
        "Until then set tokenApi: \"stable\" for the account here and use stable_token there: tokens of the two kinds do not void each other.",
        "在那之前，这里为账号设 tokenApi: \"stable\"，那边也改用 stable_token：两种 token 互不影响。",
    ),
    (
        "Take every address but jsdkd's off the account's IP allow list: the other program then fails with 40164 and shows itself.",
        "从公众平台的 IP 白名单里去掉 jsdkd 以外的地址：那个程序会报 40164，自己现身。",
    ),
    (
        "Reset the AppSecret and give the new one to jsdkd alone.",
        "重置 AppSecret，新的只交给 jsdkd。",
    ),
];

/// Something that an operator should know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The stable code.
    pub code: &'static str,
    /// It happened last after this.
    pub after: UnixSeconds,
    /// It happened last before this.
    pub before: UnixSeconds,
    /// How often so far.
    pub times: u64,
    /// The intervals between the last times, in seconds, the most recent last.
    pub intervals: Vec<u64>,
}

impl Finding {
    /// That another program fetches the account's token, if the ledger says so.
    pub fn of(ledger: &Ledger) -> Option<Self> {
        let last = ledger.foreign.last()?;
        let pairs = ledger.foreign.windows(2);
        Some(Self {
            code: FOREIGN_REFRESH,
            after: UnixSeconds(last.after),
            before: UnixSeconds(last.before),
            times: ledger.foreign_total,
            intervals: pairs
                .map(|pair| pair[1].before.saturating_sub(pair[0].before))
                .collect(),
        })
    }

    /// What to do, one step an entry.
    pub fn advice(&self, zh: bool) -> [&'static str; 4] {
        STEPS.map(|(en, chinese)| if zh { chinese } else { en })
    }

    /// Whether it happened within a day.
    pub fn is_recent(&self, now: UnixMillis) -> bool {
        self.before.millis().plus(RECENT) >= now
    }
}
