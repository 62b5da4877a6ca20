//! What the files that deliver the server promise: image, compose file, systemd unit, and the check
//! itself.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::support::programs;

fn root() -> PathBuf {
    env!("CARGO_MANIFEST_DIR").into()
}

#[track_caller]
fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// The Dockerfile's instructions, continued lines joined, comments gone.
fn instructions() -> Vec<String> {
    let lines: Vec<String> = read("Dockerfile")
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(str::to_owned)
        .collect();
    lines
        .join("\n")
        .replace("\\\n", " ")
        .lines()
        .filter(|line| !line.is_empty())
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_image_keeps_the_originals_promises_and_runs_as_nobody() {
    let all = instructions();
    let runtime = all
        .iter()
        .rposition(|line| line.starts_with("FROM "))
        .unwrap();
    assert_eq!(all[runtime], "FROM debian:bookworm-slim");
    for promise in [
        "ENV APP_CONFIG=/app/jsdkd.json",
        "EXPOSE 3030",
        "USER 10001:10001",
        "STOPSIGNAL SIGTERM",
        "WORKDIR /app",
        r#"ENTRYPOINT ["/usr/local/bin/jsdkd"]"#,
    ] {
        assert!(
            all[runtime..].iter().any(|line| line == promise),
            "{promise}"
        );
    }
    let health = all[runtime..]
        .iter()
        .find(|line| line.starts_with("HEALTHCHECK "))
        .unwrap();
    assert!(
        health.ends_with(r#"CMD ["/usr/local/bin/jsdkd", "healthcheck"]"#),
        "{health}"
    );
    assert!(
        all[runtime..]
            .iter()
            .any(|line| line.starts_with("RUN ") && line.contains("ca-certificates"))
    );
}

#[test]
fn the_image_copies_only_what_is_there_and_let_through() {
    let ignore = read(".dockerignore");
    let copies = instructions()
        .into_iter()
        .filter(|line| line.starts_with("COPY ") && !line.contains("--from="));
    for copy in copies {
        let words: Vec<&str> = copy.split_whitespace().skip(1).collect();
        for source in &words[..words.len() - 1] {
            assert!(root().join(source).exists(), "{source} is not there");
            assert!(
                ignore.lines().any(|line| line
                    .strip_prefix('!')
                    .is_some_and(|let_in| Path::new(source).starts_with(let_in))),
                "{source} is kept out by .dockerignore"
            );
        }
    }
}

#[test]
fn whatever_is_compiled_in_is_copied_before_the_build() {
    let mut folders = vec![root().join("src"), root().join("crates")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = fs::read_to_string(&path).unwrap();
            for included in text
                .split("include_")
                .skip(1)
                .filter_map(|rest| rest.split_once("!(\"")?.1.split('"').next())
            {
                let target = folder.join(included).canonicalize().unwrap();
                let place = target.strip_prefix(root().canonicalize().unwrap()).unwrap();
                let copied = ["config", "crates", "src", "static"]
                    .iter()
                    .any(|copied| place.starts_with(copied));
                assert!(
                    copied,
                    "{} includes {}, which the image's build does not copy",
                    path.display(),
                    place.display()
                );
            }
        }
    }
}

#[test]
fn the_image_builds_the_dependencies_before_the_sources_arrive() {
    let all = instructions();
    let place = |start: &str| all.iter().position(|line| line.starts_with(start)).unwrap();
    assert!(place("COPY Cargo.toml Cargo.lock ./") < place("RUN mkdir -p src"));
    assert!(all[place("RUN mkdir -p src")].contains("cargo build --release --locked"));
    assert!(place("RUN mkdir -p src") < place("COPY src ./src"));
    assert!(
        all[place("RUN touch src/main.rs src/lib.rs")].contains("cargo build --release --locked")
    );
}

#[test]
fn every_service_of_the_compose_file_is_confined_and_watched() {
    let compose = read("docker-compose.yml");
    let services = compose
        .split("\nservices:\n")
        .nth(1)
        .unwrap()
        .split("\nvolumes:\n")
        .next()
        .unwrap();
    let services: Vec<&str> = services.split("\n\n").collect();
    assert_eq!(services.len(), 5);
    for service in services {
        for line in [
            "read_only: true",
            "no-new-privileges:true",
            "healthcheck:",
            "restart: unless-stopped",
        ] {
            assert!(service.contains(line), "{line} is missing in\n{service}");
        }
    }
}

#[test]
fn prometheus_and_grafana_start_only_when_asked_and_are_open_to_nobody() {
    let compose: Value = yaml_serde::from_str(&read("docker-compose.yml")).unwrap();
    let services = compose["services"].as_object().unwrap();
    for (name, service) in services {
        let is_watching = ["prometheus", "grafana"].contains(&name.as_str());
        assert_eq!(service.get("profiles").is_some(), is_watching, "{name}");
        if !is_watching {
            continue;
        }
        assert_eq!(service["profiles"], json!(["watch"]), "{name}");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
        let ports = service.get("ports").and_then(Value::as_array);
        for port in ports.into_iter().flatten() {
            assert!(port.as_str().unwrap().starts_with("127.0.0.1:"), "{port}");
        }
        for volume in service["volumes"].as_array().unwrap() {
            let Some(path) = volume.as_str().unwrap().strip_prefix("./") else {
                continue;
            };
            let (path, inside) = path.split_once(':').unwrap();
            assert!(root().join(path).exists(), "{path} is not there");
            assert!(inside.ends_with(":ro"), "{volume}");
        }
    }
    // The admin port is for the containers of this file alone, and Prometheus finds it there.
    let server = &services["jsdkd"];
    assert_eq!(
        server["environment"]["JSDKD__SERVER__ADMIN"],
        "0.0.0.0:3031"
    );
    assert_eq!(server["ports"], json!(["80:80", "443:443"]));
    let prometheus: Value =
        yaml_serde::from_str(&read("deploy/prometheus/prometheus.yml")).unwrap();
    let job = &prometheus["scrape_configs"][0];
    assert_eq!(job["job_name"], "jsdkd");
    assert_eq!(
        job["static_configs"],
        json!([{ "targets": ["jsdkd:3031"] }])
    );
    let sources = "deploy/grafana/provisioning/datasources/prometheus.yml";
    let sources: Value = yaml_serde::from_str(&read(sources)).unwrap();
    assert_eq!(sources["datasources"][0]["url"], "http://prometheus:9090");
    let boards = "deploy/grafana/provisioning/dashboards/jsdkd.yml";
    let boards: Value = yaml_serde::from_str(&read(boards)).unwrap();
    let folder = boards["providers"][0]["options"]["path"].as_str().unwrap();
    let mounted = format!("./deploy/grafana/jsdkd.json:{folder}/jsdkd.json:ro");
    let volumes = services["grafana"]["volumes"].as_array().unwrap();
    assert!(volumes.iter().any(|volume| *volume == mounted), "{mounted}");
}

#[test]
fn systemd_finds_no_fault_in_the_unit() {
    let unit = read("deploy/jsdkd.service");
    for line in [
        "DynamicUser=yes",
        "StateDirectory=jsdkd",
        "ProtectSystem=strict",
        "NoNewPrivileges=yes",
        "RestartPreventExitStatus=78",
        "LimitCORE=0",
        "PrivateUsers=yes",
    ] {
        assert!(unit.lines().any(|found| found == line), "{line}");
    }
    assert!(unit.contains("\nExecReload=/bin/kill -HUP $MAINPID\n"));
    let Some(analyze) = programs::find("systemd-analyze") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("jsdkd.service");
    fs::write(
        &copy,
        unit.replace("/usr/local/bin/jsdkd", env!("CARGO_BIN_EXE_jsdkd")),
    )
    .unwrap();
    let judged = Command::new(&analyze)
        .arg("verify")
        .arg("--man=no")
        .arg(&copy)
        .output()
        .unwrap();
    assert!(
        judged.status.success() && judged.stderr.is_empty(),
        "{}",
        String::from_utf8_lossy(&judged.stderr)
    );
    // From 0 (confined) to 100. What is left is the network, the group that reads the settings, and
    // the host's own libraries.
    let exposed = Command::new(&analyze)
        .args(["security", "--offline=true", "--no-pager", "--threshold=15"])
        .arg(root().join("deploy/jsdkd.service"))
        .output()
        .unwrap();
    assert!(
        exposed.status.success(),
        "{}{}",
        String::from_utf8_lossy(&exposed.stdout),
        String::from_utf8_lossy(&exposed.stderr)
    );
}

#[test]
fn the_continuous_check_is_the_one_that_the_readme_names() {
    use std::os::unix::fs::PermissionsExt;
    for script in [".ci/run", "scripts/check", "clients/query.sh"] {
        let mode = fs::metadata(root().join(script))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o111, 0o111, "{script} is executable");
    }
    assert!(read(".ci/run").contains("exec scripts/check"));
    for page in ["README.md", "README.zh-CN.md", "CONTRIBUTING.md"] {
        assert!(read(page).contains("scripts/check"), "{page}");
    }
    assert!(Path::new(&root()).join("LICENSE").exists());
}
