//! Check files, which prove to WeChat that a domain is ours. The content of `MP_verify_CODE.txt`
//! and `WW_verify_CODE.txt` is `CODE`, at any path and in any case. Any other `NAME.txt` at the
//! root is a file in the folder `server.static`.

use std::io;
use std::time::Duration;

use actix_web::http::{Method, header};
use actix_web::{HttpResponse, web};

use super::error::ApiError;
use super::headers::TEXT;
use super::route::{Call, GET, Route, other_method};
use super::state::AppState;
use credentials::files::{self, FileError};

/// Answers every path that has no route.
pub(super) static FALLBACK: Route = Route::any_method("-", GET, |call| Box::pin(any(call)));

/// A check file is one line of text; larger files are not served.
const LARGEST: u64 = 64 * 1024;

/// Reading takes longer only if the file system hangs.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The name under which requests wait for a check file.
const READING: &str = "check file";

/// A check file, or 404.
async fn any(call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let (state, req) = (call.state, call.req);
    let path = req.path();
    let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
    let code = code_of(name);
    let at_root = above.is_empty() && is_text_file(name);
    if code.is_none() && !at_root {
        return Err(ApiError::NotFound);
    }
    if !matches!(*req.method(), Method::GET | Method::HEAD) {
        return other_method(req.method(), GET);
    }
    let text = match code {
        Some(code) => code.to_owned().into_bytes(),
        None => file(state, name.to_owned()).await?,
    };
    Ok(HttpResponse::Ok()
        .insert_header((header::CONTENT_TYPE, TEXT))
        .body(text))
}

/// `CODE` of `MP_verify_CODE.txt` or `WW_verify_CODE.txt`; `CODE` is one or more of `[A-Za-z0-9_]`.
/// Source: 域名校验文件, where the body must equal the name's last part.
fn code_of(name: &str) -> Option<&str> {
    let (head, rest) = name.split_at_checked("MP_verify_".len())?;
    let (code, tail) = rest.split_at_checked(rest.len().checked_sub(".txt".len())?)?;
    let is_check =
        head.eq_ignore_ascii_case("MP_verify_") || head.eq_ignore_ascii_case("WW_verify_");
    let is_word = !code.is_empty()
        && code
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    (is_check && tail.eq_ignore_ascii_case(".txt") && is_word).then_some(code)
}

/// Whether `name` is a plain file name: not hidden, without separators, and the same on every file
/// system.
fn is_text_file(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    name.len() <= 128 && name.ends_with(".txt") && !name.starts_with('.') && name.bytes().all(plain)
}

async fn file(state: &AppState, name: String) -> Result<Vec<u8>, ApiError> {
    let path = state.options.static_dir.join(name);
    // The thread keeps the permit, so that a mount that does not answer blocks a limited number of
    // threads.
    let permit = state.concurrency.acquire(READING)?;
    let read = web::block(move || {
        let _permit = permit;
        files::read(&path, LARGEST)
    });
    let Ok(read) = tokio::time::timeout(TIMEOUT, read).await else {
        tracing::error!(timeout = ?TIMEOUT, "server.static does not answer; is it on a mount that hangs?");
        return Err(ApiError::Internal);
    };
    match read.map_err(|_| ApiError::ShuttingDown)? {
        Ok(text) => Ok(text),
        Err(FileError::Io(error)) if error.kind() == io::ErrorKind::NotFound => {
            Err(ApiError::NotFound)
        }
        Err(FileError::NotRegular(_) | FileError::TooLarge(_)) => Err(ApiError::NotFound),
        Err(FileError::Io(error)) => {
            tracing::error!(%error, "a check file cannot be read");
            Err(ApiError::Internal)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_between_prefix_and_extension() {
        assert_eq!(
            code_of("MP_verify_dBGMo51NUVEVlQo5.txt"),
            Some("dBGMo51NUVEVlQo5")
        );
        assert_eq!(code_of("ww_VERIFY_a_1.TXT"), Some("a_1"));
        for name in [
            "MP_verify_.txt",
            "MP_verify_a-b.txt",
            "MP_verify_a",
            "XX_verify_a.txt",
            "MP_verify_.txt.txt",
            "微信_verify_a.txt",
            "",
        ] {
            assert_eq!(code_of(name), None, "{name}");
        }
    }

    #[test]
    fn only_plain_names_reach_the_file_system() {
        assert!(is_text_file("8Fh2kd.txt"));
        for name in [
            "../a.txt",
            ".a.txt",
            "a.txt.bak",
            "a%2fb.txt",
            "a/b.txt",
            "a\\b.txt",
            "a b.txt",
        ] {
            assert!(!is_text_file(name), "{name}");
        }
    }
}
