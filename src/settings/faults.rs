//! What is wrong with the settings, and where: remarks as the reader makes them, and the finished error with all of them.

use std::fmt;

use super::locate::locate;

/// At most so many faults are looked up in the text; the rest are named by path alone, so that a file with ten thousand faults is
/// not read ten thousand times.
const MOST_LOCATED: usize = 64;

/// A line and a column, both from 1.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct Position {
    pub(super) line: usize,
    pub(super) column: usize,
}

impl From<json5::Position> for Position {
    fn from(position: json5::Position) -> Self {
        Self { line: position.line + 1, column: position.column + 1 }
    }
}

/// One step of a path.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// `realms[1].secret`; a key that is no plain word is put in brackets.
pub(super) fn path_text(path: &[Step]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Index(index) => text.push_str(&format!("[{index}]")),
            Step::Key(key) if key.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-' | '$')) => {
                text.push_str(if text.is_empty() { "" } else { "." });
                text.push_str(key);
            }
            Step::Key(key) => text.push_str(&format!("[{key:?}]")),
        }
    }
    text
}

/// Something to tell the operator, with the place it is about.
#[derive(Debug)]
pub(super) struct Remark {
    pub(super) about: About,
    pub(super) message: String,
    pub(super) weight: Weight,
}

/// The place a remark is about.
#[derive(Debug)]
pub(super) enum About {
    Path(Vec<Step>),
    Variable(String),
    Everything,
}

/// How much a remark weighs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Weight {
    /// Nothing starts.
    Fault,
    /// A word we do not know: a warning, but a fault when strict.
    Unknown,
    /// A warning.
    Note,
}

/// One fault, ready to be shown.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// `jsdkd.json:12:5`, `jsdkd.json` or the name of a variable; may be empty.
    pub place: String,
    /// `realms[1].secret`; may be empty.
    pub path: String,
    /// What was found and what was expected. Never a secret.
    pub message: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whereabouts: Vec<&str> =
            [self.place.as_str(), self.path.as_str()].into_iter().filter(|part| !part.is_empty()).collect();
        let colon = if whereabouts.is_empty() { "" } else { ": " };
        write!(f, "{}{colon}{}", whereabouts.join(" "), self.message)
    }
}

/// Every fault of the settings at once, in the order of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingsError {
    faults: Vec<Fault>,
    /// Unknown settings: a misspelt name is often the cause of a missing one.
    warnings: Vec<String>,
}

impl SettingsError {
    /// The faults; never none.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    pub(super) fn of(fault: Fault) -> Self {
        Self { faults: vec![fault], warnings: Vec::new() }
    }

    pub(super) fn one(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::of(Fault { place: place.into(), path: String::new(), message: message.into() })
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = self.faults.iter().map(Fault::to_string);
        let warnings = self.warnings.iter().map(|warning| format!("warning: {warning}"));
        f.write_str(&faults.chain(warnings).collect::<Vec<String>>().join("\n"))
    }
}

impl std::error::Error for SettingsError {}

/// A file that was read: how to call it, and its text.
#[derive(Clone, Copy)]
pub(super) struct Written<'t> {
    pub(super) name: &'t str,
    pub(super) text: &'t str,
}

/// Splits the remarks into warnings and the error, each in the order of the file. `variable_of` tells which variable set a path.
pub(super) fn judge<'v>(
    remarks: Vec<Remark>,
    written: Option<Written<'_>>,
    strict: bool,
    variable_of: impl Fn(&str) -> Option<&'v str>,
) -> (Vec<String>, Option<SettingsError>) {
    let weigh = |remark: &Remark| remark.weight == Weight::Fault || (strict && remark.weight == Weight::Unknown);
    let (faults, warnings): (Vec<Remark>, Vec<Remark>) = remarks.into_iter().partition(weigh);
    let said = |remarks| placed(remarks, written, &variable_of).iter().map(Fault::to_string).collect();
    if faults.is_empty() {
        return (said(warnings), None);
    }
    let unknown = warnings.into_iter().filter(|remark| remark.weight == Weight::Unknown).collect();
    (Vec::new(), Some(SettingsError { faults: placed(faults, written, &variable_of), warnings: said(unknown) }))
}

fn placed<'v>(remarks: Vec<Remark>, written: Option<Written<'_>>, variable_of: &impl Fn(&str) -> Option<&'v str>) -> Vec<Fault> {
    let mut located = 0;
    let mut faults: Vec<(Option<Position>, Fault)> = Vec::with_capacity(remarks.len());
    for Remark { about, message, .. } in remarks {
        let (position, place, path) = match about {
            About::Variable(name) => (None, name, String::new()),
            About::Everything => (None, written.map(|file| file.name.to_owned()).unwrap_or_default(), String::new()),
            About::Path(steps) => {
                let path = path_text(&steps);
                match (variable_of(&path), written) {
                    (Some(variable), _) => (None, variable.to_owned(), path),
                    (None, None) => (None, String::new(), path),
                    (None, Some(file)) => {
                        located += 1;
                        let position = (located <= MOST_LOCATED).then(|| locate(file.text, &steps)).flatten();
                        let place = position.map_or(file.name.to_owned(), |at| format!("{}:{}:{}", file.name, at.line, at.column));
                        (position, place, path)
                    }
                }
            }
        };
        faults.push((position, Fault { place, path, message }));
    }
    // What has no position comes last, in the order it was found.
    faults.sort_by_key(|(position, _)| position.map_or((usize::MAX, 0), |at| (at.line, at.column)));
    faults.into_iter().map(|(_, fault)| fault).collect()
}
