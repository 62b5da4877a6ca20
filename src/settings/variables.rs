//! The environment variables that change settings: `JSDKD__SECTION__KEY`, `PORT`, the original's
//! `SERVER_PORT`, and those of the servers that jsdkd replaces.

use std::collections::BTreeMap;

use config::{Map, Value};

use super::environment::Environment;
use super::faults::{About, Weight};
use super::reader::{Reader, did_you_mean};

const PREFIX: &str = "JSDKD__";

/// wechat-server's variable for its Redis: `host:port` without a scheme.
const REDIS_ADDRESS: &str = "REDIS_SERVER_ADDRESS";

/// The type of value that a variable's text is read as.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Number,
    Bool,
    List,
}

/// Every setting that a variable can set. The name is made from the path: `server.bodyLimit` is
/// `JSDKD__SERVER__BODY_LIMIT`.
const SETTINGS: [(&str, Kind); 38] = [
    ("cors", Kind::List),
    ("cache.file", Kind::Text),
    ("cache.redis", Kind::Text),
    ("cache.sql", Kind::Text),
    ("reserve", Kind::Text),
    ("keep", Kind::Text),
    ("login.confirm", Kind::Bool),
    ("login.sites", Kind::List),
    ("tokenboy.allow", Kind::List),
    ("tokenboy.realm", Kind::Text),
    ("wetoken.allow", Kind::List),
    ("wetoken.realm", Kind::Text),
    ("hub.app", Kind::Text),
    ("wechatServer.app", Kind::Text),
    ("wechatServer.words", Kind::List),
    ("gateway.prefix", Kind::Text),
    ("gateway.anonymous", Kind::List),
    ("gateway.timeout", Kind::Text),
    ("gateway.bodyLimit", Kind::Text),
    ("gateway.keepWhole", Kind::Text),
    ("gateway.memory", Kind::Text),
    ("server.bind", Kind::Text),
    ("server.port", Kind::Number),
    ("server.admin", Kind::Text),
    ("server.workers", Kind::Number),
    ("server.publicUrl", Kind::Text),
    ("server.hosts", Kind::List),
    ("server.static", Kind::Text),
    ("server.trustedProxies", Kind::List),
    ("server.bodyLimit", Kind::Text),
    ("server.maxConnections", Kind::Number),
    ("server.maxWaiting", Kind::Number),
    ("server.shutdownGrace", Kind::Text),
    ("server.accessLog", Kind::Bool),
    ("wechat.api", Kind::List),
    ("wechat.open", Kind::Text),
    ("wechat.mp", Kind::Text),
    ("wechat.timeout", Kind::Text),
];

/// An app whose appid and secret are in variables.
#[derive(Clone, Copy)]
pub(super) struct NeighbourApp {
    /// The variable of the appid.
    pub(super) key: &'static str,
    /// The variable of the secret.
    pub(super) secret: &'static str,
    /// The variable of the message server's token.
    pub(super) token: Option<&'static str>,
    /// The default port of the server that is replaced.
    pub(super) port: u16,
}

/// The app of waynecraig/wechat-token-hub.
pub(super) const HUB: NeighbourApp = NeighbourApp {
    key: "APPID",
    secret: "APPSECRET",
    token: None,
    port: 8567,
};

/// Its app and that of haowang1013/wechat-server. If both are set, the first one's port is the
/// default.
const NEIGHBOURS: [NeighbourApp; 2] = [
    HUB,
    NeighbourApp {
        key: "WECHAT_APP_ID",
        secret: "WECHAT_APP_SECRET",
        token: Some("WECHAT_APP_TOKEN"),
        port: 8080,
    },
];

/// The settings that the environment sets.
#[derive(Default)]
pub(super) struct Variables {
    /// The values by path. The origin of each is its variable.
    values: BTreeMap<&'static str, Value>,
    /// The apps whose appid and secret are both set.
    pub(super) apps: Vec<NeighbourApp>,
}

impl Variables {
    /// Reads `env`. Unknown names are faults here; values are checked when the setting is read.
    /// With `alone` there is no file, and an appid without its secret is a fault instead of a
    /// warning.
    pub(super) fn read(env: &Environment, alone: bool, reader: &Reader<'_>) -> Self {
        let mut variables = Self::default();
        for (name, text) in env.beginning(PREFIX) {
            match SETTINGS
                .iter()
                .find(|(path, _)| variable_name(path) == name)
            {
                Some((path, kind)) => variables.set(path, name, value(text, *kind)),
                None => refuse(name, reader),
            }
        }
        variables.neighbours(env, alone, reader);
        for name in ["PORT", "SERVER_PORT"] {
            match env.get(name) {
                // Kubernetes sets such a variable for every service, here for one called "server".
                Some(text) if text.starts_with("tcp://") => {
                    reader.remark(
                        About::Variable(name.to_owned()),
                        Weight::Note,
                        "ignored: this is a Kubernetes service link, not a port",
                    );
                }
                Some(text) => variables.set("server.port", name, value(text, Kind::Number)),
                None => {}
            }
        }
        variables
    }

