//! Defaults, file and variables laid over each other with the `config` crate; what is later wins.

use std::fmt;

use config::{Config as Layered, ConfigError, Map, Source, Value};

use super::node::{Document, Entries, Node, into_map};
use super::variables::Variables;

/// Every default, annotated; the one place where they are written.
const DEFAULTS: &str = include_str!("../../config/default.json5");

/// The sections that several layers can hold. Apps and realms stand in the file alone and are left as they are, so that ten thousand
/// of them are not copied from layer to layer.
const LAYERED: [&str; 10] = ["cors", "cache", "server", "wechat", "login", "reserve", "keep", "tokenboy", "wetoken", "gateway"];

/// What TokenBoy calls two of our settings.
const FLAT: [(&str, &str); 2] = [("bind_ip", "server.bind"), ("bind_port", "server.port")];

/// The whole tree of settings: `file` (the members of the file's object, if there is one) under `variables` and over the defaults.
pub(super) fn merge<'t>(file: Option<Entries<'t>>, variables: &Variables) -> Result<Entries<'t>, ConfigError> {
    let defaults: Document<'_> = json5::from_str(DEFAULTS).expect("the compiled-in defaults are JSON5");
    let Node::Table(defaults) = defaults.root else { unreachable!("the compiled-in defaults are one object") };
    let mut builder = Layered::builder().add_source(Layer(into_map(defaults)));
    if file.is_none()
        && let Some(neighbour) = variables.apps.first()
    {
        builder = builder.add_source(Layer(Map::from_iter([port(neighbour.port)])));
    }
    let (flat, file): (Entries<'t>, Entries<'t>) =
        file.unwrap_or_default().into_iter().partition(|(name, _)| FLAT.iter().any(|(flat, _)| flat == name));
    builder = builder.add_source(Layer(Map::from_iter(flat.into_iter().filter_map(|(name, node)| {
        let (_, path) = FLAT.iter().find(|(flat, _)| *flat == name)?;
        (node != Node::Null).then(|| ((*path).to_owned(), node.into_value()))
    }))));
    let (layered, alone): (Entries<'t>, Entries<'t>) = file.into_iter().partition(|(name, _)| LAYERED.contains(&name.as_ref()));
    let counts = layered.into_iter().filter(|(name, _)| !(name == "cache" && variables.choose_cache()));
    let layered = builder.add_source(Layer(into_map(counts.collect()))).add_source(Layer(variables.layer())).build()?;
    let Node::Table(mut tree) = Node::from(layered.cache) else { unreachable!("the config crate builds a table") };
    tree.extend(alone);
    Ok(tree)
}

fn port(port: u16) -> (String, Value) {
    ("server.port".to_owned(), port.into())
}

/// One layer, already read.
#[derive(Clone)]
struct Layer(Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

impl fmt::Debug for Layer {
    /// Names only: a value may be an address with a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
