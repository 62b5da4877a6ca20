//! From the layered tree to a proven `Config`: every section is read, whatever the others hold, so that all faults come together.

use std::path::{Path, PathBuf};
use std::time::Duration;

use url::Url;

use super::config::{Config, LoginConfig, ServerConfig, WechatConfig};
use super::environment::Environment;
use super::node::Node;
use super::reader::{At, Reader};
use super::variables::Variables;
use super::{accounts, cache, callers, cors, gateway, hub, realms, sources, wecom};
use crate::origin::OriginList;
use wechat::account::Keep;
use wechat::address;

const KNOWN: [&str; 16] = [
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
    "wetoken",
    "tokenboy",
    "sources",
    "token_sources",
    "wecom",
];

const SERVER: [&str; 12] = [
    "bind",
    "port",
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

/// The default, which need not be there.
const USUAL_STATIC: &str = "static";

/// More open files, and more ports to one address, no system has.
const MOST: u32 = 1_000_000;

/// Encoded into WeChat's address it has to fit into a QR code.
const LONGEST_PUBLIC_URL: usize = 500;

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// The proven settings, or `None` when anything was remarked as a fault that leaves a hole in them.
pub(super) fn prove(tree: &Node<'_>, variables: &Variables, env: &Environment, reader: &Reader<'_>) -> Option<Config> {
    let root = At::root(tree, reader);
    root.is_table(&KNOWN);
    let reserve = root.get("reserve").and_then(|reserve| reserve.duration(SECOND..=60 * 60 * SECOND));
    let keep = root.get("keep").and_then(|keep| keep.word(&[("active", Keep::Active), ("always", Keep::Always)]));
    let sources = sources::sources(&root, reserve.unwrap_or_default());
    let wetoken = callers::wetoken(&root);
    // A store that holds apps is something to serve, also while it holds none yet.
    let holds_apps = root.get("wetoken").is_some() || cache::is_sql(&root);
    let other =
        ["sources", "token_sources", "wecom"].iter().any(|name| tree.get(name).is_some_and(|node| !node.is_empty())) || holds_apps;
    let apps = accounts::apps(&root, variables, env, reader, reserve.unwrap_or_default(), other);
    let wecom = wecom::wecom(&root, &apps.accounts, reserve.unwrap_or_default());
    let tokenboy = callers::tokenboy(&root);
    let realms = realms::realms(&root, &realms::Configured { accounts: &apps.accounts, wecom: &wecom, holds_apps });
    let gateway = root.get("gateway").and_then(|at| gateway::gateway(&at));
    let hub = hub::hub(&root, variables, env, reader, &apps.accounts, holds_apps);
    let origins = cors::origins(&root);
    let store = cache::store(&root, variables);
    let login = root.get("login").map_or_else(|| Some(LoginConfig::default()), |at| login(&at));
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
        // Every entry is read before the first faulty one decides.
        let items = sites.one_or_more();
        let read = |item: &At<'_>| {
            let read = OriginList::read(item.text(EXPECTED)?);
            read.map_err(|fault| item.expected(&format!("{EXPECTED}: it {fault}"))).ok()
        };
        let origins: Vec<_> = items.iter().map(read).collect();
        origins.into_iter().collect::<Option<Vec<_>>>()
    });
    let sites = match sites {
        Some(sites) => OriginList::new(sites?),
        None => OriginList::default(),
    };
    Some(LoginConfig { confirm: if let Some(confirm) = confirm { Some(confirm?) } else { None }, sites })
}

fn server(at: &At<'_>) -> Option<ServerConfig> {
    if !at.is_table(&SERVER) {
        return None;
    }
    let bind = at.get("bind").and_then(|bind| bind.text("an address or host name to listen on"));
    let port = at.get("port").and_then(|port| port.number(0..=u32::from(u16::MAX)));
    let workers = at.get("workers").and_then(|workers| workers.number(0..=1024));
    let public_url = at.get("publicUrl").map(|url| public_url(&url));
    let hosts = at.get("hosts").map_or(Some(Vec::new()), |hosts| callers::hosts(&hosts));
    let static_dir = at.get("static").and_then(|dir| {
        let path = dir.text("the path of a folder")?;
        if path != USUAL_STATIC && !Path::new(path).is_dir() {
            dir.note(format!("there is no folder {path:?}, so no NAME.txt will be found in it"));
        }
        Some(path)
    });
    let trusted_proxies = at.get("trustedProxies").and_then(|proxies| callers::trusted(&proxies));
    let body_limit = at.get("bodyLimit").and_then(|limit| limit.size(1..=1 << 30));
    let max_connections = at.get("maxConnections").and_then(|most| most.number(1..=MOST));
    let max_waiting = at.get("maxWaiting").and_then(|most| most.number(1..=MOST));
    let shutdown_grace = at.get("shutdownGrace").and_then(|grace| grace.duration(Duration::ZERO..=60 * 60 * SECOND));
    let access_log = at.get("accessLog").and_then(|log| log.boolean());
    Some(ServerConfig {
        bind: bind?.to_owned(),
        port: u16::try_from(port?).ok()?,
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
    if url.as_str().len() > LONGEST_PUBLIC_URL {
        at.fault(format!("is longer than {LONGEST_PUBLIC_URL} bytes, so that no QR code holds an address below it"));
        return None;
    }
    if matches!((url.scheme(), url.port()), ("https", Some(80)) | ("http", Some(443))) {
        at.note("names the other scheme's port, at which no browser reaches it; leave the port out");
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
        // Every address is read before the first faulty one decides.
        let urls: Vec<_> = items.iter().map(|item| item.address().map(address::without_path_of_calls)).collect();
        urls.into_iter().collect::<Option<Vec<_>>>()
    });
    let open = at.get("open").and_then(|open| open.address()).map(address::without_path_of_calls);
    let mp = at.get("mp").and_then(|mp| mp.address()).map(address::without_path_of_calls);
    let timeout = at.get("timeout").and_then(|timeout| timeout.duration(100 * MILLISECOND..=5 * 60 * SECOND));
    Some(WechatConfig { api: api?, open: open?, mp: mp?, timeout: timeout? })
}
