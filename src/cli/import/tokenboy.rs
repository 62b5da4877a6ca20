//! alexazhou/TokenBoy: its `config.py`, whose assignments of literals are read.

use std::path::Path;

use serde_json::{Map, Value};

use super::draft::Draft;
use super::input::{Input, text_of, unreadable};
use super::python::{self, Assignment};

/// Its file, in the working directory.
pub(super) const FILE: &str = "config.py";

/// Where it listens.
const PORT: u16 = 8888;

/// True if `text` can be its file.
pub(super) fn is_its(text: &str) -> bool {
    text.contains("token_sources")
}

/// Reads the file, or `config.py` in the working directory.
pub(super) fn read(input: &Input) -> anyhow::Result<Draft> {
    let read;
    let text = match input {
        Input::Text(text) => text,
        Input::Variables(_) => {
            read = text_of(Path::new(FILE))?;
            &read
        }
        Input::Database(_) => return unreadable("TokenBoy", "its config.py"),
    };
    if !is_its(text) {
        return unreadable("TokenBoy", "its config.py, with token_sources");
    }
    let mut draft = Draft::default();
    let mut sources = Map::new();
    draft.port(PORT);
    for assignment in python::assignments(text) {
        match assignment {
            Assignment::Understood { name, key, value } => match (name.as_str(), key, value) {
                ("token_sources", Some(key), value) => {
                    sources.insert(key, value);
                }
                ("token_sources", None, Value::Object(all)) => sources.extend(all),
                ("bind_ip", None, value @ Value::String(_)) => draft.server("bind", value),
                ("bind_port", None, value @ Value::Number(_)) => draft.server("port", value),
                (name, ..) => draft.note(format!("{name}: not taken over")),
            },
            Assignment::Unknown { line, what } => {
                draft.note(format!("line {line}: {what}; not taken over"));
            }
        }
    }
    if sources.is_empty() {
        return unreadable("TokenBoy", "its config.py, with token_sources");
    }
    draft.set("sources", sources.into());
    draft.note("programs outside of this machine and private networks are refused; name their networks in tokenboy.allow, and the host names that they use in server.hosts");
    Ok(draft)
}
