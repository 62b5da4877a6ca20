//! Reads the settings from a file and from variables into a checked `Config`, or reports every
//! fault at once. The only part of the program that reads the environment.
//!
//! Reading order: `config` (the result), `json5` (text to values), `layers` (which value wins),
//! `validate` (what is checked), `reader` and `values` (how one setting is read), `faults` (how a
//! fault is shown).

mod accounts;
mod admin;
mod cache;
#[cfg(feature = "sql")]
mod cache_sql;
mod callers;
mod config;
mod cors;
mod environment;
mod faults;
mod find;
mod gateway;
mod hub;
mod json5;
mod layers;
mod lists;
mod messages;
mod node;
mod oauth;
mod outgoing;
mod plain;
mod presets;
mod reader;
mod realm_scope;
mod realms;
mod replies;
mod sources;
mod templates;
mod validate;
mod values;
mod variables;
mod wechat_server;
mod wecom;

use std::path::PathBuf;

use ::config::{Map, Value, ValueKind};

pub use self::config::{
    CallerPolicy, Config, GatewayConfig, HubConfig, LoginConfig, ServerConfig, WechatConfig,
    WechatServerConfig, WecomConfig, WecomCorp,
};
pub use self::environment::Environment;
pub use self::faults::{Fault, SettingsError};
pub use self::find::find_file;
pub use self::plain::read_json5;
pub use crate::ip_allowlist::{Reach, TrustedProxies};

use self::faults::{About, Weight};
use self::reader::Reader;
use self::variables::Variables;

/// Where the settings come from, and how strictly they are checked.
#[derive(Clone, Debug, Default)]
pub struct Source {
    origin: Origin,
    strict: bool,
}

#[derive(Clone, Debug, Default)]
enum Origin {
    #[default]
    Variables,
    File(PathBuf),
    Text {
        name: String,
        text: String,
    },
}

impl Source {
    /// A file; with `None`, the variables alone. [`find_file`] finds the file.
    pub fn file(path: Option<PathBuf>) -> Self {
        Self {
            origin: path.map_or(Origin::Variables, Origin::File),
            strict: false,
        }
    }

    /// Settings as text that is not in a file, and the name that faults use for it.
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self {
            origin: Origin::Text {
                name: name.into(),
                text: text.into(),
            },
            strict: false,
        }
    }

    /// With `strict`, an unknown setting is a fault instead of a warning.
    pub fn strict(self, strict: bool) -> Self {
        Self { strict, ..self }
    }
}

/// Checked settings.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// What the operator should know, each with its place.
    pub warnings: Vec<String>,
    /// The file they were read from, if any.
    pub file: Option<PathBuf>,
}

/// Reads and checks the settings. Starts nothing; reads only the file and the files of secrets.
pub fn load(source: &Source, env: &Environment) -> Result<Loaded, SettingsError> {
    load_noting_files(source, env).map(|(loaded, _)| loaded)
}

/// As [`load`], with the files that secrets were read from.
pub fn load_noting_files(
    source: &Source,
    env: &Environment,
) -> Result<(Loaded, Vec<PathBuf>), SettingsError> {
    let read;
    let (name, text, file) = match &source.origin {
        Origin::Variables => (String::new(), None, None),
        Origin::Text { name, text } => (name.clone(), Some(text), None),
        Origin::File(path) => {
            read = find::read(path)?;
            (path.display().to_string(), Some(&read), Some(path.clone()))
        }
    };
    let reader = Reader::new(env);
    let entries = match text {
        Some(text) => Some(parse(&name, text, &reader)?),
        None => None,
    };
    let variables = Variables::read(env, entries.is_none(), &reader);
    outgoing::check(env, &reader);
    let merged = layers::merge(entries, &variables)
        .map_err(|fault| SettingsError::one("", fault.to_string()))?;
    let config = validate::validate(&merged, &variables, env, &reader);
    let secret_files = reader.secret_files();
    let (warnings, error) = faults::judge(reader.into_remarks(), &name, source.strict);
    match (config, error) {
        (Some(config), None) => {
            let loaded = Loaded {
                config,
                warnings,
                file,
            };
            Ok((loaded, secret_files))
        }
        (_, Some(error)) => Err(error),
        // A setting that cannot be read always adds a remark; this is for the case that one does
        // not.
        (None, None) => Err(SettingsError::one("", "the settings are incomplete")),
    }
}

/// The members of the one object that `text` is. `name` is the file's name.
fn parse(name: &str, text: &str, reader: &Reader<'_>) -> Result<Map<String, Value>, SettingsError> {
    let document = json5::parse(text, |position| Some(position.to_string())).map_err(|error| {
        SettingsError::of(Fault {
            place: format!("{name}:{}", error.position),
            path: error.setting,
            message: error.message,
        })
    })?;
    for (position, key) in document.repeated {
        let message = format!(
            "the setting {key:?} is written more than once in one object; the last one counts"
        );
        reader.remark(About::Place(position), Weight::Note, message);
    }
    match document.root.kind {
        ValueKind::Table(members) => Ok(members),
        _ => Err(SettingsError::one(
            name,
            "expected one object: { apps: […], … }",
        )),
    }
}
