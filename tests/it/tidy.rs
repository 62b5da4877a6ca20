//! The structural rules of ARCHITECTURE.md, checked on the source.

use std::fs;
use std::path::{Path, PathBuf};

/// The rooms of the server and their ranks: a room imports lower ranks and itself, nothing else.
const SERVER: &[(&str, u8)] = &[
    ("client_network", 0),
    ("ip_allowlist", 0),
    ("origin", 0),
    ("telemetry", 0),
    ("counters", 1),
    ("log_limit", 1),
    ("oauth", 1),
    ("realm", 2),
    ("login", 4),
    ("message", 5),
    ("settings", 6),
    ("registry", 6),
    ("gateway", 7),
    ("status", 7),
    ("http", 8),
    ("server", 9),
    ("cli", 10),
    ("main", 10),
];

/// The rooms of `crates/credentials` and their ranks. Between crates cargo enforces the order.
const CREDENTIALS: &[(&str, u8)] = &[
    ("rng", 0),
    ("files", 0),
    ("observer", 0),
    ("store", 1),
    ("ledger", 2),
    ("engine", 3),
    ("keeper", 4),
    ("sources", 4),
    ("error", 5),
    ("value", 5),
    ("credentials", 6),
    ("builder", 7),
];

/// The folders of sources.
pub(crate) const FOLDERS: [&str; 5] = [
    "src",
    "crates/clock/src",
    "crates/wechat/src",
    "crates/credentials/src",
    "crates/sandbox/src",
];

/// One source file: its path, its room, and its text without tests.
struct Source {
    /// The path below the project's root.
    name: String,
    /// The folder of [`FOLDERS`].
    folder: &'static str,
    room: String,
    text: String,
    code: String,
}

/// All files except tests.
fn sources() -> Vec<Source> {
    FOLDERS.into_iter().flat_map(sources_of).collect()
}

fn sources_of(folder: &'static str) -> Vec<Source> {
    let project = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = project.join(folder);
    let mut files = Vec::new();
    collect(&root, &mut files);
    files.sort();
    let sources = files
        .iter()
        .filter(|path| !path.to_string_lossy().ends_with("tests.rs"))
        .map(|path| {
            let inside = path
                .strip_prefix(&root)
                .expect("below its folder")
                .to_string_lossy()
                .replace('\\', "/");
            let room = inside
                .split('/')
                .next()
                .expect("a first part")
                .trim_end_matches(".rs")
                .to_owned();
            let name = format!("{folder}/{inside}");
            let text = fs::read_to_string(path).expect("a source file");
            let before_tests = text
                .split("\n#[cfg(test)]\nmod tests {")
                .next()
                .expect("a first part")
                .to_owned();
            let code = before_tests
                .lines()
                .map(without_comment)
                .collect::<Vec<_>>()
                .join("\n");
            Source {
                name,
                folder,
                room,
                text: before_tests,
                code,
            }
        });
    sources.collect()
}

pub(crate) fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

pub(crate) fn without_comment(line: &str) -> &str {
    let trimmed = line.trim_start();
    if trimmed.starts_with("//") {
        ""
    } else {
        line.split(" // ").next().unwrap_or(line)
    }
}

fn rank(ranks: &[(&str, u8)], room: &str) -> Option<u8> {
    ranks
        .iter()
        .find(|(name, _)| *name == room)
        .map(|(_, rank)| *rank)
}

/// The rooms that a text names with `word::room`.
fn rooms_after<'t>(code: &'t str, word: &str) -> Vec<&'t str> {
    let rest = code
        .match_indices(word)
        .filter(|(at, _)| !code[..*at].ends_with(|c: char| c.is_alphanumeric() || c == '_'));
    let named = rest.flat_map(|(at, _)| {
        let rest = &code[at + word.len()..];
        // `use crate::{a::B, c}`: the first word of each member.
        match rest.strip_prefix('{') {
            Some(list) => top_level(list),
            None => vec![rest],
        }
    });
    named
        .map(|text| {
            text.split(|c: char| !(c.is_alphanumeric() || c == '_'))
                .next()
                .unwrap_or_default()
        })
        .collect()
}

/// The members of a brace list, without the contents of inner braces.
fn top_level(list: &str) -> Vec<&str> {
    let (mut depth, mut begin, mut members) = (0, 0, Vec::new());
    for (at, c) in list.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => {
                members.push(list[begin..at].trim());
                break;
            }
            '}' => depth -= 1,
            ',' if depth == 0 => {
                members.push(list[begin..at].trim());
                begin = at + 1;
            }
            _ => {}
        }
    }
    members.retain(|member| !member.is_empty());
    members
}

