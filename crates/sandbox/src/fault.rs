//! Faults: what goes wrong, for which calls and how often. This file selects the fault of a call;
//! `exchange` applies it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A fault that waits for calls. Faults are tried in the order in which they were added; only the
/// first that matches a call applies.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// The path, such as `/cgi-bin/token`; every path if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// The account; every account, and calls without one, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub appid: Option<String>,
    /// How many calls it affects; without it, all until it is cleared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub times: Option<u32>,
    /// The effect.
    pub fault: Effect,
}

/// What goes wrong with one call. `delay_ms` and the changes to an answer may be combined. Of the
/// effects that replace WeChat's answer (`errcode`, `hang`, `reset`, `garbage`, `html`) only one is
/// allowed, and WeChat's state does not change then.
#[derive(Clone, Debug, Default, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Effect {
    /// Wait this many milliseconds first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub delay_ms: Option<u64>,
    /// Refuse with this code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errcode: Option<i32>,
    /// The text of `errcode`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errmsg: Option<String>,
    /// Never answer.
    #[serde(skip_serializing_if = "is_false")]
    pub hang: bool,
    /// Reset the connection without an answer.
    #[serde(skip_serializing_if = "is_false")]
    pub reset: bool,
    /// Answer with bytes that are neither JSON nor UTF-8.
    #[serde(skip_serializing_if = "is_false")]
    pub garbage: bool,
    /// Answer like a broken gateway: this HTTP status and a page of HTML.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub html: Option<u16>,
    /// Send half the answer and close.
    #[serde(skip_serializing_if = "is_false")]
    pub half_body: bool,
    /// Send the answer with this HTTP status.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub status: Option<u16>,
    /// Write numbers as strings.
    #[serde(skip_serializing_if = "is_false")]
    pub strings: bool,
    /// Serve the JSON as `text/plain`.
    #[serde(skip_serializing_if = "is_false")]
    pub text_plain: bool,
    /// Report this remaining time instead of the true one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expires_in: Option<i64>,
    /// Return an empty token or ticket.
    #[serde(skip_serializing_if = "is_false")]
    pub empty_token: bool,
    /// Add a string with raw control characters, which JSON forbids and WeChat sends.
    #[serde(skip_serializing_if = "is_false")]
    pub control_chars: bool,
}

impl Fault {
    /// Refuses with `code` and HTTP 200, as WeChat does.
    pub fn errcode(code: i32, message: &str) -> Self {
        Effect {
            errcode: Some(code),
            errmsg: Some(message.to_owned()),
            ..Effect::default()
        }
        .into()
    }

    /// Refuses with `code` and a failing HTTP status.
    pub fn status(status: u16, code: i32) -> Self {
        Effect {
            status: Some(status),
            errcode: Some(code),
            ..Effect::default()
        }
        .into()
    }

    /// Delays the answer.
    pub fn delay(span: Duration) -> Self {
        Self::from(Effect::default()).after(span)
    }

    /// Never answers.
    pub fn hang() -> Self {
        Effect {
            hang: true,
            ..Effect::default()
        }
        .into()
    }

    /// Resets the connection.
    pub fn reset() -> Self {
        Effect {
            reset: true,
            ..Effect::default()
        }
        .into()
    }

    /// Answers with bytes that are not JSON.
    pub fn garbage() -> Self {
        Effect {
            garbage: true,
            ..Effect::default()
        }
        .into()
    }

    /// Answers with a page of HTML.
    pub fn html(status: u16) -> Self {
        Effect {
            html: Some(status),
            ..Effect::default()
        }
        .into()
    }

    /// Sends half the answer.
    pub fn half_body() -> Self {
        Effect {
            half_body: true,
            ..Effect::default()
        }
        .into()
    }

    /// Writes numbers as strings.
    pub fn strings() -> Self {
        Effect {
            strings: true,
            ..Effect::default()
        }
        .into()
    }

    /// Serves JSON as `text/plain`.
    pub fn text_plain() -> Self {
        Effect {
            text_plain: true,
            ..Effect::default()
        }
        .into()
    }

    /// Reports `seconds` of remaining time.
    pub fn expires_in(seconds: i64) -> Self {
        Effect {
            expires_in: Some(seconds),
            ..Effect::default()
        }
        .into()
    }

    /// Returns an empty token or ticket.
    pub fn empty_token() -> Self {
        Effect {
            empty_token: true,
            ..Effect::default()
        }
        .into()
    }

    /// Puts raw control characters into the JSON.
    pub fn control_chars() -> Self {
        Effect {
            control_chars: true,
            ..Effect::default()
        }
        .into()
    }

    /// Only on this path.
    pub fn on(mut self, path: &str) -> Self {
        self.path = Some(path.to_owned());
        self
    }

    /// Only for this account.
    pub fn of(mut self, app_id: &str) -> Self {
        self.appid = Some(app_id.to_owned());
        self
    }

