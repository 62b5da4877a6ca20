//! Logs which routes a network alone opens, so that the operator learns that tokens are handed out
//! without a signature.

use crate::http::Opening;
use crate::settings::{CallerPolicy, Reach};

/// Logs one line for each of `after` that reaches other machines and is not among `before`.
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
                tracing::info!(section, addresses = routes, %allow, realm, "open to these networks, for requests that this realm has signed");
            }
            None if allow.reach() == Reach::Internet => {
                tracing::warn!(
                    section,
                    addresses = routes,
                    %allow,
                    "open to the internet: whoever reaches this port is handed every token there; narrow allow, or set realm in that section"
                );
            }
            None => {
                tracing::info!(section, addresses = routes, %allow, "open to every program in these networks, without a signature")
            }
        }
    }
}
