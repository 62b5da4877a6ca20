//! The parts of JSON5 that hold nothing else: texts, names, numbers and words.

use config::ValueKind;

use super::cursor::{Cursor, SyntaxError, is_line_end};

const UNFINISHED_TEXT: &str =
    "a text cannot continue on the next line; is a quotation mark missing?";
const UNCLOSED_TEXT: &str =
    "the text that begins here is never closed; is a quotation mark missing?";
const BAD_ESCAPE: &str = "this escape is not valid; write \\\\ for a backslash";
const LEADING_ZERO: &str = "this number begins with a 0; leave the 0 out";
const NO_NUMBER: &str = "this is not a number";

impl<'t> Cursor<'t> {
    /// A text in quotation marks of either kind.
    pub(super) fn string(&mut self) -> Result<String, SyntaxError> {
        let (start, quote) = (self.position, self.next());
        let mut text = String::new();
        loop {
            let at = self.position;
            match self.next() {
                None => return Err(SyntaxError::new(start, UNCLOSED_TEXT)),
                c if c == quote => return Ok(text),
                Some('\n' | '\r') => return Err(SyntaxError::new(at, UNFINISHED_TEXT)),
                Some('\\') => text.extend(
                    self.escape()
                        .ok_or_else(|| SyntaxError::new(at, BAD_ESCAPE))?,
                ),
                Some(c) => text.push(c),
            }
        }
    }

    /// The character of an escape, after its backslash. A line break is no character. `None` is an
    /// error.
    fn escape(&mut self) -> Option<Option<char>> {
        let c = match self.next()? {
            '\r' if self.rest.starts_with('\n') => {
                self.next();
                return Some(None);
            }
            c if is_line_end(c) => return Some(None),
            'b' => '\u{8}',
            't' => '\t',
            'n' => '\n',
            'v' => '\u{b}',
            'f' => '\u{c}',
            'r' => '\r',
            '0' if !self.rest.starts_with(|c: char| c.is_ascii_digit()) => '\0',
            '0'..='9' => return None,
            'x' => char::from_u32(self.hex(2)?.into())?,
            'u' => self.utf16()?,
            c => c,
        };
        Some(Some(c))
    }

    /// Four hexadecimal digits, or a pair of surrogates: `\ud83d\ude00`.
    fn utf16(&mut self) -> Option<char> {
        let first = self.hex(4)?;
        if let Some(c) = char::from_u32(first.into()) {
            return Some(c);
        }
        self.rest.starts_with("\\u").then(|| self.skip(2))?;
        String::from_utf16(&[first, self.hex(4)?])
            .ok()?
            .chars()
            .next()
    }

    fn hex(&mut self, length: usize) -> Option<u16> {
        let digits = self
            .rest
            .get(..length)
            .filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
        self.skip(length);
        u16::from_str_radix(digits, 16).ok()
    }

    /// A name without quotation marks.
    pub(super) fn identifier(&mut self) -> Result<String, SyntaxError> {
        let mut name = String::new();
        loop {
            let (rest, position) = (self.rest, self.position);
            let c = match self.next() {
                Some('\\') if self.rest.starts_with('u') => self.escape().flatten(),
                c => c,
            };
            match c {
                Some(c) if is_name_start(c) || (!name.is_empty() && is_name_part(c)) => {
                    name.push(c)
                }
                _ => {
                    (self.rest, self.position) = (rest, position);
                    if name.is_empty() || rest.starts_with('\\') {
                        return Err(self
                            .unexpected("a name; names with dots or dashes need quotation marks"));
                    }
                    return Ok(name);
                }
            }
        }
    }

    /// A value without quotation marks. An error shows its first character at most, because it may
    /// be a secret.
    pub(super) fn word(&mut self) -> Result<ValueKind, SyntaxError> {
        let word = self.leading(is_name_part);
        let kind = match word {
            "null" => ValueKind::Nil,
            "true" => ValueKind::Boolean(true),
            "false" => ValueKind::Boolean(false),
            "Infinity" => ValueKind::Float(f64::INFINITY),
            "NaN" => ValueKind::Float(f64::NAN),
            _ => return Err(self.unexpected("a value; texts need quotation marks")),
        };
        self.skip(word.len());
        Ok(kind)
    }

    pub(super) fn number(&mut self) -> Result<ValueKind, SyntaxError> {
        let start = self.position;
        let is_negative = self.rest.starts_with('-');
        if self.rest.starts_with(['+', '-']) {
            self.next();
        }
        if self.rest.starts_with(['I', 'N']) {
            return self.word().map(|kind| signed(kind, is_negative));
        }
        if self.rest.starts_with("0x") || self.rest.starts_with("0X") {
            self.skip(2);
            let digits = self.leading(|c| c.is_ascii_hexdigit());
            let number =
                u128::from_str_radix(digits, 16).map_err(|_| SyntaxError::new(start, NO_NUMBER))?;
            self.skip(digits.len());
            return Ok(integer(number, is_negative));
        }
        let digits =
            self.leading(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '+' | '-'));
        if digits
            .strip_prefix('0')
            .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
        {
            return Err(SyntaxError::new(start, LEADING_ZERO));
        }
        let kind = match (digits.parse::<u128>(), digits.parse::<f64>()) {
            // Rust takes a second sign for a part of the number.
            _ if digits.starts_with(['+', '-']) => None,
            (Ok(number), _) => Some(integer(number, is_negative)),
            (_, number) => number
                .ok()
                .map(|number| signed(ValueKind::Float(number), is_negative)),
        };
        self.skip(digits.len());
        kind.ok_or_else(|| SyntaxError::new(start, NO_NUMBER))
    }

    /// The characters at the start of the rest that match `fits`.
    fn leading(&self, fits: impl Fn(char) -> bool) -> &'t str {
        &self.rest[..self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len())]
    }
}

/// An integer that `i64` cannot hold becomes a float.
fn integer(number: u128, is_negative: bool) -> ValueKind {
    let exact = i128::try_from(number)
        .ok()
        .map(|number| if is_negative { -number } else { number });
    match exact.and_then(|number| i64::try_from(number).ok()) {
        Some(number) => ValueKind::I64(number),
        None => signed(ValueKind::Float(number as f64), is_negative),
    }
}

fn signed(kind: ValueKind, is_negative: bool) -> ValueKind {
    match kind {
        ValueKind::Float(number) if is_negative => ValueKind::Float(-number),
        kind => kind,
    }
}

pub(super) fn is_name_start(c: char) -> bool {
    matches!(c, '$' | '_') || unicode_ident::is_xid_start(c)
}

fn is_name_part(c: char) -> bool {
    is_name_start(c) || matches!(c, '\u{200c}' | '\u{200d}') || unicode_ident::is_xid_continue(c)
}
