//! Reads `sources`: the address of each, its request, and how its response is read. `url`, `method`
//! and `args` are TokenBoy's fields; the others are ours.

use std::time::Duration;

use secrecy::ExposeSecret;
use url::Url;

use super::node::Node;
use super::presets::{Filled, PRESETS, Place, Preset};
use super::reader::{At, did_you_mean};
use super::templates::Templates;
use credentials::sources::{
    DependencyError, Expires, HeaderName, JsonTemplate, Method, Payload, Source, SourceSet,
    Success, Template,
};

const KNOWN: [&str; 11] = [
    "preset", "url", "method", "args", "headers", "body", "form", "expires", "ok", "stale",
    "reserve",
];

/// The codes with which WeChat and WeCom refuse an expired or replaced token.
pub(super) const STALE: [i64; 3] = [40001, 40014, 42001];

const MAX_NAME_LEN: usize = 64;
const SECOND: Duration = Duration::from_secs(1);

/// All sources; TokenBoy calls them `token_sources`. `reserve` is the default for each.
pub(super) fn sources(root: &At<'_>, reserve: Duration) -> SourceSet {
    let Some(section) = root.get("sources").or_else(|| root.get("token_sources")) else {
        return SourceSet::default();
    };
    if !matches!(section.node(), Node::Table(_)) {
        section
            .expected_secret("an object of sources by name: sources: { weixin: { url: \"…\" } }");
        return SourceSet::default();
    }
    let names: Vec<&str> = section.members().map(|(name, _)| name).collect();
    let list: Vec<Source> = section
        .members()
        .filter_map(|(name, at)| source(name, &at, &names, reserve))
        .collect();
    let tangles = match SourceSet::new(list) {
        Ok(set) => return set,
        Err(tangles) => tangles,
    };
    for tangle in tangles {
        // A missing source is already a fault where it is named, or has its own fault.
        if let DependencyError::Cycle(round) = &tangle
            && let Some((_, at)) = section
                .members()
                .find(|(name, _)| Some(*name) == round.first().map(String::as_str))
        {
            at.fault(tangle.to_string());
        }
    }
    SourceSet::default()
}

fn source(name: &str, at: &At<'_>, names: &[&str], reserve: Duration) -> Option<Source> {
    let fits = |c: char| !c.is_whitespace() && !c.is_control() && !matches!(c, '.' | '{' | '}');
    if name.is_empty() || name.chars().count() > MAX_NAME_LEN || !name.chars().all(fits) {
        at.fault("a source's name has 1 to 64 characters, none of them a dot, a brace or a space");
    }
    let preset = at.get("preset").map(|preset| self::preset(&preset));
    let preset = match preset {
        Some(preset) => Some(preset?),
        None => None,
    };
    let known: Vec<&str> = KNOWN
        .into_iter()
        .chain(preset.into_iter().flat_map(Preset::settings))
        .collect();
    if !at.is_table(&known) {
        return None;
    }
    let method = at.get("method").map_or_else(
        || preset.map_or("GET", |preset| preset.method).parse().ok(),
        |at| method(&at),
    );
    let url = url(at, preset);
    let templates = Templates(names);
    let (query, body) = sent(at, preset, method.as_ref(), templates);
    let headers = at
        .get("headers")
        .map(|at| headers(&at, templates))
        .unwrap_or_default();
    let expires = at
        .get("expires")
        .map_or(Some(Expires::Usual), |at| expires(&at));
    let ok = at
        .get("ok")
        .map_or_else(|| Some(Success::Zero(path("errcode"))), |at| success(&at));
    let longest = preset.map_or(Duration::from_secs(3600), |preset| preset.longest_reserve);
    let reserve = at.get("reserve").map_or(Some(reserve), |at| {
        at.duration(SECOND..=24 * 3600 * SECOND)
            .map(|span| span.min(longest))
    });
    let stale = at.get("stale").map(|at| stale(&at));
    let mut source = Source {
        name: name.to_owned(),
        method: method?,
        url: url?,
        query,
        headers,
        body,
        expires: expires?,
        ok: ok?,
        stale: Vec::new(),
        reserve: reserve?.min(longest),
    };
    let usual = if source.needs().is_empty() || !matches!(source.ok, Success::Zero(_)) {
        Vec::new()
    } else {
        STALE.to_vec()
    };
    source.stale = stale.unwrap_or(usual);
    Some(source)
}

