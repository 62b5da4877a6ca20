//! The people whom accounts know: who has visited, and who follows since when.

use std::collections::HashMap;

use super::bounded::Bounded;
use super::mint;
use super::refusal::Refusal;
use clock::UnixMillis;

/// How many people who do not follow are kept: more than any test needs.
const REMEMBERED: usize = 50_000;

/// All people, by openid.
#[derive(Debug)]
pub(super) struct People {
    /// Everyone who has visited and does not follow.
    strangers: Bounded<Person>,
    /// With the time since when. Only created by commands, so no bound is needed.
    followers: HashMap<String, (Person, UnixMillis)>,
}

impl Default for People {
    fn default() -> Self {
        Self {
            strangers: Bounded::new(REMEMBERED),
            followers: HashMap::new(),
        }
    }
}

/// A person known to an account.
#[derive(Clone, Debug)]
pub(super) struct Person {
    app_id: String,
    pub(super) name: String,
}

impl People {
    /// Makes `name` known to an account and returns the openid.
    pub(super) fn meet(&mut self, app_id: &str, name: &str) -> String {
        let openid = mint::openid(app_id, name);
        if !self.followers.contains_key(&openid) {
            self.strangers.insert(
                &openid,
                Person {
                    app_id: app_id.to_owned(),
                    name: name.to_owned(),
                },
            );
        }
        openid
    }

    /// Makes `name` follow the account from `now` on, or unfollow it. An existing follower keeps
    /// the original time.
    pub(super) fn follow(&mut self, app_id: &str, name: &str, follows: bool, now: UnixMillis) {
        let openid = mint::openid(app_id, name);
        if follows {
            let person = Person {
                app_id: app_id.to_owned(),
                name: name.to_owned(),
            };
            self.followers.entry(openid).or_insert((person, now));
        } else if let Some((person, _)) = self.followers.remove(&openid) {
            self.strangers.insert(&openid, person);
        }
    }

    /// The person with this openid, and since when they follow the account.
    pub(super) fn person(
        &self,
        app_id: &str,
        openid: &str,
    ) -> Option<(&Person, Option<UnixMillis>)> {
        let follower = self
            .followers
            .get(openid)
            .map(|(person, since)| (person, Some(*since)));
        let found = follower.or_else(|| self.strangers.get(openid).map(|person| (person, None)));
        found.filter(|(person, _)| person.app_id == app_id)
    }

    /// Whether `openid` follows the account; `None` if it is an unknown openid. An invalid openid,
    /// or one of another account, is refused.
    pub(super) fn follows(&self, app_id: &str, openid: &str) -> Result<Option<bool>, Refusal> {
        let known = self.followers.get(openid).map(|(person, _)| (person, true));
        match known.or_else(|| self.strangers.get(openid).map(|person| (person, false))) {
            Some((person, follows)) if person.app_id == app_id => Ok(Some(follows)),
            None if mint::is_openid(openid) => Ok(None),
            _ => Err(Refusal::WRONG_OPENID),
        }
    }
}
