//! The alerts and the dashboard: promtool reads every rule and expression, each alert has its test
//! and its runbook, and no expression names a metric that the server does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::programs;

/// The metrics and their labels, as the program's own table has them. `metrics.rs` holds that table
/// against the `/metrics` of a running server.
fn metrics() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    jsdkd::status::NAMES
        .iter()
        .map(|metric| (metric.name, metric.labels))
}

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

fn alerts() -> Vec<Value> {
    let file: Value = yaml_serde::from_str(&read("deploy/prometheus/alerts.yml")).unwrap();
    let groups = file["groups"].as_array().unwrap();
    let rules = groups
        .iter()
        .flat_map(|group| group["rules"].as_array().unwrap().clone());
    rules.collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("deploy/grafana/jsdkd.json")).unwrap()
}

/// The expressions of the dashboard, with Grafana's own variables filled in.
fn shown() -> Vec<String> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten();
    let queries = targets.map(|target| &target["expr"]);
    let marks = dashboard["annotations"]["list"].as_array().unwrap();
    let queries = queries.chain(marks.iter().filter_map(|mark| mark.get("expr")));
    let filled = queries.map(|query| query.as_str().unwrap().replace("$__rate_interval", "5m"));
    filled.collect()
}

/// The queries by which the dashboard fills its lists.
fn variables() -> Vec<String> {
    let dashboard = dashboard();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let queries = variables
        .iter()
        .filter_map(|variable| variable["definition"].as_str());
    queries.map(str::to_owned).collect()
}

/// Runs promtool in `folder`; `None` where it is not installed.
#[track_caller]
fn promtool(arguments: &[&str], folder: &Path) -> Option<()> {
    let program = programs::require("promtool")?;
    let output = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(
        output.status.success(),
        "promtool {arguments:?}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    Some(())
}

#[test]
fn the_alerts_fire_and_do_not_fire_as_their_tests_say() {
    let folder = root().join("deploy/prometheus");
    promtool(&["check", "rules", "alerts.yml"], &folder);
    promtool(&["test", "rules", "alerts.test.yml"], &folder);
    promtool(&["check", "config", "prometheus.yml"], &folder);
}

#[test]
fn every_alert_is_tested_both_ways() {
    let file: Value = yaml_serde::from_str(&read("deploy/prometheus/alerts.test.yml")).unwrap();
    let (mut firing, mut quiet) = (BTreeSet::new(), BTreeSet::new());
    for test in file["tests"].as_array().unwrap() {
        for alert in test["alert_rule_test"].as_array().unwrap() {
            let severities = alert["exp_alerts"]
                .as_array()
                .unwrap()
                .iter()
                .map(|expected| expected["exp_labels"]["severity"].as_str().unwrap());
            let name = alert["alertname"].as_str().unwrap().to_owned();
            let before = firing.len();
            firing.extend(severities.map(|severity| (name.clone(), severity.to_owned())));
            if firing.len() == before && alert["exp_alerts"] == json!([]) {
                quiet.insert(name);
            }
        }
    }
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap().to_owned();
        let severity = alert["labels"]["severity"].as_str().unwrap().to_owned();
        assert!(quiet.contains(&name), "{name} has no test without it");
        assert!(
            firing.contains(&(name.clone(), severity.clone())),
            "{name} ({severity}) has no test in which it fires"
        );
    }
}

#[test]
fn every_alert_says_what_to_do_and_has_a_runbook() {
    let pages = ["docs/operating.md", "docs/operating.zh-CN.md"].map(read);
    for alert in alerts() {
        let name = alert["alert"].as_str().unwrap();
        let severity = alert["labels"]["severity"].as_str().unwrap();
        assert!(["page", "ticket"].contains(&severity), "{name}: {severity}");
        let annotations = &alert["annotations"];
        for (annotation, least) in [("summary", 20), ("description", 80)] {
            let text = annotations[annotation].as_str().unwrap_or_default();
            assert!(text.len() >= least, "{name}: {annotation} is {text:?}");
        }
        assert_eq!(
            annotations["runbook_url"],
            format!("docs/operating.md#{}", name.to_lowercase())
        );
        for page in &pages {
            let heading = format!("\n### {name}\n");
            let runbook = page.split(&heading).nth(1);
            let runbook = runbook.unwrap_or_else(|| panic!("{name} has no runbook"));
            let runbook = runbook.split("\n#").next().unwrap();
            assert!(runbook.lines().count() > 4, "{name}: {runbook}");
        }
    }
    let named: BTreeSet<String> = alerts()
        .iter()
        .map(|alert| alert["alert"].as_str().unwrap().to_owned())
        .collect();
    for page in &pages {
        let told = page
            .lines()
            .filter_map(|line| line.strip_prefix("### Jsdkd"));
        let told: BTreeSet<String> = told.map(|rest| format!("Jsdkd{rest}")).collect();
        assert_eq!(told, named, "runbooks of alerts that are not there");
    }
}