fn preset(at: &At<'_>) -> Option<&'static Preset> {
    let names = PRESETS.each_ref().map(|preset| preset.name);
    let text = if let Node::Text(text) = at.node() {
        text
    } else {
        ""
    };
    let preset = PRESETS.iter().find(|preset| preset.name == text);
    if preset.is_none() {
        at.expected(&format!(
            "{}{}",
            names.map(|name| format!("{name:?}")).join(" or "),
            did_you_mean(text, &names)
        ));
    }
    preset
}

fn method(at: &At<'_>) -> Option<Method> {
    let text = at.text("a method such as \"GET\" or \"POST\"")?;
    let upper = text.to_ascii_uppercase();
    let method = Some(upper)
        .filter(|text| text.bytes().all(|byte| byte.is_ascii_uppercase()))
        .and_then(|text| text.parse().ok());
    if method.is_none() {
        at.expected("a method such as \"GET\" or \"POST\"");
    }
    method
}

/// The address. It may hold a secret, so faults do not show it.
fn url(at: &At<'_>, preset: Option<&Preset>) -> Option<secrecy::SecretString> {
    const EXPECTED: &str = "a full address such as \"https://api.example.com/token\"";
    let Some(written) = at.get("url") else {
        let usual = preset.and_then(|preset| preset.url).map(Into::into);
        return if usual.is_some() {
            usual
        } else {
            at.need("url", EXPECTED).and(None)
        };
    };
    let url = written.secret()?;
    let fits = |url: &Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    if !url.expose_secret().parse().is_ok_and(|url| fits(&url)) {
        written.expected_secret(&format!("{EXPECTED}, http or https"));
        return None;
    }
    Some(url)
}

/// The query parameters and the body. `args` become query parameters, or a form if the method has a
/// body and neither `body` nor `form` is set.
fn sent(
    at: &At<'_>,
    preset: Option<&Preset>,
    method: Option<&Method>,
    templates: Templates<'_>,
) -> (Vec<(String, Template)>, Payload) {
    let mut args = at
        .get("args")
        .map(|at| templates.pairs(&at))
        .unwrap_or_default();
    let form = at.get("form").map(|at| templates.pairs(&at));
    let body = at.get("body").and_then(|at| templates.body(&at));
    if let (Some(body), true) = (at.get("body"), form.is_some()) {
        body.fault("a source sends either body or form; remove one of them");
    }
    for body in ["body", "form"].iter().filter_map(|name| at.get(name)) {
        if at.get("method").is_none() && preset.is_none() {
            body.note(
                "is sent with GET, because no method is set; most services expect method: \"POST\"",
            );
        }
    }
    let place = preset.map(|preset| preset.place);
    let usual = preset
        .map(|preset| filled(at, preset, templates))
        .unwrap_or_default();
    let body = match (form, body, place) {
        (Some(mut form), _, place) => {
            form.extend(usual.into_iter().filter(|_| place == Some(Place::Form)));
            Payload::Form(form)
        }
        (_, Some(body), _) => body,
        (_, _, Some(Place::Form)) => Payload::Form(usual),
        (_, _, Some(Place::Json)) => Payload::Json(JsonTemplate::Table(
            usual
                .into_iter()
                .map(|(name, text)| (name, JsonTemplate::Text(text)))
                .collect(),
        )),
        (_, _, Some(Place::Query)) => {
            args.extend(usual);
            Payload::None
        }
        (None, None, None) if !args.is_empty() && method.is_some_and(has_a_body) => {
            Payload::Form(std::mem::take(&mut args))
        }
        (None, None, None) => Payload::None,
    };
    (args, body)
}

fn has_a_body(method: &Method) -> bool {
    [Method::POST, Method::PUT, Method::PATCH].contains(method)
}

/// A preset's fields, with the values that the source sets.
fn filled(at: &At<'_>, preset: &Preset, templates: Templates<'_>) -> Vec<(String, Template)> {
    let field = |(name, filled): &(&str, Filled)| {
        let value = match *filled {
            Filled::Word(word) => Some(Template::literal(word.into())),
            Filled::Setting(setting) => at
                .need(setting, "what the preset needs")
                .and_then(|at| templates.template(&at)),
            Filled::Optional(setting) => at.get(setting).and_then(|at| templates.template(&at)),
            Filled::TokenOf(setting) => at
                .need(
                    setting,
                    "the name of the source that fetches the access_token",
                )
                .and_then(|at| {
                    let other = at.text("the name of a source")?;
                    templates.check(&at, other);
                    Template::parse(&format!("{{{{results.{other}.access_token}}}}"))
                        .map_err(|fault| at.fault(fault.to_string()))
                        .ok()
                }),
        };
        Some(((*name).to_owned(), value?))
    };
    preset.fields.iter().filter_map(field).collect()
}

fn headers(at: &At<'_>, templates: Templates<'_>) -> Vec<(HeaderName, Template)> {
    let header = |(name, template): (String, Template)| match name.parse() {
        Ok(name) => Some((name, template)),
        Err(_) => {
            at.fault(format!("{name:?} is not a valid header name"));
            None
        }
    };
    templates.pairs(at).into_iter().filter_map(header).collect()
}

fn expires(at: &At<'_>) -> Option<Expires> {
    const EXPECTED: &str = "a field of the answer such as \"expires_in\", or a time such as \"2h\" or a number of seconds";
    let longest = 366 * 24 * 3600;
    match at.node() {
        Node::Int(seconds) if (1..=longest).contains(&seconds) => {
            Some(Expires::Fixed(Duration::from_secs(seconds.unsigned_abs())))
        }
        Node::Text(text) if !text.is_empty() => match humantime::parse_duration(text) {
            Ok(span) if span >= SECOND && span <= Duration::from_secs(longest.unsigned_abs()) => {
                Some(Expires::Fixed(span))
            }
            Err(_) if !text.starts_with(|c: char| c.is_ascii_digit()) => {
                Some(Expires::Field(path(text)))
            }
            _ => {
                at.expected(EXPECTED);
                None
            }
        },
        _ => {
            at.expected(EXPECTED);
            None
        }
    }
}

fn success(at: &At<'_>) -> Option<Success> {
    const EXPECTED: &str =
        "a field that is absent or zero on success, \"errcode\", or { field: \"code\", equals: 0 }";
    if !matches!(at.node(), Node::Table(_)) {
        return at.text(EXPECTED).map(|text| Success::Zero(path(text)));
    }
    if !at.is_table(&["field", "equals"]) {
        return None;
    }
    let field = at
        .need("field", "a field of the answer")
        .and_then(|field| field.text("a field of the answer"));
    let equals = at.need("equals", "what the field holds on success");
    Some(Success::Equals(path(field?), equals?.node().to_json()))
}

fn stale(at: &At<'_>) -> Vec<i64> {
    let code = |item: &At<'_>| match item.node() {
        Node::Int(code) => Some(code),
        _ => {
            item.expected("a code such as 40001, or an HTTP status such as 401");
            None
        }
    };
    at.one_or_more().iter().filter_map(code).collect()
}

fn path(text: &str) -> Vec<String> {
    text.split('.').map(str::to_owned).collect()
}
