//! What the ledgers of all accounts' tokens say: who else fetches them, and how much of each day's
//! quota is used.

use std::cmp::Reverse;
use std::sync::Arc;

use super::{AccountCredentials, Keeper, WechatCredential};
use crate::insight::{Budget, Finding, Insight};
use clock::UnixSeconds;
use wechat::credential::CredentialKind;

/// What to do about another program that fetches an account's token, the best way first.
const FOREIGN_ADVICE: [&str; 4] = [
    "Point that program at jsdkd's gateway: it keeps its SDK, and changes only host and secret.",
    "Or set tokenApi: \"stable\" for this account here and call stable_token there: then neither voids the other's token.",
    "Or take all other addresses off the account's IP allow list: the other program then fails with 40164 and shows itself.",
    "If nobody knows that program, reset the AppSecret, and write the new one here only.",
];

const FOREIGN_ADVICE_ZH: [&str; 4] = [
    "让那个程序改用 jsdkd 的网关：SDK 不变，只改主机和密钥。",
    "或者在这里为该账号设置 tokenApi: \"stable\"，那边也改调 stable_token：这样互不作废。",
    "或者从该账号的 IP 白名单中去掉其他地址：那个程序会报 40164，从而现身。",
    "如果没有人认得那个程序，就重置 AppSecret，只把新的写在这里。",
];

impl Keeper {
    /// Findings and budgets of all accounts, as this process last saw them.
    pub fn insight(&self) -> Insight {
        let mut insight = Insight::default();
        for account in self.all() {
            let ledger = token(&account).last_ledger();
            let app_id = account.account.app_id.to_string();
            insight.budgets.push(Budget {
                app_id: app_id.clone(),
                name: "token",
                used: ledger.used(self.clock().wall()).into(),
                limit: account.account.tokens_per_day.into(),
            });
            let Some(last) = ledger.foreign.last() else {
                continue;
            };
            let times = ledger.foreign.windows(2);
            insight.findings.push(Finding {
                code: "foreign_refresh",
                app_id,
                after: UnixSeconds(last.after),
                before: UnixSeconds(last.before),
                times: ledger.foreign_total,
                intervals: times
                    .map(|pair| pair[1].before.saturating_sub(pair[0].before))
                    .collect(),
                advice: FOREIGN_ADVICE.to_vec(),
                advice_zh: FOREIGN_ADVICE_ZH.to_vec(),
            });
        }
        insight
            .findings
            .sort_by_key(|finding| Reverse(finding.before));
        insight
    }

    /// Reads the ledgers of the accounts in use, which other instances change too; of at most
    /// `most` accounts, and no further once the store fails.
    pub async fn refresh_ledgers(&self, most: usize) {
        let all = self.all();
        let tokens = all.iter().map(token);
        for token in tokens.filter(|token| token.state().is_wanted).take(most) {
            if token.read_ledger().await.is_none() {
                return;
            }
        }
    }
}

fn token(account: &Arc<AccountCredentials>) -> &Arc<WechatCredential> {
    account.credential(CredentialKind::AccessToken)
}
