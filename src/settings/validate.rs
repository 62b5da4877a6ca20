//! Checks the merged settings and builds the `Config`. Every section is read even if others have
//! faults, so that all faults are reported at once.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ::config::Value;
use url::Url;

use super::config::{Config, LoginConfig, ServerConfig, WechatConfig};
use super::environment::Environment;
use super::reader::{At, Reader};
use super::variables::Variables;
use super::{
    accounts, admin, cache, callers, cors, gateway, hub, realms, sources, wechat_server, wecom,
};
use crate::origin::OriginList;
use wechat::account::Keep;
use wechat::address;

const KNOWN: [&str; 17] = [
    "cors",
    "cache",
    "realms",
    "gateway",
    "apps",
    "server",
    "wechat",
    "reserve",
    "keep",
    "login",
    "hub",
    "wechatServer",
    "wetoken",
    "tokenboy",
    "sources",
    "token_sources",
    "wecom",
];

const SERVER: [&str; 13] = [
    "bind",
    "port",
    "admin",
    "workers",
    "publicUrl",
    "hosts",
    "static",
    "trustedProxies",
    "bodyLimit",
    "maxConnections",
    "maxWaiting",
    "shutdownGrace",
    "accessLog",
];

/// The default, which need not exist.
const DEFAULT_STATIC: &str = "static";

/// No system has more open files, or more ports to one address.
const MAX_CONNECTIONS: u32 = 1_000_000;

/// The longest that still fits into a QR code as part of WeChat's address.
const MAX_PUBLIC_URL_LEN: usize = 500;

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// The settings, or `None` if a fault leaves one of them without a value.
pub(super) fn validate(
    tree: &Value,
    variables: &Variables,
    env: &Environment,
    reader: &Reader<'_>,
) -> Option<Config> {
    let root = At::root(tree, reader);
    root.is_table(&KNOWN);
    let reserve = root
        .get("reserve")
        .and_then(|reserve| reserve.duration(SECOND..=60 * 60 * SECOND));
    let keep = root
        .get("keep")
        .and_then(|keep| keep.word(&[("active", Keep::Active), ("always", Keep::Always)]));
    let sources = sources::sources(&root, reserve.unwrap_or_default());
    let wetoken = callers::wetoken(&root);
    // A store that can hold apps is something to serve, even if it is empty.
    let holds_apps = root.get("wetoken").is_some() || cache::is_sql(&root);
    let other = ["sources", "token_sources", "wecom"]
        .iter()
        .any(|name| root.get(name).is_some_and(|at| !at.node().is_empty()))
        || holds_apps;
    let apps = accounts::apps(
        &root,
        variables,
        env,
        reader,
        reserve.unwrap_or_default(),
        other,
    );
    let wecom = wecom::wecom(&root, &apps.accounts, reserve.unwrap_or_default());
    let tokenboy = callers::tokenboy(&root);
    let realms = realms::realms(
        &root,
        &realms::Configured {
            accounts: &apps.accounts,
            wecom: &wecom,
            holds_apps,
        },
    );
    let gateway = root.get("gateway").and_then(|at| gateway::gateway(&at));
    let hub = hub::hub(&root, variables, env, reader, &apps.accounts, holds_apps);
    let wechat_server = wechat_server::wechat_server(&root, &apps.accounts, holds_apps);
    let origins = cors::origins(&root);
    let store = cache::store(&root, variables);
    let login = root
        .get("login")
        .map_or_else(|| Some(LoginConfig::default()), |at| login(&at));
    let server = root.get("server").and_then(|at| server(&at));
    let wechat = root.get("wechat").and_then(|at| wechat(&at));
    Some(Config {
        accounts: apps.accounts,
        oauth: apps.oauth,
        messages: apps.messages,
        sources,
        wecom,
        tokenboy: tokenboy?,
        wetoken: wetoken?,
        serves_stored_apps: holds_apps,
        realms,
        gateway: gateway?,
        hub,
        wechat_server: wechat_server?,
        origins: origins?,
        reserve: reserve?,
        keep: keep?,
        login: login?,
        store: store?,
        server: server?,
        wechat: wechat?,
    })
}

