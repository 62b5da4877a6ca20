//! Answers verified messages: by a rule at once, or by forwarding them to back ends. A message is
//! forwarded once, however often and to however many instances it is delivered. The answer always
//! arrives before WeChat's timeout of five seconds.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{join, join_all};
use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::forward::{ForwardError, Forwarder};
use super::outcome::Answer;
use super::recent_messages::{MessageEntry, RETENTION, RecentMessages};
use super::rule::Wanted;
use super::{Delivery, Forward, MessagePolicy, Target, custom_message};
use crate::counters::Counters;
use clock::Clock;
use credentials::keeper::{AccountCredentials, Keeper};
use credentials::store::{Record, Store, StoreError};
use wechat::ClientError;
use wechat::account::Account;
use wechat::message::{Message, ReceivedReply, Reply, ReplyError};

/// WeChat's timeout of five seconds, less half a second for the network. Source: 接收普通消息.
const DEADLINE: Duration = Duration::from_millis(4500);

/// Timeout for a back end whose late answer is sent as a customer-service message.
const LATE_DEADLINE: Duration = Duration::from_secs(60);

/// How often an instance polls the store for the answer that another instance is waiting for.
const POLL_INTERVAL: Duration = Duration::from_millis(100);

/// A handle on the inbox of all accounts; cheap to clone.
#[derive(Clone)]
pub struct Inbox(Arc<Inner>);

struct Inner {
    store: Arc<dyn Store>,
    keeper: Keeper,
    forwarder: Forwarder,
    clock: Clock,
    runtime: Handle,
    recent: RecentMessages,
    counters: Arc<Counters>,
    /// The number of messages being forwarded, so that shutdown can wait for them.
    under_way: watch::Sender<usize>,
}

/// A message to forward.
struct Job {
    credentials: Arc<AccountCredentials>,
    message: Message,
    /// The decrypted message, byte for byte.
    clear: Vec<u8>,
    forward: Arc<Forward>,
}

impl Inbox {
    /// Creates an inbox. `store` records which messages were forwarded, and `keeper` sends late
    /// answers. Must be called on the runtime that is to run the tasks.
    pub fn new(
        store: Arc<dyn Store>,
        keeper: Keeper,
        clock: Clock,
        counters: Arc<Counters>,
    ) -> Result<Self, ClientError> {
        let (forwarder, recent) = (Forwarder::new()?, RecentMessages::new(clock.clone()));
        let (runtime, under_way) = (Handle::current(), watch::Sender::new(0));
        Ok(Self(Arc::new(Inner {
            store,
            keeper,
            forwarder,
            clock,
            runtime,
            recent,
            counters,
            under_way,
        })))
    }

