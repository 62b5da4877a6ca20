//! A source: where its credential is fetched and with what, and how the answer is read. Plain data,
//! validated by `settings/`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use reqwest::Method;
use reqwest::header::HeaderName;
use secrecy::SecretString;
use serde_json::Value;

use super::template::Template;

/// One expiring credential of some service.
#[derive(Clone, Debug)]
pub struct Source {
    /// The name that callers use.
    pub name: String,
    /// The request's method.
    pub method: Method,
    /// Its full, valid address. Secret, because some services take a key in it.
    pub url: SecretString,
    /// What is added to the address's query.
    pub query: Vec<(String, Template)>,
    /// What is sent beside the usual headers.
    pub headers: Vec<(HeaderName, Template)>,
    /// What is sent as the body.
    pub body: Payload,
    /// How long the answer is valid.
    pub expires: Expires,
    /// How to recognize a grant.
    pub ok: Success,
    /// Codes that mean "the credential you sent is stale": the sources that this one reads are then
    /// renewed.
    pub stale: Vec<i64>,
    /// Renewal starts this long before the expiry; an outage of that length is survived.
    pub reserve: Duration,
}

/// A request's body.
#[derive(Clone, Debug)]
pub enum Payload {
    /// No body.
    None,
    /// Pairs, urlencoded.
    Form(Vec<(String, Template)>),
    /// A JSON value.
    Json(JsonTemplate),
    /// A text, sent as it is. It is a form unless the headers say otherwise, and then what fills
    /// its places is encoded for one.
    Text(Template),
}

/// A JSON value whose texts are templates.
#[derive(Clone, Debug)]
pub enum JsonTemplate {
    /// A text.
    Text(Template),
    /// A list.
    List(Vec<JsonTemplate>),
    /// An object, in its order.
    Table(Vec<(String, JsonTemplate)>),
    /// A number, `true`, `false` or `null`.
    Plain(Value),
}

/// How long an answer is valid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expires {
    /// For `expires_in` seconds; without that field for 7000, after which TokenBoy fetches
    /// everything again.
    Usual,
    /// For this field's number of seconds; an answer without it is unreadable.
    Field(Vec<String>),
    /// For a fixed time.
    Fixed(Duration),
}

/// How to recognize a grant.
#[derive(Clone, Debug, PartialEq)]
pub enum Success {
    /// The field is absent or zero, as WeChat's `errcode`.
    Zero(Vec<String>),
    /// The field holds this value.
    Equals(Vec<String>, Value),
}

impl Source {
    /// The other sources that this one reads, each once.
    pub fn needs(&self) -> BTreeSet<&str> {
        let mut needs = BTreeSet::new();
        let lists = [
            Some(&self.query),
            if let Payload::Form(form) = &self.body {
                Some(form)
            } else {
                None
            },
        ];
        for (_, template) in lists.into_iter().flatten().flatten() {
            needs.extend(template.sources());
        }
        for (_, template) in &self.headers {
            needs.extend(template.sources());
        }
        match &self.body {
            Payload::Json(json) => json.note_needs(&mut needs),
            Payload::Text(text) => needs.extend(text.sources()),
            Payload::Form(_) | Payload::None => {}
        }
        needs
    }

    /// The field with the answer's lifetime, if there is one.
    pub(super) fn expires_field(&self) -> Option<Vec<&str>> {
        match &self.expires {
            Expires::Usual => Some(vec!["expires_in"]),
            Expires::Field(path) => Some(path.iter().map(String::as_str).collect()),
            Expires::Fixed(_) => None,
        }
    }
}

impl JsonTemplate {
    fn note_needs<'s>(&'s self, needs: &mut BTreeSet<&'s str>) {
        match self {
            Self::Text(template) => needs.extend(template.sources()),
            Self::List(items) => items.iter().for_each(|item| item.note_needs(needs)),
            Self::Table(members) => members
                .iter()
                .for_each(|(_, member)| member.note_needs(needs)),
            Self::Plain(_) => {}
        }
    }
}

