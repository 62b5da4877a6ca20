//! deploy/helm/jsdkd, rendered by Helm's own library and validated against the schemas of Kubernetes
//! and of the Prometheus operator.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::sync::OnceLock;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::support::npm::Node;
use crate::support::pip::Python;

/// What pip installs, once for each target folder.
const PACKAGES: [&str; 3] = [
    "helm-python-sdk==0.2.2",
    "kubernetes-validate==1.37.0",
    "pyyaml==6.0.4",
];

const CHART: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/helm/jsdkd");

fn read(name: &str) -> String {
    fs::read_to_string(format!("{}/{name}", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

/// The least that an installation says.
fn config() -> Value {
    json!({ "apps": [{ "key": "wx1", "secret": "not-a-real-secret" }] })
}

/// Installations by name.
fn installations() -> BTreeMap<&'static str, Value> {
    let redis = json!({ "url": "redis://:pw@redis:6379/0" });
    BTreeMap::from([
        ("least", json!({ "config": config() })),
        (
            "everything",
            json!({
                "replicas": 3,
                "config": config(),
                "redis": redis,
                "image": { "repository": "registry.example/jsdkd", "tag": "1.2.3" },
                "imagePullSecrets": [{ "name": "pull" }],
                "extraEnv": [{ "name": "WX_SECRET", "valueFrom": { "secretKeyRef": { "name": "wechat", "key": "secret" } } }],
                "extraEnvFrom": [{ "secretRef": { "name": "more" } }],
                "extraVolumes": [{ "name": "ca", "configMap": { "name": "ca" } }],
                "extraVolumeMounts": [{ "name": "ca", "mountPath": "/ca", "readOnly": true }],
                "service": { "type": "LoadBalancer", "annotations": { "a": "b" } },
                "ingress": {
                    "enabled": true,
                    "className": "nginx",
                    "annotations": { "a": "b" },
                    "hosts": [{ "host": "wx.example.com" }, { "host": "b.example.com", "paths": [{ "path": "/wx", "pathType": "Exact" }] }],
                    "tls": [{ "secretName": "wx-tls", "hosts": ["wx.example.com"] }],
                },
                "networkPolicy": { "publicFrom": [{ "podSelector": { "matchLabels": { "app": "ingress" } } }] },
                "serviceMonitor": { "enabled": true, "labels": { "release": "prometheus" } },
                "prometheusRule": { "enabled": true, "labels": { "release": "prometheus" } },
                "dashboard": { "enabled": true },
                "serviceAccount": { "annotations": { "a": "b" } },
                "podAnnotations": { "a": "b" },
                "podLabels": { "team": "web" },
                "priorityClassName": "high",
                "nodeSelector": { "pool": "fixed-address" },
                "tolerations": [{ "key": "pool", "operator": "Exists" }],
                "affinity": { "nodeAffinity": {} },
                "topologySpreadConstraints": [{ "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "DoNotSchedule" }],
            }),
        ),
        (
            "secrets of its own",
            json!({
                "replicas": 2,
                "existingSecret": { "name": "settings", "key": "wx.json" },
                "redis": { "existingSecret": { "name": "store", "key": "address" } },
                "prometheusRule": { "enabled": true, "runbook": "https://wiki.example/jsdkd.html" },
            }),
        ),
        (
            "a file",
            json!({ "config": config(), "persistence": { "enabled": true, "storageClass": "fast" } }),
        ),
        (
            "a file on a claim that is there",
            json!({ "config": config(), "persistence": { "enabled": true, "existingClaim": "mine" } }),
        ),
        (
            "no admin port",
            json!({ "config": config(), "admin": { "enabled": false }, "networkPolicy": { "enabled": false },
                    "podDisruptionBudget": { "enabled": false }, "serviceAccount": { "create": false } }),
        ),
        // Each of these ends with an error.
        ("no settings", json!({})),
        (
            "two stores",
            json!({ "config": config(), "redis": redis, "persistence": { "enabled": true } }),
        ),
        (
            "a file for two",
            json!({ "config": config(), "replicas": 2, "persistence": { "enabled": true } }),
        ),
        (
            "memory for two",
            json!({ "config": config(), "replicas": 2 }),
        ),
        (
            "settings twice",
            json!({ "config": config(), "existingSecret": { "name": "settings" } }),
        ),
        (
            "metrics of nothing",
            json!({ "config": config(), "admin": { "enabled": false }, "serviceMonitor": { "enabled": true } }),
        ),
        ("a typo", json!({ "config": config(), "replica": 2 })),
        (
            "a port that is taken",
            json!({ "config": config(), "admin": { "port": 3030 } }),
        ),
        (
            "an address that is none",
            json!({ "config": config(), "redis": { "url": "redis:6379" } }),
        ),
    ])
}

/// What came of the installations; `None` where the packages cannot be had.
fn outcomes() -> Option<&'static BTreeMap<&'static str, Value>> {
    static OUTCOMES: OnceLock<Option<BTreeMap<&'static str, Value>>> = OnceLock::new();
    let outcomes = OUTCOMES.get_or_init(|| {
        let import = "import helm_python, kubernetes_validate, yaml";
        let python = Python::with("helm", &PACKAGES, import)?;
        let (names, values): (Vec<_>, Vec<_>) = installations().into_iter().unzip();
        let questions = values
            .into_iter()
            .map(|values| json!({ "chart": CHART, "values": values }));
        let questions: Vec<Value> = questions.collect();
        let answers = python.answers("deployment/chart.py", &questions);
        Some(names.into_iter().zip(answers).collect())
    });
    outcomes.as_ref()
}

/// The document of `kind` that `template` renders in `outcome`.
#[track_caller]
fn document<'a>(outcome: &'a Value, template: &str, name: &str) -> &'a Value {
    let documents = outcome["rendered"][template].as_array().unwrap();
    documents
        .iter()
        .find(|document| document["metadata"]["name"] == name)
        .unwrap_or_else(|| panic!("{template} renders no {name}: {documents:?}"))
}

fn container(outcome: &Value) -> &Value {
    &document(outcome, "deployment.yaml", "demo-jsdkd")["spec"]["template"]["spec"]["containers"][0]
}

fn variable<'a>(outcome: &'a Value, name: &str) -> Option<&'a Value> {
    let variables = container(outcome)["env"].as_array().unwrap();
    variables.iter().find(|variable| variable["name"] == name)
}

