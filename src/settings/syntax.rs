//! A text that is no JSON5: where it breaks, why, and what its writer probably meant.

use json5::{Error, ErrorCode};
use regex::Regex;

use super::faults::{Fault, Position, SettingsError, Written};

/// The error for a text that `fault` says cannot be read.
pub(super) fn syntax_error(file: Written<'_>, fault: &Error) -> SettingsError {
    let end = json5::Position::from_offset(file.text.len(), file.text);
    let position = fault.position().unwrap_or(end);
    let offset = offset_of(position, file.text);
    let at = Position::from(position);
    let place = format!("{}:{}:{}", file.name, at.line, at.column);
    match objects_without_list(&file.text[..offset], &file.text[offset..]) {
        Some(name) => {
            let message = format!("found an object inside an object, expected a list: {name}: [{{…}}]");
            SettingsError::of(Fault { place, path: name, message })
        }
        None => SettingsError::of(Fault { place, path: String::new(), message: in_words(fault, &file.text[offset..]) }),
    }
}

/// The original's own sample writes `realms: { {…} }`, which no reader takes: the name before two opening braces.
fn objects_without_list(before: &str, after: &str) -> Option<String> {
    if !after.starts_with('{') {
        return None;
    }
    let space = r"(?:\s|//[^\n]*\n|/\*(?s:.*?)\*/)*";
    let opened = Regex::new(&format!(r#"["']?([\p{{L}}\w$]+)["']?{space}:{space}\{{{space}$"#)).expect("a fixed expression");
    Some(opened.captures(before)?[1].to_owned())
}

fn in_words(fault: &Error, after: &str) -> String {
    let text = fault.to_string();
    let plain = text.split(" at line ").next().unwrap_or_default();
    let next = after.chars().next().map_or("the text ends".to_owned(), |c| format!("found {c:?}"));
    match (fault.code(), after.chars().next()) {
        // At its end a text has no position of its own: the reader then names the innermost bracket that is still open.
        (Some(code), first) if format!("{code:?}").starts_with("Eof") => match first {
            Some(bracket @ ('{' | '[')) => {
                format!("the {bracket:?} here is never closed; is a bracket or a quotation mark missing?")
            }
            _ => "the text ends too early; expected one object: { apps: […], … }".to_owned(),
        },
        (Some(_), Some('\u{201c}' | '\u{201d}' | '\u{2018}' | '\u{2019}')) => {
            format!("{next}, a typographic quotation mark; expected \" or '")
        }
        (Some(_), Some('：' | '，' | '｛' | '｝')) => format!("{next}, a full-width sign; expected the ASCII one"),
        (Some(ErrorCode::ExpectedComma | ErrorCode::ExpectedClosingBrace | ErrorCode::ExpectedClosingBracket), _) => {
            format!("{next}, expected a comma or a closing bracket; is a comma missing before this?")
        }
        (Some(ErrorCode::ExpectedColon), _) => format!("{next}, expected a colon between a name and its value"),
        (Some(ErrorCode::ExpectedIdentifier | ErrorCode::InvalidKey), _) => {
            format!("{next}, expected a name; names with dots or dashes need quotation marks")
        }
        (Some(ErrorCode::ExpectedValue), _) => format!("{next}, expected a value; texts need quotation marks"),
        (Some(ErrorCode::LineTerminatorInString), _) => "a text ends with its line; is a quotation mark missing?".to_owned(),
        (Some(ErrorCode::TrailingCharacters), _) => format!("{next} after the end of the settings; is a bracket closed too early?"),
        (Some(ErrorCode::InvalidEscapeSequence), _) => format!("{plain}; a backslash is written \\\\"),
        (Some(_), _) => format!("{next}, {plain}"),
        (None, _) => plain.to_owned(),
    }
}

/// The inverse of `json5::Position::from_offset`.
fn offset_of(position: json5::Position, text: &str) -> usize {
    let reached = |offset: &usize| {
        let at = json5::Position::from_offset(*offset, text);
        (at.line, at.column) >= (position.line, position.column)
    };
    // The positions grow with the offsets, so halving finds the first that reaches the one sought.
    let offsets: Vec<usize> = text.char_indices().map(|(offset, _)| offset).collect();
    offsets.get(offsets.partition_point(|offset| !reached(offset))).copied().unwrap_or(text.len())
}
