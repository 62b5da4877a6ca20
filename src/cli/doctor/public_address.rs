//! Checks whether `server.publicUrl` leads to a jsdkd, as browsers and WeChat would reach it.

use url::Url;

use super::reach::{Network, Step};
use super::report::Report;

const SECTION: &str = "public address";

/// Asks `/ping` there. `false`: nothing answers, so that nothing else need be tried there.
pub(super) async fn check(public: &Url, network: &Network, report: &mut Report) -> bool {
    let Ok(ping) = public.join("ping") else {
        return false;
    };
    let answer = match network.get(&ping, false).await {
        Ok(answer) => answer,
        Err(trouble) => {
            let what = format!("{} (server.publicUrl)", trouble.what);
            match trouble.step {
                Step::Dns => report.fail(
                    SECTION,
                    what,
                    [
                        "add a DNS record for this name that leads to your web server, or correct server.publicUrl",
                        "给这个域名加一条指向 Web 服务器的 DNS 记录，或改正 server.publicUrl",
                    ],
                ),
                // Many networks do not let a machine reach its own public address.
                Step::Tcp => report.warn(
                    SECTION,
                    what,
                    [
                        "start the web server, and let the firewall and the security group pass this port; if a phone can open the address, this machine just cannot reach itself from inside",
                        "启动 Web 服务器，让防火墙和安全组放行这个端口；如果手机能打开这个地址，只是本机从内部访问不到自己",
                    ],
                ),
                Step::Tls | Step::Http => report.fail(SECTION, what, trouble.cure),
            }
            return false;
        }
    };
    if answer.status == 200 && is_pong(&answer.body) {
        report.ok(SECTION, format!("{public} leads to a jsdkd"));
        return true;
    }
    let (what, cure) = match answer.status {
        301..=308 => {
            let to = answer.headers.get("location");
            let to = to.and_then(|to| to.to_str().ok()).unwrap_or("?");
            (
                format!("{ping} redirects to {to}"),
                [
                    "write the address at which the redirects end into server.publicUrl",
                    "把跳转最后到达的地址写进 server.publicUrl",
                ],
            )
        }
        status @ 502..=504 => (
            format!("the web server at {public} answers with HTTP {status}"),
            [
                "start jsdkd, or correct the address in proxy_pass",
                "启动 jsdkd，或改正 proxy_pass 里的地址",
            ],
        ),
        status => (
            format!("something that is no jsdkd answers at {ping} (HTTP {status})"),
            [
                "let proxy_pass lead to jsdkd with the whole path, or correct server.publicUrl",
                "让 proxy_pass 带着完整的路径指向 jsdkd，或改正 server.publicUrl",
            ],
        ),
    };
    report.fail(SECTION, what, cure);
    true
}

/// The answer of `/ping`: `{"pong":…}`.
fn is_pong(body: &[u8]) -> bool {
    let answer: Result<serde_json::Value, _> = serde_json::from_slice(body);
    answer.is_ok_and(|answer| answer.get("pong").is_some_and(serde_json::Value::is_number))
}
