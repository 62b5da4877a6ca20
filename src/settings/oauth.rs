//! Reads an app's `oauth`: where its visitors may be sent back to.

use super::lists;
use super::reader::At;
use crate::oauth::{OauthPolicy, Scope, Site};

/// An app's policy. A faulty site is reported and left out; the settings are then not used.
pub(super) fn policy(at: &At<'_>) -> OauthPolicy {
    if !at.is_table(&["redirects", "scope"]) {
        return OauthPolicy::default();
    }
    let scope = at
        .get("scope")
        .and_then(|scope| scope.word(&Scope::NAMES))
        .unwrap_or_default();
    let redirects = at.get("redirects");
    let items = redirects.as_ref().map(At::one_or_more).unwrap_or_default();
    let sites = items.iter().flat_map(sites);
    OauthPolicy {
        sites: sites.collect(),
        scope,
    }
}

/// The sites of one entry. One text may hold several.
fn sites(item: &At<'_>) -> Vec<Site> {
    const EXPECTED: &str = "a site such as \"https://shop.example.com/\"";
    let Some(text) = item.text(EXPECTED) else {
        return Vec::new();
    };
    let is_address = |rest: &str| {
        ["https://", "http://"].iter().any(|scheme| {
            rest.get(..scheme.len())
                .is_some_and(|begin| begin.eq_ignore_ascii_case(scheme))
        })
    };
    let texts = lists::items(text, is_address);
    if texts.is_empty() {
        item.expected(EXPECTED);
    }
    let site = |text| {
        Site::parse(text)
            .map_err(|fault| item.expected(&format!("{EXPECTED}: it {fault}")))
            .ok()
    };
    texts.into_iter().filter_map(site).collect()
}
