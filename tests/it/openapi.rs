//! docs/openapi.yaml describes every route: compared with the route table in both directions,
//! validated as OpenAPI 3.1, and compared with the answers of a running server.

use std::collections::BTreeSet;
use std::fs;

use jsdkd::realm::presets;
use reqwest::Method;
use serde_json::{Value, json};

use crate::hub;
use crate::support::app::{APP, TestApp};
use crate::support::gateway::VIRTUAL;
use crate::support::keepers::dead_address;
use crate::support::pip::Python;

/// Installed by pip once per target folder.
const PACKAGES: [&str; 4] = [
    "openapi-spec-validator==0.7.2",
    "jsonschema==4.26.0",
    "referencing==0.36.2",
    "pyyaml==6.0.4",
];

const METHODS: [&str; 2] = ["get", "post"];

fn text() -> String {
    fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/openapi.yaml")).unwrap()
}

fn document() -> Value {
    yaml_serde::from_str(&text()).expect("YAML")
}

/// Path and method of every operation.
fn operations(document: &Value) -> BTreeSet<(String, String)> {
    let paths = document["paths"].as_object().unwrap();
    let operations = paths.iter().flat_map(|(path, item)| {
        let methods = METHODS.iter().filter(|method| item.get(**method).is_some());
        methods.map(|method| (path.clone(), (*method).to_owned()))
    });
    operations.collect()
}

/// `/login/{uuid:[0-9a-f]+}` as in OpenAPI: `/login/{uuid}`.
fn without_patterns(path: &str) -> String {
    let mut parts = path.split('{');
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (parameter, rest) = part.split_once('}').expect("a closed parameter");
        let name = parameter.split(':').next().unwrap_or_default();
        plain.push_str(&format!("{{{name}}}{rest}"));
    }
    plain
}

#[test]
fn openapi_lists_exactly_the_routes_of_the_server() {
    let mut served: BTreeSet<(String, String)> = BTreeSet::new();
    for (path, allow) in jsdkd::http::list_routes() {
        for method in METHODS.iter().filter(|method| {
            allow
                .split(", ")
                .any(|allowed| allowed.eq_ignore_ascii_case(method))
        }) {
            served.insert((without_patterns(&path), (*method).to_owned()));
        }
    }
    // The root accepts messages only if a proxy names the app, so it does not offer POST. The files
    // have no route.
    served.extend(
        [("/", "post"), ("/{name}.txt", "get")]
            .map(|(path, method)| (path.to_owned(), method.to_owned())),
    );
    let described = operations(&document());
    assert_eq!(
        described.difference(&served).collect::<Vec<_>>(),
        Vec::<&(String, String)>::new(),
        "described, not served"
    );
    assert_eq!(
        served.difference(&described).collect::<Vec<_>>(),
        Vec::<&(String, String)>::new(),
        "served, not described"
    );
}

#[test]
fn openapi_lists_what_the_gateway_takes_and_answers_itself() {
    let document = document();
    let parameters = document["paths"]["/{segment}/{path}"]["parameters"].clone();
    let segments = parameters[0]["schema"]["enum"].as_array().unwrap().clone();
    assert_eq!(segments, presets::FIRST_SEGMENTS.map(Value::from));
    let described = operations(&document);
    let rows = presets::TABLE.iter();
    for row in rows.filter(|row| row.handling == presets::Handling::IssueToken) {
        let is_it = |(path, _): &&(String, String)| path == row.path;
        assert!(described.iter().any(|row| is_it(&row)), "{}", row.path);
    }
}

