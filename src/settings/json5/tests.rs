//! What is read and what is refused, compared with the `json5` crate.

use config::{Value, ValueKind};
use proptest::prelude::*;

use super::{Position, parse};

/// The text's value, or the position and message of its error.
fn read(text: &str) -> Result<Value, (usize, usize, String)> {
    let document = parse(text, |position| Some(position.to_string()));
    document
        .map(|document| document.root)
        .map_err(|error| (error.position.line, error.position.column, error.message))
}

/// A value as text, by which the two parsers are compared; `NaN` equals itself there.
fn shown(value: &Value) -> String {
    match &value.kind {
        ValueKind::Nil => "null".to_owned(),
        ValueKind::Boolean(value) => value.to_string(),
        ValueKind::I64(number) => number.to_string(),
        ValueKind::Float(number) if number.is_nan() => "NaN".to_owned(),
        ValueKind::Float(number) => format!("{number:?}"),
        ValueKind::String(text) => format!("{text:?}"),
        ValueKind::Array(items) => format!(
            "[{}]",
            items.iter().map(shown).collect::<Vec<_>>().join(",")
        ),
        ValueKind::Table(members) => {
            let members = members
                .iter()
                .map(|(name, value)| format!("{name:?}:{}", shown(value)));
            format!("{{{}}}", members.collect::<Vec<_>>().join(","))
        }
        other => panic!("the parser makes no {other:?}"),
    }
}

/// What the `json5` crate reads.
struct Theirs(Value);

impl<'de> serde::Deserialize<'de> for Theirs {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Theirs(Value::new(None, ValueKind::Nil)))
    }
}

