//! `oauth` of an app, proven into a policy.

use super::reader::At;
use crate::oauth::{OauthPolicy, Scope, Site};

/// What an app allows of OAuth. A faulty site is remarked and left out; the settings are not used then anyway.
pub(super) fn policy(at: &At<'_>) -> OauthPolicy {
    if !at.is_table(&["redirects", "scope"]) {
        return OauthPolicy::default();
    }
    let scope = at.get("scope").and_then(|scope| scope.word(&Scope::NAMES)).unwrap_or_default();
    let redirects = at.get("redirects");
    let items = redirects.as_ref().map(At::one_or_more).unwrap_or_default();
    let sites = items.iter().filter_map(|item| {
        const EXPECTED: &str = "a site such as \"https://shop.example.com/\"";
        let text = item.text(EXPECTED)?;
        Site::parse(text).map_err(|fault| item.expected(&format!("{EXPECTED}: it {fault}"))).ok()
    });
    OauthPolicy { sites: sites.collect(), scope }
}
