//! README.md and README.zh-CN.md are one truth in two languages: they name the same things, section by section.

use std::collections::BTreeSet;
use std::fs;

/// One section: the text in backticks that stands in its prose and tables, and its code blocks without comments.
#[derive(Debug, Default, PartialEq)]
struct Section {
    named: BTreeSet<String>,
    blocks: Vec<String>,
    tables: usize,
    /// What each row of a table is about, in order.
    rows: Vec<String>,
}

fn page(name: &str) -> String {
    fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The sections of a page; the first is what stands before the first heading of the second rank.
fn sections(page: &str) -> Vec<Section> {
    let mut all = vec![Section::default()];
    let mut block: Option<String> = None;
    for line in page.lines() {
        let section = all.last_mut().expect("there is always a first section");
        if line.starts_with("```") {
            match block.take() {
                Some(done) => section.blocks.push(done),
                None => block = Some(format!("{line}\n")),
            }
        } else if let Some(code) = &mut block {
            let code_alone = uncommented(line);
            if !code_alone.is_empty() {
                code.push_str(code_alone);
                code.push('\n');
            }
        } else if line.starts_with("## ") {
            all.push(Section::default());
        } else {
            section.tables += usize::from(line.starts_with("| ---"));
            section.rows.extend(subject(line).map(str::to_owned));
            section.named.extend(line.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    assert!(block.is_none(), "a code block is not closed");
    all
}

/// The first cell of a table's row, if it is one name in backticks and nothing else.
fn subject(line: &str) -> Option<&str> {
    let cell = line.strip_prefix("| ")?.split(" |").next()?;
    cell.strip_prefix('`')?.strip_suffix('`').filter(|name| !name.contains('`'))
}

/// A line of code without its comment, which is in the page's own language.
fn uncommented(line: &str) -> &str {
    let start = [" // ", " # "].iter().filter_map(|mark| line.find(mark)).min().unwrap_or(line.len());
    let code = line[..start].trim_end();
    if code.starts_with("# ") || code.starts_with("// ") { "" } else { code }
}

#[test]
fn both_pages_name_the_same_routes_settings_codes_and_commands() {
    let (english, chinese) = (sections(&page("README.md")), sections(&page("README.zh-CN.md")));
    for (number, (left, right)) in english.iter().zip(&chinese).enumerate() {
        let only = |one: &Section, other: &Section| one.named.difference(&other.named).cloned().collect::<Vec<_>>();
        assert_eq!((only(left, right), only(right, left)), (vec![], vec![]), "named in one page alone, section {number}");
        assert_eq!(left.blocks, right.blocks, "code of section {number}");
        assert_eq!((left.tables, &left.rows), (right.tables, &right.rows), "tables of section {number}");
    }
    assert_eq!(english.len(), chinese.len(), "sections");
}

#[test]
fn every_code_of_the_error_table_is_there_with_its_status() {
    // The stable codes of the contract.
    const CODES: [(&str, u16); 24] = [
        ("invalid_json", 400),
        ("body_not_an_object", 400),
        ("invalid_url", 400),
        ("unknown_key", 400),
        ("malformed_query", 400),
        ("unauthorized", 401),
        ("timestamp_out_of_range", 401),
        ("bad_push_signature", 401),
        ("realm_not_allowed", 403),
        ("origin_not_allowed", 403),
        ("unknown_app", 404),
        ("not_found", 404),
        ("method_not_allowed", 405),
        ("request_timeout", 408),
        ("body_too_large", 413),
        ("unsupported_media_type", 415),
        ("internal_error", 500),
        ("upstream_refused", 502),
        ("upstream_unreadable", 502),
        ("upstream_unreachable", 502),
        ("upstream_timeout", 504),
        ("cooling_down", 503),
        ("store_unavailable", 503),
        ("shutting_down", 503),
    ];
    for name in ["README.md", "README.zh-CN.md"] {
        let text = page(name);
        for (code, status) in CODES {
            let row = format!("| `{code}` | {status} |");
            assert!(text.contains(&row), "{name} has no row {row}");
        }
    }
}

#[test]
fn every_default_stands_in_the_table_of_settings() {
    let defaults: serde_json::Value = json5::from_str(&page("config/default.json5")).unwrap();
    let mut settings = Vec::new();
    flatten("", &defaults, &mut settings);
    for name in ["README.md", "README.zh-CN.md"] {
        let text = page(name);
        for (setting, values) in settings.iter().filter(|(setting, _)| setting != "wechat.open") {
            let start = format!("| `{setting}` |");
            let row = text.lines().find(|line| line.starts_with(&start)).unwrap_or_else(|| panic!("{name} has no row {start}"));
            let default = row.split('|').nth(3).unwrap();
            for value in values {
                assert!(default.contains(&format!("`{value}`")), "{name}: {setting} is {value} by default, not {default}");
            }
        }
    }
}

/// The settings of `tree` by their paths, each with what it holds: one value, or those of a list.
fn flatten(path: &str, tree: &serde_json::Value, into: &mut Vec<(String, Vec<String>)>) {
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    match tree {
        serde_json::Value::Object(members) => {
            for (name, member) in members {
                flatten(&format!("{path}{}{name}", if path.is_empty() { "" } else { "." }), member, into);
            }
        }
        serde_json::Value::Array(items) => into.push((path.to_owned(), items.iter().map(text).collect())),
        value => into.push((path.to_owned(), vec![text(value)])),
    }
}

#[test]
fn the_links_of_the_pages_lead_somewhere() {
    for name in ["README.md", "README.zh-CN.md", "CONTRIBUTING.md", "CHANGELOG.md"] {
        for target in page(name).split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap_or_default();
            if !file.is_empty() && !file.contains("://") {
                let there = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(file).exists();
                assert!(there, "{name} links to {file}, which is not there");
            }
        }
    }
}
