//! The pages in two languages, README and docs/: they name the same things section by section, they
//! agree with the program, and their links lead somewhere.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use reqwest::StatusCode;

/// Each page in English and in Chinese.
const PAIRS: [(&str, &str); 19] = [
    ("README.md", "README.zh-CN.md"),
    ("docs/README.md", "docs/README.zh-CN.md"),
    ("docs/errors.md", "docs/errors.zh-CN.md"),
    ("docs/failures.md", "docs/failures.zh-CN.md"),
    ("docs/gateway.md", "docs/gateway.zh-CN.md"),
    ("docs/library.md", "docs/library.zh-CN.md"),
    ("docs/messages.md", "docs/messages.zh-CN.md"),
    ("docs/metrics.md", "docs/metrics.zh-CN.md"),
    ("docs/moving.md", "docs/moving.zh-CN.md"),
    ("docs/neighbours.md", "docs/neighbours.zh-CN.md"),
    ("docs/oauth.md", "docs/oauth.zh-CN.md"),
    ("docs/operating.md", "docs/operating.zh-CN.md"),
    ("docs/proof.md", "docs/proof.zh-CN.md"),
    ("docs/routes.md", "docs/routes.zh-CN.md"),
    ("docs/sandbox.md", "docs/sandbox.zh-CN.md"),
    ("docs/settings.md", "docs/settings.zh-CN.md"),
    ("docs/signing.md", "docs/signing.zh-CN.md"),
    ("docs/tokenboy.md", "docs/tokenboy.zh-CN.md"),
    ("docs/wecom.md", "docs/wecom.zh-CN.md"),
];

/// One section: the texts in backticks in its prose and tables, and its code blocks without
/// comments.
#[derive(Debug, Default, PartialEq)]
struct Section {
    named: BTreeSet<String>,
    blocks: Vec<String>,
    tables: usize,
    /// The subject of each table row, in order.
    rows: Vec<String>,
}

fn page(name: &str) -> String {
    fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The sections of a page; the first is before the first heading of level two.
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
            all.push(Section {
                named: names(line).collect(),
                ..Section::default()
            });
        } else {
            section.tables += usize::from(line.starts_with("| ---"));
            section.rows.extend(subject(line).map(str::to_owned));
            section.named.extend(names(line));
        }
    }
    assert!(block.is_none(), "a code block is not closed");
    all
}

/// The texts in backticks in a line.
fn names(line: &str) -> impl Iterator<Item = String> + '_ {
    line.split('`').skip(1).step_by(2).map(str::to_owned)
}

/// The first cell of a table row, if it is one name in backticks.
fn subject(line: &str) -> Option<&str> {
    let cell = line.strip_prefix("| ")?.split(" |").next()?;
    cell.strip_prefix('`')?
        .strip_suffix('`')
        .filter(|name| !name.contains('`'))
}

/// A line of code without its comment, which is translated.
fn uncommented(line: &str) -> &str {
    let start = [" // ", " # "]
        .iter()
        .filter_map(|mark| line.find(mark))
        .min()
        .unwrap_or(line.len());
    let code = line[..start].trim_end();
    if code.starts_with("# ") || code.starts_with("// ") {
        ""
    } else {
        code
    }
}

#[test]
fn every_page_of_docs_is_in_both_languages_and_in_the_contents() {
    let named: BTreeSet<String> = PAIRS
        .iter()
        .flat_map(|(english, chinese)| [*english, *chinese])
        .map(str::to_owned)
        .collect();
    for entry in fs::read_dir(format!("{}/docs", env!("CARGO_MANIFEST_DIR"))).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if !name.ends_with(".md") {
            continue;
        }
        assert!(
            named.contains(&format!("docs/{name}")),
            "docs/{name} is not compared with its other language"
        );
        let contents = if name.ends_with(".zh-CN.md") {
            "docs/README.zh-CN.md"
        } else {
            "docs/README.md"
        };
        let is_listed = page(contents).contains(&format!("]({name})"));
        assert!(
            is_listed || contents.ends_with(&name),
            "{contents} does not list {name}"
        );
    }
}

