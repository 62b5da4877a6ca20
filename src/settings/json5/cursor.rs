//! A cursor on a JSON5 text: counts lines and columns, skips white space and comments, and words
//! the errors.

use std::fmt;

/// A line and a column, both from 1. Columns count characters.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(in crate::settings) struct Position {
    pub(in crate::settings) line: usize,
    pub(in crate::settings) column: usize,
}

impl Position {
    /// Reads what `Display` writes; `None` for anything else, such as the name of a variable.
    pub(in crate::settings) fn parse(text: &str) -> Option<Self> {
        let (line, column) = text.split_once(':')?;
        Some(Self {
            line: line.parse().ok()?,
            column: column.parse().ok()?,
        })
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

/// Why a text is not JSON5.
#[derive(PartialEq, Eq, Debug)]
pub(in crate::settings) struct SyntaxError {
    pub(in crate::settings) position: Position,
    /// The setting that the error is about; often unknown and then empty.
    pub(in crate::settings) setting: String,
    pub(in crate::settings) message: String,
}

impl SyntaxError {
    pub(super) fn new(position: Position, message: impl Into<String>) -> Self {
        Self {
            position,
            setting: String::new(),
            message: message.into(),
        }
    }
}

/// The rest of a text, and where it begins.
pub(super) struct Cursor<'t> {
    pub(super) rest: &'t str,
    pub(super) position: Position,
    /// The brackets that are open here, outermost first.
    pub(super) open: Vec<(Position, char)>,
}

impl<'t> Cursor<'t> {
    /// The start of `text`, after a byte order mark.
    pub(super) fn new(text: &'t str) -> Self {
        let rest = text.strip_prefix('\u{feff}').unwrap_or(text);
        Self {
            rest,
            position: Position { line: 1, column: 1 },
            open: Vec::new(),
        }
    }

    pub(super) fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    pub(super) fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        // \r\n ends one line, not two.
        if is_line_end(c) && !(c == '\r' && self.rest.starts_with('\n')) {
            self.position.line += 1;
            self.position.column = 1;
        } else {
            self.position.column += 1;
        }
        Some(c)
    }

    /// Moves on by `bytes`, which end a character.
    pub(super) fn skip(&mut self, bytes: usize) {
        let end = self.rest.len() - bytes;
        while self.rest.len() > end {
            self.next();
        }
    }

    /// Skips white space and comments.
    pub(super) fn skip_space(&mut self) -> Result<(), SyntaxError> {
        loop {
            if self.rest.starts_with("//") {
                self.skip(self.rest.find(is_line_end).unwrap_or(self.rest.len()));
            } else if self.rest.starts_with("/*") {
                let Some(end) = self.rest[2..].find("*/") else {
                    return Err(SyntaxError::new(
                        self.position,
                        "this comment is never closed; expected */",
                    ));
                };
                self.skip(end + 4);
            } else if self.peek().is_some_and(is_space) {
                self.next();
            } else {
                return Ok(());
            }
        }
    }

    /// The error for the text here, where `expected` was expected. It shows one character, since
    /// more could be a secret.
    pub(super) fn unexpected(&self, expected: &str) -> SyntaxError {
        let message = match self.peek() {
            None => return self.unclosed(),
            Some(c @ ('“' | '”' | '‘' | '’')) => {
                format!("found {c:?}, a typographic quotation mark; expected \" or '")
            }
            Some(c @ ('：' | '，' | '｛' | '｝' | '［' | '］' | '＂' | '＇')) => {
                format!("found {c:?}, a full-width sign; expected the ASCII one")
            }
            Some(c) => format!("found {c:?}, expected {expected}"),
        };
        SyntaxError::new(self.position, message)
    }

    /// The error for a text that ends while something is open.
    fn unclosed(&self) -> SyntaxError {
        match self.open.last() {
            Some((position, bracket)) => {
                let message = format!(
                    "the {bracket:?} here is never closed; is a bracket or a quotation mark missing?"
                );
                SyntaxError::new(*position, message)
            }
            None => SyntaxError::new(
                self.position,
                "the file ends too early; expected one object: { apps: […], … }",
            ),
        }
    }
}

pub(super) fn is_line_end(c: char) -> bool {
    matches!(c, '\n' | '\r' | '\u{2028}' | '\u{2029}')
}

fn is_space(c: char) -> bool {
    (c.is_whitespace() && c != '\u{85}') || c == '\u{feff}'
}
