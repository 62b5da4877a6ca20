//! `jsdkd query`: sends a signed realm query to a running server and prints the credential.

use std::process::ExitCode;
use std::time::Duration;

use crate::settings::Environment;
use anyhow::{Context, bail};
use clock::Clock;
use url::Url;
use wechat::signature;

/// Arguments of `query`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The server's address, such as http://127.0.0.1:3030.
    url: Url,
    /// The account's appid.
    #[arg(long)]
    app: String,
    /// The realm's key.
    #[arg(long)]
    realm: String,
    /// The realm's secret [default: $JSDKD_SECRET, which process lists do not show]
    #[arg(long)]
    secret: Option<String>,
    /// The credential: token, ticket or card_ticket.
    #[arg(long, default_value = "token")]
    key: String,
    /// A value that WeChat refused; the server renews it if it is still the current one.
    #[arg(long, value_name = "VALUE")]
    rotate: Option<String>,
    /// Sign with version 1 (md5), as the original's clients do.
    #[arg(long)]
    v1: bool,
    /// How long to wait for the answer.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    timeout: Duration,
}

/// Prints only the credential's value, for use in scripts.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let environment = Environment::from_process();
    let secret = arguments
        .secret
        .as_deref()
        .or_else(|| environment.get("JSDKD_SECRET"));
    let url = signed(
        arguments,
        secret.context("give the realm's secret with --secret or in JSDKD_SECRET")?,
    );
    let body = super::runtime()?.block_on(ask(url, arguments.timeout))?;
    let answer: serde_json::Value = serde_json::from_str(&body)
        .context("the response is not JSON; is this the address of a jsdkd server?")?;
    match (answer["value"].as_str(), answer["detail"].as_str()) {
        (Some(value), _) => println!("{value}"),
        (None, Some(detail)) => bail!("{}: {detail}", answer["code"].as_str().unwrap_or("refused")),
        (None, None) => bail!("the response has no value; is this the address of a jsdkd server?"),
    }
    Ok(ExitCode::SUCCESS)
}

async fn ask(url: Url, timeout: Duration) -> anyhow::Result<String> {
    // The URL contains the signature, so errors must not show it.
    let answer = super::client(timeout, &url)?
        .get(url)
        .send()
        .await
        .map_err(reqwest::Error::without_url);
    let answer = answer.context("the server does not answer")?;
    answer
        .text()
        .await
        .map_err(reqwest::Error::without_url)
        .context("the connection closed before the response was complete")
}

fn signed(arguments: &Arguments, secret: &str) -> Url {
    let mut url = arguments.url.clone();
    let base = url.path().trim_end_matches('/').to_owned();
    url.set_path(&format!("{base}/jsapi/{}/query", arguments.app));
    let (nonce, ts) = (
        format!("{:032x}", rand::random::<u128>()),
        Clock::system().wall().to_string(),
    );
    let mut pairs = vec![
        ("key", arguments.key.as_str()),
        ("realm", &arguments.realm),
        ("nonce", &nonce),
        ("ts", &ts),
    ];
    pairs.extend(arguments.rotate.as_deref().map(|value| ("rotate", value)));
    let query = signature::canonical_query(pairs);
    let sign = if arguments.v1 {
        signature::realm_v1(&arguments.realm, &nonce, &ts, secret).text()
    } else {
        signature::realm_v2(secret, "GET", url.path(), &query, b"").text()
    };
    url.set_query(Some(&format!("{query}&sign={sign}")));
    url
}
