//! Each mistake is made, and named.

use super::*;
use crate::signature;

const TICKET: &str = "ticket-of-the-account";
const NONCE: &str = "Wm3WZYTPz0wzccnW";
const TIME: u64 = 1_414_587_457;
const PAGE: &str = "https://shop.example.com/list/item?id=7&name=%E5%BE%AE%20x&sort=up";

fn sign(ticket: &str, url: &str) -> String {
    signature::jsapi(ticket, NONCE, TIME, url).text()
}

fn sha1(string1: &str) -> String {
    signature::Hex::from(<[u8; 20]>::from(Sha1::digest(string1))).text()
}

fn candidates() -> Candidates<'static> {
    Candidates {
        ticket: TICKET,
        previous: Some("ticket-before"),
        card: Some("ticket-for-cards"),
        token: Some("access-token"),
        others: vec!["ticket-of-another", "ticket-of-a-third"],
    }
}

#[track_caller]
fn find(url: &str, page: Option<&str>, signature: &str) -> Finding {
    let signed = Signed {
        url,
        page_url: page,
        nonce: NONCE,
        timestamp: TIME,
        signature: Signature::parse(signature).expect("40 hex digits"),
    };
    explain(&signed, &candidates())
}

/// The finding when `signed` was signed for a page that says `url`.
#[track_caller]
fn check(url: &str, signed: &str, code: Code) {
    let found = find(url, None, &sign(TICKET, signed));
    assert_eq!((found.code, found.also), (code, None), "{signed}");
    assert_eq!(found.signed_url.as_deref(), Some(signed));
    assert_eq!(found.is_match(), code == Code::Correct);
}

#[test]
fn a_mistake_in_the_address_is_named() {
    let origin = "https://shop.example.com";
    check(PAGE, PAGE, Code::Correct);
    check(&format!("{PAGE}#/top"), PAGE, Code::Correct);
    check(
        &format!("{PAGE}#/top"),
        &format!("{PAGE}#/top"),
        Code::FragmentSigned,
    );
    check(PAGE, &format!("{PAGE}#/"), Code::FragmentSigned);
    check(origin, &format!("{origin}/"), Code::TrailingSlash);
    check(
        &format!("{origin}/a/?b"),
        &format!("{origin}/a?b"),
        Code::TrailingSlash,
    );
    check(PAGE, &PAGE.replace('%', "%25"), Code::EncodedTwice);
    check(
        "https://a.cn/x?y=1",
        "https%3A%2F%2Fa.cn%2Fx%3Fy%3D1",
        Code::EncodedTwice,
    );
    check(
        PAGE,
        "https://shop.example.com/list/item?id=7&name=微 x&sort=up",
        Code::Decoded,
    );
    check(PAGE, &PAGE.replace("https", "http"), Code::OtherScheme);
    check(PAGE, &PAGE.replace(".com/", ".com:8080/"), Code::OtherPort);
    check("http://[::1]:3000/x", "http://[::1]/x", Code::OtherPort);
    check(
        PAGE,
        "https://shop.example.com/list/item?id=7",
        Code::QueryCut,
    );
    check(PAGE, "https://shop.example.com/list/item", Code::QueryCut);
    check(
        PAGE,
        "https://shop.example.com/list/item?id=7&sort=up",
        Code::QueryCut,
    );
    check(
        PAGE,
        "https://shop.example.com/list/item?name=%E5%BE%AE%20x&sort=up&id=7",
        Code::QueryReordered,
    );
    let shared = format!("{PAGE}&from=groupmessage&isappinstalled=0");
    check(&shared, PAGE, Code::WechatParameters);
    check(PAGE, &shared, Code::WechatParameters);
    check(
        "https://a.cn/?nsukey=abc%3D&from=timeline",
        "https://a.cn/",
        Code::WechatParameters,
    );
    check(PAGE, &format!("{origin}/"), Code::EntryUrl);
    check(PAGE, &format!("{origin}/list/"), Code::EntryUrl);
}

#[test]
fn another_value_in_the_tickets_place_is_named() {
    for (value, code) in [
        ("ticket-before", Code::PreviousTicket),
        ("ticket-for-cards", Code::CardTicket),
        ("access-token", Code::TokenAsTicket),
        ("ticket-of-another", Code::OtherAccountTicket),
        ("ticket-of-a-third", Code::OtherAccountTicket),
    ] {
        let found = find(PAGE, None, &sign(value, PAGE));
        assert_eq!((found.code, found.also), (code, None), "{value}");
        if code == Code::OtherAccountTicket {
            continue;
        }
        let with_fragment = format!("{PAGE}#x");
        let found = find(&with_fragment, None, &sign(value, &with_fragment));
        assert_eq!(
            (found.code, found.also),
            (code, Some(Code::FragmentSigned)),
            "{value}"
        );
    }
    let found = find(PAGE, None, &sign("nobody-knows", PAGE));
    assert_eq!((found.code, found.signed_url), (Code::UnknownTicket, None));
}

