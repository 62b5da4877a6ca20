//! Checks the way to each host that the settings use, one line each.

use futures_util::future::join_all;
use secrecy::ExposeSecret;
use url::Url;

use super::clocks;
use super::cure::Cure;
use super::reach::{Answer, Network, Step, Trouble, is_address};
use super::report::Report;
use crate::message::{Action, Answers};
use crate::settings::Config;

const SECTION: &str = "network";

/// Asked for on hosts where another path might have an effect.
const NOWHERE: &str = "/.well-known/jsdkd-doctor";

/// A host that the settings name.
struct Host {
    /// The settings that name it.
    settings: Vec<String>,
    /// What is asked for.
    url: Url,
    /// Calls to it pass any proxy by.
    is_direct: bool,
    /// Whether jsdkd itself fails without it.
    is_needed: bool,
}

pub(super) async fn check(config: &Config, network: &Network, report: &mut Report) {
    proxies(config, network, report).await;
    let hosts = hosts(config);
    let asked = hosts
        .iter()
        .map(|host| network.get(&host.url, host.is_direct));
    let mut date = None;
    for (host, asked) in hosts.iter().zip(join_all(asked).await) {
        if host.settings[0].starts_with("wechat.api") {
            date = date.or(asked.as_ref().ok().and_then(date_of));
        }
        tell(host, asked, network, report);
    }
    clocks::compare_wechat(date, report);
}

fn tell(host: &Host, asked: Result<Answer, Trouble>, network: &Network, report: &mut Report) {
    let (settings, url) = (host.settings.join(", "), &host.url);
    let origin = url.origin().ascii_serialization();
    match asked {
        Ok(_) => {
            let proxy = network.proxy(url).filter(|_| !host.is_direct);
            let tls = url.scheme() == "https";
            let steps = match (proxy.is_some(), is_address(url), tls) {
                (true, ..) => "through the proxy",
                (_, false, true) => "DNS, TCP and TLS work",
                (_, false, false) => "DNS and TCP work",
                (_, true, true) => "TCP and TLS work",
                (_, true, false) => "TCP works",
            };
            report.ok(SECTION, format!("{origin} answers, {steps} ({settings})"));
        }
        Err(trouble) if host.is_needed => {
            report.fail(
                SECTION,
                format!("{} ({settings})", trouble.what),
                trouble.cure,
            );
        }
        Err(trouble) => report.warn(
            SECTION,
            format!("{} ({settings})", trouble.what),
            trouble.cure,
        ),
    }
}

/// The proxies that lead to the hosts, each once.
async fn proxies(config: &Config, network: &Network, report: &mut Report) {
    let mut proxies: Vec<Url> = hosts(config)
        .iter()
        .filter(|host| !host.is_direct)
        .filter_map(|host| network.proxy(&host.url))
        .collect();
    proxies.sort();
    proxies.dedup();
    for proxy in proxies {
        match network.connect(&proxy).await {
            Ok(()) => report.ok(SECTION, format!("the proxy {proxy} can be reached")),
            Err(trouble) => report.fail(
                SECTION,
                format!("{} (the proxy {proxy})", trouble.what),
                Cure::from(match trouble.step {
                    Step::Dns => [
                        "correct the proxy's name in HTTPS_PROXY, HTTP_PROXY or ALL_PROXY, or the name server in /etc/resolv.conf",
                        "改正 HTTPS_PROXY、HTTP_PROXY 或 ALL_PROXY 里的代理主机名，或者 /etc/resolv.conf 里的 DNS 服务器",
                    ],
                    _ => [
                        "start the proxy, or correct HTTPS_PROXY, HTTP_PROXY or ALL_PROXY; unset them to call directly",
                        "启动代理，或改正 HTTPS_PROXY、HTTP_PROXY、ALL_PROXY；要直接连接就取消这些变量",
                    ],
                }),
            ),
        }
    }
}

/// Every host, each once.
fn hosts(config: &Config) -> Vec<Host> {
    let mut hosts: Vec<Host> = Vec::new();
    let mut add = |setting: String, url: &Url, is_direct: bool, is_needed: bool| {
        let same = hosts
            .iter_mut()
            .find(|host| host.url.origin() == url.origin() && host.is_direct == is_direct);
        match same {
            Some(host) => {
                host.is_needed |= is_needed;
                if !host.settings.contains(&setting) {
                    host.settings.push(setting);
                }
            }
            None => hosts.push(Host {
                settings: vec![setting],
                url: url.clone(),
                is_direct,
                is_needed,
            }),
        }
    };
    let nowhere = |url: &Url| url.join(NOWHERE).unwrap_or_else(|_| url.clone());
    let wechat = &config.wechat;
    for (index, api) in wechat.api.iter().enumerate() {
        add(format!("wechat.api[{index}]"), api, false, true);
    }
    // A stand-in for WeChat's API has no need of WeChat's other hosts.
    let is_wechats = |url: &Url| url.host_str().is_some_and(|host| host.ends_with(".qq.com"));
    let is_used = |url: &Url| !is_wechats(url) || wechat.api.iter().any(is_wechats);
    // Visitors go to the first, pictures of QR codes are at the second; credentials need neither.
    for (setting, url) in [("wechat.open", &wechat.open), ("wechat.mp", &wechat.mp)] {
        if is_used(url) {
            add(setting.to_owned(), url, false, false);
        }
    }
    for (corpid, corp) in &config.wecom.corps {
        for api in corp.apis.values() {
            add(format!("wecom of {corpid}"), &nowhere(api), false, true);
        }
    }
    for (name, source) in config.sources.clone() {
        if let Ok(url) = source.url.expose_secret().parse::<Url>() {
            add(format!("sources.{name}"), &nowhere(&url), false, true);
        }
    }
    for account in &config.accounts {
        let app_id = &account.app_id;
        if let Answers::Rules(rules) = &config.messages.of(app_id.as_str()).answers {
            let forwards = rules.iter().filter_map(|rule| match &rule.action {
                Action::Forward(forward) => Some(forward),
                Action::Reply(_) => None,
            });
            for target in forwards.flat_map(|forward| &forward.targets) {
                add(
                    format!("messages of {app_id}"),
                    &nowhere(&target.url),
                    true,
                    true,
                );
            }
        }
    }
    hosts
}

/// The time of the answer by its sender's clock, in Unix seconds.
fn date_of(answer: &Answer) -> Option<u64> {
    let date = answer.headers.get("date")?.to_str().ok()?;
    let date = httpdate::parse_http_date(date).ok()?;
    Some(date.duration_since(std::time::UNIX_EPOCH).ok()?.as_secs())
}
