//! `jsdkd sign`: prints a JS-SDK signature and its input, to compare with WeChat's debugging page.

use std::process::ExitCode;

use clock::Clock;
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
}

/// Prints string1 and the signature.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let nonce = arguments
        .nonce
        .clone()
        .unwrap_or_else(|| format!("{:032x}", rand::random::<u128>()));
    let timestamp = arguments
        .timestamp
        .unwrap_or_else(|| Clock::system().wall().seconds().0);
    let url = arguments.url.split('#').next().unwrap_or_default();
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
    ExitCode::SUCCESS
}
