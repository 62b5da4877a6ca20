//! What a realm's signature grants and what it does not.

use super::verify::NO_SECRET;
use super::*;
use clock::UnixMillis;
use proptest::prelude::*;
use url::form_urlencoded;
use wechat::signature;

const NOW: UnixMillis = UnixMillis(1_589_203_758_000);
const V1: &str = "realm=R123&nonce=caa3c9d793b&ts=1589203758&sign=782ab722a4efaecade8d3bba953f9c5d";

fn app(id: &str) -> AppId {
    AppId::parse(id).expect("a good appid")
}

fn realms() -> Realms {
    let realm = |key: &str, apps: Option<&str>, algorithm| Realm {
        apps: apps.map(|id| BTreeSet::from([app(id)])),
        algorithm,
        ..Realm::new(key, "realm_secret".into())
    };
    [
        realm("R123", None, Algorithm::Any),
        realm("R2", None, Algorithm::HmacSha256),
        realm("R3", Some("wx3"), Algorithm::Any),
    ]
    .into_iter()
    .collect()
}

fn ask_at(
    now: UnixMillis,
    raw_query: &str,
    accept: Accept,
) -> Result<VerifiedQuery<'_>, RealmError> {
    let request = SignedRequest {
        method: "GET",
        path: "/jsapi/wx1/query",
        raw_query,
        body: b"",
    };
    let realms = realms();
    realms
        .verify(&request, "wx1", || None, now, accept)
        .map(|(_, query)| query)
}

fn ask(raw_query: &str) -> Result<VerifiedQuery<'_>, RealmError> {
    ask_at(NOW, raw_query, Accept::AnyVersion)
}

fn v1(realm: &str, ts: &str) -> String {
    let sign = signature::realm_v1(realm, "n", ts, "realm_secret").text();
    format!("realm={realm}&nonce=n&ts={ts}&sign={sign}")
}

fn v2(unsigned: &str, method: &str, path: &str, body: &[u8]) -> String {
    let query = SignedQuery::parse(unsigned).expect("no name twice");
    let covered = signature::canonical_query(query.pairs());
    format!(
        "{unsigned}&sign={}",
        signature::realm_v2("realm_secret", method, path, &covered, body).text()
    )
}

#[test]
fn the_originals_example_is_accepted() {
    let query = ask(V1).expect("the example is right");
    assert_eq!(
        (query.realm(), query.key(), query.rotate()),
        ("R123", None, None)
    );
    let upper = V1.replace(
        "782ab722a4efaecade8d3bba953f9c5d",
        "782AB722A4EFAECADE8D3BBA953F9C5D",
    );
    assert!(ask(&upper).is_ok());
}

#[test]
fn values_are_signed_and_returned_decoded() {
    let sign = signature::realm_v1("R123", "a b&c", "1589203758000", "realm_secret").text();
    let raw = format!(
        "key=card%5Fticket&rotate=a%2Bb+c&realm=R12%33&nonce=a+b%26c&ts=1589203758000&sign={sign}&more=1&more=2"
    );
    let query = ask(&raw).expect("the signature is right").into_owned();
    assert_eq!(
        (query.key(), query.rotate(), query.get("more").as_deref()),
        (Some("card_ticket"), Some("a+b c"), Some("1"))
    );
}

#[test]
fn all_authentication_failures_look_the_same() {
    let with_dummy = format!(
        "realm=R9&nonce=n&ts=1589203758&sign={}",
        signature::realm_v1("R9", "n", "1589203758", NO_SECRET).text()
    );
    let wrong = V1.replace("sign=7", "sign=8");
    let longer = format!("{V1}00");
    let no_nonce = V1.replace("nonce", "nunce");
    for raw in ["", "realm=R123", &with_dummy, &wrong, &longer, &no_nonce] {
        assert_eq!(ask(raw).err(), Some(RealmError::Unauthorized), "{raw}");
    }
}

#[test]
fn special_parameters_may_not_repeat() {
    for name in ["realm", "nonce", "ts", "sign", "key", "rotate"] {
        let raw = format!("{V1}&{name}=1&{name}=2");
        assert_eq!(ask(&raw).err(), Some(RealmError::Repeated(name)));
    }
}

