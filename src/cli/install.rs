//! `jsdkd install`: creates the tables of a SQL cache.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::settings::{self, Environment, Source};
#[cfg(feature = "sql")]
use clock::Clock;
use credentials::store::StoreConfig;
#[cfg(feature = "sql")]
use credentials::store::{SqlConfig, sql};

const EXAMPLES: &str = "\
Examples:
  jsdkd install                              create the tables of the database in ./jsdkd.json
  jsdkd install --config /etc/jsdkd.json     of the database in that file
  JSDKD__CACHE__SQL=mysql://user:password@host/wetoken jsdkd install
                                             of that database

It creates missing tables, widens columns that are too short for WeChat's values, and removes nothing.
It can be repeated. The database must exist, and its user needs CREATE and ALTER for this command.
A SQLite file is created.";

/// Arguments of `install`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The settings file [default: the one that `serve` reads]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Prints each step.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let env = Environment::from_process();
    let source = Source::file(settings::find_file(arguments.config.as_deref(), &env));
    let loaded = match settings::load(&source, &env) {
        Ok(loaded) => loaded,
        Err(error) => {
            eprintln!(
                "{error}\njsdkd: nothing was installed, because the settings have faults; correct them and try again"
            );
            return Ok(ExitCode::from(super::EX_CONFIG));
        }
    };
    let kind = match &loaded.config.store {
        #[cfg(feature = "sql")]
        StoreConfig::Sql(config) => return install(config),
        StoreConfig::Memory(_) => "memory",
        StoreConfig::File(_) => "file",
        StoreConfig::Redis(_) => "redis",
    };
    println!("nothing to install: the cache is a {kind} cache, and only cache.sql has tables");
    Ok(ExitCode::SUCCESS)
}

#[cfg(feature = "sql")]
fn install(config: &SqlConfig) -> anyhow::Result<ExitCode> {
    super::runtime()?.block_on(sql::install(config, &Clock::system(), |line| {
        println!("{line}")
    }))?;
    println!("all tables are in place");
    Ok(ExitCode::SUCCESS)
}