impl<'de> serde::de::Visitor<'de> for Theirs {
    type Value = Self;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E>(self) -> Result<Self, E> {
        Ok(self)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self, E> {
        Ok(Self(value.into()))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Self, E> {
        Ok(Self(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Self, E> {
        Ok(Self(
            i64::try_from(number).map_or_else(|_| (number as f64).into(), Value::from),
        ))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Self, E> {
        Ok(Self(number.into()))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self, E> {
        Ok(Self(text.into()))
    }

    fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Self, A::Error> {
        let mut items = Vec::new();
        while let Some(Theirs(item)) = list.next_element()? {
            items.push(item);
        }
        Ok(Self(items.into()))
    }

    fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut members = config::Map::<String, Value>::new();
        while let Some((name, Theirs(value))) = map.next_entry()? {
            members.insert(name, value);
        }
        Ok(Self(members.into()))
    }
}

#[track_caller]
fn check_same(text: &str) {
    let ours = read(text).map(|value| shown(&value)).ok();
    let theirs = ::json5::from_str::<Theirs>(text)
        .map(|Theirs(value)| shown(&value))
        .ok();
    assert_eq!(ours, theirs, "{text:?}");
}

#[test]
fn all_of_json5_is_read() {
    for text in [
        "{unquoted: 1, 'single': 2, \"double\": 3, $: 4, _a1: 5, \\u0061b: 6, 名: 7, null: 8, null_x: 9, Infinity: 10, 'a.b': 11}",
        "{a/**/: /*b*/1 // c\n, /* * / */ d: [1,2,], }",
        "[+1, -1, .5, 5., -.5e-3, 1e5, 0, -0, 0.5, 0e1, 0x1F, -0Xff, +0x0]",
        "[Infinity, -Infinity, +Infinity, NaN, -NaN]",
        "[9223372036854775807, 9223372036854775808, -9223372036854775808, -9223372036854775809, 1e999]",
        "[0xFFFFFFFFFFFFFFFF, 340282366920938463463374607431768211456]",
        r#"['\'', "\"", '\b\t\n\v\f\r\0\\\/\a\x41\u4f60\ud83d\ude00', 'a\u2028b']"#,
        "['one \\\n two \\\r\n three \\\u{2028} four', '\u{2028}', 'tab\there']",
        "\u{feff}\u{a0}\u{3000}{\u{c}}\u{2029}",
        "[{a: 1, b: 2, a: 3}]",
        "null",
        "\"text\"",
    ] {
        assert!(read(text).is_ok(), "{text:?}: {:?}", read(text));
        check_same(text);
    }
}

#[test]
fn what_is_not_json5_is_refused() {
    for text in [
        "",
        " ",
        "{",
        "[",
        "[1",
        "[1,",
        "{a",
        "{a:",
        "{a:1",
        "{a:1,",
        "[,]",
        "[1,,2]",
        "{,}",
        "{a}",
        "{a:}",
        "{a 1}",
        "{1: 2}",
        "[1 2]",
        "{a: 1 b: 2}",
        "]",
        "[}",
        "{]",
        "[1}",
        "{a: 1]",
        "01",
        "-01",
        "+-1",
        "--1",
        "+",
        "-",
        ".",
        "1e",
        "1e+",
        "1.2.3",
        "0x",
        "0xg",
        "1_000",
        "nul",
        "nullx",
        "True",
        "undefined",
        "'a",
        "'a\nb'",
        "'a\rb'",
        "'\\x4'",
        "'\\xg1'",
        "'\\u12'",
        "'\\ud83d'",
        "'\\ud83d\\u0041'",
        "'\\ude00\\ud83d'",
        "'\\1'",
        "'\\01'",
        "{a-b: 1}",
        "{a.b: 1}",
        "{\\x61: 1}",
        "{\\u002d: 1}",
        "/",
        "/*",
        "/* *",
        "1 // \u{85}\n2",
        "\u{85}1",
        "[1] [2]",
        "{} x",
        "`a`",
    ] {
        assert!(read(text).is_err(), "{text:?}");
        check_same(text);
    }
}

#[test]
fn an_origin_is_the_line_and_column_of_the_key_or_item() {
    let text = "\u{feff}{\r\n\t名字: 'x', \"b\": [\r 1,\n {'c\\u0064': 2}], // 注\u{2028} e: {} }";
    let root = read(text).expect("JSON5");
    let ValueKind::Table(members) = &root.kind else {
        panic!("an object")
    };
    let origin = |value: &Value| {
        Position::parse(value.origin().expect("an origin")).map(|at| (at.line, at.column))
    };
    assert_eq!(origin(&root), Some((1, 1)));
    assert_eq!(
        (origin(&members["名字"]), origin(&members["b"])),
        (Some((2, 2)), Some((2, 11)))
    );
    let ValueKind::Array(items) = &members["b"].kind else {
        panic!("a list")
    };
    assert_eq!(
        (origin(&items[0]), origin(&items[1])),
        (Some((3, 2)), Some((4, 2)))
    );
    let ValueKind::Table(inner) = &items[1].kind else {
        panic!("an object")
    };
    assert_eq!(
        (origin(&inner["cd"]), origin(&members["e"])),
        (Some((4, 3)), Some((5, 2)))
    );
    assert_eq!(Position::parse("SERVER_PORT"), None);
}

#[test]
fn a_repeated_key_is_reported_where_it_is_repeated() {
    let document = parse("{a: 1, b: {a: 1},\n a: 2, 'a': 3}", |_| None).expect("JSON5");
    let repeated: Vec<String> = document
        .repeated
        .iter()
        .map(|(at, key)| format!("{at} {key}"))
        .collect();
    assert_eq!(repeated, ["2:2 a", "2:8 a"]);
    assert_eq!(shown(&document.root), r#"{"a":3,"b":{"a":1}}"#);
}

#[test]
fn an_error_names_its_cause_and_at_most_one_character() {
    for (text, line, column, part) in [
        ("{a: 'x\n}", 1, 7, "next line"),
        ("{a: 'x", 1, 5, "never closed"),
        ("{a: [1, /* x", 1, 9, "this comment is never closed"),
        ("{a: [1,\n", 1, 5, "the '[' here is never closed"),
        ("{a: ‘x’}", 1, 5, "typographic"),
        ("{a： 1}", 1, 3, "full-width"),
        ("{a: 1，b: 2}", 1, 6, "full-width"),
        ("{a: topsecret}", 1, 5, "found 't', expected a value"),
        ("{a: 'C:\\users'}", 1, 8, "escape"),
        ("{a: 0755}", 1, 5, "leave the 0 out"),
        ("{a: 1-2}", 1, 5, "not a number"),
        (
            "{apps: {\n {key: 1}}}",
            2,
            2,
            "expected a list: apps: [{…}]",
        ),
    ] {
        let (at_line, at_column, message) = read(text).expect_err(text);
        assert_eq!((at_line, at_column), (line, column), "{text}: {message}");
        assert!(
            message.contains(part) && !message.contains("topsecret"),
            "{text}: {message}"
        );
    }
}

#[test]
fn a_megabyte_of_nesting_is_refused_at_once() {
    for (text, column) in [
        ("[".repeat(1 << 20), 49),
        ("{a:".repeat(1 << 18), 145),
        ("[{a:".repeat(1 << 18), 97),
    ] {
        let (line, found, message) = read(&text).expect_err("too deep");
        assert_eq!((line, found), (1, column), "{message}");
        assert!(message.contains("nested deeper"), "{message}");
    }
    let deepest = format!("{}{}", "[".repeat(48), "]".repeat(48));
    assert!(read(&deepest).is_ok());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn no_text_is_read_differently(text in r#"(\{|\}|\[|\]|,|:|'|"|\\|\\u|\\x|u0061|d83d|//|/\*|\*/|\n|\r|[ \t]|\+|-|\.|[0-9]|e|0x|[a-f]|null|true|NaN|Infinity|\$|\PC){0,12}"#) {
        check_same(&text);
    }

    #[test]
    fn no_list_of_pieces_is_read_differently(pieces in prop::collection::vec(
        r#"([+-]?(0|[1-9][0-9]{0,20}|0x[0-9a-fA-F]{1,20})?(\.[0-9]{0,3})?([eE][+-]?[0-9]{0,3})?|'([a-z"\\]|\\['"0-9a-z\n]|\\u[0-9a-f]{4}|\\x[0-9a-f]{2}|\PC)*'|null|true|false|[+-]?(NaN|Infinity)|\{([a-z$_]{1,3}|'\PC{0,3}'): ?[0-9](, ?)?\}|\[\]| /\*\PC{0,3}\*/ )"#,
        0..4,
    )) {
        check_same(&format!("[{}]", pieces.join(",")));
    }
}
