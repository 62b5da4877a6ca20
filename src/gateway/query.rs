//! Queries, byte for byte: one pair is cut out or one value exchanged, and every other byte stays
//! as it was sent. No URL type is used, because those encode some characters anew.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The values of all pairs called `name`, still encoded. A percent-encoded spelling of the name
/// counts.
pub(super) fn values<'q>(query: &'q str, name: &'static str) -> impl Iterator<Item = &'q str> {
    pairs(query)
        .filter(move |(_, spelled, _)| is(spelled, name))
        .map(|(_, _, value)| value)
}

/// All values, decoded.
pub(super) fn all(query: &str) -> impl Iterator<Item = Cow<'_, str>> {
    pairs(query).map(|(_, _, value)| decode(value))
}

/// The decoded value of the first pair called `name`.
pub(super) fn decoded<'q>(query: &'q str, name: &'static str) -> Option<Cow<'q, str>> {
    values(query, name).next().map(decode)
}

/// `value` with `+` and percent-encoding undone.
pub(super) fn decode(value: &str) -> Cow<'_, str> {
    match value.contains('+') {
        true => Cow::Owned(
            percent_decode_str(&value.replace('+', " "))
                .decode_utf8_lossy()
                .into_owned(),
        ),
        false => percent_decode_str(value).decode_utf8_lossy(),
    }
}

/// `query` without the pairs called `name`.
pub(super) fn without(query: &str, name: &str) -> String {
    let kept: Vec<&str> = pairs(query)
        .filter(|(_, spelled, _)| !is(spelled, name))
        .map(|(pair, _, _)| pair)
        .collect();
    kept.join("&")
}

/// `query` with the values of all pairs called `name` exchanged for `value`, which must need no
/// encoding.
pub(super) fn with(query: &str, name: &str, value: &str) -> String {
    let pairs = pairs(query).map(|(pair, spelled, _)| match is(spelled, name) {
        true => Cow::Owned(format!("{spelled}={value}")),
        false => Cow::Borrowed(pair),
    });
    pairs.collect::<Vec<_>>().join("&")
}

/// `query` with the pair `name=value` put last. A `&` left over at the end goes.
pub(super) fn appended(query: &str, name: &str, value: &str) -> String {
    match query.trim_end_matches('&') {
        "" => format!("{name}={value}"),
        query => format!("{query}&{name}={value}"),
    }
}

/// Each pair as it stands, its name and its value.
fn pairs(query: &str) -> impl Iterator<Item = (&str, &str, &str)> {
    query.split('&').map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (pair, name, value)
    })
}

fn is(spelled: &str, name: &str) -> bool {
    spelled == name || (spelled.contains('%') && percent_decode_str(spelled).eq(name.bytes()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TOKEN: &str = "access_token";

    #[test]
    fn the_token_is_found_in_every_spelling() {
        for query in [
            "access_token=T",
            "a=1&access_token=T",
            "access%5Ftoken=T",
            "%61ccess_token=T&b=2",
            "access_token=T&",
        ] {
            assert_eq!(values(query, TOKEN).collect::<Vec<_>>(), ["T"], "{query}");
        }
        assert_eq!(values("access_token=1&access%5ftoken=2", TOKEN).count(), 2);
        for query in [
            "",
            "access_tokens=T",
            "Access_Token=T",
            "xaccess_token=T",
            "a=access_token",
        ] {
            assert_eq!(values(query, TOKEN).count(), 0, "{query}");
        }
    }

    #[test]
    fn every_other_byte_stays() {
        let odd = "a=中文&b='{}\\&c=1+2&d=%zz&&e&f==&g=%E4%B8%AD";
        assert_eq!(without(&format!("access_token=T&{odd}"), TOKEN), odd);
        assert_eq!(without(&format!("{odd}&access_token=T"), TOKEN), odd);
        assert_eq!(appended(odd, TOKEN, "R"), format!("{odd}&access_token=R"));
        assert_eq!(appended("", TOKEN, "R"), "access_token=R");
        assert_eq!(appended("a=1&", TOKEN, "R"), "a=1&access_token=R");
        assert_eq!(
            with("appid=a&secret=V&js_code=1+2", "secret", "R"),
            "appid=a&secret=R&js_code=1+2"
        );
    }

    #[test]
    fn values_are_decoded_as_forms_are() {
        assert_eq!(decoded("a=1&t=%E4%B8%AD+x", "t").as_deref(), Some("中 x"));
        assert_eq!(decoded("a=1", "t"), None);
    }

    proptest! {
        #[test]
        fn what_is_cut_out_and_put_back_changes_nothing_else(before in "[a-z0-9=&%+]{0,30}", after in "[a-z0-9=%+]{1,30}") {
            prop_assume!(!after.ends_with('&'));
            let query = format!("{before}&access_token=V&{after}");
            let cut = without(&query, TOKEN);
            prop_assert_eq!(&cut, &format!("{before}&{after}"));
            prop_assert_eq!(appended(&cut, TOKEN, "R"), format!("{before}&{after}&access_token=R"));
        }
    }
}
