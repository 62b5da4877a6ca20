//! Where a setting stands in its file: reads the text again along a path and stops at the end of it, because the reader's errors
//! carry the position that its values do not.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::faults::{Position, Step};

/// The line and column, from 1, of the key (or list item) that `path` names, else of its nearest ancestor that is there.
pub(super) fn locate(text: &str, path: &[Step]) -> Option<Position> {
    (1..=path.len()).rev().find_map(|length| {
        let stopped = Follow(&path[..length]).deserialize(&mut json5::Deserializer::from_str(text)).err()?;
        // Only our own stop counts; the ancestor of a missing key is found in the next round.
        (stopped.to_string().starts_with(HERE)).then(|| stopped.position().map(Position::from))?
    })
}

const HERE: &str = "the path ends here";

/// Follows the first step of a path, which is never empty.
struct Follow<'p>(&'p [Step]);

impl<'de> DeserializeSeed<'de> for Follow<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Follow<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list or an object")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        let [Step::Index(index), rest @ ..] = self.0 else { return Err(A::Error::custom("no list")) };
        for _ in 0..*index {
            seq.next_element::<IgnoredAny>()?;
        }
        if rest.is_empty() { seq.next_element_seed(Stop) } else { seq.next_element_seed(Follow(rest)) }?;
        Err(A::Error::custom("no such item"))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let [Step::Key(key), rest @ ..] = self.0 else { return Err(A::Error::custom("no object")) };
        while let Some(found) = map.next_key_seed(Match { key, last: rest.is_empty() })? {
            if found {
                return map.next_value_seed(Follow(rest));
            }
            map.next_value::<IgnoredAny>()?;
        }
        Err(A::Error::custom("no such key"))
    }
}

/// Compares a key with the one that is sought; stops right on it when it is the last step.
struct Match<'p> {
    key: &'p str,
    last: bool,
}

impl<'de> DeserializeSeed<'de> for Match<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Match<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<bool, E> {
        match key == self.key {
            true if self.last => Err(E::custom(HERE)),
            found => Ok(found),
        }
    }
}

/// Stops at the value that comes next, whatever it is.
struct Stop;

impl<'de> DeserializeSeed<'de> for Stop {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Stop {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("nothing more")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        Err(E::custom(HERE))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<(), E> {
        Err(E::custom(HERE))
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<(), E> {
        Err(E::custom(HERE))
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<(), E> {
        Err(E::custom(HERE))
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<(), E> {
        Err(E::custom(HERE))
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<(), E> {
        Err(E::custom(HERE))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom(HERE))
    }

    fn visit_map<A: MapAccess<'de>>(self, _: A) -> Result<(), A::Error> {
        Err(A::Error::custom(HERE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(path: &[Step]) -> Option<(usize, usize)> {
        let text = "{\n  apps: [\n    { key: 'a' }, // one\n    { 'key': 'b',\n      \"se\\u0063ret\": '' },\n  ],\n  n: null, cors: ['x', 5] }";
        locate(text, path).map(|position| (position.line, position.column))
    }

    #[test]
    fn a_path_leads_to_its_key_or_item_or_to_the_nearest_ancestor() {
        let key = |name: &str| Step::Key(name.into());
        assert_eq!(at(&[key("apps"), Step::Index(1), key("secret")]), Some((5, 7)));
        assert_eq!(at(&[key("apps"), Step::Index(1)]), Some((4, 5)));
        assert_eq!(at(&[key("cors"), Step::Index(1)]), Some((7, 24)));
        assert_eq!(at(&[key("n"), key("x")]), Some((7, 3)));
        assert_eq!(at(&[key("apps"), Step::Index(0), key("secret")]), Some((3, 5)));
        assert_eq!(at(&[key("none")]), None);
    }
}
