//! `jsdkd import`: reads a running deployment of another server, and prints a `jsdkd.json`. Nothing
//! is written or changed anywhere.

use std::process::ExitCode;

use anyhow::bail;
use serde_json::Value;

use crate::settings::{self, Environment, Source};
use draft::Draft;
use input::Input;

mod draft;
mod haowang;
mod hub;
mod input;
mod node;
mod prune;
mod python;
mod songquanpeng;
mod tokenboy;
mod wetoken;

/// How often faults are taken out: a source that is gone can be missing in another one.
const ROUNDS: usize = 20;

const EXAMPLES: &str = "\
Examples:
  jsdkd import --from jsdkd jsdkd.json            the Node server's settings
  jsdkd import wechat-server.db                   the database of songquanpeng/wechat-server
  jsdkd import --from wetoken mysql://user:password@host/database
  jsdkd import config.py                          TokenBoy's settings
  (umask 077; docker exec hub env | jsdkd import - > jsdkd.json)
  (umask 077; jsdkd import > jsdkd.json)          what this process's variables say

The output holds secrets. What could not be taken over is on stderr. Exit code 1 if nothing could be read.";

/// Arguments of `import`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Arguments {
    /// The server to move from [default: whose file, database or variables these are]
    #[arg(long, value_name = "NAME", value_parser = neighbour)]
    from: Option<Neighbour>,
    /// Its settings file, a file of NAME=VALUE lines (- is the standard input), or its database
    /// [default: the variables of this process]
    path: Option<String>,
}

/// A server to move from.
struct Known {
    /// The names by which it is known; the first is shown.
    names: &'static [&'static str],
    read: fn(&Input) -> anyhow::Result<Draft>,
    /// Whether these variables are its own.
    sets: fn(&Environment) -> bool,
    /// Whether this text file is its own.
    writes: fn(&str) -> bool,
    /// Whether it keeps its settings in a database.
    has_database: bool,
}

type Neighbour = &'static Known;

/// Those whose variables or files are more telling come first.
static KNOWN: [Known; 6] = [
    Known {
        names: &["wechat-token-hub", "hub", "waynecraig/wechat-token-hub"],
        read: hub::read,
        sets: hub::is_its,
        writes: |_| false,
        has_database: false,
    },
    Known {
        names: &["haowang1013/wechat-server", "haowang1013", "haowang"],
        read: haowang::read,
        sets: haowang::is_its,
        writes: |_| false,
        has_database: false,
    },
    Known {
        names: &["songquanpeng/wechat-server", "songquanpeng"],
        read: songquanpeng::read,
        sets: songquanpeng::is_its,
        writes: |_| false,
        has_database: true,
    },
    Known {
        names: &["wetoken", "micro-plat/wetoken"],
        read: wetoken::read,
        sets: wetoken::is_its,
        writes: |_| false,
        has_database: true,
    },
    Known {
        names: &["tokenboy", "alexazhou/tokenboy"],
        read: tokenboy::read,
        sets: |_| std::path::Path::new(tokenboy::FILE).exists(),
        writes: tokenboy::is_its,
        has_database: false,
    },
    Known {
        names: &["jsdkd", "node", "xixilive/jsdkd"],
        read: node::read,
        sets: |env| env.get("APP_CONFIG").is_some() || std::path::Path::new("jsdkd.json").exists(),
        writes: node::is_its,
        has_database: false,
    },
];

/// Two servers have this name; the input tells which it is.
const AMBIGUOUS: &str = "wechat-server";

static EITHER: Known = Known {
    names: &[AMBIGUOUS],
    read: |input| match input {
        Input::Database(_) => songquanpeng::read(input),
        _ if input.variables().is_some_and(|env| haowang::is_its(&env)) => haowang::read(input),
        _ => songquanpeng::read(input),
    },
    sets: |_| false,
    writes: |_| false,
    has_database: false,
};

fn neighbour(name: &str) -> Result<Neighbour, String> {
    let name = name.to_ascii_lowercase();
    if name == AMBIGUOUS {
        return Ok(&EITHER);
    }
    let found = KNOWN
        .iter()
        .find(|known| known.names.contains(&name.as_str()));
    found.ok_or_else(|| {
        let names: Vec<&str> = KNOWN.iter().map(|known| known.names[0]).collect();
        format!("expected one of {}", names.join(", "))
    })
}

/// Prints the new settings, and on stderr what could not be taken over.
pub(super) fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    let env = Environment::from_process();
    let input = Input::read(arguments.path.as_deref(), env)?;
    let (name, mut draft) = match arguments.from {
        Some(known) => (known.names[0], (known.read)(&input)?),
        None => guess(&input)?,
    };
    let (text, warnings) = loadable(name, &mut draft)?;
    print!("{text}");
    for note in draft.notes.iter().chain(&warnings) {
        eprintln!("{name}: {note}");
    }
    eprintln!(
        "{name}: the output holds secrets; if it is in a file, let only its owner read it: chmod 600 jsdkd.json"
    );
    Ok(ExitCode::SUCCESS)
}

/// The settings as text that loads, without what keeps them from it, and their warnings.
fn loadable(name: &str, draft: &mut Draft) -> anyhow::Result<(String, Vec<String>)> {
    let mut first = None;
    for _ in 0..ROUNDS {
        let text = format!("{:#}\n", Value::Object(draft.settings.clone()));
        let source = Source::text("jsdkd.json", text.as_str());
        let error = match settings::load(&source, &Environment::default()) {
            Ok(loaded) => return Ok((text, loaded.warnings)),
            Err(error) => error,
        };
        let can_go_on = prune::prune(draft, &error);
        first.get_or_insert(error);
        if !can_go_on {
            break;
        }
    }
    let error = first.map(|error| error.to_string()).unwrap_or_default();
    bail!("{name}: what was found makes no settings that work:\n{error}")
}

/// Whose input this is.
fn guess(input: &Input) -> anyhow::Result<(&'static str, Draft)> {
    let names = || {
        let names: Vec<&str> = KNOWN.iter().map(|known| known.names[0]).collect();
        names.join(", ")
    };
    let mut refusals = Vec::new();
    for known in &KNOWN {
        let is_its = match input {
            Input::Database(_) => known.has_database,
            Input::Variables(env) => (known.sets)(env),
            Input::Text(text) => {
                (known.writes)(text) || input.variables().is_some_and(|env| (known.sets)(&env))
            }
        };
        if !is_its {
            continue;
        }
        match (known.read)(input) {
            Ok(draft) => return Ok((known.names[0], draft)),
            Err(error) => refusals.push(format!("{}: {error:#}", known.names[0])),
        }
    }
    if refusals.is_empty() {
        bail!(
            "nothing was found that a known server has written; name it with --from: {}",
            names()
        );
    }
    bail!("{}", refusals.join("\n"))
}