/// Fails with every line outside `homes` that contains one of `words`. A home is a folder
/// (`store/`) or a file (`clock.rs`).
#[track_caller]
fn only_in(homes: &[&str], words: &[&str]) {
    let mut strays = Vec::new();
    let mut at_home = 0;
    for source in sources() {
        let is_home = homes.iter().any(|home| {
            source.name == *home || (home.ends_with('/') && source.name.starts_with(home))
        });
        for (number, line) in source.code.lines().enumerate() {
            if let Some(word) = words.iter().find(|word| line.contains(**word)) {
                if is_home {
                    at_home += 1;
                } else {
                    strays.push(format!("{}:{}: {word}", source.name, number + 1));
                }
            }
        }
    }
    assert!(strays.is_empty(), "only {homes:?} may: {strays:#?}");
    assert!(
        at_home > 0,
        "{words:?} is nowhere at all: has the rule lost its object?"
    );
}

#[test]
fn no_room_imports_upwards() {
    let mut faults = Vec::new();
    for (folder, ranks) in [("src", SERVER), ("crates/credentials/src", CREDENTIALS)] {
        for source in sources_of(folder)
            .iter()
            .filter(|source| source.room != "lib")
        {
            let Some(mine) = rank(ranks, &source.room) else {
                faults.push(format!("{} is in a room without a rank", source.name));
                continue;
            };
            let word = if source.room == "main" {
                "jsdkd::"
            } else {
                "crate::"
            };
            for named in rooms_after(&source.code, word)
                .into_iter()
                .filter(|named| named.starts_with(char::is_lowercase))
            {
                match rank(ranks, named) {
                    _ if named == source.room => {}
                    Some(theirs) if theirs < mine => {}
                    Some(theirs) => faults.push(format!(
                        "{} (rank {mine}) names {named} (rank {theirs})",
                        source.name
                    )),
                    None => faults.push(format!(
                        "{} names {word}{named}, which has no rank",
                        source.name
                    )),
                }
            }
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn every_form_of_use_is_read() {
    assert_eq!(
        rooms_after(
            "use crate::clock::Clock;\nlet a = crate::store::open();",
            "crate::"
        ),
        ["clock", "store"]
    );
    assert_eq!(
        rooms_after(
            "use crate::{account::{A, B}, keeper,\n    http};",
            "crate::"
        ),
        ["account", "keeper", "http"]
    );
    assert!(rooms_after("use mycrate::clock;", "crate::").is_empty());
}

#[test]
fn login_and_settings_do_not_know_each_other() {
    for source in sources_of("src") {
        let named = rooms_after(&source.code, "crate::");
        let strangers = match source.room.as_str() {
            "settings" => ["login"],
            "login" => ["settings"],
            _ => continue,
        };
        let named = strangers.iter().find(|stranger| named.contains(stranger));
        assert_eq!(named, None, "{} names it", source.name);
    }
}

#[test]
fn only_http_and_the_wiring_know_actix() {
    only_in(
        &[
            "src/http/",
            "src/server.rs",
            "src/server/",
            "crates/sandbox/",
        ],
        &[
            "actix_web",
            "actix_cors",
            "use actix_http",
            "use actix_server",
            "use actix_service",
        ],
    );
}

#[test]
fn only_wechat_names_wechats_hosts() {
    // The sandbox is the other end of these calls; the table of presets and the gateway name paths
    // without calling them.
    only_in(
        &[
            "crates/wechat/",
            "crates/sandbox/",
            "src/realm/presets.rs",
            "src/gateway/",
        ],
        &["/cgi-bin/"],
    );
}

#[test]
fn only_the_store_does_storage_io() {
    // Files of other programs are only read; a message is sent as it is.
    let readers = [
        "crates/credentials/src/store/",
        "crates/credentials/src/files.rs",
        "src/cli/push.rs",
        "src/status/process.rs",
    ];
    only_in(
        &readers,
        &["std::fs", "fs::read", "File::open", "tokio::fs"],
    );
    only_in(
        &readers[..1],
        &[
            "fs::write",
            "fs::rename",
            "fs::remove_file",
            "tempfile::",
            "File::create",
            "sync_all",
        ],
    );
}

#[test]
fn only_clock_reads_the_time() {
    only_in(
        &["crates/clock/"],
        &[
            "clock_gettime",
            "SystemTime::now",
            "Instant::now",
            "Utc::now",
            "Local::now",
        ],
    );
}

#[test]
fn only_settings_reads_the_environment() {
    only_in(&["src/settings/"], &["env::var", "env::vars", "std::env::"]);
}

#[test]
fn only_owners_of_tasks_spawn() {
    only_in(
        &[
            "src/cli/serve.rs",
            "src/server.rs",
            "src/server/admin.rs",
            "src/login/",
            "src/message/",
            "src/registry/",
            "src/gateway/",
            "src/http/gateway_body.rs",
            "crates/credentials/",
            "crates/sandbox/",
        ],
        &["spawn(", "spawn_blocking(", "spawn_local("],
    );
}

#[test]
fn only_the_commands_write_to_the_terminal() {
    only_in(
        &["src/cli/"],
        &["println!", "eprintln!", "print!(", "eprint!(", "dbg!("],
    );
}

#[test]
fn no_mutable_statics() {
    let words = [
        "static mut",
        "OnceLock",
        "LazyLock",
        "lazy_static",
        "OnceCell",
        "thread_local!",
    ];
    for source in sources() {
        let found = words.iter().find(|word| source.code.contains(**word));
        assert!(
            found.is_none(),
            "{} has a {}: shared state is built in server.rs",
            source.name,
            found.expect("a word")
        );
    }
}

#[test]
fn every_file_has_a_description_and_is_short() {
    let mut faults = Vec::new();
    for source in sources() {
        let lines = source.text.lines().count();
        if !source.text.starts_with("//! ") {
            faults.push(format!("{} does not open with what it is", source.name));
        }
        if lines >= 400 {
            faults.push(format!(
                "{} has {lines} lines before its tests",
                source.name
            ));
        }
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn only_promised_items_are_public() {
    let text = include_str!("../../crates/credentials/src/lib.rs");
    let lines: Vec<&str> = text.lines().collect();
    for pair in lines
        .windows(2)
        .filter(|pair| pair[1].starts_with("pub mod "))
    {
        assert_eq!(pair[0], "#[doc(hidden)]", "{}", pair[1]);
    }
    let public: Vec<&str> = lines
        .iter()
        .filter(|line| line.starts_with("pub ") && !line.starts_with("pub mod "))
        .copied()
        .collect();
    let promised = [
        "pub use builder::{Account, Builder};",
        "pub use credentials::Credentials;",
        "pub use error::Error;",
        "pub use secrecy::{ExposeSecret, SecretString};",
        "pub use value::{Credential, JsConfig, Kind};",
    ];
    assert_eq!(
        public, promised,
        "a new public name is a new promise: write it into docs/library.md and CHANGELOG.md"
    );
    // Public items of the library must be its own types, or types that it re-exports.
    let face = ["builder", "credentials", "error", "value"];
    for source in sources_of("crates/credentials/src")
        .iter()
        .filter(|source| face.contains(&source.room.as_str()))
    {
        let signatures = source
            .code
            .lines()
            .filter(|line| line.trim_start().starts_with("pub "));
        for line in signatures.filter(|line| !line.trim_start().starts_with("pub(")) {
            let foreign = [
                "actix", "reqwest", "redis::", "sqlx", "crate::", "Keeper", "Value", "anyhow",
                "Url",
            ];
            let found = foreign.iter().find(|word| line.contains(**word));
            assert_eq!(found, None, "{}: {line}", source.name);
        }
    }
}

#[test]
fn the_architecture_page_names_every_room_and_is_short() {
    let page = include_str!("../../ARCHITECTURE.md");
    assert!(page.lines().count() < 150, "{} lines", page.lines().count());
    for source in sources_of("src")
        .iter()
        .chain(&sources_of("crates/credentials/src"))
        .filter(|source| source.room != "lib")
    {
        let is_file = source.name == format!("{}/{}.rs", source.folder, source.room);
        let room = if is_file {
            format!("{}.rs", source.room)
        } else {
            format!("{}/", source.room)
        };
        assert!(page.contains(&room), "ARCHITECTURE.md does not name {room}");
    }
    for (room, rank) in SERVER.iter().chain(CREDENTIALS) {
        let line = page.lines().find(|line| {
            line.contains(&format!("`{room}.rs`")) || line.contains(&format!("`{room}/`"))
        });
        let line = line.unwrap_or_else(|| panic!("ARCHITECTURE.md has no row for {room}"));
        assert!(
            line.starts_with(&format!("| {rank} ")),
            "{room} has rank {rank}: {line}"
        );
    }
}