    fn neighbours(&mut self, env: &Environment, alone: bool, reader: &Reader<'_>) {
        for app in NEIGHBOURS {
            let half = |set: &str, unset: &str| {
                let weight = if alone { Weight::Fault } else { Weight::Note };
                reader.remark(
                    About::Variable(set.to_owned()),
                    weight,
                    format!("has no effect without {unset}, which is not set"),
                );
            };
            match (env.get(app.key), env.get(app.secret)) {
                (Some(_), Some(_)) => self.apps.push(app),
                (Some(_), None) => half(app.key, app.secret),
                (None, Some(_)) => half(app.secret, app.key),
                (None, None) => {}
            }
        }
        if let Some(text) = env.get("WECHAT_API_ROOT") {
            self.set("wechat.api", "WECHAT_API_ROOT", value(text, Kind::List));
        }
        if let Some(text) = env.get(REDIS_ADDRESS) {
            self.values.retain(|path, _| !path.starts_with("cache."));
            self.set("cache.redis", REDIS_ADDRESS, text.into());
        }
    }

    fn set(&mut self, path: &'static str, name: &str, value: Value) {
        self.values
            .insert(path, Value::new(Some(&name.to_owned()), value.kind));
    }

    /// Whether a variable sets `section` or a part of it.
    pub(super) fn sets_section(&self, section: &str) -> bool {
        self.values
            .keys()
            .any(|path| path.split('.').next() == Some(section))
    }

    /// Whether the Redis address is `host:port` rather than a URL.
    pub(super) fn redis_is_bare(&self) -> bool {
        self.values
            .get("cache.redis")
            .is_some_and(|value| value.origin() == Some(REDIS_ADDRESS))
    }

    /// All values as one layer, by their dotted paths.
    pub(super) fn layer(&self) -> Map<String, Value> {
        self.values
            .iter()
            .map(|(path, value)| ((*path).to_owned(), value.clone()))
            .collect()
    }
}

/// `server.bodyLimit` → `JSDKD__SERVER__BODY_LIMIT`.
fn variable_name(path: &str) -> String {
    let mut name = PREFIX.to_owned();
    for c in path.chars() {
        match c {
            '.' => name.push_str("__"),
            c if c.is_ascii_uppercase() => name.extend(['_', c]),
            c => name.push(c.to_ascii_uppercase()),
        }
    }
    name
}

/// Parses `text` as `kind`. Text of another kind is returned unchanged; the reader of the setting
/// reports it.
fn value(text: &str, kind: Kind) -> Value {
    let text = text.trim();
    match kind {
        Kind::Number => text
            .parse::<i64>()
            .map_or_else(|_| text.into(), Value::from),
        Kind::Bool => match text.to_ascii_lowercase().as_str() {
            "1" | "true" | "yes" | "on" => true.into(),
            "0" | "false" | "no" | "off" => false.into(),
            _ => text.into(),
        },
        Kind::List => text
            .split(',')
            .map(str::trim)
            .filter(|item| !item.is_empty())
            .collect::<Vec<_>>()
            .into(),
        Kind::Text => text.into(),
    }
}

/// Reports a variable that sets nothing.
fn refuse(name: &str, reader: &Reader<'_>) {
    let about = About::Variable(name.to_owned());
    let section = name[PREFIX.len()..].split("__").next().unwrap_or_default();
    match section {
        "APPS" | "REALMS" => {
            let message = "apps and realms cannot be set by variables; write them into the file, with { env: \"NAME\" } for their secrets";
            reader.remark(about, Weight::Fault, message);
        }
        _ => {
            let names: Vec<String> = SETTINGS
                .iter()
                .map(|(path, _)| variable_name(path))
                .collect();
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            reader.remark(
                about,
                Weight::Unknown,
                format!("unknown setting{}", did_you_mean(name, &names)),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_follows_from_its_path() {
        assert_eq!(
            variable_name("server.bodyLimit"),
            "JSDKD__SERVER__BODY_LIMIT"
        );
        assert_eq!(variable_name("cors"), "JSDKD__CORS");
    }

    #[test]
    fn every_setting_but_the_lists_of_objects_can_be_set() {
        let text = include_str!("../../config/default.json5");
        let defaults: serde_json::Value = ::json5::from_str(text).expect("the defaults are JSON5");
        for section in ["server", "wechat"] {
            for name in defaults[section]
                .as_object()
                .expect("a section is an object")
                .keys()
            {
                let path = format!("{section}.{name}");
                assert!(SETTINGS.iter().any(|(known, _)| *known == path), "{path}");
            }
        }
    }
}
