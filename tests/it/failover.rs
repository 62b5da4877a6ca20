//! Upstream hosts: the next one is tried if one is unreachable, not if it answers.

use std::time::{Duration, Instant};

use clock::Clock;
use sandbox::Fault;
use secrecy::ExposeSecret;
use wechat::WechatError;
use wechat::account::TokenApi;

use crate::support::keepers::{TIMEOUT, World, account, client, dead_address};

const TOKEN: &str = "/cgi-bin/token";

async fn two_worlds() -> (World, World) {
    (
        World::new(Clock::system()).await,
        World::new(Clock::system()).await,
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_host_is_skipped() {
    let (one, two) = two_worlds().await;
    let (dead, also_dead) = (dead_address(), dead_address());
    let client = client(&[&dead, &also_dead, &one.sandbox.url(), &two.sandbox.url()]);
    for api in [TokenApi::Basic, TokenApi::Stable] {
        let grant = client
            .access_token(&account(api), false)
            .await
            .expect("the third host answers");
        assert!(one.sandbox.accepts(grant.value.expose_secret()));
    }
    assert_eq!((one.token_calls(), two.token_calls()), (2, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_answers_is_not_skipped() {
    for fault in [
        Fault::errcode(-1, "system error"),
        Fault::errcode(40013, "invalid appid"),
        Fault::html(502),
        Fault::garbage(),
        Fault::reset(),
        Fault::half_body(),
    ] {
        let (one, two) = two_worlds().await;
        one.sandbox.fault(fault.clone());
        let client = client(&[&one.sandbox.url(), &two.sandbox.url()]);
        client
            .access_token(&account(TokenApi::Basic), false)
            .await
            .expect_err("the first host's word counts");
        assert_eq!(
            (one.token_calls(), two.token_calls()),
            (1, 0),
            "{fault:?}: it may have minted a token"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_host_costs_one_timeout() {
    let (one, two) = two_worlds().await;
    one.sandbox.fault(Fault::hang());
    let client = client(&[&one.sandbox.url(), &two.sandbox.url()]);
    let begun = Instant::now();
    let error = client
        .access_token(&account(TokenApi::Basic), false)
        .await
        .expect_err("it hangs");
    assert!(
        matches!(error, WechatError::TimedOut { after } if after == TIMEOUT),
        "{error:?}"
    );
    assert!(
        begun.elapsed() < TIMEOUT + Duration::from_secs(2),
        "{:?}",
        begun.elapsed()
    );
    assert_eq!((one.token_calls(), two.token_calls()), (1, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_error_without_any_host_shows_no_address() {
    let (dead, also_dead) = (dead_address(), dead_address());
    let error = client(&[&dead, &also_dead])
        .access_token(&account(TokenApi::Basic), false)
        .await
        .expect_err("nobody listens");
    assert!(
        matches!(error, WechatError::Unreachable { .. }),
        "{error:?}"
    );
    assert!(!error.to_string().contains("secret"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_host_is_used_again_when_it_is_back() {
    let (home, away) = two_worlds().await;
    let (address, url) = (home.sandbox.address(), home.sandbox.url());
    drop(home);
    let client = client(&[&url, &away.sandbox.url()]);
    client
        .access_token(&account(TokenApi::Basic), false)
        .await
        .expect("the second host answers");
    assert_eq!(away.token_calls(), 1);
    let home = World::at(address, Clock::system()).await;
    for _ in 0..100 {
        client
            .access_token(&account(TokenApi::Basic), false)
            .await
            .expect("either answers");
    }
    assert!(
        home.sandbox.calls(TOKEN) > 0,
        "the first host is tried again before long"
    );
    let away_by_then = away.token_calls();
    client
        .access_token(&account(TokenApi::Basic), false)
        .await
        .expect("home answers");
    assert_eq!(away.token_calls(), away_by_then, "and is kept to");
}
