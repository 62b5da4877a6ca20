//! Keeps web pages away from the admin routes. There is no CORS here, so a page of another origin
//! cannot read an answer; a page whose host name is made to resolve to our address (DNS rebinding)
//! shows itself by `Host`. What a browser says of the caller is checked as well, so that a page
//! cannot even embed an answer. A person may follow a link.

use actix_web::HttpRequest;
use actix_web::http::header;

use crate::http::error::ApiError;
use crate::http::own_host;
use crate::http::route::Call;

/// Refuses requests of web pages and requests under a foreign host name.
pub(super) fn check(call: &Call<'_>) -> Result<(), ApiError> {
    if is_page(call.req) {
        return Err(ApiError::NotForPages);
    }
    if own_host::is_named(call.req, call.state) {
        Ok(())
    } else {
        Err(ApiError::UnknownHost)
    }
}

/// Whether a page of another site sent the request. Our own page loads its style sheet, and a
/// person who follows a link opens a document; neither sends `Origin`.
fn is_page(req: &HttpRequest) -> bool {
    let headers = req.headers();
    if headers.contains_key(header::ORIGIN) {
        return true;
    }
    let is = |name: &str, wanted: &[&str]| {
        headers.get_all(name).all(|value| {
            wanted
                .iter()
                .any(|wanted| value.as_bytes() == wanted.as_bytes())
        })
    };
    let is_ours = is("sec-fetch-site", &["none", "same-origin"]);
    let opens_document = headers.contains_key("sec-fetch-mode")
        && is("sec-fetch-mode", &["navigate"])
        && is("sec-fetch-dest", &["document"]);
    !is_ours && !opens_document
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    fn page(headers: &[(&str, &str)]) -> bool {
        let request = headers
            .iter()
            .fold(TestRequest::default(), |request, header| {
                request.append_header(*header)
            });
        is_page(&request.to_http_request())
    }

    #[test]
    fn programs_and_persons_are_no_pages() {
        let site = "sec-fetch-site";
        assert!(!page(&[]) && !page(&[(site, "none")]) && !page(&[(site, "same-origin")]));
        let link = [
            (site, "cross-site"),
            ("sec-fetch-mode", "navigate"),
            ("sec-fetch-dest", "document"),
        ];
        assert!(!page(&link));
    }

    #[test]
    fn scripts_frames_and_images_of_other_sites_are() {
        let site = ("sec-fetch-site", "cross-site");
        assert!(page(&[("origin", "null")]) && page(&[("origin", "http://localhost:3031")]));
        assert!(page(&[site]) && page(&[("sec-fetch-site", "same-site")]));
        let of = |mode, dest| page(&[site, ("sec-fetch-mode", mode), ("sec-fetch-dest", dest)]);
        assert!(of("no-cors", "image") && of("no-cors", "script") && of("cors", "empty"));
        assert!(of("navigate", "iframe") && of("navigate", "embed"));
        assert!(
            page(&[("sec-fetch-site", "none"), site]),
            "both are checked"
        );
    }
}
