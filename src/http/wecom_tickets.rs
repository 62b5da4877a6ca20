//! WeCom's tickets and tokens that this process holds, for the explanation of a signature. Only the
//! ticket that is right is fetched.

use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::error::ApiError;
use super::route::Call;
use super::state::AppState;
use super::wecom_config::Wanted;
use wechat::explain::MOST_OTHERS;

/// The corp, or one of its applications, whose ticket has to be in a signature.
pub(super) struct Signer {
    wanted: Wanted,
    /// The names of the sources of tokens that fetch this ticket.
    tokens: Vec<String>,
}

impl Signer {
    /// Reads the corp and, with `type=agent`, the application from the request, as
    /// `/jsapi/{corpid}/config` does.
    pub(super) fn of(call: &Call<'_>) -> Result<Self, ApiError> {
        let wanted = Wanted::read(call)?;
        let access = call.state.access();
        let corp = access
            .wecom
            .get(call.app_id())
            .ok_or(ApiError::UnknownApp)?;
        let is_corps = wanted.source() == corp.ticket;
        let tokens = corp
            .agents
            .values()
            .filter(|ticket| is_corps || *ticket == wanted.source())
            .filter_map(|ticket| Some(format!("{}.token", ticket.strip_suffix(".ticket")?)))
            .collect();
        Ok(Self { wanted, tokens })
    }

    pub(super) async fn ticket(&self, call: &Call<'_>) -> Result<SecretString, ApiError> {
        self.wanted.ticket(call).await
    }

    /// The access_token of an application that fetches this ticket.
    pub(super) fn token(&self, state: &AppState) -> Option<SecretString> {
        let tokens = self.tokens.iter();
        tokens
            .filter_map(|name| held(state, name, "access_token"))
            .next()
    }

    pub(super) fn previous(&self, state: &AppState) -> Option<SecretString> {
        let credential = state.wecom.credential(self.wanted.source())?;
        field(&*credential.previous()?, "ticket")
    }

    pub(super) async fn previous_in_store(&self, state: &AppState) -> Option<SecretString> {
        let credential = state.wecom.credential(self.wanted.source())?;
        field(&credential.previous_in_store().await?, "ticket")
    }
}

/// The tickets of all corps and applications but that of `signer`.
pub(super) fn all_but(signer: Option<&Signer>, state: &AppState) -> Vec<SecretString> {
    let access = state.access();
    let own = signer.map(|signer| signer.wanted.source());
    let names = access
        .wecom
        .values()
        .flat_map(|corp| std::iter::once(&corp.ticket).chain(corp.agents.values()))
        .filter(|name| Some(name.as_str()) != own);
    names
        .filter_map(|name| held(state, name, "ticket"))
        .take(MOST_OTHERS)
        .collect()
}

/// A field of the cached answer of a source.
fn held(state: &AppState, source: &str, name: &str) -> Option<SecretString> {
    field(state.wecom.credential(source)?.peek()?.value(), name)
}

fn field(object: &SecretString, name: &str) -> Option<SecretString> {
    let object: Value = serde_json::from_str(object.expose_secret()).ok()?;
    Some(object.get(name)?.as_str()?.into())
}
