//! `jsdkd sandbox`: the truthful fake of WeChat's API on a port.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use jsdkd::clock::Clock;
use jsdkd::sandbox::{Sandbox, SandboxOptions};
use jsdkd::telemetry;

/// Arguments of `sandbox`.
#[derive(clap::Args)]
#[command(after_help = "Point jsdkd at it with wechat: { api: \"http://127.0.0.1:3031\" }, or any SDK by its API host.\n\
    Logins: open /connect/oauth2/authorize?... in a browser and choose who visits, or POST /sandbox/visit from a program;\n\
    POST /sandbox/visitors makes followers. Even snsapi_base shows the page, unless POST /sandbox/tuning says {\"silent\":true}.\n\
    Faults, time and state: GET /sandbox/state, POST /sandbox/faults, POST /sandbox/advance; each explains itself when asked wrongly.")]
pub(super) struct Arguments {
    /// The port to listen on; 0 = any free one.
    #[arg(long, short, default_value_t = 3031)]
    port: u16,
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,
    /// An account; may be given more than once.
    #[arg(long = "app", value_name = "APPID:SECRET", value_parser = account, default_value = "wxdemo0000000001:demo-app-secret")]
    apps: Vec<(String, String)>,
    /// How long tokens and tickets live.
    #[arg(long, default_value = "2h", value_parser = humantime::parse_duration)]
    lifetime: Duration,
    /// How many tokens an account may fetch a day.
    #[arg(long, default_value_t = 2000)]
    daily_quota: u32,
}

/// Serves until asked to stop.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let _written = telemetry::start(None);
    super::runtime()?.block_on(async {
        let stop = super::Stop::listen()?;
        let Arguments { port, bind, apps, lifetime, daily_quota } = arguments;
        let options = SandboxOptions { accounts: apps, lifetime, daily_quota, clock: Clock::system() };
        let (sandbox, running) = Sandbox::start(SocketAddr::from((bind, port)), options).await.context("cannot listen")?;
        let url = sandbox.url();
        println!(
            "jsdkd sandbox: {url} plays https://api.weixin.qq.com and https://open.weixin.qq.com; its state: {url}/sandbox/state"
        );
        stop.asked().await;
        running.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn account(text: &str) -> Result<(String, String), String> {
    let (app_id, secret) = text.split_once(':').ok_or("write APPID:SECRET")?;
    Ok((app_id.to_owned(), secret.to_owned()))
}
