//! Reports that WeChat refused a value: one renewal for all callers, only of the current value,
//! within the limits.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use clock::Clock;
use credentials::store::{MemoryStore, Store};
use futures_util::future::join_all;
use sandbox::Fault;
use serde_json::json;
use wechat::account::{Account, Keep, TokenApi};
use wechat::credential::CredentialKind;

use crate::support::app::{APP, APP_SECRET, TestApp};
use crate::support::keepers::{Instance, World, account};

const TOKEN: &str = "/cgi-bin/token";
const TICKET: &str = "/cgi-bin/ticket/getticket";

fn store(world: &World) -> Arc<dyn Store> {
    Arc::new(MemoryStore::new(BTreeMap::new(), world.clock.clone()))
}

/// Where a token of this kind comes from.
fn endpoint(token_api: TokenApi) -> &'static str {
    match token_api {
        TokenApi::Basic => TOKEN,
        TokenApi::Stable => "/cgi-bin/stable_token",
    }
}

/// A world whose time stands still, and one instance in it.
async fn still(token_api: TokenApi) -> (World, Instance) {
    let world = World::new(Clock::manual(Clock::system().wall())).await;
    let instance = world.instance(store(&world), token_api);
    (world, instance)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_current_value_is_renewed_and_an_older_one_is_not() {
    let app = TestApp::start().await;
    let first = app.value("token").await;
    let answer = app.rotate("token", &first).await;
    let second = answer.json()["value"].as_str().expect("a value").to_owned();
    assert_ne!(second, first);
    assert_eq!(answer.json(), json!({ "key": "token", "value": second }));
    assert_eq!(answer.header("cache-control"), "no-store");
    assert_eq!(
        app.rotate("token", &first).await.json()["value"],
        *second,
        "an older value: the current one"
    );
    assert_eq!(
        app.rotate("token", "never seen").await.json()["value"],
        *second,
        "an unknown value: the current one"
    );
    assert_eq!(app.value("token").await, second);
    assert_eq!(app.sandbox.calls(TOKEN), 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_reports_cause_one_renewal() {
    let app = TestApp::start().await;
    let first = app.value("token").await;
    app.sandbox
        .fault(Fault::delay(Duration::from_millis(300)).on(TOKEN));
    let answers = join_all((0..200).map(|_| app.rotate("token", &first))).await;
    let second = app.value("token").await;
    assert!(second != first && app.sandbox.accepts(&second));
    assert!(
        answers
            .iter()
            .all(|answer| answer.json()["value"] == *second)
    );
    assert_eq!(app.sandbox.calls(TOKEN), 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rotating_a_missing_value_fetches_it() {
    let app = TestApp::start().await;
    let token = app.rotate("token", "from a former life").await.json()["value"]
        .as_str()
        .expect("a value")
        .to_owned();
    assert!(app.sandbox.accepts(&token));
    assert_eq!(app.sandbox.calls(TOKEN), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cold_process_forces_a_refused_stable_value() {
    let (world, before) = still(TokenApi::Stable).await;
    let refused = before.token().await.expect("a token");
    // A process that has just started: WeChat's answer without force would be the refused value.
    let after = world.instance(store(&world), TokenApi::Stable);
    let next = after.rotate(&refused).await.expect("a token");
    assert_ne!(next, refused);
    assert!(world.sandbox.accepts(&next) && !world.sandbox.accepts(&refused));
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_are_thirty_seconds_apart() {
    for token_api in [TokenApi::Basic, TokenApi::Stable] {
        let (world, instance) = still(token_api).await;
        let first = instance.token().await.expect("a token");
        let second = instance.rotate(&first).await.expect("a token");
        assert_ne!(second, first, "{token_api:?}: the first is immediate");
        let calls = world.token_calls();
        for _ in 0..29 {
            assert_eq!(
                instance.rotate(&second).await.expect("a token"),
                second,
                "{token_api:?}: past the limit, the current value"
            );
            world.clock.advance(Duration::from_secs(1));
        }
        assert_eq!(
            world.token_calls(),
            calls,
            "{token_api:?}: past the limit WeChat is not even asked"
        );
        world.clock.advance(Duration::from_secs(1));
        let third = instance.rotate(&second).await.expect("a token");
        assert_ne!(third, second, "{token_api:?}: 30 s after the last");
        assert_eq!(world.token_calls(), calls + 1);
        assert!(world.sandbox.accepts(&third));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_daily_quota_is_enforced_and_comes_back() {
    for (token_api, budget) in [
        (TokenApi::Basic, 2),
        (TokenApi::Stable, 2),
        (TokenApi::Basic, 0),
    ] {
        let world = World::new(Clock::manual(Clock::system().wall())).await;
        let account = Account {
            rotations_per_day: budget,
            ..account(token_api)
        };
        let instance = world.instance_of(store(&world), account, Keep::Active);
        let mut current = instance.token().await.expect("a token");
        for turn in 0..budget + 3 {
            world.clock.advance(Duration::from_secs(31));
            // Time for any other task that might check the value.
            tokio::time::sleep(Duration::from_millis(50)).await;
            let next = instance.rotate(&current).await.expect("a token");
            assert_eq!(
                next != current,
                turn < budget,
                "{token_api:?}: turn {turn} of {budget}"
            );
            current = next;
        }
        // On stable the current value may always be fetched without force, but only once: the
        // answer is used for the next 30 s.
        let asked = if token_api == TokenApi::Stable { 3 } else { 0 };
        assert_eq!(
            world.token_calls(),
            u64::from(1 + budget + asked),
            "{token_api:?}"
        );
        world.clock.advance(Duration::from_secs(24 * 3600));
        let next_day = instance.token().await.expect("a token");
        assert_eq!(
            instance.rotate(&next_day).await.expect("a token") != next_day,
            budget > 0,
            "{token_api:?}: another day"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rotations_per_day_is_a_setting() {
    let app = TestApp::with(
        json!({ "apps": [{ "key": APP, "secret": APP_SECRET, "rotationsPerDay": 0 }] }),
    )
    .await;
    let token = app.value("token").await;
    assert_eq!(app.rotate("token", &token).await.json()["value"], *token);
    assert_eq!(app.sandbox.calls(TOKEN), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_stable_a_rotation_forces_and_voids_the_old_token() {
    let (world, instance) = still(TokenApi::Stable).await;
    let first = instance.token().await.expect("a token");
    let second = instance.rotate(&first).await.expect("a token");
    assert!(
        world.sandbox.accepts(&second) && !world.sandbox.accepts(&first),
        "only force_refresh voids the old one at once"
    );
    assert_eq!(world.sandbox.calls("/cgi-bin/stable_token"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn tickets_rotate_without_their_token() {
    let app = TestApp::start().await;
    app.sandbox.tune(sandbox::Tuning {
        ticket_reuse: Some(false),
        ..Default::default()
    });
    let (token, first, card) = (
        app.value("token").await,
        app.value("ticket").await,
        app.value("card_ticket").await,
    );
    let second = app.rotate("ticket", &first).await.json()["value"]
        .as_str()
        .expect("a value")
        .to_owned();
    assert_ne!(second, first);
    assert_eq!(app.rotate("ticket", &first).await.json()["value"], *second);
    assert_eq!(
        (app.value("token").await, app.value("card_ticket").await),
        (token, card),
        "the others stay"
    );
    assert_eq!(
        (app.sandbox.calls(TOKEN), app.sandbox.calls(TICKET)),
        (1, 3)
    );
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_returned_unchanged_is_requested_once() {
    let (world, instance) = still(TokenApi::Basic).await;
    let ticket = instance
        .value(CredentialKind::JsapiTicket)
        .await
        .expect("a ticket");
    for _ in 0..5 {
        assert_eq!(
            instance
                .rotate_kind(CredentialKind::JsapiTicket, &ticket)
                .await
                .expect("a ticket"),
            ticket
        );
    }
    assert_eq!(
        (world.token_calls(), world.ticket_calls()),
        (1, 2),
        "unchanged is no reason to ask again within 30 s"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_rotation_says_why_and_keeps_the_value() {
    let app = TestApp::start().await;
    let token = app.value("token").await;
    app.sandbox
        .fault(Fault::errcode(45009, "reach max api daily quota limit"));
    let problem = app
        .rotate("token", &token)
        .await
        .problem(502, "upstream_refused");
    assert_eq!(problem["errcode"], 45009);
    for answer in join_all((0..20).map(|_| app.rotate("token", &token))).await {
        assert_eq!(answer.problem(503, "cooling_down")["errcode"], 45009);
    }
    assert_eq!(
        app.rotate("token", "an older one").await.json()["value"],
        *token
    );
    assert_eq!(
        app.value("token").await,
        token,
        "who has not been refused goes on"
    );
    assert_eq!(app.sandbox.calls(TOKEN), 2);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_rotation_does_not_start_the_thirty_seconds() {
    for token_api in [TokenApi::Basic, TokenApi::Stable] {
        let (world, instance) = still(token_api).await;
        let first = instance.token().await.expect("a token");
        world.sandbox.fault(
            Fault::errcode(-1, "system error")
                .on(endpoint(token_api))
                .times(1),
        );
        instance.rotate(&first).await.expect_err("WeChat is busy");
        // The back-off after a failure is shorter than the thirty seconds.
        world.clock.advance(Duration::from_secs(2));
        let second = instance.rotate(&first).await.expect("a token");
        assert_ne!(second, first, "{token_api:?}: nothing had been renewed");
        // This one counts, from now on.
        world.clock.advance(Duration::from_secs(29));
        assert_eq!(
            instance.rotate(&second).await.expect("a token"),
            second,
            "{token_api:?}"
        );
        world.clock.advance(Duration::from_secs(2));
        assert_ne!(
            instance.rotate(&second).await.expect("a token"),
            second,
            "{token_api:?}"
        );
    }
}
