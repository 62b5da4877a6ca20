//! The position of a fault in the settings: line and column, or the variable.

use jsdkd::settings::{Source, load};

use crate::settings::{faults, good};

const APPS: &str = "apps: [{ key: 'wx1', secret: 's' }]";

/// The faults of `text` with these variables.
fn faults_with(text: &str, variables: &[(&str, &str)]) -> String {
    let loaded = load(
        &Source::text("jsdkd.json", text),
        &variables.iter().copied().collect(),
    );
    loaded
        .map(|loaded| loaded.warnings)
        .expect_err("the settings are faulty")
        .to_string()
}

/// The place and path of the only fault of `text`.
#[track_caller]
fn place(text: &str) -> String {
    let told = faults(text);
    assert_eq!(told.lines().count(), 1, "{told}");
    told.split_once(": ")
        .map(|(place, _)| place.to_owned())
        .unwrap_or(told)
}

#[test]
fn a_value_from_a_variable_is_reported_by_the_variable() {
    let text =
        format!("{{ server: {{ port: 1, bodyLimit: 'lots' }}, cors: ['a\\\\.com'], {APPS} }}");
    let told = faults_with(
        &text,
        &[
            ("PORT", "http"),
            ("JSDKD__CORS", "ok,a(b"),
            ("JSDKD__WECHAT__TIMEOUT", "soon"),
        ],
    );
    let mut places: Vec<&str> = told
        .lines()
        .filter_map(|line| line.split_once(": "))
        .map(|(place, _)| place)
        .collect();
    places.sort_unstable();
    let expected = [
        "JSDKD__CORS cors[1]",
        "JSDKD__WECHAT__TIMEOUT wechat.timeout",
        "PORT server.port",
        "jsdkd.json:1:22 server.bodyLimit",
    ];
    assert_eq!(places, expected);
    let repaired = faults_with(&text, &[("JSDKD__SERVER__BODY_LIMIT", "many")]);
    assert!(
        repaired.starts_with("JSDKD__SERVER__BODY_LIMIT server.bodyLimit: ")
            && repaired.lines().count() == 1,
        "{repaired}"
    );
}

#[test]
fn a_layered_list_is_reported_item_by_item() {
    let text = format!(
        "{{ {APPS},\n server: {{\n  trustedProxies: ['loopback',\n   'lan', 'private', 7] }} }}"
    );
    let told = faults(&text);
    let places: Vec<&str> = told
        .lines()
        .filter_map(|line| line.split(": ").next())
        .collect();
    assert_eq!(
        places,
        [
            "jsdkd.json:4:4 server.trustedProxies[1]",
            "jsdkd.json:4:22 server.trustedProxies[3]"
        ]
    );
}

#[test]
fn a_layered_object_keeps_its_place() {
    assert_eq!(
        place(&format!("{{ {APPS},\n  wetoken: {{ realm: 'R' }} }}")),
        "jsdkd.json:2:14 wetoken.realm"
    );
    assert_eq!(
        place(&format!(
            "{{ {APPS},\n  server: {{\n port: {{ a: 1 }} }} }}"
        )),
        "jsdkd.json:3:2 server.port"
    );
    assert_eq!(
        place(&format!("{{ {APPS},\n  server: 5 }}")),
        "jsdkd.json:2:3 server"
    );
    assert_eq!(
        place(&format!("{{ {APPS},\n  bind_port: 'x' }}")),
        "jsdkd.json:2:3 server.port"
    );
    let warned = good(&format!("{{ {APPS},\n  hub: {{ keys: {{}} }} }}")).warnings;
    assert!(
        warned.len() == 1 && warned[0].starts_with("jsdkd.json:2:3 hub: "),
        "{warned:?}"
    );
}

#[test]
fn a_variable_for_the_hub_keeps_the_files_keys() {
    let text = format!(
        "{{ {APPS}, hub: {{ keys: {{ kid: '{}' }} }} }}",
        "k".repeat(32)
    );
    let env = [("JSDKD__HUB__APP", "wx1")].into_iter().collect();
    let loaded = load(&Source::text("jsdkd.json", text), &env).expect("the settings hold");
    let hub = loaded.config.hub.expect("the hub is served");
    assert_eq!(
        (hub.keys.len(), hub.app.as_str(), loaded.warnings.len()),
        (1, "wx1", 0)
    );
}