#[test]
fn the_readmes_are_short_and_show_the_demo() {
    for (name, picture) in [
        ("README.md", "docs/demo.png"),
        ("README.zh-CN.md", "docs/demo.zh-CN.png"),
    ] {
        let text = page(name);
        assert!(
            text.lines().count() < 200,
            "{name} has {} lines",
            text.lines().count()
        );
        assert!(
            text.contains(&format!("]({picture})")),
            "{name} does not show {picture}"
        );
        let bytes = fs::read(format!("{}/{picture}", env!("CARGO_MANIFEST_DIR"))).unwrap();
        assert!(
            bytes.starts_with(b"\x89PNG") && bytes.len() < 100_000,
            "{picture} has {} bytes",
            bytes.len()
        );
    }
}

#[test]
fn both_languages_name_the_same_things() {
    for (english, chinese) in PAIRS {
        let (ours, theirs) = (sections(&page(english)), sections(&page(chinese)));
        for (number, (left, right)) in ours.iter().zip(&theirs).enumerate() {
            let only = |one: &Section, other: &Section| {
                one.named
                    .difference(&other.named)
                    .cloned()
                    .collect::<Vec<_>>()
            };
            let stray = (only(left, right), only(right, left));
            assert_eq!(
                stray,
                (vec![], vec![]),
                "named in one page alone: {english}, section {number}"
            );
            assert_eq!(
                left.blocks, right.blocks,
                "code of {english}, section {number}"
            );
            assert_eq!(
                (left.tables, &left.rows),
                (right.tables, &right.rows),
                "tables of {english}, section {number}"
            );
        }
        assert_eq!(ours.len(), theirs.len(), "sections of {english}");
    }
}

