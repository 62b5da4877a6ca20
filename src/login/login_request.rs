//! The parameters of a login, and what the site receives after it.

use std::iter;

use serde::{Deserialize, Serialize};

use crate::oauth::{Redirect, Scope};
use wechat::signature::random_id;

/// Room for WeChat's code, which today has 32 characters.
const MAX_CODE_LEN: usize = 128;

/// What the site receives after a login.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// A ticket, which the site's back end exchanges with us for the user.
    #[default]
    Login,
    /// WeChat's own code, which the site's back end exchanges.
    Relay,
}

impl Mode {
    /// The query parameters that this mode adds to the return address.
    pub(super) fn names(self) -> [&'static str; 3] {
        match self {
            Self::Login => ["ticket", "state", "error"],
            Self::Relay => ["code", "state", "error"],
        }
    }
}

/// What a site asks for when it sends a visitor to log in.
#[derive(Clone, Debug)]
pub struct LoginRequest {
    /// The account that requests the login.
    pub app_id: String,
    /// Where the visitor returns to.
    pub redirect: Redirect,
    /// The site's own state, passed back to the site.
    pub state: Option<String>,
    /// What the site receives.
    pub mode: Mode,
    /// The requested OAuth scope.
    pub scope: Scope,
}

impl LoginRequest {
    /// Length in bytes of the longest address that this login can return to.
    pub fn longest_return(&self) -> usize {
        let answer = match self.mode {
            Mode::Login => random_id(),
            Mode::Relay => "0".repeat(MAX_CODE_LEN),
        };
        let [word, state, _] = self.mode.names();
        let pairs: Vec<_> = iter::once((word, answer.as_str()))
            .chain(self.state.as_deref().map(|own| (state, own)))
            .collect();
        // Longer than any return address with an error.
        self.redirect.with(&self.mode.names(), &pairs).len()
    }
}
