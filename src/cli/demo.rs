//! `jsdkd demo`: runs the server with the built-in sandbox and a sample account, and prints what to
//! try.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::process::ExitCode;

use crate::http::Demo;
use crate::server::Server;
use crate::settings::{self, Config, Environment, Source};
use crate::telemetry;
use anyhow::Context;
use clock::Clock;
use sandbox::{Sandbox, SandboxOptions};

const APP_ID: &str = "wxdemo0000000001";
const APP_SECRET: &str = "demo-app-secret";
const PUSH_TOKEN: &str = "demo-token";
const AES_KEY: &str = "demodemodemodemodemodemodemodemodemodemo012";
const REALM: &str = "demo";
const REALM_SECRET: &str = "demo-secret";
/// The realm whose programs call WeChat through the gateway, and its virtual AppSecret.
const CALLER: &str = "shop";
const VIRTUAL_SECRET: &str = "d3305ec7e7d3305ec7e7d3305ec7e701";

/// Arguments of `demo`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The port to listen on.
    #[arg(long, short, default_value_t = 3030)]
    port: u16,
    /// The address to listen on; with 0.0.0.0 a phone on the same network can open the page.
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,
    /// The address of the status page and the metrics [default: 127.0.0.1, the port after
    /// --port]
    #[arg(long, value_name = "ADDRESS")]
    admin: Option<String>,
}

impl Arguments {
    fn admin(&self) -> String {
        // With 0 the system chooses both ports.
        let next = self.port.checked_add(u16::from(self.port > 0));
        let usual = || format!("127.0.0.1:{}", next.unwrap_or_default());
        self.admin.clone().unwrap_or_else(usual)
    }
}

/// Serves the demo until asked to stop.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(demo(arguments))
}

async fn demo(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let log = telemetry::start(Environment::from_process().get("RUST_LOG"));
    let stop = super::Stop::listen()?;
    let clock = Clock::system();
    let options = SandboxOptions {
        accounts: vec![(APP_ID.to_owned(), APP_SECRET.to_owned())],
        ..SandboxOptions::default()
    };
    // Logins redirect to the sandbox, so it listens on the same address.
    let sandbox_address = SocketAddr::new(arguments.bind, 0);
    let (sandbox, running) = Sandbox::start(sandbox_address, options)
        .await
        .context("the sandbox cannot listen")?;
    let phone = from_outside(arguments.bind);
    let demo = Demo {
        app_id: APP_ID.to_owned(),
        realm: REALM.to_owned(),
        realm_secret: REALM_SECRET.to_owned(),
        virtual_secret: VIRTUAL_SECRET.to_owned(),
        sandbox: sandbox.url(),
        phone,
    };
    let server = Server::bind_with(
        settings(arguments, &sandbox, &[])?,
        clock.clone(),
        Some(demo.clone()),
        log.lost.clone(),
    )
    .await?;
    // The port for redirects is known only now.
    let homes = homes(server.address(), phone);
    server
        .reloader()
        .apply(settings(arguments, &sandbox, &homes)?);
    let shown = homes.first().expect("what listens has an address");
    println!(
        "jsdkd demo: account {APP_ID}, realm {REALM} (secret {REALM_SECRET}); WeChat is played by {}\n",
        sandbox.url()
    );
    println!("Open   {shown}/demo.html\n");
    if let Some(other) = homes.last().filter(|_| phone.is_some()) {
        println!("Phone  {other}/demo.html\n");
    }
    if let Some(admin) = server.admin_address() {
        println!("Status http://{admin}/status\n");
    }
    println!(
        "Try    {}\n",
        demo.curl_lines(shown, clock.wall()).join("\n       ")
    );
    println!(
        "SDK    realm {CALLER}, virtual AppSecret {VIRTUAL_SECRET}: WeChat's own API at {shown}"
    );
    println!("       {}", demo.gateway_lines(shown).join("\n       "));
    println!("       answers {{\"ip_list\":[\"192.0.2.10\",\"198.51.100.0/25\"]}}\n");
    let push = format!(
        "jsdkd sandbox --to {shown}/wechat/{APP_ID} --app {APP_ID} --token {PUSH_TOKEN} --aes-key {AES_KEY}"
    );
    println!(
        "Push   {push} --push text --content hi\n       {push} --push event --event subscribe\n"
    );
    println!(
        "Break  curl {}/sandbox/faults -d '{{\"fault\":{{\"errcode\":-1}}}}'",
        sandbox.url()
    );
    println!("Mend   curl -X DELETE {}/sandbox/faults\n", sandbox.url());
    println!("Stop   Ctrl-C\n");
    server.run_until(stop.asked()).await?;
    running.stop().await;
    Ok(ExitCode::SUCCESS)
}

/// The demo's settings. Environment variables do not change them.
fn settings(arguments: &Arguments, sandbox: &Sandbox, homes: &[String]) -> anyhow::Result<Config> {
    let sandbox_port = sandbox.address().port();
    let open = from_outside(arguments.bind)
        .map(|ip| format!("http://{}", SocketAddr::new(ip, sandbox_port)));
    let settings = serde_json::json!({
        "apps": [{
            "key": APP_ID,
            "secret": APP_SECRET,
            "oauth": { "redirects": homes, "scope": "snsapi_userinfo" },
            "token": PUSH_TOKEN,
            "aesKey": AES_KEY,
            "messages": [
                { "on": "text", "match": "^(hi|hello|你好)", "reply": { "text": "{1}, {from}!" } },
                { "on": "text", "reply": { "text": "You said '{content}'" } },
                { "on": "event:subscribe", "reply": { "text": "Welcome! 欢迎！" } },
            ],
        }],
        "realms": [
            { "key": REALM, "secret": REALM_SECRET },
            {
                "key": CALLER,
                "secret": VIRTUAL_SECRET,
                "apps": [APP_ID],
                "gateway": ["read", "messages", "media", "codes", "login", "tickets"],
                "keys": [],
            },
        ],
        "server": { "bind": arguments.bind.to_string(), "port": arguments.port, "admin": arguments.admin() },
        "wechat": { "api": [sandbox.url()], "open": open.unwrap_or_else(|| sandbox.url()) },
    });
    Ok(settings::load(
        &Source::text("the demo's settings", settings.to_string()),
        &Environment::default(),
    )?
    .config)
}

/// The address at which other machines reach a listener on `bind`.
fn from_outside(bind: IpAddr) -> Option<IpAddr> {
    if bind.is_loopback() {
        return None;
    }
    if !bind.is_unspecified() {
        return Some(bind);
    }
    // The local address of a route to the internet. Nothing is sent, and the address is reserved
    // (RFC 5737).
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect((Ipv4Addr::new(192, 0, 2, 1), 9)).ok()?;
    socket
        .local_addr()
        .ok()
        .map(|address| address.ip())
        .filter(|ip| !ip.is_unspecified() && !ip.is_loopback())
}

/// Every address at which the demo is reached; the first one is shown.
fn homes(address: SocketAddr, phone: Option<IpAddr>) -> Vec<String> {
    let here = address.ip().is_loopback() || address.ip().is_unspecified();
    let names = ["localhost", "127.0.0.1", "[::1]"]
        .into_iter()
        .filter(|_| here)
        .map(str::to_owned);
    let outside = phone.map(|ip| SocketAddr::new(ip, address.port()).to_string());
    names
        .map(|name| format!("{name}:{}", address.port()))
        .chain(outside)
        .map(|home| format!("http://{home}"))
        .collect()
}
