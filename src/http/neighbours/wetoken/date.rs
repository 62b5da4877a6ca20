//! A moment as wetoken writes it: fourteen digits of local time. Only the offset is asked of chrono, whose own formatting takes four
//! times as long; what is left, a twentieth of a microsecond, is less than a cache of it would be worth.

use chrono::{DateTime, Datelike, Local, NaiveDateTime, Timelike};

use clock::UnixMillis;

pub(super) struct LocalDate(NaiveDateTime);

impl LocalDate {
    pub(super) fn of(moment: UnixMillis) -> Self {
        let moment = i64::try_from(moment.0).ok().and_then(DateTime::from_timestamp_millis).unwrap_or_default();
        Self(moment.with_timezone(&Local).naive_local())
    }

    /// Appends `yyyymmddhhmmss`.
    pub(super) fn push_to(&self, text: &mut String) {
        // A year of five digits is nothing that WeChat grants, or that a reader of fourteen digits understands.
        let year = u32::try_from(self.0.year()).unwrap_or(0).min(9999);
        let pairs = [year / 100, year % 100, self.0.month(), self.0.day(), self.0.hour(), self.0.minute(), self.0.second()];
        for pair in pairs {
            for digit in [pair / 10, pair % 10] {
                text.push(char::from_digit(digit, 10).unwrap_or('0'));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_fourteen_digits() {
        let written = |text: &str| {
            let mut digits = String::new();
            LocalDate(text.parse().expect("a time")).push_to(&mut digits);
            digits
        };
        assert_eq!(written("2018-05-11T11:39:18"), "20180511113918");
        assert_eq!(written("2026-12-31T23:59:59.999"), "20261231235959");
        assert_eq!(written("+12026-01-02T03:04:05"), "99990102030405");
    }

    #[test]
    fn no_moment_is_too_late_to_be_written() {
        for moment in [0, 1, 1_526_009_958_000, u64::MAX] {
            let mut digits = String::new();
            LocalDate::of(UnixMillis(moment)).push_to(&mut digits);
            assert_eq!(digits.len(), 14, "{digits}");
        }
    }
}