#[test]
fn prometheus_reads_every_expression_of_the_dashboard() {
    let rules = shown().into_iter().enumerate();
    let rules =
        rules.map(|(number, query)| json!({ "record": format!("panel:{number}"), "expr": query }));
    let rules: Vec<Value> = rules.collect();
    assert!(rules.len() > 30, "{} expressions", rules.len());
    let folder = tempfile::tempdir().unwrap();
    // JSON is YAML, too.
    let file = json!({ "groups": [{ "name": "dashboard", "rules": rules }] }).to_string();
    fs::write(folder.path().join("rules.yml"), file).unwrap();
    promtool(&["check", "rules", "rules.yml"], folder.path());
}

#[test]
fn the_dashboard_is_whole() {
    let dashboard = dashboard();
    assert_eq!(dashboard["schemaVersion"], 38, "Grafana 10.0");
    let panels = dashboard["panels"].as_array().unwrap();
    let rows: Vec<&str> = panels
        .iter()
        .filter(|panel| panel["type"] == "row")
        .map(|row| row["title"].as_str().unwrap())
        .collect();
    assert_eq!(
        rows,
        [
            "Accounts",
            "Renewals",
            "Gateway by realm",
            "Store and upstream latency",
            "HTTP"
        ]
    );
    let ids: BTreeSet<i64> = panels
        .iter()
        .map(|panel| panel["id"].as_i64().unwrap())
        .collect();
    assert_eq!(ids.len(), panels.len(), "two panels share an id");
    let mut taken = BTreeMap::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        let place = |edge: &str| panel["gridPos"][edge].as_u64().unwrap();
        assert!(place("x") + place("w") <= 24, "{title} is too wide");
        for x in place("x")..place("x") + place("w") {
            for y in place("y")..place("y") + place("h") {
                let other = taken.insert((x, y), title);
                assert_eq!(other, None, "it lies under {title}");
            }
        }
    }
    // Every query goes to the data source that is chosen above the dashboard.
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert_eq!(variables[0]["name"], "datasource");
    assert_eq!(variables[0]["type"], "datasource");
    let text = dashboard.to_string();
    let sources = text.matches("\"type\":\"prometheus\"").count();
    let chosen = text.matches("\"uid\":\"${datasource}\"").count();
    assert!(chosen > 30);
    assert_eq!(sources, chosen);
}

/// The words of an expression outside of quotes and of label lists, with what follows each.
fn metrics_in(query: &str) -> Vec<(String, String)> {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let mut found = Vec::new();
    let mut rest = query;
    while let Some(start) = rest.find(|c: char| word(c) || c == '"' || c == '{') {
        if rest[start..].starts_with('"') {
            let end = rest[start + 1..].find('"').unwrap() + start + 2;
            rest = &rest[end..];
            continue;
        }
        if rest[start..].starts_with('{') {
            let end = rest[start..].find('}').unwrap() + start + 1;
            rest = &rest[end..];
            continue;
        }
        let tail = &rest[start..];
        let end = tail.find(|c| !word(c)).unwrap_or(tail.len());
        let after = tail[end..].trim_start();
        let labels = after
            .strip_prefix('{')
            .and_then(|labels| labels.split_once('}'));
        let labels = labels.map(|(labels, _)| labels).unwrap_or_default();
        found.push((tail[..end].to_owned(), labels.to_owned()));
        rest = &tail[end..];
    }
    found
}

#[test]
fn alerts_and_dashboard_name_only_metrics_that_exist() {
    let mut known: BTreeMap<&str, &[&str]> = metrics().collect();
    // Prometheus' own.
    known.insert("up", &[]);
    let queries = alerts()
        .iter()
        .map(|alert| alert["expr"].as_str().unwrap().to_owned())
        .chain(shown())
        .chain(variables())
        .collect::<Vec<_>>();
    let mut used = BTreeSet::new();
    for query in &queries {
        for (name, labels) in metrics_in(query) {
            if !(name.starts_with("jsdkd_") || name.starts_with("process_") || name == "up") {
                continue;
            }
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .unwrap_or(&name);
            let own = known
                .get(base)
                .unwrap_or_else(|| panic!("there is no metric {name}: {query}"));
            for label in labels
                .split(',')
                .filter_map(|one| one.split(['=', '!']).next())
            {
                let label = label.trim();
                let is_known = label.is_empty()
                    || own.contains(&label)
                    || ["job", "instance"].contains(&label);
                assert!(is_known, "{name} has no label {label}: {query}");
            }
            used.insert(base.to_owned());
        }
    }
    // What is counted is shown.
    for (name, _) in metrics().filter(|(name, _)| name.starts_with("jsdkd_"))
    {
        assert!(used.contains(name), "{name} is neither shown nor watched");
    }
}

#[test]
fn the_reader_of_expressions_sees_metrics_and_labels() {
    assert_eq!(
        metrics_in(r#"sum by (a) (rate(jsdkd_x{b="c", d!="e"}[5m])) / up"#)
            .into_iter()
            .filter(|(name, _)| name.starts_with("jsdkd") || name == "up")
            .collect::<Vec<_>>(),
        [
            ("jsdkd_x".to_owned(), r#"b="c", d!="e""#.to_owned()),
            ("up".to_owned(), String::new())
        ]
    );
}
