//! Finds the settings file and reads its text.

use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::faults::SettingsError;
use credentials::files;

/// The file's name if none is given.
const DEFAULT: &str = "jsdkd.json";

/// The file to read: `named` (`--config`), else `$APP_CONFIG`, else `jsdkd.json` in the working
/// directory, else in the executable's folder. The first two are returned even if the file does not
/// exist.
pub fn find_file(named: Option<&Path>, env: &Environment) -> Option<PathBuf> {
    if let Some(named) = named
        .map(Path::to_owned)
        .or_else(|| env.get("APP_CONFIG").map(PathBuf::from))
    {
        return Some(named);
    }
    let in_program_folder = std::env::current_exe()
        .ok()
        .and_then(|exe| Some(exe.parent()?.join(DEFAULT)));
    // Docker makes a directory of that name if the file to mount does not exist; `read` explains
    // that.
    [Some(PathBuf::from(DEFAULT)), in_program_folder]
        .into_iter()
        .flatten()
        .find(|path| path.exists())
}

/// Reads a settings file.
pub(super) fn read(path: &Path) -> Result<String, SettingsError> {
    let fail = |message: String| SettingsError::one(path.display().to_string(), message);
    if path.is_dir() {
        return Err(fail("found a directory, expected a file; docker makes one when the file to mount does not exist".to_owned()));
    }
    let bytes = files::read(path, files::SMALL).map_err(|fault| fail(fault.to_string()))?;
    String::from_utf8(bytes)
        .map_err(|_| fail("found a text that is not UTF-8; save it as UTF-8".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_wins_over_the_variable() {
        let env: Environment = [("APP_CONFIG", "/app/jsdkd.json")].into_iter().collect();
        assert_eq!(
            find_file(Some(Path::new("x.json")), &env),
            Some(PathBuf::from("x.json"))
        );
        assert_eq!(
            find_file(None, &env),
            Some(PathBuf::from("/app/jsdkd.json"))
        );
        assert_eq!(find_file(None, &Environment::default()), None);
    }

    #[test]
    fn a_file_that_is_not_utf8_is_refused_with_advice() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("jsdkd.json");
        std::fs::write(&path, b"\xff\xfe{\0}\0").expect("written");
        assert!(
            read(&path)
                .expect_err("UTF-16")
                .to_string()
                .ends_with("found a text that is not UTF-8; save it as UTF-8")
        );
    }
}
