//! Scenes: faults that random runs seldom meet, or that break no promise to a caller.

use std::sync::Arc;
use std::time::Duration;

use wechat::credential::CredentialKind;

use super::faults::Trouble;
use super::host::APPS;
use super::scene::{BASIC, STABLE, scene};
use super::world::{HOUR, MINUTE, SECOND};

#[test]
fn a_report_that_comes_while_the_store_is_down_is_not_forgotten() {
    for app in APPS {
        scene(2, async |scene| {
            let dead = scene.token(0, app).await.unwrap();
            scene.begins(Trouble::StoreDown);
            scene.pass(2 * SECOND).await;
            scene.rotate(0, app, dead).await.unwrap_err();
            scene.ends(Trouble::StoreDown);
            scene.pass(30 * SECOND).await;
            assert_ne!(scene.stored(app), dead, "{app}: nobody asked again");
            assert_eq!(scene.token(1, app).await.unwrap(), scene.newest(app));
        });
    }
}

#[test]
fn a_report_that_comes_too_soon_after_a_forced_renewal_that_was_lost_is_not_forgotten() {
    for app in APPS {
        scene(2, async |scene| {
            let first = scene.token(0, app).await.unwrap();
            scene.pass(MINUTE).await;
            let died = async {
                while scene.newest(app) == first {
                    scene.pass(1).await;
                }
                scene.fleet.crash(0);
            };
            let (_, ()) = tokio::join!(scene.rotate(0, app, first), died);
            scene.pass(10 * SECOND).await;
            assert_eq!(
                scene.rotate(1, app, first).await.unwrap(),
                first,
                "{app}: past the limit"
            );
            scene.pass(31 * SECOND).await;
            assert_eq!(
                scene.stored(app),
                scene.newest(app),
                "{app}: nobody asked again"
            );
            assert_ne!(scene.token(1, app).await.unwrap(), first);
        });
    }
}

#[test]
fn a_report_of_what_was_renewed_just_now_voids_nothing() {
    for app in APPS {
        scene(2, async |scene| {
            let first = scene.token(0, app).await.unwrap();
            scene.pass(MINUTE).await;
            let second = scene.rotate(0, app, first).await.unwrap();
            for host in [0, 1] {
                scene.pass(2 * SECOND).await;
                assert_eq!(
                    scene.rotate(host, app, second).await.unwrap(),
                    second,
                    "{app}: past the limit"
                );
            }
            scene.pass(2 * MINUTE).await;
            assert_eq!(
                (scene.newest(app), scene.token(1, app).await.unwrap()),
                (second, second),
                "{app}: WeChat's servers were late"
            );
        });
    }
}

#[test]
fn a_forced_renewal_whose_answer_is_lost_is_made_good() {
    for app in APPS {
        scene(2, async |scene| {
            let first = scene.token(0, app).await.unwrap();
            scene.begins(Trouble::WechatDeaf);
            scene.rotate(0, app, first).await.unwrap_err();
            scene.ends(Trouble::WechatDeaf);
            assert_ne!(
                scene.newest(app),
                first,
                "WeChat granted another one, which nobody knows"
            );
            scene.pass(MINUTE).await;
            assert_eq!(
                scene.stored(app),
                scene.newest(app),
                "{app}: what the store holds is void, or will be"
            );
            assert_eq!(scene.token(1, app).await.unwrap(), scene.newest(app));
        });
    }
}

#[test]
fn a_leader_that_was_held_up_does_not_write_over_what_came_after_it() {
    scene(2, async |scene| {
        let first = scene.token(0, BASIC).await.unwrap();
        scene.token(1, BASIC).await.unwrap();
        // Its request is sent; then the process freezes far beyond its lease, and the answer waits.
        let slow = scene.rotate(0, BASIC, first);
        let rival = async {
            scene.pass(40).await;
            let until = scene.world.now() + 60 * SECOND;
            scene.world.state().hosts[0].frozen_until = until;
            scene.pass(31 * SECOND).await;
            scene.rotate(1, BASIC, first).await.unwrap()
        };
        let (slow, rival) = tokio::join!(slow, rival);
        assert!(slow.is_err() && rival > first, "{slow:?} {rival}");
        scene.pass(35 * SECOND).await;
        assert!(scene.stored(BASIC) >= rival);
        scene.pass(2 * MINUTE).await;
        assert_eq!(
            scene.stored(BASIC),
            scene.newest(BASIC),
            "whichever was granted last, the doubt is cleared away"
        );
        assert_eq!(scene.token(0, BASIC).await.unwrap(), scene.newest(BASIC));
    });
}