/// Sources that can all be fetched: none of them needs itself, directly or through others, or one
/// that is not there.
#[derive(Clone, Debug, Default)]
pub struct SourceSet(BTreeMap<String, Source>);

/// Why sources cannot all be fetched.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DependencyError {
    /// A source reads one that is not configured.
    #[error("reads {needed}, but no source is called so")]
    Unknown {
        /// The source that reads.
        name: String,
        /// What is not there.
        needed: String,
    },
    /// Each reads the next, and the last is the first.
    #[error("these sources wait for each other: {}", .0.join(" -> "))]
    Cycle(Vec<String>),
}

impl SourceSet {
    /// Proves `sources`; of two with one name the later counts.
    pub fn new(sources: Vec<Source>) -> Result<Self, Vec<DependencyError>> {
        let set: BTreeMap<String, Source> = sources
            .into_iter()
            .map(|source| (source.name.clone(), source))
            .collect();
        let mut search = Search {
            set: &set,
            way: Vec::new(),
            done: BTreeSet::new(),
            errors: Vec::new(),
        };
        for name in set.keys() {
            search.visit(name);
        }
        let errors = search.errors;
        if errors.is_empty() {
            Ok(Self(set))
        } else {
            Err(errors)
        }
    }

    /// True if there are no sources.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

impl IntoIterator for SourceSet {
    type Item = (String, Source);
    type IntoIter = std::collections::btree_map::IntoIter<String, Source>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Looks along every way from source to source, along none twice.
struct Search<'s> {
    set: &'s BTreeMap<String, Source>,
    way: Vec<&'s str>,
    done: BTreeSet<&'s str>,
    errors: Vec<DependencyError>,
}

impl<'s> Search<'s> {
    fn visit(&mut self, name: &'s str) {
        if let Some(at) = self.way.iter().position(|before| *before == name) {
            let round = self.way[at..]
                .iter()
                .chain([&name])
                .map(|name| (*name).to_owned());
            return self.errors.push(DependencyError::Cycle(round.collect()));
        }
        if self.done.contains(name) {
            return;
        }
        let set = self.set;
        self.way.push(name);
        for needed in set.get(name).into_iter().flat_map(Source::needs) {
            if set.contains_key(needed) {
                self.visit(needed);
            } else {
                self.errors.push(DependencyError::Unknown {
                    name: name.to_owned(),
                    needed: needed.to_owned(),
                });
            }
        }
        self.way.pop();
        self.done.insert(name);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(name: &str, reads: &[&str]) -> Source {
        let query = reads.iter().map(|read| {
            (
                "q".to_owned(),
                Template::parse(&format!("{{{{results.{read}.t}}}}")).expect("a template"),
            )
        });
        Source {
            name: name.to_owned(),
            method: Method::GET,
            url: SecretString::from("http://x/"),
            query: query.collect(),
            headers: Vec::new(),
            body: Payload::None,
            expires: Expires::Usual,
            ok: Success::Zero(vec!["errcode".to_owned()]),
            stale: Vec::new(),
            reserve: Duration::ZERO,
        }
    }

    #[test]
    fn sources_may_depend_on_each_other_without_cycles() {
        let chain = vec![
            source("a", &["b", "c"]),
            source("b", &["c"]),
            source("c", &[]),
        ];
        assert_eq!(SourceSet::new(chain).expect("no round").len(), 3);
        let round = vec![
            source("a", &["b"]),
            source("b", &["c"]),
            source("c", &["b"]),
            source("d", &["d"]),
        ];
        let names = |names: &[&str]| {
            DependencyError::Cycle(names.iter().map(|name| (*name).to_owned()).collect())
        };
        assert_eq!(
            SourceSet::new(round).expect_err("two rounds"),
            [names(&["b", "c", "b"]), names(&["d", "d"])]
        );
    }

    #[test]
    fn an_unknown_source_is_named() {
        let errors = SourceSet::new(vec![source("a", &["b"])]).expect_err("b is nowhere");
        assert_eq!(
            errors,
            [DependencyError::Unknown {
                name: "a".to_owned(),
                needed: "b".to_owned()
            }]
        );
    }
}
