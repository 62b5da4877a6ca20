//! One callback domain for many sites (网页授权): a visitor is sent to WeChat (`begin`), comes back
//! here (`callback`) and is redirected to the site, whose back end asks for the user (`user`).

use super::route::Route;

mod begin;
mod callback;
mod cookie;
mod redeem;
mod user;

pub(super) use redeem::redeem;

pub(super) const ROUTES: &[Route] = &[callback::ROUTE, user::ROUTE, begin::ROUTE];
