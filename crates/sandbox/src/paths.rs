//! The list of WeChat paths that the sandbox serves.

use super::{authorize, call, message, probe, sns, ticket, token, user, wecom};

/// The WeChat paths that the sandbox serves.
pub(super) fn paths() -> Vec<&'static str> {
    PATHS.into_iter().chain(call::paths()).collect()
}

const PATHS: [&str; 15] = [
    token::BASIC,
    token::STABLE,
    ticket::PATH,
    wecom::TOKEN,
    wecom::TICKET,
    wecom::AGENT_TICKET,
    probe::PATH,
    user::PATH,
    message::CUSTOM,
    message::TEMPLATE,
    authorize::PATH,
    sns::ACCESS,
    sns::REFRESH,
    sns::USERINFO,
    sns::AUTH,
];
