//! From a file and variables to a proven `Config`, or to every fault at once. The only room that reads the environment. It knows
//! what is configured, not what is done with it.
//!
//! Reading order: `config` (what comes out), `layers` (what is laid over what), `prove` (what must hold), `reader` (how one setting
//! is read), `faults` and `locate` (how a fault is shown).

mod accounts;
mod cache;
mod callers;
mod config;
mod cors;
mod environment;
mod faults;
mod find;
mod gateway;
mod hub;
mod layers;
mod lists;
mod locate;
mod messages;
mod node;
mod oauth;
mod outgoing;
mod presets;
mod prove;
mod reader;
mod realm_scope;
mod realms;
mod sources;
mod syntax;
mod values;
mod variables;
mod wecom;

use std::path::PathBuf;

pub use self::config::{CallerPolicy, Config, HubConfig, LoginConfig, ServerConfig, WechatConfig, WecomConfig, WecomCorp};
pub use self::environment::Environment;
pub use self::faults::{Fault, SettingsError};
pub use self::find::find_file;
pub use crate::ip_allowlist::{Reach, TrustedProxies};

use self::faults::{About, Weight, Written};
use self::node::{Document, Node};
use self::reader::Reader;
use self::variables::Variables;

/// Where the settings are written, and how strictly they are judged.
#[derive(Clone, Debug, Default)]
pub struct Source {
    written: Where,
    strict: bool,
}

#[derive(Clone, Debug, Default)]
enum Where {
    #[default]
    Nowhere,
    File(PathBuf),
    Text(String, String),
}

impl Source {
    /// A file; `None` leaves variables alone to say everything. [`find_file`] tells which file it is.
    pub fn file(path: Option<PathBuf>) -> Self {
        Self { written: path.map_or(Where::Nowhere, Where::File), strict: false }
    }

    /// A text that is not in a file, and the name that faults call it by.
    pub fn text(name: impl Into<String>, text: impl Into<String>) -> Self {
        Self { written: Where::Text(name.into(), text.into()), strict: false }
    }

    /// With `strict`, an unknown setting is a fault and no warning.
    pub fn strict(self, strict: bool) -> Self {
        Self { strict, ..self }
    }
}

/// Settings that hold.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// What the operator should know, each with its place.
    pub warnings: Vec<String>,
    /// The file they were read from, if any.
    pub file: Option<PathBuf>,
}

/// Reads and proves the settings. Nothing is started. Only the file and the secrets' files are read.
pub fn load(source: &Source, env: &Environment) -> Result<Loaded, SettingsError> {
    match &source.written {
        Where::Nowhere => prove(None, source.strict, env, None),
        Where::Text(name, text) => prove(Some(Written { name, text }), source.strict, env, None),
        Where::File(path) => {
            let (name, text) = (path.display().to_string(), find::read(path)?);
            prove(Some(Written { name: &name, text: &text }), source.strict, env, Some(path.clone()))
        }
    }
}

fn prove(written: Option<Written<'_>>, strict: bool, env: &Environment, file: Option<PathBuf>) -> Result<Loaded, SettingsError> {
    let reader = Reader::new(env);
    let entries = match written {
        None => None,
        Some(file) => {
            let document: Document<'_> = json5::from_str(file.text).map_err(|fault| syntax::syntax_error(file, &fault))?;
            for name in document.repeated {
                let message = format!("the setting {name:?} is written more than once in one object; the last one counts");
                reader.remark(About::Everything, Weight::Note, message);
            }
            match document.root {
                Node::Table(entries) => Some(entries),
                _ => return Err(SettingsError::one(file.name, "expected one object: { apps: […], … }")),
            }
        }
    };
    let variables = Variables::read(env, written.is_none(), &reader);
    outgoing::check(env, &reader);
    let tree = layers::merge(entries, &variables).map_err(|fault| SettingsError::one("", fault.to_string()))?;
    let config = prove::prove(&Node::Table(tree), &variables, env, &reader);
    let (warnings, error) = faults::judge(reader.into_remarks(), written, strict, |path| variables.variable_of(path));
    match (config, error) {
        (Some(config), None) => Ok(Loaded { config, warnings, file }),
        (_, Some(error)) => Err(error),
        // A hole in the settings always has a remark of its own; this says so rather than trusting it.
        (None, None) => Err(SettingsError::one("", "the settings are incomplete")),
    }
}