#[test]
fn four_instances_ask_a_wechat_in_trouble_no_oftener_than_one() {
    let calls_of = |hosts| {
        let counted = Arc::new(std::sync::Mutex::new(0));
        let told = Arc::clone(&counted);
        scene(hosts, async move |scene| {
            scene.begins(Trouble::WechatBusy);
            let end = scene.world.now() + 4 * HOUR;
            while scene.world.now() < end {
                for host in 0..hosts {
                    scene.token(host, BASIC).await.unwrap_err();
                }
                scene.pass(5 * SECOND).await;
            }
            *told.lock().unwrap() = scene.calls();
        });
        *counted.lock().unwrap()
    };
    let (one, four) = (calls_of(1), calls_of(4));
    assert!(
        one >= 4 * 55 && four <= one * 3 / 2,
        "{one} calls of one, {four} of four"
    );
}

#[test]
fn a_stable_token_past_its_limit_is_asked_for_without_force() {
    scene(1, async |scene| {
        let mut current = scene.token(0, STABLE).await.unwrap();
        for _ in 0..20 {
            scene.pass(31 * SECOND).await;
            current = scene.rotate(0, STABLE, current).await.unwrap();
        }
        scene.pass(31 * SECOND).await;
        let now = scene.world.now();
        let other = scene.world.state().wechat.forces(STABLE, now);
        assert_eq!(scene.rotate(0, STABLE, current).await.unwrap(), other);
    });
}

#[test]
fn a_wall_clock_that_is_moved_while_the_store_is_asked_lengthens_no_life() {
    for delay in (50..2500).step_by(50) {
        scene(2, async |scene| {
            scene.fleet.crash(1);
            scene.token(0, BASIC).await.unwrap();
            scene.pass(HOUR).await;
            scene.begins(Trouble::StoreSlow);
            scene.fleet.start(1);
            let moved = async {
                scene.pass(delay).await;
                scene.fleet.jump(1, -(HOUR as i64));
            };
            let (_, keeper) = scene.fleet.on(1).expect("it runs");
            let credentials = keeper.credentials(BASIC).expect("a known account");
            let (cached, ()) = tokio::join!(
                credentials.credential(CredentialKind::AccessToken).get(),
                moved
            );
            let left = cached.unwrap().left(keeper.clock());
            assert!(
                left <= Duration::from_millis(HOUR),
                "moved after {delay} ms: {left:?} left of an hour"
            );
        });
    }
}

#[test]
fn a_host_that_was_held_up_while_it_read_takes_no_later_value_for_an_earlier_one() {
    scene(2, async |scene| {
        // On stable it works without a store; its value must be written back.
        scene.begins(Trouble::StoreDown);
        let first = scene.token(0, STABLE).await.unwrap();
        let until = scene.world.now() + 40 * SECOND;
        scene.world.state().hosts[0].frozen_until = until;
        scene.ends(Trouble::StoreDown);
        assert_eq!(scene.token(1, STABLE).await.unwrap(), first);
        scene.pass(5 * SECOND).await;
        let second = scene.rotate(1, STABLE, first).await.unwrap();
        assert_ne!(second, first);
        scene.pass(MINUTE).await;
        assert_eq!(
            (scene.stored(STABLE), scene.token(0, STABLE).await.unwrap()),
            (second, second)
        );
    });
}

#[test]
fn failures_of_long_ago_do_not_lengthen_the_pause_after_anothers_success() {
    scene(2, async |scene| {
        scene.begins(Trouble::WechatBusy);
        let end = scene.world.now() + 10 * MINUTE;
        while scene.world.now() < end {
            scene.token(0, BASIC).await.unwrap_err();
            scene.pass(SECOND).await;
        }
        // It is frozen while the other one renews.
        let until = scene.world.now() + 62 * SECOND;
        scene.world.state().hosts[0].frozen_until = until;
        scene.ends(Trouble::WechatBusy);
        scene.pass(MINUTE + SECOND).await;
        let token = scene.token(1, BASIC).await.unwrap();
        scene.pass(5 * SECOND).await;
        assert_eq!(
            (scene.token(0, BASIC).await.unwrap(), scene.newest(BASIC)),
            (token, token)
        );
        scene.begins(Trouble::WechatBusy);
        scene.rotate(0, BASIC, token).await.unwrap_err();
        scene.ends(Trouble::WechatBusy);
        scene.pass(5 * SECOND).await;
        assert_ne!(
            scene.rotate(0, BASIC, token).await.unwrap(),
            token,
            "one failure is no reason to pause for long"
        );
    });
}

