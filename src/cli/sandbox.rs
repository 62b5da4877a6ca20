//! `jsdkd sandbox`: serves the fake WeChat API. With `--push` it only sends a message; see `push`.

use std::net::{IpAddr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use crate::telemetry;
use anyhow::Context;
use clap::CommandFactory;
use clap::error::ErrorKind;
use clock::Clock;
use sandbox::{Sandbox, SandboxOptions};

use super::push;

/// Arguments of `sandbox`.
#[derive(clap::Args)]
#[command(
    after_help = "Point jsdkd at it with wechat: { api: \"http://127.0.0.1:3031\" }, or any SDK by its API host.\n\
    Logins: open /connect/oauth2/authorize?... in a browser and choose a visitor, or POST /sandbox/visit.\n\
    Followers: POST /sandbox/visitors. snsapi_base shows the page too, unless POST /sandbox/tuning sets {\"silent\":true}.\n\
    Sent messages: GET /sandbox/messages?appid=wx....\n\
    Faults, time and state: GET /sandbox/state, POST /sandbox/faults, POST /sandbox/advance.\n\
    Invalid parameters are answered with the valid ones.\n\n\
    Examples:\n  \
      jsdkd sandbox --app wx0123456789abcdef:SECRET --port 3031\n  \
      export JSDKD_TOKEN=...   # and JSDKD_AES_KEY=... if messages are encrypted\n  \
      jsdkd sandbox --push text --content hi --app wx0123456789abcdef --to http://127.0.0.1/wechat\n  \
      jsdkd sandbox --push event --event SCAN --event-key 123 --field Ticket=T --to http://127.0.0.1\n  \
      jsdkd sandbox --push text --content hi --format json --to http://127.0.0.1/wechat\n  \
      jsdkd sandbox --push xml --xml message.xml --mode safe --repeat --to http://127.0.0.1/wechat"
)]
pub(super) struct Arguments {
    /// The port to listen on; 0 chooses a free one.
    #[arg(long, short, default_value_t = 3031)]
    port: u16,
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1")]
    bind: IpAddr,
    /// An account; may be given more than once. To push, its appid is enough.
    #[arg(
        long = "app",
        value_name = "APPID:SECRET",
        default_value = "wxdemo0000000001:demo-app-secret"
    )]
    apps: Vec<App>,
    /// The lifetime of tokens and tickets.
    #[arg(long, default_value = "2h", value_parser = humantime::parse_duration)]
    lifetime: Duration,
    /// How many tokens each account may fetch a day.
    #[arg(long, default_value_t = 2000)]
    daily_quota: u32,
    #[command(flatten)]
    push: push::Arguments,
}

/// An account. The secret is needed only to serve it.
#[derive(Clone)]
struct App {
    app_id: String,
    secret: Option<String>,
}

impl From<&str> for App {
    fn from(text: &str) -> Self {
        match text.split_once(':') {
            Some((app_id, secret)) => Self {
                app_id: app_id.to_owned(),
                secret: Some(secret.to_owned()),
            },
            None => Self {
                app_id: text.to_owned(),
                secret: None,
            },
        }
    }
}

/// Pushes, or serves until asked to stop.
pub(super) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    if arguments.push.is_wanted() {
        let app = arguments
            .apps
            .first()
            .context("no account; give one with --app")?;
        return push::run(&arguments.push, &app.app_id);
    }
    let accounts = accounts(&arguments.apps);
    let _written = telemetry::start(None);
    super::runtime()?.block_on(async {
        let stop = super::Stop::listen()?;
        let Arguments { port, bind, lifetime, daily_quota, .. } = arguments;
        let options = SandboxOptions { accounts, lifetime, daily_quota, clock: Clock::system() };
        let (sandbox, running) =
            Sandbox::start(SocketAddr::from((bind, port)), options).await.context("the sandbox cannot listen")?;
        let url = sandbox.url();
        println!(
            "jsdkd sandbox: {url} plays https://api.weixin.qq.com and https://open.weixin.qq.com; its state: {url}/sandbox/state"
        );
        stop.asked().await;
        running.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

/// Appids with their secrets. A missing secret is reported like any other wrong argument.
fn accounts(apps: &[App]) -> Vec<(String, String)> {
    let pairs = apps
        .iter()
        .map(|app| Some((app.app_id.clone(), app.secret.clone()?)));
    pairs.collect::<Option<_>>().unwrap_or_else(|| {
        let mut command = super::CommandLine::command();
        command
            .error(
                ErrorKind::ValueValidation,
                "without --push, write --app APPID:SECRET",
            )
            .exit()
    })
}
