//! `jsdkd sandbox --push`: sends one message or event to a message server as WeChat does, and
//! prints the message and the answer. The sandbox checks the answer.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::settings::Environment;
use anyhow::{Context, bail};
use clap::ValueEnum;
use sandbox::{self, MessageBuilder, Push, PushAnswer, PushMode};
use secrecy::SecretString;
use url::Url;
use wechat::account::AppId;
use wechat::message::Form;

/// How many characters of a message or an answer are printed.
const SHOWN: usize = 2000;

/// Arguments of `sandbox --push`.
#[derive(clap::Args)]
#[command(next_help_heading = "Pushing")]
#[group(skip)]
pub(super) struct Arguments {
    /// Send one message or event to a message server and print its answer, instead of serving. Exit
    /// code 0 if WeChat accepts the answer.
    #[arg(id = "kind", long = "push", value_name = "KIND", requires = "to",
        conflicts_with_all = ["port", "bind", "lifetime", "daily_quota"])]
    kind: Option<Kind>,
    /// The message server's address.
    #[arg(long, value_name = "URL", requires = "kind")]
    to: Option<Url>,
    /// The message server's token [default: $JSDKD_TOKEN, which process lists do not show]
    #[arg(long, requires = "kind")]
    token: Option<String>,
    /// The EncodingAESKey [default: $JSDKD_AES_KEY]
    #[arg(long, value_name = "KEY", requires = "kind")]
    aes_key: Option<String>,
    /// How the message is encrypted [default: safe with a key, else plain]
    #[arg(long, requires = "kind")]
    mode: Option<Mode>,
    /// The sender [default: one of the sandbox's visitors]
    #[arg(long, value_name = "OPENID", requires = "kind")]
    from: Option<String>,
    /// The content of a text message.
    #[arg(long, value_name = "TEXT", requires = "kind")]
    content: Option<String>,
    /// The event: subscribe, SCAN, CLICK, VIEW, …
    #[arg(long, value_name = "NAME", requires = "kind")]
    event: Option<String>,
    /// The event's key.
    #[arg(long, value_name = "KEY", requires = "kind")]
    event_key: Option<String>,
    /// An element of the message; may be repeated. Dots name nested elements:
    /// ScanCodeInfo.ScanResult=1.
    #[arg(long = "field", value_name = "NAME=VALUE", value_parser = field, requires = "kind")]
    fields: Vec<(String, String)>,
    /// The message's format; the answer to JSON is JSON.
    #[arg(long, value_name = "FORMAT", requires = "kind")]
    format: Option<Format>,
    /// The file with the raw XML of --push xml.
    #[arg(long, value_name = "FILE", requires = "kind")]
    xml: Option<PathBuf>,
    /// The file with the raw JSON of --push json.
    #[arg(long, value_name = "FILE", requires = "kind")]
    json: Option<PathBuf>,
    /// Repeat it up to two times if there is no answer, as WeChat does.
    #[arg(long, requires = "kind")]
    repeat: bool,
}

/// What can be pushed.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
enum Kind {
    Text,
    Image,
    Voice,
    Video,
    ShortVideo,
    Location,
    Link,
    Event,
    Xml,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Xml,
    Json,
}

#[derive(Clone, Copy, ValueEnum)]
enum Mode {
    Plain,
    Compatible,
    Safe,
}

impl Arguments {
    /// Whether `--push` is given.
    pub(super) fn is_wanted(&self) -> bool {
        self.kind.is_some()
    }
}

