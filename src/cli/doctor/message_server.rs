//! Checks each account's message server: its token, and WeChat's server check (接入验证), made with a
//! signature of our own, at this machine and at `server.publicUrl`. It asks only for the `echostr`.

use clock::Clock;
use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::reach::{Answer, Network};
use super::report::Report;
use crate::settings::{Config, ServerConfig};
use wechat::account::Account;
use wechat::signature::{self, random_id};

const SECTION: &str = "message server";

/// Where a message server is asked.
struct Place {
    name: &'static str,
    base: Url,
    is_direct: bool,
}

/// `public_answers`: whether anything answers at `server.publicUrl`.
pub(super) async fn check(
    config: &Config,
    accounts: &[Account],
    public_answers: bool,
    network: &Network,
    report: &mut Report,
) {
    let with_token: Vec<_> = accounts
        .iter()
        .filter_map(|account| Some((account, account.push_token.as_ref()?)))
        .collect();
    if with_token.is_empty() {
        report.ok(SECTION, "no app has a token, so there is no message server");
        return;
    }
    let places = places(&config.server, public_answers, network, report).await;
    for (account, token) in with_token {
        shape(account, token, report);
        let app_id = &account.app_id;
        let mut paths = vec![format!("wechat/{app_id}")];
        if let Some(wechat_server) = &config.wechat_server
            && wechat_server.app == *app_id
        {
            paths.push("api/wechat".to_owned());
        }
        for place in &places {
            for path in &paths {
                ask(account, token, place, path, network, report).await;
            }
        }
    }
}

/// WeChat's console takes no other token. Source: 接入指南.
fn shape(account: &Account, token: &SecretString, report: &mut Report) {
    let token = token.expose_secret();
    let is_right =
        (3..=32).contains(&token.len()) && token.bytes().all(|byte| byte.is_ascii_alphanumeric());
    if !is_right {
        report.warn(
            SECTION,
            format!(
                "{}: its token is not one that WeChat's console takes: 3 to 32 letters and digits",
                account.app_id
            ),
            [
                "copy the token (令牌) from WeChat's console: 设置与开发 → 基本配置 → 服务器配置",
                "从公众平台复制令牌（Token）：设置与开发 → 基本配置 → 服务器配置",
            ],
        );
    }
}

/// Where the message servers can be asked now.
async fn places(
    server: &ServerConfig,
    public_answers: bool,
    network: &Network,
    report: &mut Report,
) -> Vec<Place> {
    let mut places = Vec::new();
    match own_address(server) {
        Some(base) => match network.connect(&base).await {
            Ok(()) => places.push(Place {
                name: "this machine",
                base,
                is_direct: true,
            }),
            Err(trouble) => report.warn(
                SECTION,
                format!(
                    "no server runs at {base}, so none was asked: {}",
                    trouble.what
                ),
                [
                    "start the server, and run jsdkd doctor beside it",
                    "启动服务器，然后在同一台机器上运行 jsdkd doctor",
                ],
            ),
        },
        None => report.ok(
            SECTION,
            "server.port is 0, so no server was asked at this machine",
        ),
    }
    match &server.public_url {
        Some(public) if public_answers => places.push(Place {
            name: "server.publicUrl",
            base: public.clone(),
            is_direct: false,
        }),
        Some(_) => report.warn(
            SECTION,
            "nothing answers at server.publicUrl, so no message server was asked there",
            [
                "make the public address reachable first",
                "先让公网地址可以访问",
            ],
        ),
        None => report.warn(
            SECTION,
            "server.publicUrl is not set, so whether WeChat can reach the message server was not tried",
            [
                "set server.publicUrl to the address that stands before /wechat/{appid} in WeChat's console",
                "把公众平台里 /wechat/{appid} 之前的地址写进 server.publicUrl",
            ],
        ),
    }
    places
}

/// Where a server with these settings listens on this machine.
fn own_address(server: &ServerConfig) -> Option<Url> {
    let host = match server.bind.trim_matches(['[', ']']) {
        "0.0.0.0" => "127.0.0.1".to_owned(),
        "::" => "[::1]".to_owned(),
        bind if bind.contains(':') => format!("[{bind}]"),
        bind => bind.to_owned(),
    };
    let url = format!("http://{host}:{}/", server.port).parse();
    url.ok().filter(|_| server.port != 0)
}

/// Makes WeChat's server check at one place.
async fn ask(
    account: &Account,
    token: &SecretString,
    place: &Place,
    path: &str,
    network: &Network,
    report: &mut Report,
) {
    let Ok(mut url) = place.base.join(path) else {
        return;
    };
    let (timestamp, nonce) = (Clock::system().wall().seconds().to_string(), random_id());
    let echo = random_id();
    let signature = signature::push(token.expose_secret(), &timestamp, &nonce).text();
    url.query_pairs_mut().extend_pairs([
        ("signature", signature.as_str()),
        ("timestamp", &timestamp),
        ("nonce", &nonce),
        ("echostr", &echo),
    ]);
    let at = format!("{} at {} (/{path})", account.app_id, place.name);
    match network.get(&url, place.is_direct).await {
        Ok(answer) if answer.status == 200 && answer.body == echo.as_bytes() => {
            report.ok(SECTION, format!("{at} answers WeChat's server check"));
        }
        Ok(answer) => {
            let (what, cure) = refused(&answer);
            report.fail(SECTION, format!("{at} {what}"), cure);
        }
        Err(trouble) => report.fail(
            SECTION,
            format!("{at} does not answer: {}", trouble.what),
            trouble.cure,
        ),
    }
}

fn refused(answer: &Answer) -> (String, [&'static str; 2]) {
    match answer.status {
        401 | 403 => (
            format!("refuses our own server check (HTTP {})", answer.status),
            [
                "the running server has another token than these settings: reload it (kill -HUP), and write the same token into WeChat's console; a proxy must pass the query on as it is",
                "运行中的服务器用的 token 与这份配置不同：让它重新读取配置（kill -HUP），并在公众平台填写同一个令牌；代理必须原样传递查询参数",
            ],
        ),
        404 => (
            "is not found (HTTP 404)".to_owned(),
            [
                "the running server does not know this app, or a proxy cuts the path: reload the server, and write proxy_pass without a path of its own",
                "运行中的服务器不认识这个公众号，或者代理截掉了路径：让服务器重新读取配置，proxy_pass 后面不要带路径",
            ],
        ),
        status @ 300..=399 => (
            format!("redirects (HTTP {status}), which WeChat does not follow"),
            [
                "write the address without the redirect into server.publicUrl and into WeChat's console",
                "把不跳转的地址写进 server.publicUrl 和公众平台",
            ],
        ),
        200 => (
            "answers with something else than the echostr".to_owned(),
            [
                "something else answers there: let proxy_pass lead to jsdkd, with path and query, without a login or a page in between",
                "应答的是别的程序：让 proxy_pass 带着路径和查询参数指向 jsdkd，中间不要有登录或其他页面",
            ],
        ),
        status => (
            format!("answers with HTTP {status}"),
            [
                "look at the log of jsdkd and of the web server before it",
                "查看 jsdkd 和它前面的 Web 服务器的日志",
            ],
        ),
    }
}
