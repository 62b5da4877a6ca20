//! The metrics of which every account has samples. With a thousand accounts they are nearly all of
//! a scrape, so each line is put together from texts that are at hand, in one buffer, without an
//! allocation and without an encoder for each label.

use std::fmt::{self, Write};

use super::names::{Kind, Metric};
use super::values::Values;
use crate::counters::PUSH_OUTCOMES;
use crate::status::accounts::{AccountState, CredentialLine, Service};
use clock::UnixMillis;
use credentials::observer::RenewalResult;
use wechat::credential::CredentialKind;

/// Bytes of one account's samples, roughly.
pub(super) const ACCOUNT_LEN: usize = 2400;

/// Why a credential is renewed in the normal course.
const AHEAD: &str = "ahead";

/// Writes the lines of one metric.
pub(super) struct Lines<'t> {
    text: &'t mut String,
    /// The name and the beginning of the labels.
    head: String,
}

/// A sample's value.
#[derive(Clone, Copy)]
enum Number {
    Count(u64),
    /// Milliseconds, written as seconds.
    Millis(u64),
    NotANumber,
}

impl<'t> Lines<'t> {
    pub(super) fn new(text: &'t mut String, metric: &Metric) -> Result<Self, fmt::Error> {
        let kind = match metric.kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
        };
        let Metric { name, help, .. } = metric;
        writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}")?;
        Ok(Self {
            text,
            head: format!("{name}{{appid=\""),
        })
    }

    /// One sample. `labels` are pieces of the labels behind the appid, such as `",kind="` and
    /// `token`; none of them needs escaping.
    fn put(&mut self, account: &AccountState, labels: &[&str], value: Number) -> fmt::Result {
        self.text.push_str(&self.head);
        match account.service {
            // An appid and a corpid have letters, digits, `_`, `-` and the slash between them.
            Service::Wechat | Service::Wecom => self.text.push_str(&account.app_id),
            Service::Source => self.escape(&account.app_id),
        }
        for piece in labels {
            self.text.push_str(piece);
        }
        match value {
            Number::Count(0) => self.text.push_str("\"} 0\n"),
            Number::Count(1) => self.text.push_str("\"} 1\n"),
            Number::Count(count) => writeln!(self.text, "\"}} {count}")?,
            Number::Millis(0) => self.text.push_str("\"} 0\n"),
            Number::Millis(millis) => {
                let (seconds, rest) = (millis / 1000, millis % 1000);
                writeln!(self.text, "\"}} {seconds}.{rest:03}")?;
            }
            Number::NotANumber => self.text.push_str("\"} NaN\n"),
        }
        Ok(())
    }

    fn escape(&mut self, value: &str) {
        for c in value.chars() {
            match c {
                '\\' => self.text.push_str("\\\\"),
                '"' => self.text.push_str("\\\""),
                '\n' => self.text.push_str("\\n"),
                c => self.text.push(c),
            }
        }
    }
}

/// Writes one sample for each credential.
fn of_credentials(
    values: &Values,
    to: &mut Lines<'_>,
    value: fn(&CredentialLine) -> Number,
) -> fmt::Result {
    for account in &values.accounts {
        for line in &account.credentials {
            to.put(account, &["\",kind=\"", line.kind.name()], value(line))?;
        }
    }
    Ok(())
}

fn at(time: Option<UnixMillis>) -> Number {
    time.map_or(Number::NotANumber, |at| Number::Millis(at.0))
}

pub(super) fn expiry(values: &Values, to: &mut Lines<'_>) -> fmt::Result {
    of_credentials(values, to, |line| match line.expires_at {
        None if line.is_needed => Number::Count(0),
        expires_at => at(expires_at),
    })
}

pub(super) fn renewal_time(values: &Values, to: &mut Lines<'_>) -> fmt::Result {
    of_credentials(values, to, |line| at(line.renews_at))
}

pub(super) fn ready(values: &Values, to: &mut Lines<'_>) -> fmt::Result {
    of_credentials(values, to, |line| {
        Number::Count(line.expires_at.is_some().into())
    })
}