#[test]
fn a_repeated_key_is_a_warning_at_its_repetition() {
    let warned = good(&format!(
        "{{ {APPS}, server: {{\n port: 1,\n 'port': 2 }} }}"
    ))
    .warnings;
    assert!(
        warned.len() == 1
            && warned[0].starts_with("jsdkd.json:3:2: ")
            && warned[0].contains("\"port\""),
        "{warned:?}"
    );
    assert_eq!(
        place(&format!("{{ reserve: '1s',\n reserve: 'x', {APPS} }}")),
        "jsdkd.json:2:2 reserve"
    );
}

#[test]
fn a_fault_in_a_secrets_reference_has_the_secrets_place() {
    for (reference, part) in [
        ("{ env: 'NONE' }", "NONE"),
        ("{ file: '/nowhere/x' }", "/nowhere/x"),
        ("{\n env: '' }", "an object"),
    ] {
        let text = format!("{{ apps: [\n {{ key: 'wx1',\n   secret: {reference} }}] }}");
        let told = faults(&text);
        assert!(
            told.starts_with("jsdkd.json:3:4 apps[0].secret: ") && told.contains(part),
            "{told}"
        );
    }
    assert_eq!(
        place(&format!(
            "{{ {APPS},\n hub: {{ keys: {{ k: {{ env: 'NONE' }} }} }} }}"
        )),
        "jsdkd.json:2:17 hub.keys.k"
    );
}

#[test]
fn columns_count_characters_and_lines_any_line_end() {
    assert_eq!(
        place(&format!("{{ /* 微信公众号 😀 */ reserve: 1, {APPS} }}")),
        "jsdkd.json:1:17 reserve"
    );
    assert_eq!(
        place(&format!("{{\n\t\treserve: 1,\n{APPS} }}")),
        "jsdkd.json:2:3 reserve"
    );
    for line_end in ["\n", "\r\n", "\r"] {
        let text = format!("{{ // 注释{line_end} {APPS},{line_end}  reserve: 1 }}");
        assert_eq!(place(&text), "jsdkd.json:3:3 reserve", "{line_end:?}");
    }
    assert_eq!(
        place(&format!("\u{feff}{{ reserve: 1, {APPS} }}")),
        "jsdkd.json:1:3 reserve"
    );
}

#[test]
fn a_byte_order_mark_in_the_file_shifts_no_column() {
    let dir = tempfile::tempdir().expect("a folder");
    let path = dir.path().join("jsdkd.json");
    std::fs::write(&path, format!("\u{feff}{{ reserve: 1, {APPS} }}")).expect("written");
    let told = load(&Source::file(Some(path)), &Default::default())
        .expect_err("a fault")
        .to_string();
    assert!(told.contains("jsdkd.json:1:3 reserve: "), "{told}");
}

#[test]
fn a_megabyte_of_nesting_is_one_clear_fault() {
    for text in [
        "[".repeat(1 << 20),
        "{a:".repeat(1 << 18),
        format!("{{ cors: {}", "[{a:".repeat(1 << 18)),
    ] {
        let told = faults(&text);
        assert!(
            told.lines().count() == 1 && told.contains("nested deeper than any setting"),
            "{told}"
        );
        assert!(told.starts_with("jsdkd.json:1:"), "{told}");
    }
}

#[test]
fn ten_thousand_faults_have_their_places() {
    let apps: Vec<String> = (0..10_000).map(|n| format!("{{ key: 'wx{n}' }}")).collect();
    let told = faults(&format!("{{ apps: [\n{}] }}", apps.join(",\n")));
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines.len(), 10_000);
    assert!(
        lines[9_999].starts_with("jsdkd.json:10001:1 apps[9999].secret: missing"),
        "{}",
        lines[9_999]
    );
}
