//! Lays the defaults, the file and the variables over each other with the `config` crate; a later
//! layer wins.

use std::mem;

use config::{Config as Layered, ConfigError, Map, Source, Value, ValueKind};

use super::json5;
use super::variables::Variables;

/// Every default, with comments. This file is the only place where they are written.
const DEFAULTS: &str = include_str!("../../config/default.json5");

/// TokenBoy's names for two of our settings.
const TOKENBOY: [(&str, &str); 2] = [("bind_ip", "server.bind"), ("bind_port", "server.port")];

/// All settings as one object: `variables` over `file` over the defaults. Values keep the origin of
/// their layer; defaults have none.
pub(super) fn merge(
    file: Option<Map<String, Value>>,
    variables: &Variables,
) -> Result<Value, ConfigError> {
    let defaults = json5::parse(DEFAULTS, |_| None)
        .expect("the compiled-in defaults are JSON5")
        .root;
    let ValueKind::Table(defaults) = defaults.kind else {
        unreachable!("the compiled-in defaults are one object")
    };
    let mut builder = Layered::builder().add_source(Layer(defaults.clone()));
    let is_default = |name: &str| defaults.contains_key(name);
    if let (None, Some(neighbour)) = (&file, variables.apps.first()) {
        builder = builder.add_source(Layer(
            [("server.port".to_owned(), i64::from(neighbour.port).into())].into(),
        ));
    }
    // Sections of the file alone are moved, not copied: there may be ten thousand apps.
    let (mut renamed, mut layered, mut alone) = (Map::new(), Map::new(), Map::new());
    for (name, value) in file.into_iter().flatten() {
        if let Some((_, path)) = TOKENBOY.iter().find(|(theirs, _)| *theirs == name) {
            renamed.insert((*path).to_owned(), value);
        } else if name == "cache" && variables.sets_section(&name) {
            // The variable replaces the file's cache as a whole: two caches would be a conflict.
        } else if is_default(&name) || variables.sets_section(&name) {
            layered.insert(name, value);
        } else {
            alone.insert(name, value);
        }
    }
    drop_nulls(&mut renamed);
    drop_nulls(&mut layered);
    for section in layered.values_mut() {
        if let ValueKind::Table(members) = &mut section.kind {
            drop_nulls(members);
        }
    }
    let builder = builder
        .add_source(Layer(renamed))
        .add_source(Layer(layered.clone()));
    let mut merged = builder.add_source(Layer(variables.layer())).build()?.cache;
    restore_origins(&mut merged, &Value::new(None, layered));
    if let ValueKind::Table(members) = &mut merged.kind {
        members.extend(alone);
    }
    Ok(merged)
}

/// A `null` sets nothing, so it does not hide the layer below.
fn drop_nulls(members: &mut Map<String, Value>) {
    members.retain(|_, value| value.kind != ValueKind::Nil);
}

/// The `config` crate drops the origin of an object when it merges it. Gives each object of
/// `merged` the origin that it has in `file`.
fn restore_origins(merged: &mut Value, file: &Value) {
    if let (ValueKind::Table(into), ValueKind::Table(from)) = (&mut merged.kind, &file.kind) {
        for (name, member) in from {
            if let Some(value) = into.get_mut(name) {
                restore_origins(value, member);
            }
        }
        let kind = mem::take(&mut merged.kind);
        *merged = Value::new(file.origin().map(str::to_owned).as_ref(), kind);
    }
}

/// One layer; a key with a dot is a path.
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

impl std::fmt::Debug for Layer {
    /// Names only: a value may be an address with a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}
