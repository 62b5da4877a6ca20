//! Reads assignments of literals in a Python file: texts, numbers, lists and dictionaries. Nothing
//! is executed; whatever else the file does is reported with its line.

use serde_json::{Map, Value};

/// The deepest nesting that is read.
const MOST_DEPTH: usize = 32;

/// One line of the file that sets something.
pub(super) enum Assignment {
    /// `name = value` or `name['key'] = value`.
    Understood {
        name: String,
        key: Option<String>,
        value: Value,
    },
    /// Something that is no literal.
    Unknown { line: usize, what: String },
}

/// The assignments in `text`.
pub(super) fn assignments(text: &str) -> Vec<Assignment> {
    let mut parser = Parser {
        rest: text.trim_start_matches('\u{feff}'),
        line: 1,
    };
    let mut found = Vec::new();
    loop {
        parser.skip_space();
        if parser.rest.is_empty() {
            return found;
        }
        let line = parser.line;
        match parser.assignment() {
            Ok(Some(assignment)) => found.push(assignment),
            Ok(None) => parser.skip_line(),
            Err(what) => {
                found.push(Assignment::Unknown { line, what });
                parser.skip_statement();
            }
        }
    }
}

struct Parser<'t> {
    rest: &'t str,
    line: usize,
}

impl Parser<'_> {
    /// `None` for what sets nothing, such as an import.
    fn assignment(&mut self) -> Result<Option<Assignment>, String> {
        let name = self.name();
        if ["import", "from", "pass"].contains(&name.as_str()) {
            return Ok(None);
        }
        if name.is_empty() {
            return Err("this is no assignment".to_owned());
        }
        self.skip_blanks();
        let mut key = None;
        if self.take('[') {
            let Value::String(text) = self.value(0)? else {
                return Err("the key is no text".to_owned());
            };
            key = Some(text);
            self.skip_space();
            if !self.take(']') {
                return Err("a bracket is not closed".to_owned());
            }
            self.skip_blanks();
        }
        if !self.take('=') || self.rest.starts_with('=') {
            return Err(format!("{name} is not set to a plain value"));
        }
        let value = self.value(0)?;
        self.skip_blanks();
        self.take(';');
        let ends = self.rest.is_empty()
            || self.rest.starts_with(['\n', '\r', '#'])
            || self.rest.starts_with("//");
        if !ends {
            return Err(format!("{name} is computed, not a plain value"));
        }
        Ok(Some(Assignment::Understood { name, key, value }))
    }

    fn value(&mut self, depth: usize) -> Result<Value, String> {
        if depth > MOST_DEPTH {
            return Err("this is nested too deeply".to_owned());
        }
        self.skip_space();
        match self.rest.chars().next() {
            Some('{') => self.dictionary(depth),
            Some('[') => self.list(depth, '[', ']'),
            Some('(') => self.list(depth, '(', ')'),
            Some(c) if c.is_ascii_digit() || c == '-' || c == '.' => self.number(),
            Some('"' | '\'') => self.texts(false),
            Some(_) => self.word(),
            None => Err("a value is missing".to_owned()),
        }
    }

    fn dictionary(&mut self, depth: usize) -> Result<Value, String> {
        self.take('{');
        let mut members = Map::new();
        loop {
            self.skip_space();
            if self.take('}') {
                return Ok(members.into());
            }
            let key = match self.value(depth + 1)? {
                Value::String(key) => key,
                Value::Number(key) => key.to_string(),
                _ => return Err("a key is no text".to_owned()),
            };
            self.skip_space();
            if !self.take(':') {
                return Err("a : is missing".to_owned());
            }
            let value = self.value(depth + 1)?;
            members.insert(key, value);
            self.end_of_item('}')?;
        }
    }

    fn list(&mut self, depth: usize, open: char, close: char) -> Result<Value, String> {
        self.take(open);
        let mut items = Vec::new();
        loop {
            self.skip_space();
            if self.take(close) {
                return Ok(items.into());
            }
            items.push(self.value(depth + 1)?);
            self.end_of_item(close)?;
        }
    }

    fn end_of_item(&mut self, close: char) -> Result<(), String> {
        self.skip_space();
        if self.take(',') || self.rest.starts_with(close) {
            Ok(())
        } else {
            Err("a value is computed, not plain".to_owned())
        }
    }

    fn number(&mut self) -> Result<Value, String> {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_')))
            .unwrap_or(self.rest.len());
        let text = self.rest[..end].replace('_', "");
        self.rest = &self.rest[end..];
        let whole = text.parse::<i64>().ok().map(Value::from);
        let number = whole.or_else(|| text.parse::<f64>().ok().map(Value::from));
        number.ok_or_else(|| format!("{text} is no number"))
    }

    fn word(&mut self) -> Result<Value, String> {
        let word = self.name();
        if self.rest.starts_with(['"', '\'']) {
            return match word.to_ascii_lowercase().as_str() {
                "r" | "ur" | "br" => self.texts(true),
                "u" | "b" => self.texts(false),
                _ => Err("a text is computed, not plain".to_owned()),
            };
        }
        match word.as_str() {
            "True" => Ok(true.into()),
            "False" => Ok(false.into()),
            "None" => Ok(Value::Null),
            _ => Err("a value is computed, not plain".to_owned()),
        }
    }

    /// One text, or several beside each other, which Python joins.
    fn texts(&mut self, is_raw: bool) -> Result<Value, String> {
        let mut whole = self.text(is_raw)?;
        loop {
            let (rest, line) = (self.rest, self.line);
            self.skip_space();
            if !self.rest.starts_with(['"', '\'']) {
                (self.rest, self.line) = (rest, line);
                return Ok(whole.into());
            }
            whole.push_str(&self.text(false)?);
        }
    }

    fn text(&mut self, is_raw: bool) -> Result<String, String> {
        let quote = if self.rest.starts_with('"') {
            "\""
        } else {
            "'"
        };
        let triple = quote.repeat(3);
        let quote = if self.rest.starts_with(&triple) {
            triple
        } else {
            quote.to_owned()
        };
        self.rest = &self.rest[quote.len()..];
        let mut text = String::new();
        loop {
            if let Some(rest) = self.rest.strip_prefix(quote.as_str()) {
                self.rest = rest;
                return Ok(text);
            }
            match self.next() {
                None => return Err("a text is not closed".to_owned()),
                Some('\n') if quote.len() == 1 => return Err("a text is not closed".to_owned()),
                Some('\\') if !is_raw => match self.next() {
                    Some('n') => text.push('\n'),
                    Some('t') => text.push('\t'),
                    Some('r') => text.push('\r'),
                    Some('\n') => {}
                    Some(c @ ('\\' | '\'' | '"')) => text.push(c),
                    _ => return Err("a text has an escape that is not understood".to_owned()),
                },
                Some(c) => text.push(c),
            }
        }
    }

    fn name(&mut self) -> String {
        let end = self
            .rest
            .find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'))
            .unwrap_or(self.rest.len());
        let name = self.rest[..end].to_owned();
        self.rest = &self.rest[end..];
        name
    }

    fn next(&mut self) -> Option<char> {
        let c = self.rest.chars().next()?;
        self.rest = &self.rest[c.len_utf8()..];
        self.line += usize::from(c == '\n');
        Some(c)
    }

    fn take(&mut self, wanted: char) -> bool {
        let rest = self.rest.strip_prefix(wanted);
        self.rest = rest.unwrap_or(self.rest);
        rest.is_some()
    }

    fn skip_blanks(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t']);
    }

    /// Skips space, line breaks and comments. The README's `//` is not Python's, but is copied.
    fn skip_space(&mut self) {
        loop {
            match self.rest.chars().next() {
                Some('#') => self.skip_line(),
                Some('/') if self.rest.starts_with("//") => self.skip_line(),
                Some('\\') if self.rest.starts_with("\\\n") => drop(self.next()),
                Some(c) if c.is_whitespace() => drop(self.next()),
                _ => return,
            }
        }
    }

    fn skip_line(&mut self) {
        while self.next().is_some_and(|c| c != '\n') {}
    }

    /// Skips to the next line that begins at the margin.
    fn skip_statement(&mut self) {
        loop {
            self.skip_line();
            let first = self.rest.chars().next();
            if first.is_none_or(|c| c.is_alphabetic() || c == '_' || c == '#') {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn read(text: &str) -> Vec<(String, Option<String>, Value)> {
        let found = assignments(text).into_iter();
        let understood = found.filter_map(|assignment| match assignment {
            Assignment::Understood { name, key, value } => Some((name, key, value)),
            Assignment::Unknown { .. } => None,
        });
        understood.collect()
    }

    #[test]
    fn literals_are_read() {
        let text = "import os\n# a comment\na = 1 # one\nb = {'x': [1, 2.5, -3,], \"y\": ('u' \"v\"\n 'w'), 'n': None, 't': True}\n\
                    c['k'] = u'caf\\'e' // two\nd = r'a\\b'\ne = '''x\ny'''\n";
        assert_eq!(
            read(text),
            [
                ("a", None, json!(1)),
                (
                    "b",
                    None,
                    json!({ "x": [1, 2.5, -3], "y": ["uvw"], "n": null, "t": true })
                ),
                ("c", Some("k"), json!("caf'e")),
                ("d", None, json!("a\\b")),
                ("e", None, json!("x\ny")),
            ]
            .map(|(name, key, value)| (name.to_owned(), key.map(str::to_owned), value))
        );
    }

    #[test]
    fn what_is_computed_is_reported_with_its_line() {
        let text = "a = 1\nb = os.environ['X']\nc = {\n  'k': f(1),\n  'l': 2,\n}\nd = 2 * 3\nif x:\n    e = 1\nf = 3\n";
        let lines: Vec<usize> = assignments(text)
            .iter()
            .filter_map(|assignment| match assignment {
                Assignment::Unknown { line, .. } => Some(*line),
                Assignment::Understood { .. } => None,
            })
            .collect();
        assert_eq!(lines, [2, 3, 7, 8]);
        let names: Vec<String> = read(text).into_iter().map(|(name, ..)| name).collect();
        assert_eq!(names, ["a", "f"]);
    }

    proptest! {
        #[test]
        fn no_text_panics_or_loops(text in r#"[a-z0-9='"\[\]{}(),:#/\\\n .é-]{0,80}"#) {
            let _ = assignments(&text);
        }
    }
}
