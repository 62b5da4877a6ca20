//! Which file holds the settings, and its text.

use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::faults::SettingsError;
use credentials::files;

/// The name that is looked for when nobody names a file.
const USUAL: &str = "jsdkd.json";

/// The file to read: `named` (`--config`), else `$APP_CONFIG`, else `jsdkd.json` in the working directory, else beside the
/// executable. A file that was named is returned whether it is there or not; one that is only usual, if it is.
pub fn find_file(named: Option<&Path>, env: &Environment) -> Option<PathBuf> {
    if let Some(named) = named.map(Path::to_owned).or_else(|| env.get("APP_CONFIG").map(PathBuf::from)) {
        return Some(named);
    }
    let beside = std::env::current_exe().ok().and_then(|exe| Some(exe.parent()?.join(USUAL)));
    // A directory of that name is what docker leaves when the file to mount was missing: reading it says so.
    [Some(PathBuf::from(USUAL)), beside].into_iter().flatten().find(|path| path.exists())
}

/// Reads a file of settings; a byte order mark is dropped.
pub(super) fn read(path: &Path) -> Result<String, SettingsError> {
    let fail = |message: String| SettingsError::one(path.display().to_string(), message);
    if path.is_dir() {
        return Err(fail("found a directory, expected a file; docker makes one when the file to mount does not exist".to_owned()));
    }
    let bytes = files::read(path, files::SMALL).map_err(|fault| fail(fault.to_string()))?;
    let text = String::from_utf8(bytes).map_err(|_| fail("found a text that is not UTF-8; save it as UTF-8".to_owned()))?;
    Ok(text.strip_prefix('\u{feff}').map(str::to_owned).unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_comes_before_the_variable_and_both_before_the_usual_places() {
        let env: Environment = [("APP_CONFIG", "/app/jsdkd.json")].into_iter().collect();
        assert_eq!(find_file(Some(Path::new("x.json")), &env), Some(PathBuf::from("x.json")));
        assert_eq!(find_file(None, &env), Some(PathBuf::from("/app/jsdkd.json")));
        assert_eq!(find_file(None, &Environment::default()), None);
    }

    #[test]
    fn a_byte_order_mark_is_dropped_and_other_encodings_are_explained() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("jsdkd.json");
        std::fs::write(&path, b"\xef\xbb\xbf{}").expect("written");
        assert_eq!(read(&path).as_deref(), Ok("{}"));
        std::fs::write(&path, b"\xff\xfe{\0}\0").expect("written");
        assert!(read(&path).expect_err("UTF-16").to_string().ends_with("found a text that is not UTF-8; save it as UTF-8"));
    }
}