#[test]
fn helm_and_kubernetes_find_no_fault_in_the_chart() {
    let Some(outcomes) = outcomes() else { return };
    for name in [
        "least",
        "everything",
        "secrets of its own",
        "a file",
        "a file on a claim that is there",
        "no admin port",
    ] {
        let outcome = &outcomes[name];
        assert_eq!(outcome["error"], Value::Null, "{name}");
        assert_eq!(outcome["lint"], json!([]), "{name}");
        assert_eq!(outcome["faults"], json!([]), "{name}");
    }
    let kinds = outcomes["everything"]["rendered"].as_object().unwrap();
    let kinds = kinds.values().flat_map(|documents| {
        documents
            .as_array()
            .unwrap()
            .iter()
            .map(|document| document["kind"].as_str().unwrap())
    });
    let mut kinds: Vec<_> = kinds.collect();
    kinds.sort_unstable();
    assert_eq!(
        kinds,
        [
            "ConfigMap",
            "Deployment",
            "Ingress",
            "NetworkPolicy",
            "PodDisruptionBudget",
            "PrometheusRule",
            "Secret",
            "Secret",
            "Service",
            "Service",
            "ServiceAccount",
            "ServiceMonitor"
        ]
    );
}

#[test]
fn the_prometheus_operator_takes_its_documents() {
    let Some(outcomes) = outcomes() else { return };
    let Some(node) = Node::with("operator", "deployment/package.json") else {
        return;
    };
    let outcome = &outcomes["everything"];
    let monitor = document(outcome, "servicemonitor.yaml", "demo-jsdkd");
    let rule = document(outcome, "prometheusrule.yaml", "demo-jsdkd");
    let mut faulty = monitor.clone();
    faulty["spec"]["endpoints"][0]["port"] = json!(3031);
    let folder = tempfile::tempdir().unwrap();
    let faults = |documents: Value| {
        let file = folder.path().join("documents.json");
        fs::write(&file, documents.to_string()).unwrap();
        let mut command = node.run("deployment/operator.js", folder.path());
        let output = command.arg(&file).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice::<Vec<String>>(&output.stdout).unwrap()
    };
    assert_eq!(faults(json!([monitor, rule])), [""; 0]);
    // It does find faults.
    assert_eq!(
        faults(json!([faulty])),
        ["ServiceMonitor: data/spec/endpoints/0/port must be string"]
    );
}

