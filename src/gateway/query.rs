//! Queries, byte for byte: one pair is cut out or one value exchanged, and every other byte stays
//! as it was sent. No URL type is used, because those encode some characters anew; no text type,
//! because some callers send other encodings than UTF-8.

use std::borrow::Cow;

use percent_encoding::percent_decode;

/// The values of all pairs called `name`, still encoded. A percent-encoded spelling of the name
/// counts.
pub(super) fn values<'q>(query: &'q [u8], name: &'static str) -> impl Iterator<Item = &'q [u8]> {
    pairs(query)
        .filter(move |(_, spelled, _)| is(spelled, name))
        .map(|(_, _, value)| value)
}

/// All values, decoded.
pub(super) fn all(query: &[u8]) -> impl Iterator<Item = Cow<'_, str>> {
    pairs(query).map(|(_, _, value)| decode(value))
}

/// The decoded value of the first pair called `name`.
pub(super) fn decoded<'q>(query: &'q [u8], name: &'static str) -> Option<Cow<'q, str>> {
    values(query, name).next().map(decode)
}

/// `value` with `+` and percent-encoding undone.
pub(super) fn decode(value: &[u8]) -> Cow<'_, str> {
    if memchr::memchr2(b'+', b'%', value).is_none() {
        return String::from_utf8_lossy(value);
    }
    let spaced: Vec<u8> = value
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    Cow::Owned(percent_decode(&spaced).decode_utf8_lossy().into_owned())
}

/// `query` without the pairs called `name`.
pub(super) fn without(query: &[u8], name: &str) -> Vec<u8> {
    let kept = pairs(query)
        .filter(|(_, spelled, _)| !is(spelled, name))
        .map(|(pair, _, _)| pair);
    joined(kept, query.len())
}

/// `query` with the values of all pairs called `name` exchanged for `value`, which must need no
/// encoding.
pub(super) fn with(query: &[u8], name: &str, value: &str) -> Vec<u8> {
    let pairs = pairs(query).map(|(pair, spelled, _)| match is(spelled, name) {
        true => Cow::Owned([spelled, b"=", value.as_bytes()].concat()),
        false => Cow::Borrowed(pair),
    });
    joined(pairs, query.len() + value.len())
}

/// Appends the pair `name=value` to `target`, whose query begins at `query_at`. A `&` left over at
/// the end goes.
pub(super) fn append(target: &mut Vec<u8>, query_at: usize, name: &str, value: &str) {
    while target.len() > query_at && target.last() == Some(&b'&') {
        target.pop();
    }
    if target.len() > query_at {
        target.push(b'&');
    }
    target.extend_from_slice(name.as_bytes());
    target.push(b'=');
    target.extend_from_slice(value.as_bytes());
}

/// The pairs with a `&` between each two.
fn joined(pairs: impl Iterator<Item = impl AsRef<[u8]>>, capacity: usize) -> Vec<u8> {
    let mut joined = Vec::with_capacity(capacity);
    for (number, pair) in pairs.enumerate() {
        if number > 0 {
            joined.push(b'&');
        }
        joined.extend_from_slice(pair.as_ref());
    }
    joined
}

/// Each pair as it stands, its name and its value.
fn pairs(query: &[u8]) -> impl Iterator<Item = (&[u8], &[u8], &[u8])> {
    query.split(|byte| *byte == b'&').map(|pair| {
        let end = memchr::memchr(b'=', pair);
        let (name, value) = end.map_or((pair, &[][..]), |at| (&pair[..at], &pair[at + 1..]));
        (pair, name, value)
    })
}

fn is(spelled: &[u8], name: &str) -> bool {
    spelled == name.as_bytes()
        || (spelled.contains(&b'%') && percent_decode(spelled).eq(name.bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "access_token";

    fn appended(query: &[u8], value: &str) -> Vec<u8> {
        let mut target = [b"/a?", query].concat();
        append(&mut target, 3, TOKEN, value);
        target.split_off(3)
    }

    #[test]
    fn the_token_is_found_in_every_spelling() {
        for query in [
            "access_token=T",
            "a=1&access_token=T",
            "access%5Ftoken=T",
            "%61ccess_token=T&b=2",
            "access_token=T&",
        ] {
            let found: Vec<_> = values(query.as_bytes(), TOKEN).collect();
            assert_eq!(found, [b"T"], "{query}");
        }
        assert_eq!(values(b"access_token=1&access%5ftoken=2", TOKEN).count(), 2);
        for query in [
            "",
            "access_tokens=T",
            "Access_Token=T",
            "xaccess_token=T",
            "a=access_token",
        ] {
            assert_eq!(values(query.as_bytes(), TOKEN).count(), 0, "{query}");
        }
    }

    #[test]
    fn every_other_byte_stays() {
        let odd = &b"a=\xe4\xb8\xad&b='{}\\&c=1+2&d=%zz&&e&f==&g=%E4&h=\xd6\xd0\"<>|"[..];
        let token = b"access_token=T";
        assert_eq!(without(&[token, &b"&"[..], odd].concat(), TOKEN), odd);
        assert_eq!(without(&[odd, b"&", token].concat(), TOKEN), odd);
        assert_eq!(appended(odd, "R"), [odd, b"&access_token=R"].concat());
        assert_eq!(appended(b"", "R"), b"access_token=R");
        assert_eq!(appended(b"a=1&", "R"), b"a=1&access_token=R");
        assert_eq!(appended(b"&", "R"), b"access_token=R");
        assert_eq!(
            with(b"appid=a&secret=V&js_code=1+2", "secret", "R"),
            b"appid=a&secret=R&js_code=1+2"
        );
    }

    #[test]
    fn values_are_decoded_as_forms_are() {
        assert_eq!(
            decoded(b"a=1&t=%E4%B8%AD+x", "t").as_deref(),
            Some("\u{4e2d} x")
        );
        assert_eq!(decoded(b"t=plain", "t").as_deref(), Some("plain"));
        assert_eq!(decoded(b"a=1", "t"), None);
    }

    proptest! {
        #[test]
        fn what_is_cut_out_and_put_back_changes_nothing_else(before in "[a-z0-9=&%+]{0,30}", after in "[a-z0-9=%+]{1,30}") {
            prop_assume!(!after.ends_with('&'));
            let query = format!("{before}&access_token=V&{after}");
            let cut = without(query.as_bytes(), TOKEN);
            prop_assert_eq!(&cut, &format!("{before}&{after}").into_bytes());
            let back = appended(&cut, "R");
            prop_assert_eq!(back, format!("{before}&{after}&access_token=R").into_bytes());
        }
    }
}
