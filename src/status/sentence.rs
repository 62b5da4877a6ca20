//! The one sentence that says how the server is, in English and in Chinese, and how times are
//! written in both.

use std::time::Duration;

use chrono::{DateTime, Local, TimeZone};

use super::accounts::{AccountState, CredentialLine, State};
use super::last_error::{LastError, capital};
use super::overview::Overview;
use clock::UnixMillis;

/// A clock that is off by more makes signatures fail.
const CLOCK_TOLERANCE_MS: i64 = 60_000;

/// How the server is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tone {
    /// All is well.
    Good,
    /// All is served, and something needs attention.
    Warning,
    /// Something is not served.
    Bad,
}

/// The sentence, and what to do if something is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Sentence {
    /// How the server is.
    pub tone: Tone,
    /// What a manager understands.
    pub text: String,
    /// What to do.
    pub advice: Option<String>,
}

impl Overview {
    /// The sentence, in Chinese if `zh`.
    pub fn sentence(&self, zh: bool) -> Sentence {
        let until = self.served_until.map(|at| self.until(at, zh));
        let missing: Vec<_> = self.lines_in(State::Missing).collect();
        let failing: Vec<_> = self.lines_in(State::Failing).collect();
        if !self.is_store_up {
            return self.store_down(until, zh);
        }
        if let Some((_, line)) = missing.iter().find(|(_, line)| line.last_error.is_some()) {
            return self.missing(&missing, line.last_error.as_ref(), zh);
        }
        if !missing.is_empty() {
            return self.missing(&missing, None, zh);
        }
        if let Some((_, line)) = failing.first() {
            return self.failing(line, &failing, zh);
        }
        let findings = self.findings();
        if let Some((who, finding)) = findings.first()
            && finding.is_recent(self.now)
        {
            let text = match zh {
                true => format!("一切正常，但有别的程序也在获取 {who} 的 token"),
                false => {
                    format!("Everything is served, but another program fetches tokens of {who}")
                }
            };
            return warning(text, Some(finding.advice(zh)[0].to_owned()));
        }
        if let Some(sentence) = self.clock_is_off(zh) {
            return sentence;
        }
        let text = match (until, zh) {
            (Some(until), true) => format!("一切正常。如果微信此刻失联，可以服务到 {until}"),
            (Some(until), false) => {
                format!("Everything is served. If WeChat fell silent now, until {until}")
            }
            (None, true) => "一切正常。还没有程序要过凭据".to_owned(),
            (None, false) => {
                "Everything is served. Nobody has asked for a credential yet".to_owned()
            }
        };
        Sentence {
            tone: Tone::Good,
            text,
            advice: None,
        }
    }

    fn lines_in(&self, state: State) -> impl Iterator<Item = (&AccountState, &CredentialLine)> {
        self.needed().filter(move |(_, line)| line.state == state)
    }

    /// `14:32 (1 h 51 m)`.
    pub fn until(&self, at: UnixMillis, zh: bool) -> String {
        let left = lasting(self.now.until(at), zh);
        match zh {
            true => format!("{}（{left}）", self.time(at)),
            false => format!("{} ({left})", self.time(at)),
        }
    }

    /// `14:32`, with the day if it is another one, in this machine's time zone.
    pub fn time(&self, at: UnixMillis) -> String {
        let (at, now) = (local(at), local(self.now));
        let is_today = at.date_naive() == now.date_naive();
        let form = if is_today { "%H:%M" } else { "%m-%d %H:%M" };
        at.format(form).to_string()
    }

    fn store_down(&self, until: Option<String>, zh: bool) -> Sentence {
        let text = match (until, zh) {
            (Some(until), true) => format!("存储没有应答。已持有的凭据可以用到 {until}"),
            (Some(until), false) => {
                format!("The store does not answer. What is held here is served until {until}")
            }
            (None, true) => "存储没有应答".to_owned(),
            (None, false) => "The store does not answer".to_owned(),
        };
        let advice = match zh {
            true => "请检查设置里的 cache：它的服务器、网络和磁盘",
            false => "Check the cache of the settings: its server, its network, its disk.",
        };
        Sentence {
            tone: Tone::Bad,
            text,
            advice: Some(advice.to_owned()),
        }
    }

