//! `jsdkd check`: checks the settings and starts nothing.

use std::path::PathBuf;
use std::process::ExitCode;

use super::realm_words;
use crate::realm::Realm;
use crate::settings::{self, Environment, Source};

/// Arguments of `check`.
#[derive(clap::Args)]
pub(super) struct Arguments {
    /// The settings file [default: the one that `serve` reads]
    file: Option<PathBuf>,
    /// Treat unknown settings as faults instead of warnings.
    #[arg(long)]
    strict: bool,
}

/// Prints every fault and warning. Exit code 78 if there is a fault.
pub(super) fn run(arguments: &Arguments) -> ExitCode {
    let env = Environment::from_process();
    let file = settings::find_file(arguments.file.as_deref(), &env);
    let name = file.as_ref().map_or_else(
        || "the environment".to_owned(),
        |file| file.display().to_string(),
    );
    match settings::load(&Source::file(file).strict(arguments.strict), &env) {
        Ok(loaded) => {
            for warning in &loaded.warnings {
                println!("warning: {warning}");
            }
            if loaded.config.store.is_sql() && loaded.config.wetoken.is_none() {
                println!(
                    "note: the routes of micro-plat/wetoken are not served; add wetoken: {{}} to serve them"
                );
            }
            let (apps, realms) = (loaded.config.accounts.len(), loaded.config.realms.len());
            let corps = loaded
                .config
                .wecom
                .corps
                .values()
                .map(|corp| corp.agents.len())
                .sum();
            let more = [
                (loaded.config.sources.len(), "source(s)"),
                (corps, "WeCom application(s)"),
            ];
            let more = more
                .into_iter()
                .filter(|(count, _)| *count > 0)
                .map(|(count, what)| format!(", {count} {what}"));
            println!(
                "{name}: good; {apps} app(s), {realms} realm(s){}",
                more.collect::<String>()
            );
            let mut realms: Vec<&Realm> = loaded.config.realms.iter().collect();
            realms.sort_by(|one, other| one.key.cmp(&other.key));
            realms
                .into_iter()
                .for_each(|realm| println!("{}", realm_words::describe(realm)));
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("{error}");
            ExitCode::from(super::EX_CONFIG)
        }
    }
}
