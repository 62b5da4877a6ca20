//! What WeChat does with a visitor: lets them in at the authorize link and tells an account about
//! them. The world's rules for both; `visitors` remembers, `visit` and `sns` speak HTTP.

use super::authorize::{Asked, Wrong};
use super::mint;
use super::refusal::Refusal;
use super::visit::Answer;
use super::visitors::{Pass, Person, Session};
use super::world::{Grant, World};
use clock::UnixMillis;

/// A refresh token lives 30 days while an access token lives two hours.
const REFRESH_LIFETIMES: u32 = 360;

/// What a code, or a refresh token, is exchanged for.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) access: Grant,
    pub(super) session: Session,
    /// Only for a bound account that may see the profile.
    pub(super) unionid: Option<String>,
}

impl World {
    /// Reads an authorize link and holds it against the account.
    pub(super) fn asked(&self, query: &str) -> Result<Asked, Wrong> {
        let asked = Asked::parse(query)?;
        let account = self.accounts.get(&asked.app_id).ok_or_else(Wrong::app_id)?;
        // The whole host counts: `www.qq.com` covers neither `pay.qq.com` nor `qq.com`.
        let host = asked.redirect.host().map(|host| host.to_owned());
        match &account.oauth_domain {
            Some(domain) if host.as_ref() != Some(domain) => Err(Wrong::domain()),
            _ => Ok(asked),
        }
    }

    /// A visitor answers; where the browser goes then.
    pub(super) fn visit(&mut self, asked: &Asked, visitor: &str, answer: Answer) -> String {
        let ends = self.time.now().plus(self.overlap());
        let code = match answer {
            Answer::Agree => self
                .visitors
                .agree(&asked.app_id, visitor, &asked.scope, ends),
            Answer::Snapshot => self
                .visitors
                .agree_virtually(&asked.app_id, &asked.scope, ends),
            Answer::Refuse => {
                self.visitors.refuse(&asked.app_id);
                // WeChat's older text; a newer one about websites says that nothing is redirected
                // at all.
                return asked.callback(None);
            }
        };
        asked.callback(Some(&code))
    }

    /// `GET /sns/oauth2/access_token`.
    pub(super) fn exchange(
        &mut self,
        app_id: &str,
        secret: &str,
        code: &str,
    ) -> Result<Login, Refusal> {
        let now = self.time.now();
        self.login(app_id, secret)?;
        let pass = self.visitors.spend(app_id, code, now)?;
        let (ends, refresh_ends) = (
            now.plus(self.lifetime),
            now.plus(self.lifetime * REFRESH_LIFETIMES),
        );
        let session = self.visitors.open(pass, ends, refresh_ends);
        Ok(self.logged_in(session, ends, now))
    }

    /// `GET /sns/oauth2/refresh_token`.
    pub(super) fn renew(&mut self, app_id: &str, refresh: &str) -> Result<Login, Refusal> {
        let now = self.time.now();
        if !self.accounts.contains_key(app_id) {
            return Err(Refusal::UNKNOWN_APPID);
        }
        let ends = now.plus(self.lifetime);
        let session = self.visitors.renew(app_id, refresh, now, ends)?;
        Ok(self.logged_in(session, ends, now))
    }

    /// `GET /sns/auth`: whose token it is, while it lives.
    pub(super) fn pass(&self, token: &str, openid: &str) -> Result<&Pass, Refusal> {
        self.visitors.admit(token, openid, self.time.now())
    }

    /// `GET /sns/userinfo`: the pass and the unionid. WeChat shows nobody's profile by
    /// `snsapi_base`, and a virtual visitor has none.
    pub(super) fn profile(
        &self,
        token: &str,
        openid: &str,
    ) -> Result<(&Pass, Option<String>), Refusal> {
        let pass = self.pass(token, openid)?;
        if !pass.has_profile() || pass.is_virtual {
            return Err(Refusal::NOT_ALLOWED);
        }
        Ok((pass, self.unionid(pass)))
    }

    /// `GET /cgi-bin/user/info`: somebody whom the token's account knows, and since when they
    /// follow it.
    pub(super) fn user(
        &self,
        token: &str,
        openid: &str,
    ) -> Result<(&Person, Option<UnixMillis>, Option<String>), Refusal> {
        let app_id = self.admit(token)?;
        let (person, since) = self
            .visitors
            .person(app_id, openid)
            .ok_or(Refusal::WRONG_OPENID)?;
        Ok((
            person,
            since,
            self.is_bound(app_id).then(|| mint::unionid(&person.name)),
        ))
    }

    fn logged_in(&self, session: Session, ends: UnixMillis, now: UnixMillis) -> Login {
        Login {
            access: self.grant(session.access.clone(), ends, now),
            unionid: self.unionid(&session.pass),
            session,
        }
    }

    fn unionid(&self, pass: &Pass) -> Option<String> {
        (pass.has_profile() && self.is_bound(&pass.app_id)).then(|| mint::unionid(&pass.name))
    }

    fn is_bound(&self, app_id: &str) -> bool {
        self.accounts
            .get(app_id)
            .is_some_and(|account| account.bound)
    }
}

#[cfg(test)]
#[path = "oauth_tests.rs"]
mod tests;
