//! WeChat's rules for a visitor's login: the consent, the code, and what an account may read.
//! `visitors` holds the state; `visit` and `sns` are the HTTP routes.

use super::authorize::{Answer, Asked, Wrong};
use super::mint;
use super::people::Person;
use super::refusal::Refusal;
use super::visitors::{Pass, Session};
use super::world::{Grant, World};
use clock::UnixMillis;

/// A refresh token is valid for 30 days, an access token for two hours.
const REFRESH_LIFETIMES: u32 = 360;

/// What a code or a refresh token is exchanged for.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) access: Grant,
    pub(super) session: Session,
    /// Only for a bound account with access to the profile.
    pub(super) unionid: Option<String>,
}

impl World {
    /// Parses an authorize link and checks it against the account's settings.
    pub(super) fn asked(&self, query: &str) -> Result<Asked, Wrong> {
        let asked = Asked::parse(query)?;
        let account = self.accounts.get(&asked.app_id).ok_or_else(Wrong::app_id)?;
        // The whole host is compared: `www.qq.com` covers neither `pay.qq.com` nor `qq.com`.
        let host = asked.redirect.host().map(|host| host.to_owned());
        match &account.oauth_domain {
            Some(domain) if host.as_ref() != Some(domain) => Err(Wrong::domain()),
            _ => Ok(asked),
        }
    }

    /// Records a visitor's answer and returns where the browser is sent.
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
                // According to WeChat's older documentation. The newer one, about websites, says
                // that nothing is redirected.
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

    /// `GET /sns/auth`: the grant of a valid token.
    pub(super) fn pass(&self, token: &str, openid: &str) -> Result<&Pass, Refusal> {
        self.visitors.admit(token, openid, self.time.now())
    }

    /// `GET /sns/userinfo`: the grant and the unionid. WeChat shows no profile by `snsapi_base`,
    /// and a virtual visitor has none.
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

    /// `GET /cgi-bin/user/info`: a person known to the token's account, and since when they follow
    /// it.
    pub(super) fn user(
        &self,
        token: &str,
        openid: &str,
    ) -> Result<(&Person, Option<UnixMillis>, Option<String>), Refusal> {
        let app_id = self.admit(token)?;
        let (person, since) = self
            .visitors
            .people
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
