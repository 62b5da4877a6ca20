//! Reads `/metrics` of a test server.

use std::io::Write;
use std::process::{Command, Stdio};

use super::app::TestApp;
use super::programs;

/// The text of a scrape.
pub(crate) async fn scrape(app: &TestApp) -> String {
    let answer = app.admin("/metrics").await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(
        answer.header("content-type"),
        "text/plain; version=0.0.4; charset=utf-8"
    );
    answer.body
}

/// The value of the series that is written exactly so.
pub(crate) fn value(text: &str, series: &str) -> Option<f64> {
    let line = text.lines().find(|line| {
        line.rsplit_once(' ')
            .is_some_and(|(name, _)| name == series)
    })?;
    line.rsplit_once(' ')?.1.parse().ok()
}

/// Lets promtool check the text, where it is installed.
pub(crate) fn promtool_accepts(text: &str) {
    let Some(promtool) = programs::require("promtool") else {
        return;
    };
    let mut check = Command::new(promtool)
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("promtool starts");
    let mut stdin = check.stdin.take().unwrap();
    stdin.write_all(text.as_bytes()).unwrap();
    drop(stdin);
    let output = check.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success() && said.trim().is_empty(), "{said}");
}