#[test]
fn every_route_stands_on_a_page() {
    let pages = ["routes.md", "neighbours.md", "tokenboy.md", "gateway.md"].map(|page| {
        fs::read_to_string(format!("{}/docs/{page}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    });
    let pages = pages.concat();
    let document = document();
    for (path, method) in operations(&document) {
        // wetoken's page combines its paths, and the demo's routes are for its own page.
        let tags = &document["paths"][&path][&method]["tags"];
        if tags == &json!(["wetoken"]) || tags == &json!(["demo"]) || path == "/{name}.txt" {
            continue;
        }
        let ends = ['`', '?'].map(|end| format!("{path}{end}"));
        assert!(
            ends.iter().any(|text| pages.contains(text)),
            "no page has {path}"
        );
    }
}

#[test]
fn openapi_is_valid() {
    oas3::from_yaml(text()).expect("OpenAPI 3.1");
    let Some(python) = Python::with("openapi", &PACKAGES, "import openapi_spec_validator, yaml")
    else {
        return;
    };
    let root = env!("CARGO_MANIFEST_DIR");
    let ran = python
        .run(&[
            &format!("{root}/tests/it/openapi/validate.py"),
            &format!("{root}/docs/openapi.yaml"),
        ])
        .output()
        .unwrap();
    assert!(
        ran.status.success(),
        "{}{}",
        String::from_utf8_lossy(&ran.stdout),
        String::from_utf8_lossy(&ran.stderr)
    );
}

#[test]
fn openapi_names_the_error_codes_of_the_server() {
    let document = document();
    let all = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    let all: BTreeSet<&str> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|code| code.as_str().unwrap())
        .collect();
    let source =
        fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/src/http/error.rs")).unwrap();
    let known = source.split("(\"").skip(1).filter_map(|rest| {
        let (code, rest) = rest.split_once("\", ")?;
        (rest.starts_with("StatusCode::") || rest.starts_with("*status)")).then_some(code)
    });
    assert_eq!(
        all,
        known.collect(),
        "the codes of the schema and of the server"
    );
    // Each code must belong to a response.
    let mut used = BTreeSet::new();
    collect_codes(&document["paths"], &mut used);
    collect_codes(&document["components"]["responses"], &mut used);
    assert_eq!(used, all, "the codes of the responses and of the schema");
}

/// The values of every `code: { enum: […] }` below `node`.
fn collect_codes<'d>(node: &'d Value, into: &mut BTreeSet<&'d str>) {
    match node {
        Value::Object(members) => {
            if let Some(codes) = members.get("code").and_then(|code| code["enum"].as_array()) {
                into.extend(codes.iter().filter_map(Value::as_str));
            }
            members
                .values()
                .for_each(|member| collect_codes(member, into));
        }
        Value::Array(items) => items.iter().for_each(|item| collect_codes(item, into)),
        _ => {}
    }
}

/// The response of `operation` for `status`, with `$ref` resolved.
fn response<'d>(document: &'d Value, operation: &'d Value, status: u16) -> Option<&'d Value> {
    let responses = &operation["responses"];
    let response = responses
        .get(status.to_string())
        .or_else(|| responses.get("default"))?;
    match response["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')),
        None => Some(response),
    }
}

/// `path` with an example for each parameter.
fn example_of(path: &str) -> String {
    path.replace("{appid}", "wxdemo0000000001")
        .replace("{openid}", "o9O5bW0Wiry4iGfY1Z9JMIFVcnjV")
        .replace("{uuid}", "8babbf04d642de285b2b219b587b49e9")
        .replace("{text}", "hello")
        .replace("{name}", "MP_verify_dBGMo51NUVEVlQo5")
        .replace("{segment}", "cgi-bin")
        .replace("{path}", "getcallbackip")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_operation_answers_as_openapi_says() {
    let app = TestApp::with(json!({
        "hub": { "keys": { "key1": hub::KEY } },
        "realms": [{ "key": "shop", "secret": VIRTUAL, "apps": [APP], "gateway": ["all"] }],
        "wetoken": {},
        "wechatServer": { "token": "a-token-for-the-site" },
        "sources": { "dead": { "url": dead_address() } },
    }))
    .await;
    let document = document();
    for (path, method) in operations(&document) {
        let operation = &document["paths"][&path][&method];
        if operation["tags"] == json!(["demo"]) {
            continue;
        }
        // With no parameter at all, and with the account that the server has: most are refused,
        // each in its own shape.
        for appid in ["wxdemo0000000001", APP] {
            let request = app.request(
                Method::from_bytes(method.to_uppercase().as_bytes()).unwrap(),
                &example_of(&path).replace("wxdemo0000000001", appid),
            );
            let answer = app.send(request).await;
            let (status, media) = (
                answer.status.as_u16(),
                answer
                    .header("content-type")
                    .split(';')
                    .next()
                    .unwrap_or_default()
                    .to_owned(),
            );
            let told = response(&document, operation, status)
                .unwrap_or_else(|| panic!("{method} {path}: {status} is not described"));
            let described =
                media.is_empty() && answer.body.is_empty() || told["content"].get(&media).is_some();
            assert!(
                described,
                "{method} {path}: {status} with {media} is not described: {}",
                answer.body
            );
        }
    }
    app.stop().await;
}
