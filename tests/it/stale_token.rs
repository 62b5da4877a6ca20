//! WeChat refuses a token that three processes hold, and all of them need a ticket at once.

use futures_util::future::join_all;
use serde_json::{Value, json};

use crate::sql_store::install;
use crate::support::databases;
use crate::support::fleet::{Fleet, PROCESSES, cold};
use crate::support::redis::RedisServer;

const TICKET: &str = "/cgi-bin/ticket/getticket";

/// The ticket's lease is kept while its token is renewed, so no other process asks with the token
/// that was just refused.
async fn one_refusal_for_all(cache: Value) {
    let fleet = Fleet::on(cache).await;
    for number in 0..5 {
        let app = cold(number);
        for member in 0..PROCESSES {
            fleet.token(member, &app).await;
        }
        fleet.sandbox.void_token(&app);
        let answers =
            join_all((0..PROCESSES).map(|member| fleet.ask_for(member, &app, "ticket"))).await;
        let ticket = fleet
            .sandbox
            .current_ticket(&app)
            .expect("a ticket was granted");
        for answer in answers {
            assert_eq!(
                (answer.status, answer.value.as_deref()),
                (200, Some(ticket.as_str())),
                "{answer:?}"
            );
        }
        let calls = (fleet.sandbox.calls_of(&app, TICKET), fleet.tokens(&app));
        assert_eq!(
            calls,
            (2, 2),
            "{app}: one refused ticket call and one granted; the first token and its successor"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_token_costs_one_refused_call_on_redis() {
    let server = RedisServer::start();
    one_refusal_for_all(json!({ "redis": server.url() })).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stale_token_costs_one_refused_call_on_sql() {
    for database in [databases::mariadb(), databases::postgres()]
        .into_iter()
        .flatten()
    {
        install(&database.url()).await;
        one_refusal_for_all(json!({ "sql": database.url() })).await;
    }
}
