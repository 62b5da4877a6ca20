//! Three real processes on one store and one sandbox, for the chaos tests. They can be stopped,
//! killed and restarted, and the time to recovery is measured.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use sandbox::{RunningSandbox, Sandbox, SandboxOptions, Tuning};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinHandle;

use super::app::{APP, APP_SECRET, signed_v2};
use super::faketime::WallClock;
use super::load::{Answer, Load, LoadClient, config, query};
use super::process::{Process, folder, settings, write_settings};

pub(crate) const TOKEN: &str = "/cgi-bin/token";

/// WeChat's timeout in these tests.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(2);

/// How long a dead leader's lease lasts: WeChat's timeout plus 2 s.
pub(crate) const LEASE: Duration = Duration::from_secs(4);

/// Slack for a loaded machine, added to every bound.
pub(crate) const AIR: Duration = Duration::from_secs(3);

/// The number of processes.
pub(crate) const PROCESSES: usize = 3;

/// The remaining lifetime of a value after WeChat has granted its successor.
const OVERLAP: Duration = Duration::from_secs(301);

/// The appid of an account that has not been used yet.
pub(crate) fn cold(number: usize) -> String {
    format!("wxcold{number:010}")
}

const COLD: usize = 40;

pub(crate) struct Fleet {
    pub(crate) sandbox: Sandbox,
    members: Vec<Member>,
    asker: LoadClient,
    _running: RunningSandbox,
}

struct Member {
    folder: TempDir,
    clock: Option<WallClock>,
    process: Process,
}

/// The options of a fleet.
struct Fitting {
    /// The lifetime of WeChat's tokens.
    lifetime: Duration,
    /// How long before their expiry they are renewed; `None` is the default.
    reserve: Option<&'static str>,
    /// Give each process a settable wall clock.
    has_clocks: bool,
}

impl Fleet {
    /// Starts three processes on the store at `cache` and warms up the default account.
    pub(crate) async fn on(cache: Value) -> Self {
        Self::over([cache.clone(), cache.clone(), cache]).await
    }

    /// Like [`Fleet::on`], with a separate address of the store for each process.
    pub(crate) async fn over(caches: [Value; PROCESSES]) -> Self {
        Self::fitted(
            caches,
            Fitting {
                lifetime: SandboxOptions::default().lifetime,
                reserve: None,
                has_clocks: false,
            },
        )
        .await
    }

    /// Starts three processes with settable wall clocks and this lifetime of tokens.
    pub(crate) async fn with_clocks(cache: Value, lifetime: Duration) -> Self {
        let fleet = Self::fitted(
            [cache.clone(), cache.clone(), cache],
            Fitting {
                lifetime,
                reserve: None,
                has_clocks: true,
            },
        )
        .await;
        // Longer than the maximum age of a cached copy, as at WeChat.
        fleet.sandbox.tune(Tuning {
            overlap: Some(2),
            ..Tuning::default()
        });
        fleet
    }

    /// Starts three processes with tokens that are valid for `lifetime` and renewed a second before
    /// they expire.
    pub(crate) async fn with_short_lifetime(cache: Value, lifetime: Duration) -> Self {
        let fitting = Fitting {
            lifetime,
            reserve: Some("1s"),
            has_clocks: false,
        };
        let fleet = Self::fitted([cache.clone(), cache.clone(), cache], fitting).await;
        // Longer than the maximum age of a cached copy, as at WeChat.
        fleet.sandbox.tune(Tuning {
            overlap: Some(2),
            ..Tuning::default()
        });
        fleet
    }

    async fn fitted(caches: [Value; PROCESSES], fitting: Fitting) -> Self {
        let fleet = Self::started(caches, fitting).await;
        for member in 0..PROCESSES {
            for path in [query(APP), config()] {
                let answer = fleet.asker.ask(member, path).await;
                assert!(answer.is_good(), "{answer:?}");
            }
        }
        assert_eq!(fleet.tokens(APP), 1);
        fleet
    }

    async fn started(caches: [Value; PROCESSES], fitting: Fitting) -> Self {
        let colds = (0..COLD).map(|number| (cold(number), APP_SECRET.to_owned()));
        let accounts: Vec<_> = std::iter::once((APP.to_owned(), APP_SECRET.to_owned()))
            .chain(colds)
            .collect();
        let apps: Vec<Value> = accounts
            .iter()
            .map(|(key, secret)| json!({ "key": key, "secret": secret }))
            .collect();
        let options = SandboxOptions {
            accounts,
            lifetime: fitting.lifetime,
            ..SandboxOptions::default()
        };
        let (sandbox, _running) = Sandbox::start(([127, 0, 0, 1], 0).into(), options)
            .await
            .expect("a free port");
        let members = caches.into_iter().map(async |cache| {
            let over = json!({ "apps": apps, "cache": cache, "wechat": { "timeout": format!("{}ms", TIMEOUT.as_millis()) } });
            let mut settings = settings(&sandbox.url(), over);
            if let Some(reserve) = fitting.reserve {
                settings["reserve"] = json!(reserve);
            }
            let folder = folder();
            let clock = fitting.has_clocks.then(|| WallClock::in_folder(folder.path()));
            let variables = clock.as_ref().map(WallClock::variables).unwrap_or_default();
            write_settings(folder.path(), &settings);
            let process = Process::start(folder.path(), &[], &variables).listening().await;
            Member { folder, clock, process }
        });
        let members = join_all(members).await;
        let asker = LoadClient::new(
            &sandbox,
            members
                .iter()
                .map(|member| member.process.url.clone())
                .collect(),
        );
        Self {
            sandbox,
            members,
            asker,
            _running,
        }
    }

