//! `jsdkd install`: the tables of a SQL cache.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::settings::{self, Environment, Source};
use clock::Clock;
use credentials::store::{SqlConfig, StoreConfig, sql};

const EXAMPLES: &str = "\
Examples:
  jsdkd install                              the tables of the database that ./jsdkd.json names
  jsdkd install --config /etc/jsdkd.json     of the one that this file names
  JSDKD__CACHE__SQL=mysql://user:password@host/wetoken jsdkd install
                                             of this one

It makes the tables that are missing, widens columns that are too short for what WeChat hands out, and
removes nothing; run it as often as you like. The database itself must exist, and the user needs CREATE
and ALTER while it runs; a SQLite file is made.";

/// Arguments of `install`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The settings file; else the one that `serve` would read.
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Prints each thing that was done or found.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let env = Environment::from_process();
    let source = Source::file(settings::find_file(arguments.config.as_deref(), &env));
    let loaded = match settings::load(&source, &env) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!("{error}\njsdkd: the settings have faults; nothing was installed");
            return Ok(ExitCode::from(super::EX_CONFIG));
        }
    };
    let kind = match &loaded.config.store {
        StoreConfig::Sql(config) => return install(config),
        StoreConfig::Memory(_) => "memory",
        StoreConfig::File(_) => "file",
        StoreConfig::Redis(_) => "redis",
    };
    println!("nothing to install: the cache is a {kind} cache, and only cache.sql has tables");
    Ok(ExitCode::SUCCESS)
}

fn install(config: &SqlConfig) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(sql::install(config, &Clock::system(), |line| println!("{line}")))?;
    println!("all is in place");
    Ok(ExitCode::SUCCESS)
}
