//! `jsdkd demo`: the server against the built-in sandbox, with a sample account, and what to try.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::ExitCode;

use anyhow::Context;
use jsdkd::clock::Clock;
use jsdkd::http::Demo;
use jsdkd::sandbox::{Sandbox, SandboxOptions};
use jsdkd::server::Server;
use jsdkd::settings::{self, Environment, Source};
use jsdkd::telemetry;

const APP_ID: &str = "wxdemo0000000001";
const APP_SECRET: &str = "demo-app-secret";
const REALM: &str = "demo";
const REALM_SECRET: &str = "demo-secret";

/// Arguments of `demo`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The port to listen on.
    #[arg(long, short, default_value_t = 3030)]
    port: u16,
    /// The address to listen on; 0.0.0.0 lets a phone on the same network look.
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,
}

/// Serves the demo until asked to stop.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(demo(arguments))
}

async fn demo(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let _written = telemetry::start(Environment::from_process().get("RUST_LOG"));
    let stop = super::Stop::listen()?;
    let clock = Clock::system();
    let options = SandboxOptions { accounts: vec![(APP_ID.to_owned(), APP_SECRET.to_owned())], ..SandboxOptions::default() };
    let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let (sandbox, running) = Sandbox::start(anywhere, options).await.context("the sandbox cannot listen")?;
    let settings = serde_json::json!({
        "apps": [{ "key": APP_ID, "secret": APP_SECRET }],
        "realms": [{ "key": REALM, "secret": REALM_SECRET }],
        "server": { "bind": arguments.bind.to_string(), "port": arguments.port },
        "wechat": { "api": [sandbox.url()] },
    });
    // The demo is the same wherever it is shown, so no variable counts.
    let loaded = settings::load(&Source::text("the demo's settings", settings.to_string()), &Environment::default())?;
    let demo =
        Demo { app_id: APP_ID.to_owned(), realm: REALM.to_owned(), realm_secret: REALM_SECRET.to_owned(), sandbox: sandbox.url() };
    let server = Server::bind_with(loaded.config, clock.clone(), Some(demo.clone())).await?;
    let shown = match server.address() {
        address if address.ip().is_unspecified() || address.ip().is_loopback() => format!("http://localhost:{}", address.port()),
        address => format!("http://{address}"),
    };
    println!("jsdkd demo: account {APP_ID}, realm {REALM} (secret {REALM_SECRET}); WeChat is played by {}\n", sandbox.url());
    println!("Open   {shown}/demo.html\n");
    println!("Try    {}\n", demo.curl_lines(&shown, clock.wall()).join("\n       "));
    println!("Break  curl {}/sandbox/faults -d '{{\"fault\":{{\"errcode\":-1}}}}'", sandbox.url());
    println!("Mend   curl -X DELETE {}/sandbox/faults\n", sandbox.url());
    println!("Stop   Ctrl-C\n");
    server.run_until(stop.asked()).await?;
    running.stop().await;
    Ok(ExitCode::SUCCESS)
}
