//! What the log says of pushes and server checks that are refused: which fault, and what to change. Whoever sent one learns neither.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actix_web::{HttpMessage, HttpRequest};

use super::log::Logged;
use super::params::Params;
use super::state::AppState;
use super::{caller, log};
use crate::message::PushFault;
use clock::{Clock, SteadyMillis};
use wechat::account::AppId;

/// The first fault of each kind for an account in this time is logged.
const EVERY: Duration = Duration::from_secs(60);

/// The most pairs of account and kind that are remembered. Beyond them nothing is logged until old ones expire.
const MOST: usize = 4096;

/// Which faults were logged lately. Accounts that exist have a few kinds each; all unknown ones together have one.
pub(super) struct PushFaults {
    clock: Clock,
    logged: Mutex<HashMap<(Option<AppId>, &'static str), Last>>,
}

struct Last {
    at: SteadyMillis,
    unlogged: u64,
}

/// Logs `fault` of a push or a server check for `app_id`, unless an equal one was logged within a minute.
pub(super) fn refused(state: &AppState, req: &HttpRequest, app_id: &AppId, fault: &PushFault) {
    // The generic line on refusals would say the same with less in it.
    req.extensions_mut().insert(Logged);
    let has_room = || state.log_limit.admit(fault.kind()).is_some();
    let Some(unlogged) = state.push_faults.may_be_logged(Some(app_id), fault.kind(), has_room) else { return };
    let caller = caller::address(req.head(), state).map(|address| address.to_string());
    let (caller, request_id) = (caller.as_deref().unwrap_or("-"), log::request_id(req));
    let (kind, cure, code) = (fault.kind(), fault.cure(), "bad_push_signature");
    let unlogged = Some(unlogged).filter(|unlogged| *unlogged > 0);
    tracing::warn!(account.id = %app_id, code, kind, fault = %fault, cure, caller, request_id, unlogged, "push refused");
}

/// Logs a push or a server check for an appid that is no account, unless one was logged within a minute.
pub(super) fn unknown_app(state: &AppState, req: &HttpRequest) {
    const KIND: &str = "unknown_app";
    if !Params::of(req).has("signature") {
        return;
    }
    let Some(unlogged) = state.push_faults.may_be_logged(None, KIND, || true) else { return };
    let caller = caller::address(req.head(), state).map(|address| address.to_string());
    let (caller, path, request_id) = (caller.as_deref().unwrap_or("-"), req.path(), log::request_id(req));
    let unlogged = Some(unlogged).filter(|unlogged| *unlogged > 0);
    let (fault, code) = ("there is no app with the appid of this address", KIND);
    let cure = "let URL (服务器地址) in WeChat's console end in /wechat/ and the `key` of an app; if it does, this was not WeChat";
    tracing::warn!(path, code, kind = KIND, fault, cure, caller, request_id, unlogged, "push refused");
}

impl PushFaults {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, logged: Mutex::default() }
    }

    /// Whether a fault of this kind is due for a line, if `has_room` lets it have one, and how many were not logged since the last.
    fn may_be_logged(&self, app_id: Option<&AppId>, kind: &'static str, has_room: impl FnOnce() -> bool) -> Option<u64> {
        let now = self.clock.steady();
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (app_id.cloned(), kind);
        if let Some(last) = logged.get_mut(&key) {
            if last.at.until(now) < EVERY || !has_room() {
                last.unlogged += 1;
                return None;
            }
            last.at = now;
            return Some(std::mem::take(&mut last.unlogged));
        }
        if logged.len() >= MOST {
            logged.retain(|_, last| last.at.until(now) < EVERY);
        }
        if logged.len() >= MOST || !has_room() {
            return None;
        }
        logged.insert(key, Last { at: now, unlogged: 0 });
        Some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clock::UnixMillis;

    fn app(number: usize) -> AppId {
        AppId::parse(&format!("wx{number}")).expect("an appid")
    }

    #[test]
    fn the_first_of_each_kind_for_an_account_in_a_minute_is_logged() {
        let clock = Clock::manual(UnixMillis(0));
        let faults = PushFaults::new(clock.clone());
        let logged = |app_id: usize, kind| faults.may_be_logged(Some(&app(app_id)), kind, || true);
        assert_eq!([1, 1, 1, 2].map(|app_id| logged(app_id, "wrong_token")), [Some(0), None, None, Some(0)]);
        assert_eq!(logged(1, "wrong_clock"), Some(0));
        clock.advance(EVERY);
        assert_eq!((logged(1, "wrong_token"), logged(1, "wrong_token")), (Some(2), None));
        assert_eq!(logged(1, "wrong_clock"), Some(0));
    }

    #[test]
    fn what_is_remembered_is_bounded_and_expires() {
        let clock = Clock::manual(UnixMillis(0));
        let faults = PushFaults::new(clock.clone());
        let logged = (0..MOST + 100).filter(|number| faults.may_be_logged(Some(&app(*number)), "clear", || true).is_some()).count();
        assert_eq!(logged, MOST);
        clock.advance(EVERY);
        assert_eq!(faults.may_be_logged(Some(&app(MOST + 100)), "clear", || true), Some(0));
        assert_eq!(faults.logged.lock().expect("nobody panics").len(), 1);
    }

    #[test]
    fn a_fault_that_found_no_room_is_logged_when_there_is_some() {
        let faults = PushFaults::new(Clock::manual(UnixMillis(0)));
        assert_eq!(faults.may_be_logged(Some(&app(1)), "clear", || false), None);
        assert_eq!(faults.may_be_logged(Some(&app(1)), "clear", || true), Some(0));
    }
}