    /// Only for the next `count` matching calls.
    pub fn times(mut self, count: u32) -> Self {
        self.times = Some(count);
        self
    }

    /// After waiting for `span`.
    pub fn after(mut self, span: Duration) -> Self {
        self.fault.delay_ms = Some(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
        self
    }

    /// Checks a fault that was received over HTTP; `paths` are the existing paths.
    pub(super) fn check(&self, paths: &[&str]) -> Result<(), String> {
        if let Some(path) = &self.path
            && !paths.contains(&path.as_str())
        {
            return Err(format!(
                "no such path {path:?}; accepted: {}",
                paths.join(", ")
            ));
        }
        if self.times == Some(0) {
            return Err("times: expected 1 or more; leave it out for every call".to_owned());
        }
        self.fault.check()
    }

    fn fits(&self, path: &str, app_id: &str) -> bool {
        self.path.as_deref().is_none_or(|mine| mine == path)
            && self.appid.as_deref().is_none_or(|mine| mine == app_id)
    }
}

impl From<Effect> for Fault {
    fn from(fault: Effect) -> Self {
        Self {
            path: None,
            appid: None,
            times: None,
            fault,
        }
    }
}

impl Effect {
    fn check(&self) -> Result<(), String> {
        if *self == Self::default() {
            return Err(
                "fault: empty; expected at least one effect, for example {\"errcode\":-1}"
                    .to_owned(),
            );
        }
        let endings = [
            self.errcode.is_some(),
            self.hang,
            self.reset,
            self.garbage,
            self.html.is_some(),
        ];
        if endings.into_iter().filter(|chosen| *chosen).count() > 1 {
            return Err(
                "fault: errcode, hang, reset, garbage and html exclude each other".to_owned(),
            );
        }
        if self.errmsg.is_some() && self.errcode.is_none() {
            return Err("fault: errmsg needs an errcode".to_owned());
        }
        if [self.status, self.html]
            .into_iter()
            .flatten()
            .any(|status| !(200..=599).contains(&status))
        {
            return Err("fault: expected an HTTP status from 200 to 599".to_owned());
        }
        Ok(())
    }
}

/// The active faults.
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<Fault>);

impl Faults {
    /// Adds a fault after the others.
    pub(super) fn add(&mut self, fault: Fault) {
        if fault.times != Some(0) {
            self.0.push(fault);
        }
    }

    /// Removes all faults.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Returns the effect on this call and counts it against the fault's `times`.
    pub(super) fn meet(&mut self, path: &str, app_id: &str) -> Effect {
        let Some(place) = self.0.iter().position(|fault| fault.fits(path, app_id)) else {
            return Effect::default();
        };
        let effect = self.0[place].fault.clone();
        if let Some(times) = &mut self.0[place].times {
            *times -= 1;
            if *times == 0 {
                self.0.remove(place);
            }
        }
        effect
    }

    /// The active faults, in order.
    pub(super) fn waiting(&self) -> &[Fault] {
        &self.0
    }
}

// serde's `skip_serializing_if` passes a reference.
fn is_false(flag: &bool) -> bool {
    !flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_apply_in_order_and_as_often_as_configured() {
        let mut faults = Faults::default();
        faults.add(Fault::hang().on("/a").times(2));
        faults.add(Fault::reset().of("wx1"));
        let met: Vec<_> = (0..3).map(|_| faults.meet("/a", "wx1").hang).collect();
        assert_eq!(met, [true, true, false]);
        assert!(faults.meet("/b", "wx1").reset && faults.meet("/b", "wx1").reset);
        assert_eq!(faults.meet("/b", "wx2"), Effect::default());
        faults.clear();
        assert_eq!(faults.meet("/b", "wx1"), Effect::default());
    }

    #[test]
    fn an_invalid_fault_is_refused_with_a_reason() {
        let reason = |json: &str| {
            serde_json::from_str::<Fault>(json)
                .map_err(|e| e.to_string())
                .and_then(|f| f.check(&["/a"]))
                .err()
        };
        assert_eq!(
            reason(r#"{"path":"/a","times":3,"fault":{"errcode":-1,"delay_ms":5,"strings":true}}"#),
            None
        );
        for (json, hint) in [
            (r#"{"fault":{}}"#, "at least one effect"),
            (r#"{"path":"/b","fault":{"hang":true}}"#, "accepted: /a"),
            (r#"{"times":0,"fault":{"hang":true}}"#, "1 or more"),
            (
                r#"{"fault":{"hang":true,"reset":true}}"#,
                "exclude each other",
            ),
            (r#"{"fault":{"errmsg":"x"}}"#, "needs an errcode"),
            (r#"{"fault":{"html":42}}"#, "200 to 599"),
            (
                r#"{"fault":{"hand":true}}"#,
                "expected one of `delay_ms`, `errcode`",
            ),
        ] {
            let said = reason(json).unwrap_or_default();
            assert!(said.contains(hint), "{json}: {said}");
        }
    }
}
