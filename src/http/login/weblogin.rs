//! The address to which a phone comes back after a scan.

use url::Url;

use crate::http::state::AppState;
use crate::oauth::Scope;
use wechat::authorize_url;

/// Its path.
pub(super) const CALLBACK: &str = "/wechat/weblogin";

/// The name under which requests of logins wait that have no account yet.
pub(super) const LOGINS: &str = "login";

/// The address in the QR code, where WeChat asks the person who scans.
pub(super) fn at_wechat(state: &AppState, base: &Url, app_id: &str, picture: &str) -> String {
    let callback = format!("{base}{}", CALLBACK.trim_start_matches('/'));
    authorize_url(
        &state.options.open,
        app_id,
        &callback,
        Scope::UserInfo.name(),
        picture,
    )
}
