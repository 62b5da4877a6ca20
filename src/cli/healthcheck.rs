//! `jsdkd healthcheck`: asks a running server's `/ping`.

use std::process::ExitCode;
use std::time::Duration;

use crate::settings::{self, Environment, Source};
use anyhow::{Context, ensure};

/// Arguments of `healthcheck`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The server's address [default: the one in the settings]
    #[arg(long)]
    url: Option<String>,
}

/// Exit code 0 if the server answers within three seconds.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let base = arguments.url.clone().unwrap_or_else(configured);
    super::runtime()?.block_on(async {
        let url = format!("{}/ping", base.trim_end_matches('/'));
        let client = super::client(
            Duration::from_secs(3),
            &url.parse()
                .with_context(|| format!("{url} is not a valid address"))?,
        )?;
        let answer = client
            .get(&url)
            .send()
            .await
            .with_context(|| format!("{url} does not answer"))?;
        let body = answer.text().await?;
        ensure!(
            body.starts_with("{\"pong\":"),
            "{url} is not a jsdkd server"
        );
        Ok(ExitCode::SUCCESS)
    })
}

/// The address of this machine's server according to the settings. If they cannot be read, the
/// default port is used, because a running server may have read them earlier.
fn configured() -> String {
    let env = Environment::from_process();
    let source = Source::file(settings::find_file(None, &env));
    let Ok(loaded) = settings::load(&source, &env) else {
        return "http://127.0.0.1:3030".to_owned();
    };
    let (bind, port) = (loaded.config.server.bind, loaded.config.server.port);
    match bind.as_str() {
        "0.0.0.0" => format!("http://127.0.0.1:{port}"),
        "::" | "[::]" => format!("http://[::1]:{port}"),
        ipv6 if ipv6.contains(':') && !ipv6.starts_with('[') => format!("http://[{ipv6}]:{port}"),
        host => format!("http://{host}:{port}"),
    }
}
