//! What is wrong with the settings, and where: remarks as they are made, and the finished error
//! with all of them.

use std::fmt;

use super::json5::Position;

/// A message for the operator, with its place.
#[derive(Debug)]
pub(super) struct Remark {
    pub(super) about: About,
    pub(super) message: String,
    pub(super) weight: Weight,
}

/// The place a remark is about.
#[derive(Debug)]
pub(super) enum About {
    /// A setting: its path, such as `realms[1].secret`, and where its value comes from.
    Setting {
        path: String,
        origin: Option<Origin>,
    },
    /// A variable of the environment.
    Variable(String),
    /// A place in the file that has no path.
    Place(Position),
    /// The file as a whole.
    Everything,
}

/// Where a value comes from, unless it is a default.
#[derive(Debug)]
pub(super) enum Origin {
    File(Position),
    Variable(String),
}

impl Origin {
    /// Reads the origin of a `config` value: a position in the file, or the name of a variable.
    pub(super) fn read(text: &str) -> Self {
        Position::parse(text).map_or_else(|| Self::Variable(text.to_owned()), Self::File)
    }
}

/// How much a remark weighs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Weight {
    /// Nothing starts.
    Fault,
    /// An unknown name: a warning, but a fault with `--strict`.
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
        let parts: Vec<&str> = [self.place.as_str(), self.path.as_str()]
            .into_iter()
            .filter(|part| !part.is_empty())
            .collect();
        let colon = if parts.is_empty() { "" } else { ": " };
        write!(f, "{}{colon}{}", parts.join(" "), self.message)
    }
}

/// Every fault of the settings at once, in the order of the file.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SettingsError {
    faults: Vec<Fault>,
    /// Unknown settings: a misspelt name is often why another one is missing.
    warnings: Vec<String>,
}

impl SettingsError {
    /// The faults; there is at least one.
    pub fn faults(&self) -> &[Fault] {
        &self.faults
    }

    pub(super) fn of(fault: Fault) -> Self {
        Self {
            faults: vec![fault],
            warnings: Vec::new(),
        }
    }

    pub(super) fn one(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::of(Fault {
            place: place.into(),
            path: String::new(),
            message: message.into(),
        })
    }
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = self.faults.iter().map(Fault::to_string);
        let warnings = self
            .warnings
            .iter()
            .map(|warning| format!("warning: {warning}"));
        f.write_str(&faults.chain(warnings).collect::<Vec<String>>().join("\n"))
    }
}

impl std::error::Error for SettingsError {}

/// Splits the remarks into warnings and the error, each in the order of the file. `file` is the
/// file's name; empty without a file.
pub(super) fn judge(
    remarks: Vec<Remark>,
    file: &str,
    strict: bool,
) -> (Vec<String>, Option<SettingsError>) {
    let is_fault = |remark: &Remark| {
        remark.weight == Weight::Fault || (strict && remark.weight == Weight::Unknown)
    };
    let (faults, warnings): (Vec<Remark>, Vec<Remark>) = remarks.into_iter().partition(is_fault);
    let to_text = |remarks| {
        in_order(remarks, file)
            .iter()
            .map(Fault::to_string)
            .collect()
    };
    if faults.is_empty() {
        return (to_text(warnings), None);
    }
    let unknown = warnings
        .into_iter()
        .filter(|remark| remark.weight == Weight::Unknown)
        .collect();
    (
        Vec::new(),
        Some(SettingsError {
            faults: in_order(faults, file),
            warnings: to_text(unknown),
        }),
    )
}

/// The remarks by their position in the file; those without one come last, in the order they were
/// made.
fn in_order(remarks: Vec<Remark>, file: &str) -> Vec<Fault> {
    let mut faults: Vec<(Option<Position>, Fault)> = remarks
        .into_iter()
        .map(|Remark { about, message, .. }| {
            let (position, place, path) = match about {
                About::Variable(name) => (None, name, String::new()),
                About::Everything => (None, file.to_owned(), String::new()),
                About::Place(position) => (Some(position), String::new(), String::new()),
                About::Setting {
                    path,
                    origin: Some(Origin::File(position)),
                } => (Some(position), String::new(), path),
                About::Setting {
                    path,
                    origin: Some(Origin::Variable(name)),
                } => (None, name, path),
                About::Setting { path, origin: None } => (None, file.to_owned(), path),
            };
            let place = position.map_or(place, |position| format!("{file}:{position}"));
            (
                position,
                Fault {
                    place,
                    path,
                    message,
                },
            )
        })
        .collect();
    faults.sort_by_key(|(position, _)| (position.is_none(), *position));
    faults.into_iter().map(|(_, fault)| fault).collect()
}
