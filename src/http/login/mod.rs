//! Login by scanning, as the clients of haowang1013/wechat-server know it: a desktop begins (`open`, if it may: `beginner`) and asks (`poll`), a phone comes
//! by from WeChat (`scanned`).

pub(super) mod beginner;
pub(super) mod open;
pub(super) mod poll;
pub(super) mod scanned;

/// Where a phone comes back to.
pub(super) const CALLBACK: &str = "/wechat/weblogin";

/// Where those wait whose login has no account yet.
const LOGINS: &str = "login";