fn login(at: &At<'_>) -> Option<LoginConfig> {
    if !at.is_table(&["confirm", "sites"]) {
        return None;
    }
    let confirm = at.get("confirm").map(|confirm| confirm.boolean());
    let sites = at.get("sites").map(|sites| {
        const EXPECTED: &str = "an origin such as \"https://shop.example.com\"";
        // Read every entry, so that all faulty ones are reported.
        let items = sites.one_or_more();
        let read = |item: &At<'_>| {
            let read = OriginList::read(item.text(EXPECTED)?);
            read.map_err(|fault| item.expected(&format!("{EXPECTED}: it {fault}")))
                .ok()
        };
        let origins: Vec<_> = items.iter().map(read).collect();
        origins.into_iter().collect::<Option<Vec<_>>>()
    });
    let sites = match sites {
        Some(sites) => OriginList::new(sites?),
        None => OriginList::default(),
    };
    Some(LoginConfig {
        confirm: if let Some(confirm) = confirm {
            Some(confirm?)
        } else {
            None
        },
        sites,
    })
}

fn server(at: &At<'_>) -> Option<ServerConfig> {
    if !at.is_table(&SERVER) {
        return None;
    }
    let bind = at
        .get("bind")
        .and_then(|bind| bind.text("an address or host name to listen on"));
    let port = at
        .get("port")
        .and_then(|port| port.number(0..=u32::from(u16::MAX)));
    let admin = at
        .get("admin")
        .map(|address| admin::admin(&address, bind, port));
    let workers = at
        .get("workers")
        .and_then(|workers| workers.number(0..=1024));
    let public_url = at.get("publicUrl").map(|url| public_url(&url));
    let hosts = at
        .get("hosts")
        .map_or(Some(Vec::new()), |hosts| callers::hosts(&hosts));
    let static_dir = at.get("static").and_then(|dir| {
        let path = dir.text("the path of a folder")?;
        if path != DEFAULT_STATIC && !Path::new(path).is_dir() {
            dir.note(format!(
                "the folder {path:?} does not exist, so no NAME.txt can be served from it"
            ));
        }
        Some(path)
    });
    let trusted_proxies = at
        .get("trustedProxies")
        .and_then(|proxies| callers::trusted(&proxies));
    let body_limit = at
        .get("bodyLimit")
        .and_then(|limit| limit.size(1..=1 << 30));
    let max_connections = at
        .get("maxConnections")
        .and_then(|most| most.number(1..=MAX_CONNECTIONS));
    let max_waiting = at
        .get("maxWaiting")
        .and_then(|most| most.number(1..=MAX_CONNECTIONS));
    let shutdown_grace = at
        .get("shutdownGrace")
        .and_then(|grace| grace.duration(Duration::ZERO..=60 * 60 * SECOND));
    let access_log = at.get("accessLog").and_then(|log| log.boolean());
    Some(ServerConfig {
        bind: bind?.to_owned(),
        port: u16::try_from(port?).ok()?,
        admin: match admin {
            Some(address) => Some(address?),
            None => None,
        },
        workers: workers? as usize,
        public_url: match public_url {
            Some(url) => Some(url?),
            None => None,
        },
        hosts: hosts?,
        static_dir: PathBuf::from(static_dir?),
        trusted_proxies: trusted_proxies?,
        body_limit: usize::try_from(body_limit?).ok()?,
        max_connections: max_connections?,
        max_waiting: max_waiting?,
        shutdown_grace: shutdown_grace?,
        access_log: access_log?,
    })
}

fn public_url(at: &At<'_>) -> Option<Url> {
    let url = at.address()?;
    if url.as_str().len() > MAX_PUBLIC_URL_LEN {
        at.fault(format!("is longer than {MAX_PUBLIC_URL_LEN} bytes, so addresses below it do not fit into a QR code"));
        return None;
    }
    if matches!(
        (url.scheme(), url.port()),
        ("https", Some(80)) | ("http", Some(443))
    ) {
        at.note("has the default port of the other scheme, which browsers cannot use with this one; remove the port");
    }
    Some(url)
}

fn wechat(at: &At<'_>) -> Option<WechatConfig> {
    if !at.is_table(&["api", "open", "mp", "timeout"]) {
        return None;
    }
    let api = at.get("api").and_then(|api| {
        let items = api.one_or_more();
        if items.is_empty() {
            api.expected("at least one address");
            return None;
        }
        // Read every address, so that all faulty ones are reported.
        let urls: Vec<_> = items
            .iter()
            .map(|item| item.address().map(address::without_path_of_calls))
            .collect();
        urls.into_iter().collect::<Option<Vec<_>>>()
    });
    let open = at
        .get("open")
        .and_then(|open| open.address())
        .map(address::without_path_of_calls);
    let mp = at
        .get("mp")
        .and_then(|mp| mp.address())
        .map(address::without_path_of_calls);
    let timeout = at
        .get("timeout")
        .and_then(|timeout| timeout.duration(100 * MILLISECOND..=5 * 60 * SECOND));
    Some(WechatConfig {
        api: api?,
        open: open?,
        mp: mp?,
        timeout: timeout?,
    })
}
