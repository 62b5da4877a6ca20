//! `POST /jsapi/{appid}/explain`, and `/jsapi/{corpid}/explain` for WeCom: why WeChat refuses a
//! page's signature. It hands out nothing that the config does not: no ticket, and of other accounts
//! only that it was another one's.

use std::sync::Arc;

use actix_web::http::StatusCode;
use actix_web::{HttpRequest, HttpResponse, web};
use secrecy::{ExposeSecret, SecretString};
use serde::Serialize;
use serde_json::{Map, Value};

use super::error::ApiError;
use super::json_response::json_response;
use super::route::{Call, Route};
use super::state::AppState;
use super::{body, jsapi_config, page, wecom_tickets};
use credentials::keeper::AccountCredentials;
use wechat::credential::CredentialKind;
use wechat::explain::{
    self, Candidates, Code, Finding, LONGEST_NONCE, LONGEST_URL, Lingo, MOST_OTHERS, Signature,
    Signed,
};

pub(super) const ROUTES: &[Route] =
    &[Route::post("/jsapi/{appid}/explain", |call| Box::pin(post(call))).no_store()];

/// What the page gave to `wx.config`.
struct Question {
    url: String,
    page_url: Option<String>,
    nonce: String,
    timestamp: u64,
    signature: Signature,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    r#match: bool,
    finding: &'static str,
    detail: String,
    string1: String,
    /// A second mistake.
    #[serde(skip_serializing_if = "Option::is_none")]
    also: Option<&'static str>,
    /// How the page's address differs from the signed one, if the signature is right.
    #[serde(skip_serializing_if = "Option::is_none")]
    difference: Option<&'static str>,
    /// The address that was signed, if it is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    signed_url: Option<String>,
}

async fn post(mut call: Call<'_>) -> Result<HttpResponse, ApiError> {
    let (state, req) = (call.state, call.req);
    let from = state.network(req.head());
    state
        .explanations
        .admit(from)
        .map_err(|retry_after| ApiError::TooManyRequests { retry_after })?;
    let signer = Signer::of(&call).await?;
    let question = Arc::new(Question::read(&body::json(&mut call).await?)?);
    let known = signer.known(&call).await?;
    let _turn = state
        .expensive
        .acquire()
        .await
        .map_err(|_| ApiError::ShuttingDown)?;
    let (mut finding, mut known) = search(&question, known).await?;
    if finding.code == Code::UnknownTicket
        && let Some(previous) = signer.previous_in_store(state).await
    {
        known.previous = Some(previous);
        (finding, _) = search(&question, known).await?;
    }
    let answer = question.answer(finding, lingo(req));
    let json = serde_json::to_string(&answer).map_err(|_| ApiError::Internal)?;
    Ok(json_response(StatusCode::OK, json))
}

/// Searches outside the worker, because it takes some milliseconds.
async fn search(question: &Arc<Question>, known: Known) -> Result<(Finding, Known), ApiError> {
    let question = Arc::clone(question);
    let searched = web::block(move || {
        let finding = explain::explain(&question.signed(), &known.candidates());
        (finding, known)
    });
    searched.await.map_err(|_| ApiError::ShuttingDown)
}

/// Whose ticket has to be in the signature.
enum Signer {
    Account(Arc<AccountCredentials>),
    /// A WeCom corp, or with `?type=agent` one of its applications.
    Wecom(wecom_tickets::Signer),
}

impl Signer {
    async fn of(call: &Call<'_>) -> Result<Self, ApiError> {
        let (state, id) = (call.state, call.app_id());
        let account = match state.keeper.credentials(id) {
            Some(account) => account,
            None if state.access().wecom.contains_key(id) => {
                return wecom_tickets::Signer::of(call).map(Self::Wecom);
            }
            None => state.account_for(call.req.head(), id).await?,
        };
        jsapi_config::refuse_agent(call.req)?;
        Ok(Self::Account(account))
    }

    /// The values that may have been used, as far as this process holds them. Only the right ticket
    /// is fetched.
    async fn known(&self, call: &Call<'_>) -> Result<Known, ApiError> {
        let state = call.state;
        let mut known = match self {
            Self::Account(account) => {
                let kind = CredentialKind::JsapiTicket;
                let ticket = state.credential_for(call.req, account, kind).await?;
                Known {
                    ticket: ticket.value().clone(),
                    previous: account
                        .credential(kind)
                        .previous()
                        .map(|previous| SecretString::clone(&previous)),
                    card: held(account, CredentialKind::CardTicket),
                    token: held(account, CredentialKind::AccessToken),
                    others: wecom_tickets::all_but(None, state),
                }
            }
            Self::Wecom(signer) => Known {
                ticket: signer.ticket(call).await?,
                previous: signer.previous(state),
                card: None,
                token: signer.token(state),
                others: wecom_tickets::all_but(Some(signer), state),
            },
        };
        let own = match self {
            Self::Account(account) => Some(&account.account.app_id),
            Self::Wecom(_) => None,
        };
        let others = state
            .keeper
            .app_ids()
            .into_iter()
            .filter(|app_id| Some(app_id) != own)
            .filter_map(|app_id| state.keeper.credentials(app_id.as_str()))
            .filter_map(|other| held(&other, CredentialKind::JsapiTicket));
        known.others.extend(others.take(MOST_OTHERS));
        Ok(known)
    }

