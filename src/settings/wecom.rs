//! Reads `wecom`: each application becomes the sources of its token and tickets.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use secrecy::SecretString;
use url::Url;

use super::accounts;
use super::config::{WecomConfig, WecomCorp};
use super::node::Node;
use super::reader::At;
use super::sources::STALE;
use credentials::sources::{Expires, Method, Payload, Source, SourceSet, Success, Template};
use wechat::account::{Account, AppId};
use wechat::address;

const KNOWN: [&str; 4] = ["corpid", "agentid", "secret", "api"];

/// WeCom returns the same token until it expires, so renewing it much earlier gains nothing.
const MAX_RESERVE: Duration = Duration::from_secs(3600);

/// All applications. A corp's ticket is fetched with the token of its first application. `reserve`
/// is the setting for all.
pub(super) fn wecom(root: &At<'_>, accounts: &[Account], reserve: Duration) -> WecomConfig {
    let Some(section) = root.get("wecom") else {
        return WecomConfig::default();
    };
    let Some(items) = section.items() else {
        section.expected_secret(
            "a list: wecom: [{ corpid: \"ww…\", agentid: 1000002, secret: \"…\" }]",
        );
        return WecomConfig::default();
    };
    let mut corps: BTreeMap<AppId, WecomCorp> = BTreeMap::new();
    let (mut sources, reserve) = (Vec::new(), reserve.min(MAX_RESERVE));
    for item in items {
        let Some(application) = application(&item, accounts) else {
            continue;
        };
        let Application {
            corpid, agentid, ..
        } = &application;
        let name = |what: &str| format!("wecom.{corpid}.{what}");
        let (token, agent_ticket) = (
            name(&format!("{agentid}.token")),
            name(&format!("{agentid}.ticket")),
        );
        let corp = match corps.entry(corpid.clone()) {
            Entry::Occupied(corp) => corp.into_mut(),
            Entry::Vacant(corp) => {
                sources.extend(application.ticket(
                    &name("ticket"),
                    address::WECOM_JSAPI_TICKET,
                    &token,
                    reserve,
                ));
                corp.insert(WecomCorp {
                    ticket: name("ticket"),
                    agents: BTreeMap::new(),
                    apis: BTreeMap::new(),
                })
            }
        };
        if corp
            .agents
            .insert(agentid.clone(), agent_ticket.clone())
            .is_some()
        {
            item.fault(format!(
                "the application {agentid} of {corpid} is already written; remove one of them"
            ));
        }
        corp.apis.extend(
            address::at(application.api.as_ref(), address::WECOM_API)
                .map(|api| (agentid.clone(), api)),
        );
        sources.extend(application.ticket(
            &agent_ticket,
            address::WECOM_AGENT_TICKET,
            &token,
            reserve,
        ));
        sources.extend(application.token(token, reserve));
    }
    // These sources have no cycles and no missing names, so this cannot fail.
    WecomConfig {
        corps,
        sources: SourceSet::new(sources).unwrap_or_default(),
    }
}

/// One application of one corp.
struct Application {
    corpid: AppId,
    agentid: String,
    secret: SecretString,
    /// WeCom's API, if not the public one.
    api: Option<Url>,
}

fn application(at: &At<'_>, accounts: &[Account]) -> Option<Application> {
    if !at.is_table(&KNOWN) {
        return None;
    }
    let corpid = at
        .need("corpid", "the corp's id (企业ID)")
        .and_then(|at| corpid(&at, accounts));
    let agentid = at
        .need("agentid", "the application's AgentId")
        .and_then(|at| agentid(&at));
    let secret = at
        .need("secret", "the application's Secret")
        .and_then(|secret| secret.secret());
    let api = at
        .get("api")
        .map(|api| api.address().map(address::without_path_of_calls));
    let api = match api {
        Some(api) => Some(api?),
        None => None,
    };
    Some(Application {
        corpid: corpid?,
        agentid: agentid?,
        secret: secret?,
        api,
    })
}

fn corpid(at: &At<'_>, accounts: &[Account]) -> Option<AppId> {
    let text = at.text("a corpid such as \"ww0123456789abcdef\"")?;
    let corpid = accounts::app_id(at, text)?;
    // Appids and corpids are the same part of the same route.
    if accounts.iter().any(|account| account.app_id == corpid) {
        at.fault(format!(
            "{corpid} is also the key of one of the apps; write the corpid (企业ID), not an appid"
        ));
        return None;
    }
    Some(corpid)
}

/// A number; also accepted as a text, as in WeCom's documentation.
fn agentid(at: &At<'_>) -> Option<String> {
    let id = match at.node() {
        Node::Int(number) => u32::try_from(number).ok().map(|number| number.to_string()),
        Node::Text(text) => text
            .parse::<u32>()
            .ok()
            .map(|number| number.to_string())
            .filter(|number| number == text),
        _ => None,
    };
    if id.is_none() {
        at.expected("an AgentId such as 1000002");
    }
    id
}

impl Application {
    /// The application's own token.
    fn token(&self, name: String, reserve: Duration) -> Option<Source> {
        let (corpid, secret) = (self.corpid.as_str().into(), self.secret.clone());
        let fields = [
            ("corpid", Template::literal(corpid)),
            ("corpsecret", Template::literal(secret)),
        ];
        self.source(
            name,
            address::WECOM_TOKEN,
            fields.into(),
            Vec::new(),
            reserve,
        )
    }

    /// The ticket that `address` returns for the token called `token`: the corp's or this
    /// application's.
    fn ticket(&self, name: &str, address: &str, token: &str, reserve: Duration) -> Option<Source> {
        let mut fields = vec![("access_token", Template::field(token, "access_token"))];
        if address == address::WECOM_AGENT_TICKET {
            fields.push(("type", Template::literal("agent_config".into())));
        }
        self.source(name.to_owned(), address, fields, STALE.to_vec(), reserve)
    }

    fn source(
        &self,
        name: String,
        address: &str,
        query: Vec<(&str, Template)>,
        stale: Vec<i64>,
        reserve: Duration,
    ) -> Option<Source> {
        Some(Source {
            name,
            method: Method::GET,
            url: address::at(self.api.as_ref(), address)?.to_string().into(),
            query: query
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            headers: Vec::new(),
            body: Payload::None,
            expires: Expires::Usual,
            ok: Success::Zero(vec!["errcode".to_owned()]),
            stale,
            reserve,
        })
    }
}