/// Sends a message for the account `app_id`. Exit code 0 if WeChat accepts the answer.
pub(super) fn run(arguments: &Arguments, app_id: &str) -> anyhow::Result<ExitCode> {
    let push = prepared(arguments, app_id)?;
    println!(
        "Sending to {} ({}):\n{}",
        push.url,
        push.mode,
        shown(&push.clear())
    );
    let answer = super::runtime()?.block_on(sandbox::push(&push))?;
    tell(&answer);
    Ok(if answer.is_success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn prepared(arguments: &Arguments, app_id: &str) -> anyhow::Result<Push> {
    let environment = Environment::from_process();
    let secret = |given: &Option<String>, name| {
        given
            .as_deref()
            .or_else(|| environment.get(name))
            .map(SecretString::from)
    };
    let token = secret(&arguments.token, "JSDKD_TOKEN")
        .context("give the server's token with --token or in JSDKD_TOKEN")?;
    let to = arguments
        .to
        .clone()
        .context("no message server; give its address with --to")?;
    let app_id = AppId::parse(app_id).context("--app")?;
    let mut push = Push::new(to, token, app_id, message(arguments)?);
    push.aes_key = secret(&arguments.aes_key, "JSDKD_AES_KEY");
    push.mode = match arguments.mode {
        Some(Mode::Plain) => PushMode::Plain,
        Some(Mode::Compatible) => PushMode::Compatible,
        Some(Mode::Safe) => PushMode::Safe,
        None if push.aes_key.is_some() => PushMode::Safe,
        None => PushMode::Plain,
    };
    if push.mode != PushMode::Plain && push.aes_key.is_none() {
        bail!(
            "give the EncodingAESKey with --aes-key or in JSDKD_AES_KEY; only plain mode needs none"
        );
    }
    if let Some(Format::Json) = arguments.format {
        push.form = Form::Json;
    }
    if let Some(openid) = &arguments.from {
        push.openid.clone_from(openid);
    }
    Ok(if arguments.repeat {
        push.repeated()
    } else {
        push
    })
}

fn message(arguments: &Arguments) -> anyhow::Result<MessageBuilder> {
    const MEDIA: &str = "sandbox-media-id";
    const THUMB: &str = "sandbox-thumb-media-id";
    let kind = arguments
        .kind
        .context("no kind of message; give one with --push")?;
    misplaced(arguments, kind)?;
    let message = match kind {
        Kind::Text => MessageBuilder::text(arguments.content.as_deref().unwrap_or("Hello")),
        Kind::Image => MessageBuilder::image(MEDIA),
        Kind::Voice => MessageBuilder::voice(MEDIA),
        Kind::Video => MessageBuilder::video(MEDIA, THUMB),
        Kind::ShortVideo => MessageBuilder::short_video(MEDIA, THUMB),
        Kind::Location => MessageBuilder::location(23.134521, 113.358803, "广州市天河区"),
        Kind::Link => MessageBuilder::link("A link", "Where it leads", "https://www.example.com/"),
        Kind::Event => MessageBuilder::event(
            arguments
                .event
                .as_deref()
                .context("no event; give one with --event, such as subscribe")?,
        ),
        Kind::Xml => raw(arguments
            .xml
            .as_deref()
            .context("no file; give one with --xml")?)?,
        Kind::Json => raw(arguments
            .json
            .as_deref()
            .context("no file; give one with --json")?)?,
    };
    let message = match &arguments.event_key {
        Some(key) => message.key(key),
        None => message,
    };
    Ok(arguments
        .fields
        .iter()
        .fold(message, |message, (name, value)| message.field(name, value)))
}

/// Refuses options that have no effect with this kind.
fn misplaced(arguments: &Arguments, kind: Kind) -> anyhow::Result<()> {
    for (is_given, option, owner, name) in [
        (arguments.content.is_some(), "--content", Kind::Text, "text"),
        (arguments.event.is_some(), "--event", Kind::Event, "event"),
        (
            arguments.event_key.is_some(),
            "--event-key",
            Kind::Event,
            "event",
        ),
        (arguments.xml.is_some(), "--xml", Kind::Xml, "xml"),
        (arguments.json.is_some(), "--json", Kind::Json, "json"),
    ] {
        if is_given && kind != owner {
            bail!("{option} belongs to --push {name}");
        }
    }
    if matches!(kind, Kind::Xml | Kind::Json)
        && (!arguments.fields.is_empty() || arguments.format.is_some())
    {
        bail!(
            "--field and --format do not belong to --push xml and --push json, which are sent as they are"
        );
    }
    Ok(())
}

fn raw(file: &Path) -> anyhow::Result<MessageBuilder> {
    std::fs::read_to_string(file)
        .map(MessageBuilder::xml)
        .with_context(|| format!("cannot read {}", file.display()))
}

fn tell(answer: &PushAnswer) {
    let tries = if answer.tries > 1 {
        format!(", delivery {}", answer.tries)
    } else {
        String::new()
    };
    println!(
        "Answer: HTTP {} after {} ms{tries}:\n{}",
        answer.status,
        answer.took.as_millis(),
        shown(&answer.body)
    );
    match (&answer.fault, &answer.reply) {
        (Some(fault), _) => {
            println!(
                "WeChat does not take it: {fault}.\nThe user sees: {}",
                answer.user_sees().unwrap_or_default()
            );
        }
        (None, Some(reply)) => println!("WeChat takes it as a reply:\n{}", shown(&reply.to_json())),
        (None, None) => println!("WeChat takes it and says nothing to the user."),
    }
}

/// The beginning of `text`, without control characters.
fn shown(text: &str) -> String {
    let printable = |c: char| {
        if c.is_control() && !matches!(c, '\n' | '\t') {
            '\u{fffd}'
        } else {
            c
        }
    };
    let mut shown: String = text
        .trim_end_matches('\n')
        .chars()
        .map(printable)
        .take(SHOWN)
        .collect();
    let rest = text.chars().count().saturating_sub(SHOWN);
    if rest > 0 {
        shown.push_str(&format!("… and {rest} more characters"));
    }
    if shown.is_empty() {
        "(nothing)".to_owned()
    } else {
        shown
    }
}

fn field(text: &str) -> Result<(String, String), String> {
    let is_name = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    let good = text
        .split_once('=')
        .filter(|(path, _)| path.split('.').all(is_name));
    good.map(|(name, value)| (name.to_owned(), value.to_owned()))
        .ok_or_else(|| "write NAME=VALUE".to_owned())
}
