//! One forwarded call: it is sent with the real token or secret, and sent again after a dead token
//! was renewed.

use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use clock::SteadyMillis;
use secrecy::ExposeSecret;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tracing::Instrument;
use wechat::CallOutcome;

use super::accounts::{Account, RealToken};
use super::admitted::{Admitted, RequestBody};
use super::answer::Verdict;
use super::audit::Audit;
use super::body::Body;
use super::plan::{Identity, Plan};
use super::probe::outcome_of;
use super::refusal::Refusal;
use super::reply::{Answer, Reply};
use super::upstream::{Head, SendError};
use super::{Gateway, Inner};

/// A repetition begins no later, because SDKs hang up after 5 s.
const REPEAT_WITHIN: Duration = Duration::from_millis(4500);

impl Gateway {
    /// Forwards the call. The refusal is ours; WeChat's own are answers. The second part writes the
    /// audit line when it is dropped.
    pub async fn forward(
        &self,
        admitted: Admitted,
        body: RequestBody,
    ) -> Result<Answer, (Refusal, Box<Audit>)> {
        let Admitted {
            plan,
            mut audit,
            began,
        } = admitted;
        let (whole, arriving, _kept) = match body {
            RequestBody::Whole(bytes, kept) => (Some(bytes), None, kept),
            RequestBody::Stream(chunks) => (None, Some(chunks), None),
        };
        audit.bytes_in = whole.as_ref().map_or(0, |bytes| bytes.len() as u64);
        let mut call = ForwardedCall {
            inner: Arc::clone(&self.0),
            plan: *plan,
            audit,
            began,
            whole,
            arriving,
            arrived: Arc::default(),
            token: None,
        };
        let span = tracing::info_span!(
            "forwarded_call",
            request_id = call.audit.request_id,
            appid = call.audit.account.as_ref().map(tracing::field::display)
        );
        match call.run().instrument(span).await {
            Ok(reply) => Ok(call.pass_on(reply)),
            Err(refusal) => Err(call.refuse(refusal)),
        }
    }
}

/// One call and what is known of it so far.
struct ForwardedCall {
    inner: Arc<Inner>,
    plan: Plan,
    audit: Box<Audit>,
    began: SteadyMillis,
    /// The body, if it can be sent again.
    whole: Option<Bytes>,
    /// The body, if it can be sent once.
    arriving: Option<mpsc::Receiver<io::Result<Bytes>>>,
    /// How many bytes of that body were sent.
    arrived: Arc<AtomicU64>,
    /// The real token that was sent last.
    token: Option<RealToken>,
}

impl ForwardedCall {
    /// Sends the call, at most once more after healing.
    async fn run(&mut self) -> Result<Reply, Refusal> {
        if let Identity::Token(account) = &self.plan.identity {
            self.token = Some(account.current().await.map_err(Refusal::NothingSent)?);
        }
        loop {
            let begun = self.inner.clock.steady();
            let reply = self.exchange(begun).await?;
            let verdict = reply.verdict();
            let answered = outcome_of(&verdict);
            let hosts = &self.plan.hosts;
            self.inner
                .count_call("gateway", hosts, begun, answered, Some(&reply));
            if verdict.is_stale_token()
                && let Some(next) = Box::pin(self.token_to_repeat_with()).await
            {
                self.audit.is_healed = true;
                self.token = Some(next);
                continue;
            }
            self.note(&reply, verdict);
            return Ok(reply);
        }
    }

