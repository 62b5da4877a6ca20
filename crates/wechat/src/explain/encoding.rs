//! Percent-encoding as browsers and back ends do it.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// What JavaScript's `encodeURIComponent` encodes.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'_')
    .remove(b'.')
    .remove(b'!')
    .remove(b'~')
    .remove(b'*')
    .remove(b'\'')
    .remove(b'(')
    .remove(b')');

/// What JavaScript's `encodeURI` encodes.
const WHOLE: &AsciiSet = &COMPONENT
    .remove(b';')
    .remove(b',')
    .remove(b'/')
    .remove(b'?')
    .remove(b':')
    .remove(b'@')
    .remove(b'&')
    .remove(b'=')
    .remove(b'+')
    .remove(b'$')
    .remove(b'#');

/// `url` encoded in each usual way.
pub(super) fn encoded(url: &str) -> [String; 4] {
    let component = utf8_percent_encode(url, COMPONENT).to_string();
    let lower = lower_hex(&component);
    [
        utf8_percent_encode(url, WHOLE).to_string(),
        component,
        lower,
        // As a template writes it into HTML.
        url.replace('&', "&amp;"),
    ]
}

/// `url` decoded in each usual way, and encoded anew, which changes what need not be encoded.
pub(super) fn decoded(url: &str) -> Vec<String> {
    let mut all = Vec::new();
    let Ok(plain) = percent_decode_str(url).decode_utf8() else {
        return all;
    };
    all.push(plain.replace('+', " "));
    all.push(url.replace("&amp;", "&"));
    all.push(utf8_percent_encode(&plain, WHOLE).to_string());
    all.push(lower_hex(url));
    all.push(plain.into_owned());
    all
}

/// `%4E` as `%4e`.
fn lower_hex(url: &str) -> String {
    let mut lower = String::with_capacity(url.len());
    let mut pieces = url.split('%');
    lower.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let digits = piece.get(..2).unwrap_or_default();
        lower.push('%');
        lower.push_str(&digits.to_ascii_lowercase());
        lower.push_str(&piece[digits.len()..]);
    }
    lower
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encoding_is_that_of_javascript() {
        let [whole, component, lower, html] = encoded("https://a.cn/x y?q=%E4微&b=1");
        assert_eq!(whole, "https://a.cn/x%20y?q=%25E4%E5%BE%AE&b=1");
        assert_eq!(
            component,
            "https%3A%2F%2Fa.cn%2Fx%20y%3Fq%3D%25E4%E5%BE%AE%26b%3D1"
        );
        assert!(lower.starts_with("https%3a%2f%2fa.cn"));
        assert!(html.ends_with("&amp;b=1"));
        assert_eq!(lower_hex("%4E%微%"), "%4e%微%");
    }
}