#[test]
fn ts_may_be_off_by_five_minutes() {
    let judge = |now: u64, ts: &str| {
        ask_at(UnixMillis(now), &v1("R123", ts), Accept::AnyVersion).map(|_| ())
    };
    for ts in ["1589203758", "1589203758000"] {
        for (now, fresh) in [
            (1_589_203_458_000, true),
            (1_589_204_058_000, true),
            (1_589_203_457_999, false),
            (1_589_204_058_001, false),
        ] {
            let expected = if fresh {
                Ok(())
            } else {
                Err(RealmError::Expired {
                    now: UnixMillis(now),
                })
            };
            assert_eq!(judge(now, ts), expected, "{ts} at {now}");
        }
    }
    for ts in ["", "soon", "-1", "99999999999999999999999"] {
        assert_eq!(
            judge(NOW.0, ts),
            Err(RealmError::Expired { now: NOW }),
            "{ts:?}"
        );
    }
}

#[test]
fn the_signature_is_checked_before_time_and_app() {
    let late = UnixMillis(NOW.0 + 600_000);
    let wrong = V1.replace("sign=7", "sign=8");
    assert_eq!(
        ask_at(late, &wrong, Accept::AnyVersion).err(),
        Some(RealmError::Unauthorized)
    );
    let foreign = v1("R3", "1589203758");
    assert_eq!(
        ask_at(late, &foreign, Accept::AnyVersion).err(),
        Some(RealmError::Expired { now: late })
    );
    assert_eq!(ask(&foreign).err(), Some(RealmError::NotItsApp));
    let request = SignedRequest {
        method: "GET",
        path: "/",
        raw_query: &foreign,
        body: b"",
    };
    assert!(
        realms()
            .verify(&request, "wx3", || None, NOW, Accept::AnyVersion)
            .is_ok()
    );
}

#[test]
fn version_one_is_limited_to_the_query_route() {
    assert_eq!(
        ask_at(NOW, V1, Accept::V2Only).err(),
        Some(RealmError::Unauthorized)
    );
    assert_eq!(
        ask(&v1("R2", "1589203758")).err(),
        Some(RealmError::Unauthorized)
    );
    for realm in ["R123", "R2"] {
        let raw = v2(
            &format!("key=token&realm={realm}&nonce=n&ts=1589203758"),
            "GET",
            "/jsapi/wx1/query",
            b"",
        );
        assert!(ask(&raw).is_ok() && ask_at(NOW, &raw, Accept::V2Only).is_ok());
    }
}

#[test]
fn version_two_binds_method_path_query_and_body() {
    let signed = |method, path, body| {
        v2(
            "key=token&realm=R2&nonce=n&ts=1589203758",
            method,
            path,
            body,
        )
    };
    let good = signed("GET", "/jsapi/wx1/query", b"");
    assert!(ask(&good).is_ok());
    let others = [
        signed("POST", "/jsapi/wx1/query", b""),
        signed("GET", "/jsapi/wx2/query", b""),
        signed("GET", "/jsapi/wx1/query", b"x"),
        good.replace("key=token", "key=ticket"),
        format!("{good}&rotate=x"),
    ];
    for raw in others {
        assert_eq!(ask(&raw).err(), Some(RealmError::Unauthorized), "{raw}");
    }
    let reordered: Vec<&str> = good.split('&').rev().collect();
    assert!(ask(&reordered.join("&")).is_ok());
}

/// Verifies `raw` against `realm` alone, for a caller at `from`.
fn ask_of(realm: Realm, raw: &str, from: &str, now: UnixMillis) -> Result<(), RealmError> {
    let realms: Realms = [realm].into_iter().collect();
    let request = SignedRequest {
        method: "GET",
        path: "/jsapi/wx1/query",
        raw_query: raw,
        body: b"",
    };
    realms
        .verify(
            &request,
            "wx1",
            || from.parse().ok(),
            now,
            Accept::AnyVersion,
        )
        .map(|_| ())
}