    /// Sends the call with the present token and reads the beginning of the answer.
    async fn exchange(&mut self, begun: SteadyMillis) -> Result<Reply, Refusal> {
        let plan = &self.plan;
        let head = Head {
            method: &plan.method,
            path: &plan.path,
            query: &plan.query,
            token: self.token.as_ref().map(RealToken::token),
            headers: &plan.headers,
        };
        let exchange = async {
            let sent = match (&self.whole, self.arriving.take()) {
                (Some(bytes), _) => {
                    self.inner
                        .upstream
                        .send(&plan.hosts, &head, bytes.clone())
                        .await
                }
                (None, Some(pieces)) => {
                    let body = Body::Arriving {
                        pieces,
                        sent: Arc::clone(&self.arrived),
                    };
                    self.inner
                        .upstream
                        .send_stream(&plan.hosts, &head, body)
                        .await
                }
                (None, None) => Err(SendError::NotSent("its body is gone".to_owned())),
            };
            Reply::read(sent?, &plan.method).await
        };
        let exchanged = timeout(self.inner.options.timeout, exchange).await;
        let failed = match &exchanged {
            Ok(Err(SendError::NotSent(_))) => CallOutcome::Unreachable,
            _ => CallOutcome::NoAnswer,
        };
        let why = match exchanged {
            Ok(Ok(reply)) => return Ok(reply),
            Ok(Err(SendError::NotSent(why) | SendError::NoAnswer(why))) => why,
            Err(_) => "gateway.timeout is over".to_owned(),
        };
        self.inner
            .count_call("gateway", &plan.hosts, begun, failed, None);
        if failed == CallOutcome::Unreachable {
            return Err(Refusal::NothingSent(why));
        }
        tracing::warn!(
            request_id = self.audit.request_id,
            path = plan.path,
            why,
            "no answer to a forwarded call"
        );
        Err(Refusal::NoAnswer)
    }

    /// The token to repeat the call with, after WeChat refused the one that was sent. `None`: the
    /// refusal is passed on.
    async fn token_to_repeat_with(&self) -> Option<RealToken> {
        let (Identity::Token(account), Some(used), false) =
            (&self.plan.identity, &self.token, self.audit.is_healed)
        else {
            return None;
        };
        if self.whole.is_some() && self.is_in_time() {
            let next = self
                .inner
                .heal(account, &self.plan.hosts, &self.plan.path, used)
                .await;
            return next.filter(|_| self.is_in_time());
        }
        // A streamed body cannot be sent again: the SDK's own repetition finds the renewed token.
        let (inner, account, used) = (Arc::clone(&self.inner), account.clone(), used.clone());
        let (hosts, path) = (Arc::clone(&self.plan.hosts), self.plan.path.clone());
        tokio::spawn(async move { inner.heal(&account, &hosts, &path, &used).await });
        None
    }

    fn is_in_time(&self) -> bool {
        self.began.until(self.inner.clock.steady()) < REPEAT_WITHIN
    }

    /// Notes an answer that is passed on.
    fn note(&mut self, reply: &Reply, verdict: Verdict) {
        if verdict.is_address_refused() {
            tracing::error!(
                appid = self.audit.account.as_ref().map(tracing::field::display),
                errcode = verdict.errcode,
                "WeChat refuses the address of this server{}: add it to the account's IP list (公众平台 → IP白名单; 企业可信IP)",
                verdict
                    .address
                    .as_ref()
                    .map_or(String::new(), |address| format!(", {address}")),
            );
        }
        self.note_body();
        self.audit.status = Some(reply.status);
        self.audit.errcode = verdict.errcode;
        self.audit.rid = verdict.rid;
    }

    fn note_body(&mut self) {
        if self.whole.is_none() {
            self.audit.bytes_in = self.arrived.load(Relaxed);
        }
        self.audit.took = self.began.until(self.inner.clock.steady());
    }

    fn refuse(mut self, refusal: Refusal) -> (Refusal, Box<Audit>) {
        self.note_body();
        (refusal.clone(), self.audit.refused(&refusal))
    }

    fn pass_on(self, reply: Reply) -> Answer {
        let account = match &self.plan.identity {
            Identity::Token(account) | Identity::Secret(account) => Some(account),
            Identity::Anonymous => None,
        };
        let held = match &self.plan.identity {
            Identity::Secret(account) => account.token_at_hand(),
            _ => None,
        };
        let token = self.token.as_ref().or(held.as_ref());
        let secrets = [
            token.map(RealToken::token),
            account.and_then(Account::secret),
        ];
        let secrets = secrets.map(|secret| secret.map_or("", |secret| secret.expose_secret()));
        reply.passed_on(
            &secrets,
            self.audit,
            self.plan.place,
            self.inner,
            self.began,
        )
    }
}