#[test]
fn values_that_would_lose_tokens_are_refused() {
    let Some(outcomes) = outcomes() else { return };
    for (name, why) in [
        ("no settings", "there are no settings"),
        ("two stores", "jsdkd has one store"),
        ("a file for two", "replicas must be 1"),
        ("memory for two", "needs a shared store"),
        ("settings twice", "jsdkd reads one file"),
        ("metrics of nothing", "needs admin.enabled"),
        ("a typo", "'replica' not allowed"),
        ("a port that is taken", "/admin/port"),
        ("an address that is none", "/redis/url"),
    ] {
        let error = outcomes[name]["error"].as_str();
        assert!(
            error.is_some_and(|error| error.contains(why)),
            "{name}: {error:?}"
        );
    }
}

#[test]
fn the_pod_is_confined_and_probed() {
    let Some(outcomes) = outcomes() else { return };
    let outcome = &outcomes["least"];
    let pod = &document(outcome, "deployment.yaml", "demo-jsdkd")["spec"]["template"]["spec"];
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    assert_eq!(
        pod["securityContext"]["seccompProfile"]["type"],
        "RuntimeDefault"
    );
    assert_eq!(pod["automountServiceAccountToken"], false);
    // JSDKD_PORT and the like would be taken for settings.
    assert_eq!(pod["enableServiceLinks"], false);
    let container = container(outcome);
    assert_eq!(
        container["securityContext"],
        json!({ "allowPrivilegeEscalation": false, "readOnlyRootFilesystem": true, "capabilities": { "drop": ["ALL"] } })
    );
    for (probe, path) in [
        ("startupProbe", "/ping"),
        ("livenessProbe", "/ping"),
        ("readinessProbe", "/ready"),
    ] {
        let asked = &container[probe]["httpGet"];
        assert_eq!(asked, &json!({ "path": path, "port": "http" }), "{probe}");
    }
    assert!(container["resources"]["limits"]["memory"].is_string());
    // The image's own user.
    assert!(read("Dockerfile").contains("USER 10001:10001"));
    assert_eq!(pod["securityContext"]["runAsUser"], 10001);
}

