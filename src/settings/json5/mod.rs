//! Reads JSON5 text into `config` values. Each value's origin is the line and column of its key or
//! list item, so that a fault found later needs no second look at the text. Knows nothing of
//! settings.
//!
//! No published parser does both: `json5` keeps no positions, and `jsonc-parser`, which keeps them,
//! takes a line break inside a text and refuses names with escapes. A test compares acceptance and
//! values with `json5`.

mod cursor;
mod literal;
#[cfg(test)]
mod tests;

use config::{Map, Value, ValueKind};

use self::cursor::Cursor;
use self::literal::is_name_start;

pub(super) use self::cursor::{Position, SyntaxError};

/// The deepest nesting that is read; no setting needs more. Bounds the recursion.
const MAX_DEPTH: usize = 48;

/// A whole text.
#[derive(Debug)]
pub(super) struct Document {
    pub(super) root: Value,
    /// Each key that its object already has, at the repetition. The last one counts, as in
    /// JavaScript.
    pub(super) repeated: Vec<(Position, String)>,
}

/// Parses `text`. A byte order mark at its start is ignored. `origin` makes a value's origin from
/// its position.
pub(super) fn parse(
    text: &str,
    origin: fn(Position) -> Option<String>,
) -> Result<Document, SyntaxError> {
    let mut parser = Parser {
        cursor: Cursor::new(text),
        origin,
        repeated: Vec::new(),
    };
    parser.cursor.skip_space()?;
    let root = parser.value(parser.cursor.position, None)?;
    parser.cursor.skip_space()?;
    match parser.cursor.peek() {
        None => Ok(Document {
            root,
            repeated: parser.repeated,
        }),
        Some(c) => {
            let message = format!(
                "found {c:?} after the end of the settings; is a bracket closed too early?"
            );
            Err(SyntaxError::new(parser.cursor.position, message))
        }
    }
}

struct Parser<'t> {
    cursor: Cursor<'t>,
    origin: fn(Position) -> Option<String>,
    repeated: Vec<(Position, String)>,
}

impl Parser<'_> {
    /// The value that begins here. `at` is the position of its key or, in a list, its own; `key` is
    /// the key before it.
    fn value(&mut self, at: Position, key: Option<&str>) -> Result<Value, SyntaxError> {
        let kind = match self.cursor.peek() {
            Some('{') => ValueKind::Table(self.nested(|parser| parser.members(key))?),
            Some('[') => ValueKind::Array(self.nested(Self::items)?),
            Some('"' | '\'') => ValueKind::String(self.cursor.string()?),
            Some('+' | '-' | '.' | '0'..='9') => self.cursor.number()?,
            Some(c) if is_name_start(c) => self.cursor.word()?,
            _ => {
                return Err(self
                    .cursor
                    .unexpected("a value; texts need quotation marks"));
            }
        };
        Ok(Value::new((self.origin)(at).as_ref(), kind))
    }

    /// The content between two brackets, parsed by `inside`.
    fn nested<T>(
        &mut self,
        inside: impl FnOnce(&mut Self) -> Result<T, SyntaxError>,
    ) -> Result<T, SyntaxError> {
        let position = self.cursor.position;
        if self.cursor.open.len() == MAX_DEPTH {
            return Err(SyntaxError::new(
                position,
                "this is nested deeper than any setting",
            ));
        }
        let bracket = self.cursor.next();
        self.cursor
            .open
            .extend(bracket.map(|bracket| (position, bracket)));
        let value = inside(self)?;
        self.cursor.open.pop();
        self.cursor.next();
        Ok(value)
    }

    /// The members of an object up to its `}`; `key` is the object's own.
    fn members(&mut self, key: Option<&str>) -> Result<Map<String, Value>, SyntaxError> {
        let mut members = Map::new();
        while self.has_more('}')? {
            let at = self.cursor.position;
            let name = match (self.cursor.peek(), key) {
                (Some('"' | '\''), _) => self.cursor.string()?,
                // The original's own sample writes `realms: { {…} }`, which no JSON5 reader
                // accepts.
                (Some('{'), Some(key)) => {
                    let message = format!(
                        "found an object inside an object, expected a list: {key}: [{{…}}]"
                    );
                    return Err(SyntaxError {
                        setting: key.to_owned(),
                        ..SyntaxError::new(at, message)
                    });
                }
                _ => self.cursor.identifier()?,
            };
            self.cursor.skip_space()?;
            if self.cursor.peek() != Some(':') {
                return Err(self
                    .cursor
                    .unexpected("a colon between a name and its value"));
            }
            self.cursor.next();
            self.cursor.skip_space()?;
            let value = self.value(at, Some(&name))?;
            self.end_entry('}')?;
            if members.contains_key(&name) {
                self.repeated.push((at, name.clone()));
            }
            members.insert(name, value);
        }
        // There may be ten thousand apps, with two members each.
        members.shrink_to_fit();
        Ok(members)
    }

    /// The items of a list up to its `]`.
    fn items(&mut self) -> Result<Vec<Value>, SyntaxError> {
        let mut items = Vec::new();
        while self.has_more(']')? {
            items.push(self.value(self.cursor.position, None)?);
            self.end_entry(']')?;
        }
        Ok(items)
    }

    /// Whether something other than `close` follows.
    fn has_more(&mut self, close: char) -> Result<bool, SyntaxError> {
        self.cursor.skip_space()?;
        Ok(self.cursor.peek() != Some(close))
    }

    /// The comma after an entry; the last entry needs none.
    fn end_entry(&mut self, close: char) -> Result<(), SyntaxError> {
        if self.has_more(close)? {
            if self.cursor.peek() != Some(',') {
                return Err(self
                    .cursor
                    .unexpected("a comma or a closing bracket; is a comma missing before this?"));
            }
            self.cursor.next();
        }
        Ok(())
    }
}
