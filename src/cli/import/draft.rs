//! What an import has found so far: the new settings, and what could not be taken over.

use serde_json::{Map, Value, json};

/// Settings in the making.
#[derive(Default)]
pub(super) struct Draft {
    pub(super) settings: Map<String, Value>,
    /// What could not be taken over, and what is left to do, for a person.
    pub(super) notes: Vec<String>,
}

impl Draft {
    /// Sets `section` to `value`.
    pub(super) fn set(&mut self, section: &str, value: Value) {
        self.settings.insert(section.to_owned(), value);
    }

    /// Sets `server.port`, so that callers need not change.
    pub(super) fn port(&mut self, port: u16) {
        self.server("port", json!(port));
    }

    /// Sets a member of `server`.
    pub(super) fn server(&mut self, name: &str, value: Value) {
        let server = self.settings.entry("server").or_insert_with(|| json!({}));
        if let Value::Object(server) = server {
            server.insert(name.to_owned(), value);
        }
    }

    pub(super) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}
