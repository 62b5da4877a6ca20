//! The pages for visitors, in Chinese or English and without scripts: how a login ended, or why it
//! failed. The texts are askama templates in `static/visitor/`, one file for each page; askama
//! escapes every value.

use actix_web::http::StatusCode;
use actix_web::http::header::{self, AcceptLanguage, Header, HeaderValue, Preference, Quality};
use actix_web::{HttpRequest, HttpResponse};
use askama::Template;
use url::Url;

use super::headers::NO_STORE;
use super::marks::Shaped;
use super::request_id::request_id;
use super::state::AppState;
use crate::login::{Failure, LoginError};

const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// A page contains its style and loads nothing; its form is sent to this server.
const CSP: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
);

/// In seconds.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("5");

/// A page and the values in it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Page<'a> {
    /// A scan login is done: the rest happens on the computer.
    Done,
    /// "Log in to SITE?", a form with `token`, `state` (the login by its picture) and `answer`
    /// (`yes` or `no`) for `action`.
    Confirm {
        site: &'a str,
        action: &'a str,
        token: &'a str,
        login: &'a str,
    },
    /// The visitor answered no to [`Page::Confirm`].
    Declined,
    /// The link is unknown, used, too old, or another browser's.
    Expired(PageLinks<'a>),
    /// The visitor refused in WeChat.
    Refused { again: Option<&'a str> },
    /// Somebody else has used this QR code, which `site` shows.
    Taken { site: &'a str },
    /// A snapshot visit (快照页), where WeChat does not give the real identity.
    Snapshot { again: Option<&'a str> },
    /// WeChat or the store fails; `reference` is the request id in the log.
    Error {
        status: ErrorStatus,
        again: Option<&'a str>,
        reference: &'a str,
    },
}

/// Where a page sends the visitor: the first of these that is known.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PageLinks<'a> {
    /// Where the login starts again.
    pub(super) again: Option<&'a str>,
    /// The site that the login was for.
    pub(super) site: Option<&'a Url>,
    /// This server's host name.
    pub(super) host: &'a str,
}

/// The kind of failure, as a status.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum ErrorStatus {
    /// 502: WeChat refused, or its answer is unreadable.
    Upstream,
    /// 429: too many logins from the visitor's network.
    TooMany,
    /// 503: the store fails, or this server is stopping.
    Here,
    /// 504: WeChat did not answer in time.
    Slow,
}

/// The response with `page` in the visitor's language.
pub(super) fn visitor(req: &HttpRequest, page: Page<'_>) -> HttpResponse {
    // Visitors use WeChat.
    let zh = reads_chinese(req, true);
    let mut response = HttpResponse::build(page.status());
    response
        .insert_header((header::CONTENT_TYPE, HTML))
        .insert_header((header::CONTENT_LANGUAGE, if zh { "zh-CN" } else { "en" }))
        .insert_header((header::CONTENT_SECURITY_POLICY, CSP))
        .insert_header((header::CACHE_CONTROL, NO_STORE))
        .insert_header((header::VARY, "Accept-Language"));
    if matches!(
        page.status(),
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS
    ) {
        response.insert_header((header::RETRY_AFTER, RETRY_AFTER));
    }
    response.extensions_mut().insert(Shaped { error: None });
    response.body(page.html(zh))
}

/// The page after a failed login; `again` is where to start again.
pub(super) fn failed(req: &HttpRequest, failure: Failure, again: Option<&str>) -> HttpResponse {
    let status = match failure {
        Failure::BadCode => {
            return visitor(
                req,
                Page::Expired(PageLinks {
                    again,
                    ..PageLinks::default()
                }),
            );
        }
        Failure::Snapshot => return visitor(req, Page::Snapshot { again }),
        Failure::Upstream => ErrorStatus::Upstream,
        Failure::TimedOut => ErrorStatus::Slow,
    };
    visitor(
        req,
        Page::Error {
            status,
            again,
            reference: &request_id(req),
        },
    )
}

/// The page for a visitor who cannot be served now. The cause goes to the log; `again` is the
/// address to retry.
pub(super) fn internal_failure(
    req: &HttpRequest,
    state: &AppState,
    error: &LoginError,
    again: Option<&str>,
) -> HttpResponse {
    let reference = request_id(req);
    let status = if matches!(error, LoginError::TooMany { .. }) {
        ErrorStatus::TooMany
    } else {
        ErrorStatus::Here
    };
    // Anybody can cause this, so the lines are limited; too many logins are logged by the login's
    // own limits.
    if status == ErrorStatus::Here
        && let Some(unlogged) = state.log_limit.admit("visitor not served")
    {
        let unlogged = Some(unlogged).filter(|unlogged| *unlogged > 0);
        tracing::warn!(%error, request_id = reference, unlogged, "a visitor could not be served");
    }
    visitor(
        req,
        Page::Error {
            status,
            again,
            reference: &reference,
        },
    )
}

/// The page if the concurrency limit is reached, which the limit itself logs.
pub(super) fn overloaded(req: &HttpRequest, again: Option<&str>) -> HttpResponse {
    visitor(
        req,
        Page::Error {
            status: ErrorStatus::Here,
            again,
            reference: &request_id(req),
        },
    )
}

/// The address of `req` below `base`, so that the visitor can retry.
pub(super) fn retry_address(req: &HttpRequest, base: &Url) -> Option<String> {
    let path = req.uri().path_and_query()?.as_str();
    base.join(path.trim_start_matches('/'))
        .ok()
        .filter(|url| url.origin() == base.origin())
        .map(String::from)
}

impl Page<'_> {
    fn status(&self) -> StatusCode {
        match self {
            Self::Done | Self::Confirm { .. } | Self::Declined => StatusCode::OK,
            Self::Expired(_) | Self::Refused { .. } | Self::Taken { .. } => StatusCode::BAD_REQUEST,
            Self::Snapshot { .. } => StatusCode::FORBIDDEN,
            Self::Error { status, .. } => match status {
                ErrorStatus::Upstream => StatusCode::BAD_GATEWAY,
                ErrorStatus::TooMany => StatusCode::TOO_MANY_REQUESTS,
                ErrorStatus::Here => StatusCode::SERVICE_UNAVAILABLE,
                ErrorStatus::Slow => StatusCode::GATEWAY_TIMEOUT,
            },
        }
    }

    fn html(&self, zh: bool) -> String {
        let sheet = match *self {
            Self::Done => PageTemplate::Done { zh },
            Self::Confirm {
                site,
                action,
                token,
                login,
            } => PageTemplate::Confirm {
                zh,
                site,
                action,
                token,
                login,
            },
            Self::Declined => PageTemplate::Declined { zh },
            Self::Expired(PageLinks { again, site, host }) => PageTemplate::Expired {
                zh,
                again: followable(again),
                site: site.map(Url::as_str),
                name: site.and_then(Url::host_str).unwrap_or(host),
            },
            Self::Refused { again } => PageTemplate::Refused {
                zh,
                again: followable(again),
            },
            Self::Taken { site } => PageTemplate::Taken { zh, site },
            Self::Snapshot { again } => PageTemplate::Snapshot {
                zh,
                again: followable(again),
            },
            Self::Error {
                again, reference, ..
            } => PageTemplate::Error {
                zh,
                again: followable(again),
                reference,
            },
        };
        sheet
            .render()
            .expect("text is written into a String, which takes it all")
    }
}

