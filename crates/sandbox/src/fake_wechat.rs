//! A fake of WeChat's API, for the tests of programs that use the library.

use std::io;
use std::net::Ipv4Addr;

use crate::{RunningSandbox, Sandbox, SandboxOptions};

/// A faithful fake of WeChat's API on a free port of this machine, running on its own thread. Pass
/// its URL to `jsdkd_credentials::Builder::api`, or to any SDK as the API host. It stops when it is
/// dropped. Faults are set over HTTP under `/sandbox/`; `jsdkd sandbox --help` lists the routes.
///
/// ```ignore
/// # #[tokio::main]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # use jsdkd_credentials::ExposeSecret;
/// let wechat = jsdkd_sandbox::FakeWechat::start("wxdemo0000000001", "demo-app-secret").await?;
/// let credentials = jsdkd_credentials::Credentials::builder().account("wxdemo0000000001", "demo-app-secret").api(wechat.url()).start().await?;
/// let token = credentials.access_token("wxdemo0000000001").await?;
/// assert!(wechat.accepts(token.value().expose_secret()));
/// assert_eq!(wechat.calls("/cgi-bin/token"), 1);
/// wechat.void_token("wxdemo0000000001"); // As another program that fetches a token does.
/// # assert!(!wechat.accepts(token.value().expose_secret()));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FakeWechat {
    sandbox: Sandbox,
    running: RunningSandbox,
}

impl FakeWechat {
    /// Starts a fake with this account.
    pub async fn start(app_id: impl Into<String>, secret: impl Into<String>) -> io::Result<Self> {
        let options = SandboxOptions {
            accounts: vec![(app_id.into(), secret.into())],
            ..SandboxOptions::default()
        };
        let (sandbox, running) = Sandbox::start((Ipv4Addr::LOCALHOST, 0).into(), options).await?;
        Ok(Self { sandbox, running })
    }

    /// The base URL.
    pub fn url(&self) -> String {
        self.sandbox.url()
    }

    /// Adds an account, or changes an account's secret.
    pub fn add_account(&self, app_id: &str, secret: &str) {
        self.sandbox.add_account(app_id, secret);
    }

    /// The number of calls to `path`, such as `/cgi-bin/token`.
    pub fn calls(&self, path: &str) -> u64 {
        self.sandbox.calls(path)
    }

    /// True if WeChat would accept this `access_token` now.
    pub fn accepts(&self, token: &str) -> bool {
        self.sandbox.accepts(token)
    }

    /// Invalidates the account's tokens at once, as another program that fetches one does.
    pub fn void_token(&self, app_id: &str) {
        self.sandbox.void_token(app_id);
    }

    /// Stops the fake and waits until it has stopped.
    pub async fn stop(self) {
        self.running.stop().await;
    }
}
