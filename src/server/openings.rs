//! Logs which routes are open to a network without a signature, so that the operator knows that
//! tokens are readable there.

use crate::http::Opening;
use crate::settings::{CallerPolicy, Reach};

/// Logs each of `after` that reaches other machines and is not in `before`.
pub(super) fn log(before: &[Opening], after: &[Opening]) {
    let is_new = |opening: &&Opening| {
        opening.policy.allow.reach() > Reach::Loopback && !before.contains(opening)
    };
    for Opening {
        routes,
        section,
        policy,
    } in after.iter().filter(is_new)
    {
        let CallerPolicy { allow, realm } = policy;
        match realm {
            Some(realm) => {
                tracing::info!(section, addresses = routes, %allow, realm, "these networks may call these routes with this realm's signature");
            }
            None if allow.reach() == Reach::Internet => {
                tracing::warn!(
                    section,
                    addresses = routes,
                    %allow,
                    "open to the internet: anyone who reaches this port can read every token; narrow allow, or set realm in that section"
                );
            }
            None => {
                tracing::info!(section, addresses = routes, %allow, "every program in these networks may call these routes without a signature")
            }
        }
    }
}
