//! `jsdkd sign`: prints a JS-SDK signature and its input, to compare with WeChat's debugging page.
//! With `--explain` it names the mistake that produces another signature.

use std::process::ExitCode;

use anyhow::{Context, bail};
use clock::Clock;
use wechat::explain::{self, Candidates, Lingo, Signature, Signed};
use wechat::signature;

/// Arguments of `sign`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The jsapi_ticket.
    #[arg(long)]
    ticket: String,
    /// The page's address; everything from # on is ignored.
    #[arg(long)]
    url: String,
    /// The nonceStr [default: a random one]
    #[arg(long)]
    nonce: Option<String>,
    /// Unix seconds [default: now]
    #[arg(long)]
    timestamp: Option<u64>,
    /// Name the mistake that produces this signature. Exit code 1 unless it is right
    #[arg(long, value_name = "SIGNATURE", requires_all = ["nonce", "timestamp"])]
    explain: Option<String>,
    /// With --explain: the address that the browser shows
    #[arg(long, value_name = "URL", requires = "explain")]
    page_url: Option<String>,
}

/// Prints string1 and the signature.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let nonce = arguments
        .nonce
        .clone()
        .unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    let timestamp = arguments
        .timestamp
        .unwrap_or_else(|| Clock::system().wall().seconds().0);
    let url = arguments.url.split('#').next().unwrap_or_default();
    if let Some(signature) = &arguments.explain {
        return explain(arguments, &nonce, timestamp, signature);
    }
    println!("nonceStr   {nonce}");
    println!("timestamp  {timestamp}");
    println!(
        "string1    {}",
        signature::jsapi_string1(&arguments.ticket, &nonce, timestamp, url)
    );
    println!(
        "signature  {}",
        signature::jsapi(&arguments.ticket, &nonce, timestamp, url).text()
    );
    Ok(ExitCode::SUCCESS)
}

/// Prints the finding in English and Chinese.
fn explain(
    arguments: &Arguments,
    nonce: &str,
    timestamp: u64,
    signature: &str,
) -> anyhow::Result<ExitCode> {
    let signature = Signature::parse(signature).context("a signature has 40 hex digits")?;
    let is_long =
        arguments.url.len() > explain::LONGEST_URL || nonce.len() > explain::LONGEST_NONCE;
    if is_long {
        bail!("the url may have 4096 bytes, the nonce 128");
    }
    let signed = Signed {
        url: &arguments.url,
        page_url: arguments.page_url.as_deref(),
        nonce,
        timestamp,
        signature,
    };
    let candidates = Candidates {
        ticket: &arguments.ticket,
        ..Candidates::default()
    };
    let finding = explain::explain(&signed, &candidates);
    println!("finding    {}", finding.code.name());
    println!("           {}", finding.detail(Lingo::English));
    println!("           {}", finding.detail(Lingo::Chinese));
    if let Some(url) = &finding.signed_url {
        println!("signed     {url}");
    }
    let string1 = explain::masked_string1(&arguments.url, nonce, timestamp);
    println!("string1    {string1}");
    let is_right = finding.is_match() && finding.difference.is_none();
    Ok(if is_right {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
