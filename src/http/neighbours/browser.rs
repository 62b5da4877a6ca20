//! Detects requests from browsers. Over plain http a browser sends neither `Origin` nor
//! `Sec-Fetch-Site` with an image, a `GET` form or a link, so a route that changes something must
//! check every other header that only browsers send.

use actix_web::http::header::{self, HeaderMap, HeaderName};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Headers that browsers send and client libraries do not. `Sec-Fetch-Mode` is missing because
/// Node's `fetch` sends it.
const TRACES: [HeaderName; 13] = [
    header::ORIGIN,
    header::REFERER,
    header::COOKIE,
    header::UPGRADE_INSECURE_REQUESTS,
    header::DNT,
    SEC_FETCH_SITE,
    HeaderName::from_static("sec-fetch-dest"),
    HeaderName::from_static("sec-fetch-user"),
    HeaderName::from_static("sec-ch-ua"),
    HeaderName::from_static("sec-gpc"),
    HeaderName::from_static("sec-purpose"),
    HeaderName::from_static("ping-from"),
    HeaderName::from_static("ping-to"),
];

/// Beginnings of `Accept` that only browsers send: for images, videos, sounds and style sheets.
const FIRST_TYPES: [&str; 4] = ["image/", "video/", "audio/", "text/css"];

/// A type that only browsers list when they open a page. `text/html` is no sign: Java's
/// HttpURLConnection lists it, too.
const PAGE_TYPE: &str = "application/xhtml+xml";

/// Whether a page sent the request, by the headers of scripted requests and of https.
/// `Sec-Fetch-Site: none` is an address that a person typed.
pub(super) fn is_page(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN)
        || headers.get_all(SEC_FETCH_SITE).any(|site| site != "none")
}

/// Whether any header shows a browser.
pub(super) fn is_traced(headers: &HeaderMap) -> bool {
    TRACES.iter().any(|trace| headers.contains_key(trace))
        || lower(headers, header::USER_AGENT).any(|agent| agent.starts_with("mozilla/"))
        || lower(headers, header::ACCEPT).any(|accept| {
            accept.contains(PAGE_TYPE) || FIRST_TYPES.iter().any(|first| accept.starts_with(first))
        })
}

fn lower(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = String> {
    headers.get_all(name).map(|value| {
        String::from_utf8_lossy(value.as_bytes())
            .trim_start()
            .to_ascii_lowercase()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn traced(pairs: &[(&'static str, &'static str)]) -> bool {
        let mut map = HeaderMap::new();
        for &(name, value) in pairs {
            map.append(
                HeaderName::from_static(name),
                HeaderValue::from_static(value),
            );
        }
        is_traced(&map)
    }

    #[test]
    fn each_browser_header_is_enough() {
        for trace in [
            ("origin", "null"),
            ("referer", "http://evil.example/"),
            ("sec-fetch-site", "none"),
            ("sec-fetch-site", "same-origin"),
            ("upgrade-insecure-requests", "1"),
            ("cookie", ""),
            (
                "user-agent",
                "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36",
            ),
            ("user-agent", "mozilla/4.0"),
            ("accept", "image/avif,image/webp,*/*;q=0.8"),
            ("accept", "Image/*"),
            (
                "accept",
                "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            ),
            ("accept", "text/html, Application/XHTML+XML"),
            ("accept", "text/css,*/*;q=0.1"),
            ("accept", "video/webm,video/ogg,*/*;q=0.5"),
        ] {
            assert!(traced(&[("accept", "*/*"), trace]), "{trace:?}");
        }
    }

    #[test]
    fn default_headers_of_programs_are_not_a_browsers() {
        for program in [
            &[("user-agent", "curl/8.14.1"), ("accept", "*/*")][..],
            &[
                ("user-agent", "Go-http-client/1.1"),
                ("accept-encoding", "gzip"),
            ],
            &[
                ("user-agent", "python-requests/2.32.3"),
                ("accept", "*/*"),
                ("accept-encoding", "gzip, deflate"),
                ("connection", "keep-alive"),
            ],
            &[
                ("user-agent", "Python-urllib/3.13"),
                ("accept-encoding", "identity"),
                ("connection", "close"),
            ],
            &[
                ("user-agent", "Java/21.0.8"),
                (
                    "accept",
                    "text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2",
                ),
            ],
            &[("user-agent", "okhttp/4.12.0"), ("accept-encoding", "gzip")],
            &[
                ("user-agent", "node"),
                ("accept", "*/*"),
                ("accept-language", "*"),
                ("sec-fetch-mode", "cors"),
                ("accept-encoding", "gzip, deflate"),
            ],
            &[
                ("user-agent", "axios/1.11.0"),
                ("accept", "application/json, text/plain, */*"),
            ],
            &[("user-agent", "GuzzleHttp/7")],
            &[("connection", "close")],
        ] {
            assert!(!traced(program), "{program:?}");
        }
    }
}
