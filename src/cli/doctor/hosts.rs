//! Checks the way to each host: DNS, TCP, TLS and an answer; and our clock against WeChat's.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::net::{TcpStream, lookup_host};
use url::Url;

use super::report::Report;
use crate::cli::client;
use crate::settings::Config;
use clock::Clock;

const SECTION: &str = "network";

const CLOCK: &str = "clock";

/// A clock that is off by more makes signatures and pushed messages invalid soon.
const OFF: Duration = Duration::from_secs(30);

/// From here on they are invalid: realms and WeChat's messages are accepted for five minutes.
const FAR_OFF: Duration = Duration::from_secs(5 * 60);

pub(super) async fn check(config: &Config, report: &mut Report) {
    let mut seen = BTreeSet::new();
    let mut date = None;
    let wechat = &config.wechat;
    for host in &wechat.api {
        let origin = host.origin().ascii_serialization();
        if seen.insert(origin.clone()) {
            let answered = reach(host, &origin, wechat.timeout, report).await;
            date = date.or(answered);
        }
    }
    compare_clock(date, report);
    if let Some(public) = &config.server.public_url {
        own_address(public, wechat.timeout, report).await;
    }
}

/// Tries one host; the `Date` of its answer in seconds, if there is one.
async fn reach(host: &Url, origin: &str, timeout: Duration, report: &mut Report) -> Option<u64> {
    // A proxy resolves the name and connects for us.
    if !uses_proxy(host) && !connects(host, timeout, report).await {
        return None;
    }
    let asked = match client(timeout, host) {
        Ok(client) => client.get(host.clone()).send().await,
        Err(error) => {
            report.fail(
                SECTION,
                format!("TLS: {error:#}"),
                "install ca-certificates",
            );
            return None;
        }
    };
    match asked {
        Ok(answer) => {
            report.ok(SECTION, format!("{origin} answers"));
            let date = answer.headers().get("date")?.to_str().ok()?;
            let date = httpdate::parse_http_date(date).ok()?;
            let since = date.duration_since(std::time::UNIX_EPOCH).ok()?;
            Some(since.as_secs())
        }
        Err(error) => {
            let cause = wechat::chain(&error.without_url());
            report.fail(
                SECTION,
                format!("TLS and HTTP: {origin} gives no answer: {cause}"),
                "install ca-certificates; a proxy that breaks TLS open needs its authority among the system's trusted roots",
            );
            None
        }
    }
}

/// Resolves the name and connects.
async fn connects(host: &Url, timeout: Duration, report: &mut Report) -> bool {
    let name = host.host_str().unwrap_or_default().trim_matches(['[', ']']);
    let port = host.port_or_known_default().unwrap_or(443);
    let found = tokio::time::timeout(timeout, lookup_host((name, port))).await;
    let addresses: Vec<_> = match found {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => {
            report.fail(
                SECTION,
                format!("DNS: {name} is not found: {error}"),
                "correct the name in the settings, or the name server in /etc/resolv.conf; in a container, its dns option",
            );
            return false;
        }
        Err(_) => {
            report.fail(
                SECTION,
                format!("DNS: no answer about {name} in time"),
                "look at the name server in /etc/resolv.conf",
            );
            return false;
        }
    };
    let connected = tokio::time::timeout(timeout, TcpStream::connect(addresses.as_slice())).await;
    let is_connected = matches!(connected, Ok(Ok(_)));
    if !is_connected {
        report.fail(
            SECTION,
            format!("TCP: {name} port {port} cannot be reached"),
            "let a firewall pass outgoing connections to it, or set HTTPS_PROXY",
        );
    }
    is_connected
}

/// Whether a proxy is in between, so that a direct connection says nothing.
fn uses_proxy(host: &Url) -> bool {
    let env = crate::settings::Environment::from_process();
    !wechat::is_loopback(host)
        && ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]
            .iter()
            .any(|name| env.get(name).is_some())
}

fn compare_clock(date: Option<u64>, report: &mut Report) {
    let Some(theirs) = date else {
        report.warn(
            CLOCK,
            "WeChat's time is unknown, so the clock was not compared",
            "make its hosts reachable first",
        );
        return;
    };
    let ours = Clock::system().wall().seconds().0;
    let off = Duration::from_secs(ours.abs_diff(theirs));
    let side = if ours > theirs { "ahead of" } else { "behind" };
    let what = format!("this clock is {} s {side} WeChat's", off.as_secs());
    let cure = "set the clock: timedatectl set-ntp true, or install chrony; in a virtual machine, its host's clock";
    if off > FAR_OFF {
        report.fail(CLOCK, what, cure);
    } else if off > OFF {
        report.warn(CLOCK, what, cure);
    } else {
        report.ok(CLOCK, what);
    }
}

/// Whether this server is reachable as browsers and WeChat reach it.
async fn own_address(public: &Url, timeout: Duration, report: &mut Report) {
    const SECTION: &str = "public address";
    let mut url = public.clone();
    url.set_path(&format!("{}/ping", public.path().trim_end_matches('/')));
    let asked = match client(timeout, &url) {
        Ok(client) => client.get(url).send().await,
        Err(_) => return,
    };
    let is_ours = match asked {
        Ok(answer) => {
            let body = answer.bytes().await.unwrap_or_default();
            body.windows(6).any(|window| window == b"\"pong\"")
        }
        Err(_) => false,
    };
    if is_ours {
        report.ok(SECTION, "server.publicUrl leads to a jsdkd");
    } else {
        report.warn(
            SECTION,
            "server.publicUrl does not lead to a running jsdkd",
            "start the server; then look at the DNS record, the certificate and proxy_pass of that address (from inside, it may be unreachable by design)",
        );
    }
}
