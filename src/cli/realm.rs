//! `jsdkd realm new`: a fresh secret for a program outside, and the lines to paste into the
//! settings.

use std::process::ExitCode;

use anyhow::bail;

use crate::realm::scope::Rule;
use wechat::account::AppId;

/// What to do with a realm.
#[derive(clap::Subcommand)]
pub(super) enum Command {
    /// Print a fresh secret and the lines to paste into the settings.
    New(New),
}

/// Arguments of `realm new`.
#[derive(clap::Args)]
pub(super) struct New {
    /// The realm's name, such as shop.
    key: String,
    /// An account that it may call: an appid, or corpid/agentid for an application of WeCom; may be
    /// repeated.
    #[arg(long = "app", required = true, value_name = "APP")]
    apps: Vec<String>,
    /// What it may call: a preset such as read, or a path such as /wxa/business/*; may be repeated.
    #[arg(long = "gateway", value_name = "PRESET", default_values_t = ["read".to_owned(), "messages".to_owned()])]
    gateway: Vec<String>,
}

/// Prints the secret and the lines.
pub(super) fn run(command: &Command) -> anyhow::Result<ExitCode> {
    let Command::New(new) = command;
    if new.key.is_empty() {
        bail!("the realm's name is empty; write one, such as shop");
    }
    for app in &new.apps {
        let (id, agent) = app
            .split_once('/')
            .map_or((app.as_str(), None), |(corp, agent)| (corp, Some(agent)));
        if let Err(fault) = AppId::parse(id) {
            bail!("--app {app}: {fault}");
        }
        if agent.is_some_and(|agent| agent.parse::<u32>().is_err()) {
            bail!("--app {app}: expected an AgentId such as 1000002 behind the slash");
        }
    }
    for rule in &new.gateway {
        if let Err(fault) = Rule::parse(rule) {
            bail!("--gateway {rule}: {fault}");
        }
    }
    print!(
        "{}",
        lines(new, &format!("{:032x}", rand::random::<u128>()))
    );
    Ok(ExitCode::SUCCESS)
}

fn lines(new: &New, secret: &str) -> String {
    let quoted = |text: &str| serde_json::Value::from(text).to_string();
    let list = |texts: &[String]| {
        texts
            .iter()
            .map(|text| quoted(text))
            .collect::<Vec<_>>()
            .join(", ")
    };
    format!(
        "{secret}\n\n\
         // Its virtual AppSecret is the line above: give it to the program in place of the real one. It is shown only here.\n\
         // Paste this into realms: […] of jsdkd.json, try `jsdkd check`, and send SIGHUP to the server.\n\
         {{\n  key: {},\n  secret: {}, // Or {{ env: \"NAME\" }}, or {{ file: \"/run/secrets/x\" }}.\n  apps: [{}],\n  gateway: [{}],\n}},\n",
        quoted(&new.key),
        quoted(secret),
        list(&new.apps),
        list(&new.gateway),
    )
}
