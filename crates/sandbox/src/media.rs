//! Uploaded media and generated pictures: how they are parsed from a form and sent; and the state
//! of the other common calls. Source: WeChat, 新增临时素材 and 获取临时素材; WeCom, 获取临时素材 (Range).

use std::collections::{BTreeMap, VecDeque};

use actix_web::http::{StatusCode, header};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use serde_json::Value;

use super::bounded::Bounded;
use super::refusal::Refusal;

/// Maximum size of all media together; the oldest are removed.
const MAX_BYTES: usize = 64 << 20;

/// How many used mini-program codes are remembered.
const MAX_CODES: usize = 10_000;

/// The state of the common calls.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) media: Library,
    /// The menu of each account.
    pub(super) menus: BTreeMap<String, Value>,
    /// The used mini-program codes.
    pub(super) codes: Bounded<()>,
}

impl Default for Kept {
    fn default() -> Self {
        Self {
            media: Library::default(),
            menus: BTreeMap::new(),
            codes: Bounded::new(MAX_CODES),
        }
    }
}

/// One file.
#[derive(Clone, Debug)]
pub(super) struct Media {
    pub(super) kind: String,
    pub(super) content_type: String,
    pub(super) name: String,
    pub(super) bytes: Bytes,
}

/// Uploaded files by media_id.
#[derive(Debug, Default)]
pub(super) struct Library {
    files: VecDeque<(String, Media)>,
    bytes: usize,
}

impl Library {
    pub(super) fn add(&mut self, id: &str, media: Media) {
        self.bytes += media.bytes.len();
        self.files.push_back((id.to_owned(), media));
        while self.bytes > MAX_BYTES
            && let Some((_, oldest)) = self.files.pop_front()
        {
            self.bytes -= oldest.bytes.len();
        }
    }

    pub(super) fn get(&self, id: &str) -> Result<&Media, Refusal> {
        self.files
            .iter()
            .find(|(known, _)| known == id)
            .map(|(_, media)| media)
            .ok_or(Refusal::BAD_MEDIA)
    }
}

/// Returns the file in the part `media` of a form, which is where every SDK sends it.
pub(super) fn uploaded(request: &HttpRequest, body: &Bytes, kind: &str) -> Result<Media, Refusal> {
    let content_type = request
        .headers()
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let boundary = content_type
        .split("boundary=")
        .nth(1)
        .map(|rest| rest.split(';').next().unwrap_or(rest).trim_matches('"'));
    let boundary =
        boundary.filter(|boundary| content_type.starts_with("multipart/") && !boundary.is_empty());
    let mark = format!("--{}", boundary.ok_or(Refusal::NO_MEDIA)?);
    let finds = |from: usize, wanted: &[u8]| {
        memchr::memmem::find(&body[from..], wanted).map(|at| from + at)
    };
    let mut at = finds(0, mark.as_bytes()).ok_or(Refusal::NO_MEDIA)?;
    loop {
        let head = at + mark.len();
        let begin = finds(head, b"\r\n\r\n").ok_or(Refusal::NO_MEDIA)? + 4;
        let end = finds(begin, format!("\r\n{mark}").as_bytes()).ok_or(Refusal::NO_MEDIA)?;
        let head = String::from_utf8_lossy(&body[head..begin]);
        let field = |name: &str| {
            head.split(&format!("{name}=\""))
                .nth(1)
                .and_then(|rest| rest.split('"').next())
                .map(str::to_owned)
        };
        // "filename" ends in "name", so the preceding separator is matched as well.
        if head.contains("; name=\"media\"") || head.contains("; name=media") {
            let line = head
                .lines()
                .find(|line| line.to_ascii_lowercase().starts_with("content-type:"));
            let own_type = line
                .and_then(|line| line.split_once(':'))
                .map(|(_, value)| value.trim().to_owned());
            return Ok(Media {
                kind: kind.to_owned(),
                content_type: own_type.unwrap_or_else(|| "application/octet-stream".to_owned()),
                name: field("filename").unwrap_or_default(),
                bytes: body.slice(begin..end),
            });
        }
        at = end + 2;
    }
}

/// Sends a file as WeChat does, or the part that `Range` asks for.
pub(super) fn send(
    request: &HttpRequest,
    content_type: &str,
    name: &str,
    bytes: Bytes,
    status: StatusCode,
) -> HttpResponse {
    let whole = bytes.len();
    let range = request
        .headers()
        .get(header::RANGE)
        .and_then(|range| range.to_str().ok())
        .and_then(|range| part(range, whole));
    let mut response = HttpResponse::build(if range.is_some() {
        StatusCode::PARTIAL_CONTENT
    } else {
        status
    });
    response
        .insert_header((header::CONTENT_TYPE, content_type))
        // WeChat writes this header with a lower-case d.
        .insert_header((
            "Content-disposition",
            format!("attachment; filename=\"{name}\""),
        ))
        .insert_header((header::ACCEPT_RANGES, "bytes"));
    match range {
        Some((from, to)) => {
            response.insert_header((header::CONTENT_RANGE, format!("bytes {from}-{to}/{whole}")));
            response.body(bytes.slice(from..=to))
        }
        None => response.body(bytes),
    }
}

/// Parses `bytes=0-99` for a file of `whole` bytes.
fn part(range: &str, whole: usize) -> Option<(usize, usize)> {
    let (from, to) = range.strip_prefix("bytes=")?.split_once('-')?;
    let last = whole.checked_sub(1)?;
    let from: usize = from.parse().ok()?;
    let to = if to.is_empty() {
        last
    } else {
        to.parse::<usize>().ok()?.min(last)
    };
    (from <= to).then_some((from, to))
}

/// A picture of one black pixel, used for every generated code.
pub(super) const PICTURE: &[u8] = &[
    0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, 0, 0, 0, 0x0d, b'I', b'H', b'D', b'R', 0, 0, 0,
    1, 0, 0, 0, 1, 8, 0, 0, 0, 0, 0x3a, 0x7e, 0x9b, 0x55, 0, 0, 0, 0x0a, b'I', b'D', b'A', b'T',
    0x78, 0x9c, 0x63, 0x60, 0, 0, 0, 2, 0, 1, 0x48, 0xaf, 0xa4, 0x71, 0, 0, 0, 0, b'I', b'E', b'N',
    b'D', 0xae, 0x42, 0x60, 0x82,
];