    async fn previous_in_store(&self, state: &AppState) -> Option<SecretString> {
        match self {
            Self::Account(account) => {
                let credential = account.credential(CredentialKind::JsapiTicket);
                credential.previous_in_store().await
            }
            Self::Wecom(signer) => signer.previous_in_store(state).await,
        }
    }
}

/// The cached copy, which is not renewed for this.
fn held(account: &AccountCredentials, kind: CredentialKind) -> Option<SecretString> {
    let cached = account.credential(kind).peek()?;
    Some(cached.value().clone())
}

/// Chinese if the caller prefers it, else English, as in all errors.
fn lingo(req: &HttpRequest) -> Lingo {
    if page::reads_chinese(req, false) {
        Lingo::Chinese
    } else {
        Lingo::English
    }
}

/// The values that may have been used.
struct Known {
    ticket: SecretString,
    previous: Option<SecretString>,
    card: Option<SecretString>,
    token: Option<SecretString>,
    others: Vec<SecretString>,
}

impl Known {
    fn candidates(&self) -> Candidates<'_> {
        Candidates {
            ticket: self.ticket.expose_secret(),
            previous: self.previous.as_ref().map(ExposeSecret::expose_secret),
            card: self.card.as_ref().map(ExposeSecret::expose_secret),
            token: self.token.as_ref().map(ExposeSecret::expose_secret),
            others: self
                .others
                .iter()
                .map(ExposeSecret::expose_secret)
                .collect(),
        }
    }
}

impl Question {
    fn read(body: &[u8]) -> Result<Self, ApiError> {
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        let value: Value = serde_json::from_slice(body)
            .map_err(|error| ApiError::InvalidJson(error.to_string()))?;
        let Value::Object(fields) = value else {
            return Err(ApiError::BodyNotAnObject("another value"));
        };
        let signature = text(&fields, "signature").and_then(Signature::parse);
        let nonce = text(&fields, "nonceStr").filter(|nonce| nonce.len() <= LONGEST_NONCE);
        Ok(Self {
            url: address(&fields, "url")?.ok_or(ApiError::InvalidUrl("is missing"))?,
            page_url: address(&fields, "pageUrl")?,
            nonce: nonce
                .ok_or(ApiError::InvalidSignature(
                    "nonceStr must be a text of at most 128 bytes",
                ))?
                .to_owned(),
            timestamp: timestamp(fields.get("timestamp")).ok_or(ApiError::InvalidSignature(
                "timestamp must be a whole number",
            ))?,
            signature: signature.ok_or(ApiError::InvalidSignature(
                "signature must be 40 hex digits",
            ))?,
        })
    }

    fn signed(&self) -> Signed<'_> {
        Signed {
            url: &self.url,
            page_url: self.page_url.as_deref(),
            nonce: &self.nonce,
            timestamp: self.timestamp,
            signature: self.signature,
        }
    }

    fn answer(&self, finding: Finding, lingo: Lingo) -> Answer {
        Answer {
            r#match: finding.is_match(),
            finding: finding.code.name(),
            detail: finding.detail(lingo),
            string1: explain::masked_string1(&self.url, &self.nonce, self.timestamp),
            also: finding.also.map(Code::name),
            difference: finding.difference.flatten().map(Code::name),
            signed_url: finding.signed_url,
        }
    }
}

fn text<'f>(fields: &'f Map<String, Value>, name: &str) -> Option<&'f str> {
    fields.get(name).and_then(Value::as_str)
}

fn address(fields: &Map<String, Value>, name: &str) -> Result<Option<String>, ApiError> {
    match fields.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(url)) if url.len() <= LONGEST_URL => Ok(Some(url.clone())),
        Some(Value::String(_)) => Err(ApiError::InvalidUrl("is longer than 4096 bytes")),
        Some(_) => Err(ApiError::InvalidUrl("must be a text")),
    }
}

/// A number, or a text with one, as pages write both.
fn timestamp(value: Option<&Value>) -> Option<u64> {
    match value? {
        Value::String(text) => text.parse().ok(),
        number => number.as_u64(),
    }
}
