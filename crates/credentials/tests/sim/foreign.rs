//! Another program fetches the same token: scenes in which it is found out, in which there is none,
//! and in which the day's quota is nearly used up.

use super::faults::Trouble;
use super::host::{APPS, BEGINNING};
use super::scene::{BASIC, STABLE, Scene, scene};
use super::world::{HOUR, MINUTE, SECOND};

const DAY: u64 = 24 * HOUR;

impl Scene {
    /// Another program fetches the token of `app` in the way that voids ours.
    fn stranger(&self, app: &str) {
        let now = self.world.now();
        let wechat = &mut self.world.state().wechat;
        if app == STABLE {
            wechat.forces(app, now);
        } else {
            wechat.fetches(app, now).unwrap();
        }
    }

    /// The ledger of the token of `app`.
    fn ledger(&self, app: &str) -> serde_json::Value {
        let key = format!("{app}.token.ledger");
        let found = self.world.state().storage.get(&key, self.world.now());
        found.map_or_else(Default::default, |(text, _)| {
            serde_json::from_str(&text).unwrap()
        })
    }

    /// How many foreign refreshes of `app` were found.
    fn found(&self, app: &str) -> u64 {
        self.ledger(app)["foreign_total"].as_u64().unwrap_or(0)
    }

    /// Makes the ledger of `app` say that `used` calls were made today.
    fn use_up(&self, app: &str, used: u64) {
        let now = self.world.now();
        let mut ledger = self.ledger(app);
        ledger["used"] = used.into();
        ledger["day"] = ((BEGINNING + now + 8 * HOUR) / DAY).into();
        let key = format!("{app}.token.ledger");
        let storage = &mut self.world.state().storage;
        storage.put(&key, &ledger.to_string(), 30 * DAY, now);
    }
}

#[test]
fn a_program_that_fetches_once_in_each_lifetime_is_found_each_time() {
    for app in APPS {
        scene(2, async |scene| {
            for times in 1..=3 {
                let ours = scene.token(0, app).await.unwrap();
                scene.pass(2 * MINUTE).await;
                scene.stranger(app);
                scene.pass(6 * MINUTE).await;
                assert_ne!(scene.rotate(1, app, ours).await.unwrap(), ours);
                assert_eq!(scene.found(app), times, "{app}");
                scene.pass(118 * MINUTE).await;
            }
        });
    }
}

#[test]
fn a_program_that_fetches_at_each_start_is_found_whenever_it_starts() {
    scene(3, async |scene| {
        for (times, pause) in [(1, 7), (2, 31), (3, 55)] {
            let ours = scene.token(0, BASIC).await.unwrap();
            scene.pass(pause * MINUTE).await;
            scene.stranger(BASIC);
            scene.pass(5 * MINUTE).await;
            for host in 0..3 {
                scene.rotate(host, BASIC, ours).await.unwrap();
            }
            assert_eq!(scene.found(BASIC), times, "once, however many report it");
        }
        let last = &scene.ledger(BASIC)["foreign"][2];
        let between = last["before"].as_u64().unwrap() - last["after"].as_u64().unwrap();
        assert_eq!(between / 60, 60, "from the grant to the report");
    });
}

#[test]
fn what_we_did_ourselves_is_no_foreign_refresh() {
    for app in APPS {
        scene(2, async |scene| {
            let first = scene.token(0, app).await.unwrap();
            scene.pass(10 * MINUTE).await;
            // A living token is reported, and renewed without being called foreign.
            let second = scene.rotate(0, app, first).await.unwrap();
            assert_ne!(second, first);
            scene.pass(10 * MINUTE).await;
            // The old one is reported late.
            assert_eq!(scene.rotate(1, app, first).await.unwrap(), second);
            assert_eq!(scene.found(app), 0, "{app}");
        });
    }
}

#[test]
fn a_renewal_whose_answer_was_lost_is_no_foreign_refresh() {
    for app in APPS {
        scene(2, async |scene| {
            let first = scene.token(0, app).await.unwrap();
            scene.pass(10 * MINUTE).await;
            scene.begins(Trouble::WechatDeaf);
            scene.rotate(0, app, first).await.unwrap_err();
            scene.ends(Trouble::WechatDeaf);
            scene.fleet.crash(0);
            scene.pass(6 * MINUTE).await;
            scene.rotate(1, app, first).await.unwrap();
            assert_eq!(scene.found(app), 0, "{app}");
        });
    }
}

#[test]
fn from_four_fifths_of_the_quota_on_a_report_needs_a_probe() {
    for app in APPS {
        scene(1, async |scene| {
            let ours = scene.token(0, app).await.unwrap();
            scene.pass(10 * MINUTE).await;
            scene.use_up(app, 1600);
            assert_eq!(
                scene.rotate(0, app, ours).await.unwrap(),
                ours,
                "{app}: WeChat accepts it"
            );
            scene.stranger(app);
            scene.pass(6 * MINUTE).await;
            assert_ne!(scene.rotate(0, app, ours).await.unwrap(), ours, "{app}");
            assert_eq!(scene.ledger(app)["used"], 1601);
        });
    }
}

#[test]
fn the_last_twentieth_of_the_quota_is_for_what_ends() {
    scene(1, async |scene| {
        let ours = scene.token(0, BASIC).await.unwrap();
        scene.pass(10 * MINUTE).await;
        scene.use_up(BASIC, 1900);
        scene.stranger(BASIC);
        scene.pass(6 * MINUTE).await;
        assert_eq!(scene.rotate(0, BASIC, ours).await.unwrap(), ours);
        for _ in 0..24 {
            scene.pass(5 * MINUTE).await;
            scene.token(0, BASIC).await.unwrap();
        }
        assert_ne!(scene.token(0, BASIC).await.unwrap(), ours, "it ended");
    });
}

#[test]
fn a_new_day_has_its_whole_quota() {
    scene(1, async |scene| {
        scene.token(0, BASIC).await.unwrap();
        scene.use_up(BASIC, 2000);
        scene.pass(DAY).await;
        let ours = scene.token(0, BASIC).await.unwrap();
        scene.pass(40 * SECOND).await;
        assert_ne!(scene.rotate(0, BASIC, ours).await.unwrap(), ours);
    });
}