#[test]
fn a_mistake_in_the_fields_is_named() {
    let ms = sha1(&format!(
        "jsapi_ticket={TICKET}&noncestr={NONCE}&timestamp={TIME}317&url={PAGE}"
    ));
    assert_eq!(find(PAGE, None, &ms).code, Code::TimestampInMs);
    for string1 in [
        format!("jsapi_ticket={TICKET}&nonceStr={NONCE}&timestamp={TIME}&url={PAGE}"),
        format!("jsapi_ticket={TICKET}&noncestr={NONCE}&timeStamp={TIME}&url={PAGE}"),
        format!("jsapi_ticket={TICKET}&timestamp={TIME}&noncestr={NONCE}&url={PAGE}"),
        format!("ticket={TICKET}&nonceStr={NONCE}&timestamp={TIME}&url={PAGE}"),
    ] {
        let found = find(PAGE, None, &sha1(&string1));
        assert_eq!(
            (found.code, found.also),
            (Code::FieldName, None),
            "{string1}"
        );
    }
    let capitals = sign(TICKET, PAGE).to_uppercase();
    assert_eq!(find(PAGE, None, &capitals).code, Code::Uppercase);
    let cut = sign(TICKET, "https://shop.example.com/list/item").to_uppercase();
    let found = find(PAGE, None, &cut);
    assert_eq!(
        (found.code, found.also),
        (Code::QueryCut, Some(Code::Uppercase))
    );
}

#[test]
fn a_timestamp_in_milliseconds_is_named_whichever_was_signed() {
    for signed in [TIME, TIME * 1000 + 5] {
        let signature = signature::jsapi(TICKET, NONCE, signed, PAGE).text();
        let signed = Signed {
            url: PAGE,
            page_url: None,
            nonce: NONCE,
            timestamp: TIME * 1000 + 5,
            signature: Signature::parse(&signature).expect("40 hex digits"),
        };
        assert_eq!(explain(&signed, &candidates()).code, Code::TimestampInMs);
    }
}

#[test]
fn two_mistakes_are_both_named() {
    let behind_a_proxy = PAGE.replace("https", "http").replace(".com/", ".com:3000/");
    let found = find(PAGE, None, &sign(TICKET, &behind_a_proxy));
    let both = [Some(found.code), found.also];
    assert!(
        both.contains(&Some(Code::OtherScheme)) && both.contains(&Some(Code::OtherPort)),
        "{both:?}"
    );
}

#[test]
fn a_page_at_another_address_is_told_how_the_two_differ() {
    let right = sign(TICKET, PAGE);
    for (page, difference) in [
        (format!("{PAGE}#x"), None),
        (
            format!("{PAGE}&from=singlemessage"),
            Some(Code::WechatParameters),
        ),
        (
            format!("{PAGE}&from=x&clicktime=1"),
            Some(Code::WechatParameters),
        ),
        (PAGE.replace("https", "http"), Some(Code::OtherScheme)),
        (PAGE.replace("item?", "item/?"), Some(Code::TrailingSlash)),
        (format!("{PAGE}&more=1"), Some(Code::QueryCut)),
        (
            "https://shop.example.com/cart?a=1".to_owned(),
            Some(Code::EntryUrl),
        ),
    ] {
        let found = find(PAGE, Some(&page), &right);
        assert_eq!(
            (found.code, found.difference),
            (Code::Correct, difference.map(Some)),
            "{page}"
        );
        // The other way round the page's address was signed.
        if let Some(difference) = difference {
            let found = find(PAGE, Some(&page), &sign(TICKET, &page));
            assert_eq!(found.code, difference, "{page}");
        }
    }
    let foreign = find(PAGE, Some("https://other.example.com/"), &right);
    assert_eq!(foreign.difference, Some(None));
    assert!(foreign.detail(Lingo::English).contains("another address"));
}

#[test]
fn every_code_has_one_row_and_two_sentences() {
    let all: Vec<Code> = Code::all().collect();
    for (at, code) in all.iter().enumerate() {
        assert_eq!(
            Code::all()
                .filter(|other| other.name() == code.name())
                .count(),
            1
        );
        assert!(!all[..at].contains(code), "{code:?}");
        assert!(code.sentence(Lingo::English).ends_with('.'));
        assert!(code.sentence(Lingo::Chinese).ends_with('。'));
    }
}

#[test]
fn a_signature_is_40_hex_digits() {
    let right = sign(TICKET, PAGE);
    assert!(Signature::parse(&right).is_some());
    for wrong in [
        "",
        &right[1..],
        &format!("{right}0"),
        &right.replace(&right[..1], "g"),
        &"微".repeat(40),
    ] {
        assert_eq!(Signature::parse(wrong), None, "{wrong}");
    }
}

#[test]
fn the_search_is_bounded_whatever_is_sent() {
    let query: String = (0..2000).map(|number| format!("&{number}=%")).collect();
    let urls = [
        format!("https://a.cn/{}?x{query}", "a/".repeat(500)),
        "?#".to_owned(),
        String::new(),
        "://:0/?&&&#".to_owned(),
        "https://微.cn/%E5%?微=%".to_owned(),
    ];
    for url in &urls {
        let signature = Signature::parse(&"0".repeat(40)).expect("40 hex digits");
        for timestamp in [0, u64::MAX, TIME] {
            let signed = Signed {
                url,
                page_url: Some(url),
                nonce: NONCE,
                timestamp,
                signature,
            };
            let mut search = Search {
                signed: &signed,
                left: MOST_DIGESTS,
                bytes_left: MOST_BYTES,
            };
            assert_eq!(search.run(&candidates()), None);
            assert_eq!(explain(&signed, &candidates()).code, Code::UnknownTicket);
        }
    }
}
