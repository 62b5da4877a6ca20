//! The route table: every row of the server, in the order in which they are tried.

use super::route::{GET, Route};
use super::route_table::RouteTable;
use super::{
    admin, demo, gateway, jsapi_config, jsapi_query, login, neighbours, oauth, ping, push, qrcode,
    ready, script, server_check, users, verify_file,
};

/// The rows of this server. Those that come first are found fastest.
///
/// WeChat's own paths are not rows: `gateway.rs` takes them after all others.
fn rows() -> impl Iterator<Item = &'static Route> {
    let own = [
        jsapi_query::ROUTES,
        jsapi_config::ROUTES,
        oauth::ROUTES,
        users::ROUTES,
        login::ROUTES,
        WECHAT,
    ];
    let neighbours = neighbours::ALL.iter().map(|neighbour| neighbour.routes);
    let rest = [
        ping::ROUTES,
        ready::ROUTES,
        script::ROUTES,
        qrcode::ROUTES,
        ROOT,
    ];
    own.into_iter().chain(neighbours).chain(rest).flatten()
}

/// Where WeChat sends its server check and its messages.
const WECHAT: &[Route] = &[
    Route::get_and_post(
        "/wechat",
        |call| Box::pin(server_check::get(call)),
        |call| Box::pin(push::post(call)),
    ),
    Route::get_and_post(
        "/wechat/{appid}",
        |call| Box::pin(server_check::get(call)),
        |call| Box::pin(push::post(call)),
    )
    .words_only(),
];

/// WeChat comes to the root only through a proxy that names the app, so `Allow` does not list
/// `POST`.
const ROOT: &[Route] = &[Route::get_and_post(
    "/",
    |call| Box::pin(server_check::root(call)),
    |call| Box::pin(push::root(call)),
)
.allow(GET)];

/// The table that requests are matched with.
pub(super) fn table(has_demo: bool) -> RouteTable {
    let demo = if has_demo { demo::ROUTES } else { &[] };
    RouteTable::new(
        demo.iter().chain(rows()),
        (gateway::takes, &gateway::ROUTE),
        &verify_file::FALLBACK,
    )
}

/// The table of the admin listener.
pub(super) fn admin_table() -> RouteTable {
    RouteTable::new(
        admin::ROUTES,
        (|_, _| false, &admin::FALLBACK),
        &admin::FALLBACK,
    )
}

/// The patterns of all routes of both listeners, for the counters.
pub fn patterns() -> Vec<&'static str> {
    let (public, admin) = (table(true), admin_table());
    public.patterns().chain(admin.patterns()).collect()
}

/// The path and the `Allow` of every route, including those of `jsdkd demo`.
pub fn list_routes() -> Vec<(String, &'static str)> {
    rows()
        .chain(demo::ROUTES)
        .map(|route| (route.pattern.replace(":tail}", "}"), route.allow))
        .collect()
}
