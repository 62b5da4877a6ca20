//! Who may ask at the addresses that need no signature of their own, told to the log: an operator must not learn from somebody else that
//! tokens are handed out to a whole network.

use crate::http::Access;
use crate::settings::{CallerPolicy, Reach};

/// Addresses that other machines may ask.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Opening {
    /// Which addresses.
    addresses: &'static str,
    /// The section of the settings that says so.
    section: &'static str,
    policy: CallerPolicy,
}

/// What is open to more than this machine. `has_sources`: TokenBoy's address exists.
pub(super) fn of(access: &Access, has_sources: bool) -> Vec<Opening> {
    let tokenboy = Some(&access.tokenboy).filter(|_| has_sources);
    let sections = [
        ("/token", "tokenboy", tokenboy),
        ("/{appid}/wechat/…, /wx/{appid}/…, /token/query, /wechat/app/create", "wetoken", access.wetoken.as_ref()),
    ];
    let opening = |(addresses, section, policy): (_, _, Option<&CallerPolicy>)| {
        let policy = policy.filter(|policy| policy.allow.reach() > Reach::Loopback)?;
        Some(Opening { addresses, section, policy: policy.clone() })
    };
    sections.into_iter().filter_map(opening).collect()
}

/// Logs one line for each of `after` that is not among `before`.
pub(super) fn tell(before: &[Opening], after: &[Opening]) {
    for Opening { addresses, section, policy } in after.iter().filter(|opening| !before.contains(opening)) {
        let CallerPolicy { allow, realm } = policy;
        match realm {
            Some(realm) => {
                tracing::info!(section, addresses, %allow, realm, "open to these networks, for requests that this realm has signed");
            }
            None if allow.reach() == Reach::Internet => {
                tracing::warn!(
                    section,
                    addresses,
                    %allow,
                    "open to the internet: whoever reaches this port is handed every token there; narrow allow, or set realm in that section"
                );
            }
            None => tracing::info!(section, addresses, %allow, "open to every program in these networks, without a signature"),
        }
    }
}