/// The templates with their values.
#[derive(Template)]
enum PageTemplate<'a> {
    #[template(path = "done.html")]
    Done { zh: bool },
    #[template(path = "confirm.html")]
    Confirm {
        zh: bool,
        site: &'a str,
        action: &'a str,
        token: &'a str,
        login: &'a str,
    },
    #[template(path = "declined.html")]
    Declined { zh: bool },
    #[template(path = "expired.html")]
    Expired {
        zh: bool,
        again: Option<&'a str>,
        site: Option<&'a str>,
        name: &'a str,
    },
    #[template(path = "refused.html")]
    Refused { zh: bool, again: Option<&'a str> },
    #[template(path = "taken.html")]
    Taken { zh: bool, site: &'a str },
    #[template(path = "snapshot.html")]
    Snapshot { zh: bool, again: Option<&'a str> },
    #[template(path = "trouble.html")]
    Error {
        zh: bool,
        again: Option<&'a str>,
        reference: &'a str,
    },
}

/// `address`, if a link may have it. Escaping alone would allow `javascript:`.
fn followable(address: Option<&str>) -> Option<&str> {
    address.filter(|address| {
        let is_path =
            address.starts_with('/') && !address.starts_with("//") && !address.starts_with("/\\");
        is_path || address.starts_with("https://") || address.starts_with("http://")
    })
}

/// Whether `Accept-Language` prefers Chinese to English; `usual` if it names neither.
pub(super) fn reads_chinese(req: &HttpRequest, usual: bool) -> bool {
    let Ok(AcceptLanguage(mut wanted)) = AcceptLanguage::parse(req) else {
        return usual;
    };
    wanted.retain(|wish| wish.quality > Quality::ZERO);
    // The sort is stable, so equal weights keep the visitor's order.
    wanted.sort_by_key(|wish| std::cmp::Reverse(wish.quality));
    let first = wanted.iter().find_map(|wish| match &wish.item {
        Preference::Specific(language) => match language.primary_language() {
            "zh" => Some(true),
            "en" => Some(false),
            _ => None,
        },
        Preference::Any => Some(usual),
    });
    first.unwrap_or(usual)
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    const AGAIN: Option<&str> = Some("/oauth/wx1?redirect=https%3A%2F%2Fa.example&state=1");

    fn again<'a>(again: &'a str) -> PageLinks<'a> {
        PageLinks {
            again: Some(again),
            ..PageLinks::default()
        }
    }

    fn every_page<'a>() -> [Page<'a>; 9] {
        let again = AGAIN;
        [
            Page::Done,
            Page::Confirm {
                site: "shop.example.com",
                action: "/login/confirm",
                token: "t-1",
                login: "u-1",
            },
            Page::Declined,
            Page::Expired(PageLinks {
                again,
                ..PageLinks::default()
            }),
            Page::Expired(PageLinks {
                host: "wx.example.com",
                ..PageLinks::default()
            }),
            Page::Refused { again },
            Page::Taken {
                site: "https://shop.example.com",
            },
            Page::Snapshot { again },
            Page::Error {
                status: ErrorStatus::Here,
                again,
                reference: "r-1",
            },
        ]
    }

    #[test]
    fn every_page_exists_in_both_languages() {
        for page in every_page() {
            let (zh, en) = (page.html(true), page.html(false));
            let words = |html: &str| html.split("<main>").nth(1).expect("a main part").to_owned();
            assert_ne!(words(&zh), words(&en), "{page:?}");
            assert!(
                zh.contains(r#"<html lang="zh-CN">"#) && en.contains(r#"<html lang="en">"#),
                "{page:?}"
            );
            for html in [zh, en] {
                assert_eq!(
                    (html.matches("<h1>").count(), html.matches("<p>").count()),
                    (1, 1),
                    "{page:?}"
                );
                assert!(
                    html.starts_with("<!doctype html>") && html.ends_with("</html>"),
                    "{html}"
                );
            }
        }
    }

    #[test]
    fn no_page_has_a_script_or_loads_anything() {
        for page in every_page() {
            for html in [page.html(true), page.html(false)] {
                let html = html.to_ascii_lowercase();
                for word in [
                    "<script",
                    "javascript:",
                    "onclick",
                    "onload",
                    "onerror",
                    "src=",
                    "<link",
                    "<iframe",
                    "@import",
                    "url(",
                ] {
                    assert!(!html.contains(word), "{word} in {html}");
                }
            }
        }
    }

    #[test]
    fn values_in_a_page_are_escaped() {
        let evil = r#"<script>alert(1)</script>"'&"#;
        let again = Some(r#"/a?b="><script>&c"#);
        for page in [
            Page::Confirm {
                site: evil,
                action: evil,
                token: evil,
                login: evil,
            },
            Page::Error {
                status: ErrorStatus::Slow,
                again,
                reference: evil,
            },
            Page::Expired(PageLinks {
                again,
                site: None,
                host: evil,
            }),
            Page::Expired(PageLinks {
                again: None,
                site: None,
                host: evil,
            }),
            Page::Refused { again },
            Page::Taken { site: evil },
            Page::Snapshot { again },
        ] {
            for html in [page.html(true), page.html(false)] {
                assert!(!html.contains("<script"), "{html}");
            }
        }
        let html = Page::Confirm {
            site: evil,
            action: evil,
            token: evil,
            login: evil,
        }
        .html(true);
        assert_eq!(
            html.matches("&#60;script&#62;alert(1)&#60;/script&#62;&#34;&#39;&#38;")
                .count(),
            4,
            "{html}"
        );
    }

    #[test]
    fn only_links_to_web_addresses_are_shown() {
        for good in [
            "/oauth/wx1?redirect=a",
            "https://shop.example.com/",
            "http://localhost/",
        ] {
            assert!(
                Page::Expired(again(good))
                    .html(true)
                    .contains(&format!(r#"href="{good}""#)),
                "{good}"
            );
        }
        for bad in [
            "javascript:alert(1)",
            "//evil.org",
            "/\\evil.org",
            "data:text/html,x",
            "",
            "https:evil",
        ] {
            assert!(
                !Page::Expired(again(bad)).html(true).contains("href"),
                "{bad}"
            );
        }
    }

    #[test]
    fn every_error_page_has_a_link_or_names_the_site() {
        let site: Url = "https://shop.example.com:8443/in"
            .parse()
            .expect("an address");
        let button = |page: Page<'_>, href: &str| {
            for html in [page.html(true), page.html(false)] {
                assert!(
                    html.contains(&format!(r#"<a class="button" href="{href}""#)),
                    "{page:?}: {html}"
                );
            }
        };
        for page in [
            Page::Expired(PageLinks {
                site: Some(&site),
                ..again("/a")
            }),
            Page::Refused { again: Some("/a") },
            Page::Snapshot { again: Some("/a") },
            Page::Error {
                status: ErrorStatus::Here,
                again: Some("/a"),
                reference: "r",
            },
        ] {
            button(page, "/a");
        }
        button(
            Page::Expired(PageLinks {
                site: Some(&site),
                ..PageLinks::default()
            }),
            site.as_str(),
        );
        for (page, name) in [
            (
                Page::Expired(PageLinks {
                    site: Some(&site),
                    ..PageLinks::default()
                }),
                "shop.example.com",
            ),
            (
                Page::Expired(PageLinks {
                    host: "wx.example.com",
                    ..PageLinks::default()
                }),
                "wx.example.com",
            ),
            (
                Page::Taken {
                    site: "https://shop.example.com",
                },
                "https://shop.example.com",
            ),
        ] {
            for html in [page.html(true), page.html(false)] {
                assert!(
                    html.contains(&format!("<bdi>{name}</bdi>")),
                    "{page:?}: {html}"
                );
            }
        }
    }

    #[test]
    fn the_form_has_its_values_and_two_buttons() {
        let page = Page::Confirm {
            site: "商店.example",
            action: "/login/confirm",
            token: "t-1",
            login: "u-1",
        };
        for html in [page.html(true), page.html(false)] {
            for part in [
                r#"<form class="act" method="post" action="/login/confirm">"#,
                r#"<input type="hidden" name="token" value="t-1">"#,
                r#"<input type="hidden" name="state" value="u-1">"#,
                r#"name="answer" value="yes">"#,
                r#"name="answer" value="no">"#,
                "商店.example",
            ] {
                assert!(html.contains(part), "{part} in {html}");
            }
        }
    }

    #[test]
    fn the_language_follows_accept_language() {
        for (accept, zh) in [
            (None, true),
            (Some(""), true),
            (Some("zh-CN,zh;q=0.9,en;q=0.8"), true),
            (Some("en-US,en;q=0.9,zh-CN;q=0.8"), false),
            (Some("en;q=0.5, zh;q=0.9"), true),
            (Some("EN-gb"), false),
            (Some("ZH-hant-TW, en"), true),
            (Some("zh;q=0, en;q=0.1"), false),
            (Some("fr, de;q=0.9"), true),
            (Some("fr, en;q=0.2, zh;q=0.1"), false),
            (Some("en;q=0.5, *"), true),
            (Some("fr, en, *;q=0.1"), false),
            (Some("en, zh"), false),
            (Some("english, zhuang"), true),
            (Some(";;;,,q=1,en;q=2"), true),
        ] {
            let req = accept
                .into_iter()
                .fold(TestRequest::default(), |req, accept| {
                    req.insert_header((header::ACCEPT_LANGUAGE, accept))
                });
            assert_eq!(
                reads_chinese(&req.to_http_request(), true),
                zh,
                "{accept:?}"
            );
        }
    }

    #[test]
    fn a_page_has_its_type_and_language_and_is_no_store() {
        let req = TestRequest::default()
            .insert_header((header::ACCEPT_LANGUAGE, "en"))
            .to_http_request();
        let expect = [200, 200, 200, 400, 400, 400, 400, 403, 503];
        for (page, status) in every_page().into_iter().zip(expect) {
            let answer = visitor(&req, page);
            assert_eq!(answer.status().as_u16(), status, "{page:?}");
            let header = |name| {
                answer
                    .headers()
                    .get(name)
                    .and_then(|value| value.to_str().ok())
            };
            assert_eq!(
                header(header::CONTENT_TYPE),
                Some("text/html; charset=utf-8")
            );
            assert_eq!(
                (header(header::CONTENT_LANGUAGE), header(header::VARY)),
                (Some("en"), Some("Accept-Language"))
            );
            assert_eq!(header(header::CACHE_CONTROL), Some("no-store"));
            assert_eq!(
                header(header::RETRY_AFTER).is_some(),
                status == 503,
                "{page:?}"
            );
            assert!(
                header(header::CONTENT_SECURITY_POLICY)
                    .is_some_and(|policy| policy.starts_with("default-src 'none';"))
            );
        }
        for (status, number) in [
            (ErrorStatus::Upstream, 502),
            (ErrorStatus::Slow, 504),
            (ErrorStatus::TooMany, 429),
        ] {
            assert_eq!(
                visitor(
                    &req,
                    Page::Error {
                        status,
                        again: None,
                        reference: "r"
                    }
                )
                .status()
                .as_u16(),
                number
            );
        }
    }
}
