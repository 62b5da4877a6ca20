//! Tokens that were proven a while ago, so that a caller who sends the same one all day has its signature judged once. It lives and dies
//! with the keys that proved them, and knows nothing of what makes a token good.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use secrecy::{ExposeSecret, SecretString};

/// Places for tokens. Each token has one of them by its hash, and takes it from another: a caller who makes a new token for each request
/// costs no more than one who is unknown.
const PLACES: usize = 64;

/// What is remembered: `T` is what a token says.
pub(in crate::http) struct Known<T> {
    places: [ArcSwapOption<Token<T>>; PLACES],
    /// With a key of its own, so that nobody can aim at a place.
    hasher: RandomState,
}

struct Token<T> {
    hash: u64,
    text: SecretString,
    says: T,
}

impl<T> Default for Known<T> {
    fn default() -> Self {
        Self { places: std::array::from_fn(|_| ArcSwapOption::empty()), hasher: RandomState::new() }
    }
}

impl<T: Copy> Known<T> {
    /// What `text` says, if it is known.
    pub(super) fn recall(&self, text: &str) -> Option<T> {
        let hash = self.hasher.hash_one(text);
        let token = self.place(hash).load();
        let token = token.as_ref()?;
        // The hash is secret, so that the time of a comparison tells nothing of a token that somebody else sent.
        (token.hash == hash && token.text.expose_secret() == text).then_some(token.says)
    }

    /// Remembers that `text` was proven, and what it says.
    pub(super) fn note(&self, text: &str, says: T) {
        let hash = self.hasher.hash_one(text);
        self.place(hash).store(Some(Arc::new(Token { hash, text: text.into(), says })));
    }

    fn place(&self, hash: u64) -> &ArcSwapOption<Token<T>> {
        // The cast keeps the low bits, which are as good as any.
        &self.places[hash as usize % PLACES]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_token_is_known() {
        let known = Known::default();
        assert_eq!(known.recall("a.b.c"), None);
        known.note("a.b.c", 1);
        assert_eq!((known.recall("a.b.c"), known.recall("a.b.d"), known.recall("a.b.")), (Some(1), None, None));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let known = Known::default();
        let tokens: Vec<String> = (0..1000).map(|number| number.to_string()).collect();
        tokens.iter().for_each(|token| known.note(token, 1));
        assert!(tokens.iter().filter(|token| known.recall(token).is_some()).count() <= PLACES);
        assert_eq!(known.recall("999"), Some(1), "the last is there");
    }
}