#[test]
fn who_fetched_a_value_tells_a_store_that_would_keep_it_beyond_its_end() {
    scene(2, async |scene| {
        scene.token(0, BASIC).await.unwrap();
        scene.pass(HOUR).await;
        let left = scene.kept_for(BASIC);
        scene.keep_for(BASIC, left + MINUTE);
        scene.token(1, BASIC).await.unwrap();
        scene.token(0, BASIC).await.unwrap();
        scene.pass(3 * SECOND).await;
        let kept = scene.kept_for(BASIC);
        // A store's whole seconds may be rounded differently the second time.
        assert!(
            kept <= left - 2 * SECOND && kept >= left - 6 * SECOND,
            "{kept} ms, where {left} were left 3 s ago"
        );
    });
}

#[test]
fn what_has_ended_stays_ended_though_the_store_keeps_it_longer() {
    scene(2, async |scene| {
        scene.token(0, BASIC).await.unwrap();
        scene.token(1, BASIC).await.unwrap();
        scene.fleet.crash(0);
        scene.begins(Trouble::WechatBusy);
        scene.pass(scene.kept_for(BASIC) - SECOND).await;
        scene.keep_for(BASIC, 5 * MINUTE);
        scene.pass(10 * SECOND).await;
        scene.token(1, BASIC).await.unwrap_err();
        // A process that starts now cannot know.
        assert!(scene.kept_for(BASIC) > 0);
    });
}

#[test]
fn a_stale_token_met_by_all_instances_costs_one_refused_call() {
    scene(3, async |scene| {
        for host in 0..3 {
            scene.ticket(host, STABLE).await.unwrap();
        }
        scene.pass(10 * SECOND).await;
        let now = scene.world.now();
        let asked = {
            let mut state = scene.world.state();
            state.wechat.forces(STABLE, now);
            state.storage.take(&format!("{STABLE}.ticket"), now);
            state.wechat.books[STABLE].today.tickets
        };
        scene.pass(2 * SECOND).await;
        let (one, two, three) = tokio::join!(
            scene.ticket(0, STABLE),
            scene.ticket(1, STABLE),
            scene.ticket(2, STABLE)
        );
        assert!(one.is_ok() && one.as_ref().ok() == two.as_ref().ok() && two.ok() == three.ok());
        let asked = scene.world.state().wechat.books[STABLE].today.tickets - asked;
        assert_eq!(asked, 2, "one refusal and one grant");
    });
}

#[test]
fn a_store_that_is_set_back_gets_the_later_value_again() {
    for app in APPS {
        scene(2, async |scene| {
            let first = scene.token(0, app).await.unwrap();
            scene.pass(10 * MINUTE).await;
            let second = scene.rotate(0, app, first).await.unwrap();
            assert_eq!(scene.token(1, app).await.unwrap(), second);
            scene.pass(10 * MINUTE).await;
            scene
                .world
                .state()
                .storage
                .set_back_by(9 * MINUTE, scene.world.now());
            assert_eq!(scene.stored(app), first, "the backup's");
            scene.pass(2 * SECOND).await;
            for host in [0, 1] {
                assert_eq!(scene.token(host, app).await.unwrap(), second, "{app}");
            }
            scene.pass(10 * SECOND).await;
            assert_eq!(
                (scene.stored(app), scene.newest(app)),
                (second, second),
                "{app}: written back, and not fetched"
            );
        });
    }
}

#[test]
fn two_values_of_one_generation_are_settled_by_one_renewal() {
    scene(2, async |scene| {
        scene.token(0, BASIC).await.unwrap();
        scene.token(1, BASIC).await.unwrap();
        scene.pass(MINUTE).await;
        scene.world.foreign_write(0, true);
        let calls = scene.calls();
        for _ in 0..10 {
            scene.pass(10 * SECOND).await;
            let values = (
                scene.token(0, BASIC).await.unwrap(),
                scene.token(1, BASIC).await.unwrap(),
            );
            assert_eq!(values.0, values.1);
        }
        assert_eq!(
            (scene.calls() - calls, scene.stored(BASIC)),
            (1, scene.newest(BASIC))
        );
    });
}