    pub(crate) fn process(&self, member: usize) -> &Process {
        &self.members[member].process
    }

    /// Kills a process, as a power failure does.
    pub(crate) fn kill(&mut self, member: usize) {
        self.members[member].process.kill();
    }

    /// Starts a process again in its old folder.
    pub(crate) async fn restart(&mut self, member: usize) {
        let place = &mut self.members[member];
        place.process = Process::start(place.folder.path(), &[], &[])
            .listening()
            .await;
        self.asker.moved(member, &place.process.url);
    }

    /// Sets a process's wall clock to this many seconds from the true time.
    pub(crate) fn set_clock(&self, member: usize, seconds: i64) {
        self.members[member]
            .clock
            .as_ref()
            .expect("this fleet has clocks")
            .set(seconds);
    }

    /// The number of token requests to WeChat for this account.
    pub(crate) fn tokens(&self, app: &str) -> u64 {
        self.sandbox.calls_of(app, TOKEN)
    }

    /// One process's answer for an account's token.
    pub(crate) async fn ask(&self, member: usize, app: &str) -> Answer {
        self.asker.ask(member, query(app)).await
    }

    /// One process's answer for another kind of credential. Whether the value is valid is checked
    /// for tokens only.
    pub(crate) async fn ask_for(&self, member: usize, app: &str, kind: &str) -> Answer {
        self.asker
            .ask(member, signed_v2("GET", app, &[("key", kind)]))
            .await
    }

    /// Runs [`Fleet::ask`] in a separate task.
    pub(crate) fn ask_aside(&self, member: usize, app: &str) -> JoinHandle<Answer> {
        let (asker, path) = (self.asker.clone(), query(app));
        tokio::spawn(async move { asker.ask(member, path).await })
    }

    /// The account's token according to one process.
    #[track_caller]
    pub(crate) fn token(&self, member: usize, app: &str) -> impl Future<Output = String> {
        let (place, answer) = (std::panic::Location::caller(), self.ask(member, app));
        async move {
            let answer = answer.await;
            assert!(answer.is_good(), "{place}: {answer:?}");
            answer.value.expect("a good answer has one")
        }
    }

    /// Reports to one process that WeChat refused this value.
    pub(crate) async fn rotate(&self, member: usize, app: &str, refused: &str) -> Answer {
        self.asker
            .ask(
                member,
                signed_v2("GET", app, &[("key", "token"), ("rotate", refused)]),
            )
            .await
    }

    /// Measures how long each process takes until it returns a token of this account. They must
    /// agree in the end, and refusals until then must have one of these statuses and codes.
    pub(crate) async fn healing(&self, app: &str, refusals: &[(u16, &str)]) -> Healing {
        let begun = Instant::now();
        let each = (0..PROCESSES).map(async |member| {
            loop {
                let answer = self.ask(member, app).await;
                if answer.is_good() {
                    return begun.elapsed();
                }
                assert!(
                    refusals.contains(&(answer.status, answer.code.as_str())),
                    "{member}: {answer:?}"
                );
                assert!(
                    begun.elapsed() < Duration::from_secs(30),
                    "{member} does not heal: {answer:?}"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        Healing(join_all(each).await)
    }

    /// Measures how long it takes until every process returns this token.
    pub(crate) async fn convergence(&self, app: &str, token: &str) -> Healing {
        let begun = Instant::now();
        let each = (0..PROCESSES).map(async |member| {
            while self.token(member, app).await != token {
                assert!(
                    begun.elapsed() < Duration::from_secs(30),
                    "{member} still hands out another token"
                );
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            begun.elapsed()
        });
        Healing(join_all(each).await)
    }

    /// Asserts that all processes return the same token and that it outlives the overlap of a
    /// replaced one.
    pub(crate) async fn agree_on_a_living(&self, app: &str) {
        let token = self.token(0, app).await;
        for member in 1..PROCESSES {
            assert_eq!(
                self.token(member, app).await,
                token,
                "process {member} has another one than process 0"
            );
        }
        self.sandbox.advance(OVERLAP);
        assert!(
            self.sandbox.accepts(&token),
            "everybody is handed a token that WeChat has replaced"
        );
    }

    /// Sends thirty requests per second to all processes until it is stopped.
    pub(crate) fn load(&self) -> Load {
        Load::start(&self.asker)
    }
}

/// How long each process took.
#[derive(Debug)]
pub(crate) struct Healing(pub(crate) Vec<Duration>);

impl Healing {
    /// Prints the measurement and asserts its bound plus the slack.
    #[track_caller]
    pub(crate) fn within(&self, bound: Duration, what: &str) {
        figure(what, &self.0);
        let slowest = self.0.iter().max().expect("there are processes");
        assert!(*slowest < bound + AIR, "{what}: {:?}", self.0);
    }
}

/// Prints a measurement; shown with `--nocapture`.
pub(crate) fn figure(what: &str, measured: &impl std::fmt::Debug) {
    println!("MEASURED {what}: {measured:?}");
}