    fn missing(
        &self,
        missing: &[(&AccountState, &CredentialLine)],
        error: Option<&LastError>,
        zh: bool,
    ) -> Sentence {
        let who = names(missing, zh);
        let is_one = account_count(missing) == 1;
        let text = match (error.is_some(), zh) {
            (true, true) => format!("{who} 没有可用的凭据"),
            (true, false) if is_one => format!("{who} is not served"),
            (true, false) => format!("{who} are not served"),
            (false, true) => format!("正在为 {who} 获取凭据"),
            (false, false) => format!("Credentials of {who} are being fetched"),
        };
        Sentence {
            tone: if error.is_some() {
                Tone::Bad
            } else {
                Tone::Warning
            },
            text,
            advice: error.map(|error| error.sentence(zh)),
        }
    }

    fn failing(
        &self,
        line: &CredentialLine,
        failing: &[(&AccountState, &CredentialLine)],
        zh: bool,
    ) -> Sentence {
        let who = names(failing, zh);
        let first = failing.iter().filter_map(|(_, line)| line.expires_at).min();
        let until = first.map_or_else(String::new, |at| self.until(at, zh));
        warning(
            match zh {
                true => format!("一切正常，但 {who} 无法续期，只能用到 {until}"),
                false => format!(
                    "Everything is served, but {who} cannot be renewed and is served until {until}"
                ),
            },
            line.last_error.as_ref().map(|error| error.sentence(zh)),
        )
    }

    fn clock_is_off(&self, zh: bool) -> Option<Sentence> {
        let offset = self
            .clock_offset_ms
            .filter(|offset| offset.abs() > CLOCK_TOLERANCE_MS)?;
        let by = lasting(Duration::from_millis(offset.unsigned_abs()), zh);
        let text = match (offset > 0, zh) {
            (true, true) => format!("一切正常，但本机时钟比微信快 {by}"),
            (false, true) => format!("一切正常，但本机时钟比微信慢 {by}"),
            (true, false) => {
                format!("Everything is served, but this machine's clock is {by} ahead of WeChat's")
            }
            (false, false) => {
                format!("Everything is served, but this machine's clock is {by} behind WeChat's")
            }
        };
        let advice = match zh {
            true => "请用 NTP 校准时钟，否则签名会失败",
            false => "Set it by NTP, or signatures will fail.",
        };
        Some(warning(text, Some(advice.to_owned())))
    }
}

fn warning(text: String, advice: Option<String>) -> Sentence {
    Sentence {
        tone: Tone::Warning,
        text,
        advice: advice.map(|advice| capital(&advice)),
    }
}

fn account_count(lines: &[(&AccountState, &CredentialLine)]) -> usize {
    let mut names: Vec<_> = lines.iter().map(|(account, _)| &account.app_id).collect();
    names.dedup();
    names.len()
}

/// The account, or how many there are and the first of them.
fn names(lines: &[(&AccountState, &CredentialLine)], zh: bool) -> String {
    let first = lines.first().map_or("", |(account, _)| &account.app_id);
    match (account_count(lines), zh) {
        (0 | 1, _) => first.to_owned(),
        (more, true) => format!("{more} 个账号（{first} 等）"),
        (more, false) => format!("{more} accounts ({first} and others)"),
    }
}

/// `1 h 51 m`.
pub fn lasting(span: Duration, zh: bool) -> String {
    let seconds = span.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    let (first, second) = match (days, hours, minutes) {
        (0, 0, 0) => ((rest, 3), None),
        (0, 0, minutes) => ((minutes, 2), None),
        (0, hours, minutes) => ((hours, 1), Some((minutes, 2))),
        (days, hours, _) => ((days, 0), Some((hours, 1))),
    };
    let units = match zh {
        true => [" 天", " 小时", " 分", " 秒"],
        false => [" d", " h", " m", " s"],
    };
    let word = |(number, unit): (u64, usize)| format!("{number}{}", units[unit]);
    match second {
        Some(second) => format!("{} {}", word(first), word(second)),
        None => word(first),
    }
}

/// `at` in the time zone of this machine.
pub fn local(at: UnixMillis) -> DateTime<Local> {
    let millis = i64::try_from(at.0).unwrap_or(i64::MAX);
    let found = Local.timestamp_millis_opt(millis).earliest();
    found.unwrap_or_else(|| DateTime::UNIX_EPOCH.with_timezone(&Local))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_written_in_two_units_at_most() {
        let of = |seconds, zh| lasting(Duration::from_secs(seconds), zh);
        assert_eq!(of(6660, false), "1 h 51 m");
        assert_eq!(of(6660, true), "1 小时 51 分");
        assert_eq!(
            (of(59, false), of(60, false)),
            ("59 s".into(), "1 m".into())
        );
        assert_eq!(of(90_000, false), "1 d 1 h");
        assert_eq!(of(0, true), "0 秒");
    }
}