    /// Returns the answer to `delivery` for the account of `credentials`, before WeChat's timeout.
    /// Only forwarded messages need a permit, which `admit` grants or refuses. The permit is
    /// returned when the back ends have answered, which may be after this returns.
    pub async fn answer<P: Send + 'static, E>(
        &self,
        credentials: &Arc<AccountCredentials>,
        policy: &MessagePolicy,
        delivery: Delivery<'_>,
        admit: impl FnOnce() -> Result<P, E>,
    ) -> Result<Answer, E> {
        Ok(match policy.wants(&delivery.message) {
            Wanted::Nothing => Answer::Nothing,
            Wanted::Silence => Answer::Silence,
            Wanted::Reply(reply) => written(&credentials.account, &reply, &delivery.message),
            Wanted::Forward(forward) => {
                let (forward, place) = (Arc::clone(forward), admit()?);
                let job = Job {
                    credentials: Arc::clone(credentials),
                    clear: delivery.clear.into_owned(),
                    message: delivery.message,
                    forward,
                };
                self.forward_once(job, place).await
            }
        })
    }

    /// Waits until no message is being forwarded, for at most `grace`.
    pub async fn close(&self, grace: Duration) {
        let mut under_way = self.0.under_way.subscribe();
        if tokio::time::timeout(grace, under_way.wait_for(|count| *count == 0))
            .await
            .is_err()
        {
            tracing::warn!(
                "shutdown grace period over; stopping although back ends have not answered"
            );
        }
    }

    async fn forward_once(&self, job: Job, place: impl Send + 'static) -> Answer {
        let key = format!(
            "message.{}.{}",
            job.credentials.account.app_id,
            job.message.dedup_key()
        );
        let (case, is_new) = self.0.recent.entry(&key);
        // A request that waits for another delivery's answer keeps its permit while it waits.
        let mut place = Some(place);
        if is_new {
            let place = place.take();
            let (inbox, case) = (self.clone(), case.clone());
            self.0.under_way.send_modify(|count| *count += 1);
            self.0.runtime.spawn(async move {
                let _counted = UnderWay(&inbox.0.under_way);
                inbox.settle(&job, &key, &case).await;
                drop(place);
            });
        }
        case.answer(DEADLINE).await.unwrap_or(Answer::Nothing)
    }

    /// Completes the entry: forwards the message, or waits for the instance that claimed it first.
    async fn settle(&self, job: &Job, key: &str, case: &MessageEntry) {
        let is_ours = match self.0.store.take_permit(key, 1, RETENTION).await {
            Ok(is_ours) => is_ours,
            Err(error) => {
                // Forwarding a message twice is better than losing it.
                tracing::warn!(account.id = %job.credentials.account.app_id, %error, "the store failed; a message may be forwarded by another instance as well");
                true
            }
        };
        if !is_ours {
            case.settle(&self.answer_of_another(key).await);
            return;
        }
        let patience = if job.forward.push_late {
            LATE_DEADLINE
        } else {
            DEADLINE
        };
        // WeChat's answer does not wait for back ends that do not answer WeChat.
        let (answering, silent): (Vec<_>, Vec<_>) = job
            .forward
            .targets
            .iter()
            .partition(|target| target.answers);
        let silent = join_all(
            silent
                .into_iter()
                .map(|target| self.ask(job, target, patience)),
        );
        let answering = async {
            let received = match answering.first() {
                Some(target) => self.ask(job, target, patience).await,
                None => None,
            };
            self.conclude(job, key, case, received).await;
        };
        join(answering, silent).await;
    }

    async fn conclude(
        &self,
        job: &Job,
        key: &str,
        case: &MessageEntry,
        received: Option<ReceivedReply>,
    ) {
        let answer = received.as_ref().map_or(Answer::Nothing, |received| {
            Answer::Reply(received.text.as_str().into())
        });
        let in_time = case.settle(&answer);
        if self.0.store.is_shared()
            && let Err(error) = self.tell_others(key, &answer).await
        {
            tracing::warn!(account.id = %job.credentials.account.app_id, %error, "the store failed; other instances do not get the answer to a message");
        }
        if let (false, true, Some(received)) = (in_time, job.forward.push_late, &received) {
            self.push_late(job, received.reply.as_ref()).await;
        }
    }

    async fn ask(&self, job: &Job, target: &Target, patience: Duration) -> Option<ReceivedReply> {
        let (account, now) = (&job.credentials.account, self.0.clock.wall().seconds());
        let handed = self
            .0
            .forwarder
            .send(target, account, &job.message, &job.clear, now, patience)
            .await;
        handed.unwrap_or_else(|error| {
            self.0
                .counters
                .forward_failures
                .count(account.app_id.as_str(), 0);
            // Without its path and query, which may contain secrets.
            let url = &target.url;
            let port = url
                .port()
                .map(|port| format!(":{port}"))
                .unwrap_or_default();
            let backend = format!("{}{port}", url.host_str().unwrap_or_default());
            let message = match error {
                ForwardError::Reply(_) => {
                    "a back end's reply was dropped; the follower sees nothing"
                }
                _ => "forwarding a message to a back end failed",
            };
            tracing::warn!(account.id = %account.app_id, backend, %error, "{message}");
            None
        })
    }

    async fn tell_others(&self, key: &str, answer: &Answer) -> Result<(), StoreError> {
        let text = if let Answer::Reply(text) = answer {
            text
        } else {
            ""
        };
        let record = Record {
            value: SecretString::from(text),
            expires_at: self.0.clock.wall().plus(RETENTION),
        };
        self.0.store.put(key, &record).await
    }

    /// Returns the answer of the instance that forwarded the message.
    async fn answer_of_another(&self, key: &str) -> Answer {
        let give_up = self.0.clock.steady().plus(DEADLINE);
        while self.0.clock.steady() < give_up {
            match self.0.store.get(key).await {
                Ok(Some(record)) if record.value.expose_secret().is_empty() => {
                    return Answer::Nothing;
                }
                Ok(Some(record)) => return Answer::Reply(record.value.expose_secret().into()),
                Ok(None) | Err(_) => tokio::time::sleep(POLL_INTERVAL).await,
            }
        }
        Answer::Nothing
    }

    async fn push_late(&self, job: &Job, reply: Option<&Reply>) {
        let account = &job.credentials.account;
        let Some(message) =
            reply.and_then(|reply| custom_message::from_reply(reply, &job.message.from))
        else {
            tracing::warn!(account.id = %account.app_id, "a late answer was dropped: its kind of reply cannot be sent as a customer-service message");
            return;
        };
        match self.0.keeper.custom_send(&job.credentials, &message).await {
            Ok(()) => {
                tracing::info!(account.id = %account.app_id, "a late answer was sent as a customer-service message")
            }
            Err(error) => {
                tracing::warn!(account.id = %account.app_id, %error, "sending a late answer as a customer-service message failed")
            }
        }
    }
}

/// Decrements the count of messages in progress on drop, also on panic.
struct UnderWay<'a>(&'a watch::Sender<usize>);

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.send_modify(|count| *count -= 1);
    }
}

/// The answer that gives `reply` to `message`. It is dated as its message is, so that a repeated delivery gets the first answer
/// to the letter.
pub fn written(account: &Account, reply: &Reply, message: &Message) -> Answer {
    match reply.write(message, message.created) {
        Ok(text) => Answer::Reply(text.into()),
        // A rule that matches everything also matches pushes that expect no reply.
        Err(ReplyError::NoRecipient) => Answer::Nothing,
        Err(error) => {
            tracing::warn!(account.id = %account.app_id, %error, "a rule's reply was dropped; the follower sees nothing");
            Answer::Nothing
        }
    }
}