#[test]
fn either_of_two_secrets_signs() {
    let realm = |secrets: &[&str]| Realm {
        secrets: secrets
            .iter()
            .map(|secret| SecretString::from(*secret))
            .collect(),
        ..Realm::new("R123", "".into())
    };
    let old = v1("R123", "1589203758");
    let signed = v2(
        "key=token&realm=R123&nonce=n&ts=1589203758",
        "GET",
        "/jsapi/wx1/query",
        b"",
    );
    for raw in [&old, &signed] {
        assert_eq!(
            ask_of(realm(&["new_secret", "realm_secret"]), raw, "", NOW),
            Ok(())
        );
        assert_eq!(
            ask_of(realm(&["realm_secret", "new_secret"]), raw, "", NOW),
            Ok(())
        );
        assert_eq!(
            ask_of(realm(&["new_secret", "newer_secret"]), raw, "", NOW),
            Err(RealmError::Unauthorized)
        );
    }
    // The placeholder for a missing secret grants nothing, neither to an unknown realm nor to a
    // realm with one secret.
    let stand_in = format!(
        "realm=R123&nonce=n&ts=1589203758&sign={}",
        signature::realm_v1("R123", "n", "1589203758", NO_SECRET).text()
    );
    let both: Realms = [realm(&["a", "b"]), Realm::new("R1", "c".into())]
        .into_iter()
        .collect();
    for raw in [stand_in.clone(), stand_in.replace("R123", "R1")] {
        let request = SignedRequest {
            method: "GET",
            path: "/",
            raw_query: &raw,
            body: b"",
        };
        let answer = both
            .verify(&request, "wx1", || None, NOW, Accept::AnyVersion)
            .map(|_| ());
        assert_eq!(answer, Err(RealmError::Unauthorized));
    }
}

#[test]
fn a_realm_expires_after_its_last_day() {
    let realm = || Realm {
        until: Some(NOW.seconds()),
        ..Realm::new("R123", "realm_secret".into())
    };
    let raw = v1("R123", "1589203758");
    assert_eq!(ask_of(realm(), &raw, "", UnixMillis(NOW.0 - 1)), Ok(()));
    assert_eq!(ask_of(realm(), &raw, "", NOW), Err(RealmError::Over));
    assert_eq!(
        ask_of(realm(), &raw.replace("nonce=n", "nonce=x"), "", NOW),
        Err(RealmError::Unauthorized)
    );
}

#[test]
fn a_realm_is_refused_outside_its_networks() {
    let mut networks = TrustedProxies::default();
    assert!(networks.add("10.0.0.0/8"));
    let realm = || Realm {
        networks: Some(networks.clone()),
        ..Realm::new("R123", "realm_secret".into())
    };
    let raw = v1("R123", "1589203758");
    assert_eq!(ask_of(realm(), &raw, "10.1.2.3", NOW), Ok(()));
    assert_eq!(ask_of(realm(), &raw, "::ffff:10.1.2.3", NOW), Ok(()));
    for elsewhere in ["11.1.2.3", "127.0.0.1", "unknown"] {
        assert_eq!(
            ask_of(realm(), &raw, elsewhere, NOW),
            Err(RealmError::NotFromThere),
            "{elsewhere}"
        );
    }
}

proptest! {
    #[test]
    fn a_query_is_decoded_as_a_form_is(raw in r"([a-z]{1,3}|[&=+%]|%[0-9A-Fa-f]{2}|\PC){0,12}") {
        let ours = SignedQuery::parse(&raw).map(|query| query.pairs().map(|(n, v)| (n.into_owned(), v.into_owned())).collect::<Vec<_>>());
        let forms: Vec<(String, String)> = form_urlencoded::parse(raw.as_bytes()).into_owned().collect();
        prop_assert_eq!(ours.expect("no special name comes up twice"), forms);
    }

    #[test]
    fn random_queries_neither_panic_nor_pass(raw in r"\PC*", sign in "[0-9a-f]{32}|[0-9a-f]{64}") {
        prop_assert!(ask(&raw).is_err());
        let claimed = format!("realm=R123&nonce=n&ts=1589203758&sign={sign}");
        prop_assert!(ask(&claimed).is_err());
    }
}