#[test]
fn the_admin_port_is_published_by_nothing() {
    let Some(outcomes) = outcomes() else { return };
    let outcome = &outcomes["everything"];
    assert_eq!(
        variable(outcome, "JSDKD__SERVER__ADMIN").unwrap()["value"],
        "0.0.0.0:3031"
    );
    let public = document(outcome, "service.yaml", "demo-jsdkd");
    assert_eq!(
        public["spec"]["ports"],
        json!([{ "name": "http", "port": 80, "targetPort": "http" }])
    );
    let admin = document(outcome, "service.yaml", "demo-jsdkd-admin");
    assert_eq!(admin["spec"]["type"], "ClusterIP");
    let ingress = document(outcome, "ingress.yaml", "demo-jsdkd").to_string();
    assert!(!ingress.contains("admin"), "{ingress}");
    let policy = document(outcome, "networkpolicy.yaml", "demo-jsdkd");
    let rules = policy["spec"]["ingress"].as_array().unwrap();
    assert_eq!(rules.len(), 2);
    assert_eq!(
        rules[1],
        json!({
            "ports": [{ "port": "admin", "protocol": "TCP" }],
            "from": [{ "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": "monitoring" } } }],
        })
    );
    let monitor = document(outcome, "servicemonitor.yaml", "demo-jsdkd");
    assert_eq!(monitor["spec"]["endpoints"][0]["port"], "admin");
    // The alerts look for this job.
    assert_eq!(
        monitor["spec"]["endpoints"][0]["relabelings"],
        json!([{ "targetLabel": "job", "replacement": "jsdkd" }])
    );
    let without = &outcomes["no admin port"];
    assert_eq!(variable(without, "JSDKD__SERVER__ADMIN"), None);
    assert_eq!(
        without["rendered"]["service.yaml"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[test]
fn the_settings_arrive_as_they_were_written() {
    let Some(outcomes) = outcomes() else { return };
    let outcome = &outcomes["least"];
    let secret = document(outcome, "secret.yaml", "demo-jsdkd");
    let file = secret["data"]["jsdkd.json"].as_str().unwrap();
    let file = BASE64_STANDARD.decode(file).unwrap();
    let written: Value = serde_json::from_slice(&file).unwrap();
    assert_eq!(written, config());
    assert_eq!(
        variable(outcome, "APP_CONFIG").unwrap()["value"],
        "/app/config/jsdkd.json"
    );
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("jsdkd.json");
    fs::write(&path, file).unwrap();
    let checked = Command::new(env!("CARGO_BIN_EXE_jsdkd"))
        .arg("check")
        .arg(&path)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
    // Secrets stand in Secrets alone.
    let rest = outcome["rendered"]["deployment.yaml"].to_string();
    assert!(!rest.contains("not-a-real-secret"));

    let own = &outcomes["secrets of its own"];
    assert_eq!(own["rendered"]["secret.yaml"], json!([]));
    assert_eq!(
        variable(own, "APP_CONFIG").unwrap()["value"],
        "/app/config/wx.json"
    );
    let reference = json!({ "secretKeyRef": { "name": "store", "key": "address" } });
    assert_eq!(
        variable(own, "JSDKD__CACHE__REDIS").unwrap()["valueFrom"],
        reference
    );
    let file = &outcomes["a file"];
    let deployment = document(file, "deployment.yaml", "demo-jsdkd");
    assert_eq!(deployment["spec"]["strategy"]["type"], "Recreate");
    assert_eq!(
        variable(file, "JSDKD__CACHE__FILE").unwrap()["value"],
        "/app/cache/cache.json"
    );
}

#[test]
fn the_chart_brings_the_alerts_and_the_dashboard() {
    for (copy, original) in [
        (
            "deploy/helm/jsdkd/files/alerts.yml",
            "deploy/prometheus/alerts.yml",
        ),
        (
            "deploy/helm/jsdkd/files/jsdkd.json",
            "deploy/grafana/jsdkd.json",
        ),
    ] {
        assert!(
            read(copy) == read(original),
            "they differ: cp {original} {copy}"
        );
    }
    let Some(outcomes) = outcomes() else { return };
    let alerts: Value = yaml_serde::from_str(&read("deploy/prometheus/alerts.yml")).unwrap();
    let rule = document(&outcomes["everything"], "prometheusrule.yaml", "demo-jsdkd");
    assert_eq!(rule["spec"], alerts);
    let moved = document(
        &outcomes["secrets of its own"],
        "prometheusrule.yaml",
        "demo-jsdkd",
    );
    assert_eq!(
        moved["spec"]["groups"][0]["rules"][0]["annotations"]["runbook_url"],
        "https://wiki.example/jsdkd.html#jsdkdabsent"
    );
    let dashboard = document(
        &outcomes["everything"],
        "dashboard.yaml",
        "demo-jsdkd-dashboard",
    );
    assert_eq!(
        dashboard["data"]["jsdkd.json"],
        read("deploy/grafana/jsdkd.json")
    );
}

#[test]
fn the_notes_speak_of_the_outgoing_address_and_of_a_missing_store() {
    let Some(outcomes) = outcomes() else { return };
    let notes = |name: &str| outcomes[name]["notes"].as_str().unwrap().to_owned();
    assert!(notes("least").contains("40164"));
    assert!(notes("least").contains("WARNING: there is no store."));
    assert!(!notes("a file").contains("WARNING"));
    assert!(!notes("everything").contains("WARNING"));
}

#[test]
fn the_chart_has_the_servers_version() {
    let chart: Value = yaml_serde::from_str(&read("deploy/helm/jsdkd/Chart.yaml")).unwrap();
    assert_eq!(chart["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(chart["appVersion"], env!("CARGO_PKG_VERSION"));
}