#[test]
fn the_library_example_matches_the_crates() {
    let source = page("crates/credentials/src/lib.rs");
    let example = source.split("//! ```\n").nth(1).expect("an example");
    let shown = example
        .lines()
        .map(|line| line.trim_start_matches("//!").trim_start())
        .filter(|line| !line.starts_with("# "));
    let run: Vec<&str> = shown.map(uncommented).collect();
    assert_eq!(run.len(), 5);
    for name in ["docs/library.md", "docs/library.zh-CN.md"] {
        let text = page(name);
        let block = text
            .split("```rust\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .expect("a block of Rust");
        assert_eq!(
            block.lines().map(uncommented).collect::<Vec<_>>(),
            run,
            "{name}"
        );
    }
}

#[test]
fn the_sandbox_page_shows_the_example_of_the_crate() {
    let source = page("crates/sandbox/src/fake_wechat.rs");
    let example = source.split("/// ```ignore\n").nth(1).expect("an example");
    let shown = example
        .lines()
        .map(|line| line.trim_start_matches("///").trim_start());
    let run: Vec<&str> = shown
        .take_while(|line| *line != "```")
        .filter(|line| !line.starts_with("# "))
        .map(uncommented)
        .collect();
    assert_eq!(run.len(), 6);
    for name in ["docs/sandbox.md", "docs/sandbox.zh-CN.md"] {
        let text = page(name);
        let block = text
            .split("```rust\n")
            .nth(1)
            .and_then(|rest| rest.split("```").next())
            .expect("a block of Rust");
        assert_eq!(
            block.lines().map(uncommented).collect::<Vec<_>>(),
            run,
            "{name}"
        );
    }
}

#[test]
fn the_error_tables_match_the_program() {
    // `("unknown_app", StatusCode::NOT_FOUND)`, wherever the source maps an error to its code.
    let source = page("src/http/error.rs");
    let statuses = (400..600).filter_map(|status| StatusCode::from_u16(status).ok());
    let named: BTreeMap<String, u16> = statuses
        .filter_map(|status| {
            Some((
                status
                    .canonical_reason()?
                    .to_uppercase()
                    .replace(['-', ' '], "_"),
                status.as_u16(),
            ))
        })
        .collect();
    let codes = source.split("(\"").skip(1).filter_map(|rest| {
        let (code, rest) = rest.split_once("\", ")?;
        let status = match rest.strip_prefix("StatusCode::") {
            Some(constant) => named[constant.split(')').next()?],
            None => rest.starts_with("*status)").then_some(400)?,
        };
        Some((code.to_owned(), status))
    });
    let codes: BTreeSet<(String, u16)> = codes.collect();
    assert!(
        codes.len() > 20,
        "the source is written otherwise than this test expects: {codes:?}"
    );
    for name in ["docs/errors.md", "docs/errors.zh-CN.md"] {
        let told: BTreeSet<(String, u16)> = page(name).lines().filter_map(error_row).collect();
        assert_eq!(told, codes, "{name}");
    }
}

/// The code and the status of a row such as "| `unknown_app` | 404 | … |".
fn error_row(line: &str) -> Option<(String, u16)> {
    let code = subject(line)?;
    let status = line.split(" | ").nth(1)?.parse().ok()?;
    (400..600)
        .contains(&status)
        .then(|| (code.to_owned(), status))
}

#[test]
fn every_default_is_in_the_settings_table() {
    let defaults: serde_json::Value = json5::from_str(&page("config/default.json5")).unwrap();
    let mut settings = Vec::new();
    flatten("", &defaults, &mut settings);
    for name in ["docs/settings.md", "docs/settings.zh-CN.md"] {
        let text = page(name);
        for (setting, values) in &settings {
            let start = format!("| `{setting}` |");
            let row = text
                .lines()
                .find(|line| line.starts_with(&start))
                .unwrap_or_else(|| panic!("{name} has no row {start}"));
            let default = row.split('|').nth(3).unwrap();
            for value in values {
                assert!(
                    default.contains(&format!("`{value}`")),
                    "{name}: {setting} is {value} by default, not {default}"
                );
            }
        }
    }
}

/// The settings of `tree` by path, each with its value or its list of values.
fn flatten(path: &str, tree: &serde_json::Value, into: &mut Vec<(String, Vec<String>)>) {
    let text = |value: &serde_json::Value| {
        value
            .as_str()
            .map_or_else(|| value.to_string(), str::to_owned)
    };
    match tree {
        serde_json::Value::Object(members) => {
            for (name, member) in members {
                flatten(
                    &format!("{path}{}{name}", if path.is_empty() { "" } else { "." }),
                    member,
                    into,
                );
            }
        }
        serde_json::Value::Array(items) => {
            into.push((path.to_owned(), items.iter().map(text).collect()))
        }
        value => into.push((path.to_owned(), vec![text(value)])),
    }
}

#[test]
fn all_links_lead_somewhere() {
    let pages = PAIRS
        .iter()
        .flat_map(|(english, chinese)| [*english, *chinese]);
    for name in pages.chain([
        "ARCHITECTURE.md",
        "CHANGELOG.md",
        "CONTRIBUTING.md",
        "SECURITY.md",
        "bench/README.md",
    ]) {
        let text = page(name);
        let folder = name
            .rsplit_once('/')
            .map(|(folder, _)| format!("{folder}/"))
            .unwrap_or_default();
        for target in text
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            let (file, place) = target.split_once('#').unwrap_or((target, ""));
            if file.contains("://") {
                continue;
            }
            let path = if file.is_empty() {
                name.to_owned()
            } else {
                format!("{folder}{file}")
            };
            let there = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
                .join(&path)
                .exists();
            assert!(there, "{name} links to {path}, which is not there");
            assert!(
                place.is_empty() || places(&page(&path)).contains(place),
                "{name} links to {target}, but no heading is called so"
            );
        }
    }
}

/// The anchors that GitHub generates for the headings of `page`.
fn places(page: &str) -> BTreeSet<String> {
    let headings = page
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim());
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    headings
        .map(|heading| {
            heading
                .to_lowercase()
                .chars()
                .filter(kept)
                .collect::<String>()
                .replace(' ', "-")
        })
        .collect()
}