/// The results of a renewal ahead are there from the start, so that the first refusal is an
/// increase. A card ticket has them once it was renewed, since few accounts use one.
pub(super) fn renewals(values: &Values, to: &mut Lines<'_>) -> fmt::Result {
    for account in &values.accounts {
        let counted = values.renewals.get(&account.app_id);
        let mut ahead = [[0; RenewalResult::ALL.len()]; CredentialKind::ALL.len()];
        for (key, count) in counted.into_iter().flatten() {
            let (kind, why, result) = *key;
            if why == AHEAD {
                ahead[kind.index()][result as usize] = *count;
                continue;
            }
            let labels = ["\",kind=\"", kind.name(), "\",why=\"", why];
            renewal(to, account, &labels, result, *count)?;
        }
        for line in &account.credentials {
            let counts = ahead[line.kind.index()];
            if line.kind == CredentialKind::CardTicket && counts == [0; 4] {
                continue;
            }
            for result in RenewalResult::ALL {
                let labels = ["\",kind=\"", line.kind.name(), "\",why=\"", AHEAD];
                renewal(to, account, &labels, result, counts[result as usize])?;
            }
        }
    }
    Ok(())
}

fn renewal(
    to: &mut Lines<'_>,
    account: &AccountState,
    [a, kind, b, why]: &[&str; 4],
    result: RenewalResult,
    count: u64,
) -> fmt::Result {
    let labels = [a, kind, b, why, "\",result=\"", result.name()];
    to.put(account, &labels, Number::Count(count))
}

pub(super) fn failures(values: &Values, to: &mut Lines<'_>) -> fmt::Result {
    for account in &values.accounts {
        for line in &account.credentials {
            if let Some(code) = line
                .last_error
                .as_ref()
                .and_then(|error| error.errcode.as_ref())
            {
                let labels = ["\",kind=\"", line.kind.name(), "\",errcode=\"", code];
                to.put(account, &labels, Number::Count(1))?;
            }
        }
    }
    Ok(())
}

pub(super) fn foreign(values: &Values, to: &mut Lines<'_>) -> fmt::Result {
    of_wechat(values)
        .try_for_each(|account| to.put(account, &[], Number::Count(account.foreign_refreshes)))
}

pub(super) fn budget_used(values: &Values, to: &mut Lines<'_>) -> fmt::Result {
    values.accounts.iter().try_for_each(|account| {
        let budget = account.budget.iter();
        let mut used = budget.map(|budget| Number::Count(budget.used));
        used.try_for_each(|used| to.put(account, &["\",budget=\"token"], used))
    })
}

pub(super) fn budget_limit(values: &Values, to: &mut Lines<'_>) -> fmt::Result {
    values.accounts.iter().try_for_each(|account| {
        let budget = account.budget.iter();
        let mut limit = budget.map(|budget| Number::Count(budget.limit));
        limit.try_for_each(|limit| to.put(account, &["\",budget=\"token"], limit))
    })
}

pub(super) fn pushes(values: &Values, to: &mut Lines<'_>) -> fmt::Result {
    for account in of_wechat(values) {
        let counts = values.pushes.get(&account.app_id);
        let counts = counts.copied().unwrap_or_default();
        for (outcome, count) in PUSH_OUTCOMES.iter().zip(counts) {
            to.put(account, &["\",outcome=\"", outcome], Number::Count(count))?;
        }
    }
    Ok(())
}

pub(super) fn forward_failures(values: &Values, to: &mut Lines<'_>) -> fmt::Result {
    of_wechat(values).try_for_each(|account| {
        let counts = values.forward_failures.get(&account.app_id);
        let [count] = counts.copied().unwrap_or_default();
        to.put(account, &[], Number::Count(count))
    })
}

/// The accounts that are WeChat's.
fn of_wechat(values: &Values) -> impl Iterator<Item = &AccountState> {
    let accounts = values.accounts.iter();
    accounts.filter(|account| account.service == Service::Wechat)
}
