//! Login by scanning, with the routes of haowang1013/wechat-server: a desktop begins a login
//! (`open`; `requester` checks that it may) and polls it (`poll`), and the phone that scanned comes
//! back from WeChat (`scanned`).

use super::route::Route;

mod open;
mod poll;
mod requester;
mod scanned;
mod weblogin;

pub(super) use requester::may_call;

pub(super) const ROUTES: &[Route] = &[open::ROUTE, poll::ROUTE, scanned::ROUTE];
