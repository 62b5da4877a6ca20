//! What the doctor has found, section by section, for people and as JSON.

use serde_json::{Value, json};

use super::cure::Cure;

/// How a check ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Status {
    Ok,
    Warn,
    Fail,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

struct Check {
    section: &'static str,
    status: Status,
    what: String,
    cure: Cure,
}

/// All checks, in order.
#[derive(Default)]
pub(super) struct Report {
    checks: Vec<Check>,
}

impl Report {
    pub(super) fn ok(&mut self, section: &'static str, what: impl Into<String>) {
        self.add(section, Status::Ok, what, Cure::default());
    }

    pub(super) fn warn(
        &mut self,
        section: &'static str,
        what: impl Into<String>,
        cure: impl Into<Cure>,
    ) {
        self.add(section, Status::Warn, what, cure);
    }

    pub(super) fn fail(
        &mut self,
        section: &'static str,
        what: impl Into<String>,
        cure: impl Into<Cure>,
    ) {
        self.add(section, Status::Fail, what, cure);
    }

    pub(super) fn add(
        &mut self,
        section: &'static str,
        status: Status,
        what: impl Into<String>,
        cure: impl Into<Cure>,
    ) {
        self.checks.push(Check {
            section,
            status,
            what: what.into(),
            cure: cure.into(),
        });
    }

    /// How many checks ended so.
    pub(super) fn count(&self, status: Status) -> usize {
        self.checks
            .iter()
            .filter(|check| check.status == status)
            .count()
    }

    /// For people: a heading for each section, a line for each check, its cure below it.
    pub(super) fn text(&self, zh: bool) -> String {
        let mut text = String::new();
        let mut section = "";
        for check in &self.checks {
            if check.section != section {
                section = check.section;
                let gap = if text.is_empty() { "" } else { "\n" };
                text.push_str(&format!("{gap}{section}\n"));
            }
            text.push_str(&format!("  {:<4}  {}\n", check.status.name(), check.what));
            let cure = check.cure.text(zh);
            if !cure.is_empty() {
                text.push_str(&format!("        → {cure}\n"));
            }
        }
        text.push_str(&format!(
            "\n{} ok, {} warn, {} fail\n",
            self.count(Status::Ok),
            self.count(Status::Warn),
            self.count(Status::Fail)
        ));
        text
    }

    pub(super) fn json(&self, zh: bool) -> Value {
        let mut sections: Vec<(&str, Vec<Value>)> = Vec::new();
        for check in &self.checks {
            if sections
                .last()
                .is_none_or(|(name, _)| *name != check.section)
            {
                sections.push((check.section, Vec::new()));
            }
            let line = json!({
                "status": check.status.name(), "check": check.what, "cure": check.cure.text(zh),
            });
            if let Some((_, checks)) = sections.last_mut() {
                checks.push(line);
            }
        }
        let sections: Vec<Value> = sections
            .into_iter()
            .map(|(name, checks)| json!({ "name": name, "checks": checks }))
            .collect();
        json!({
            "sections": sections,
            "ok": self.count(Status::Ok),
            "warn": self.count(Status::Warn),
            "fail": self.count(Status::Fail),
        })
    }
}
