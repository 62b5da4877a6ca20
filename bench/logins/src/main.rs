//! Visitors of the benchmark: `logins SERVER SANDBOX APPID MOST` sends MOST of them through OAuth at once, each a person and a browser
//! of their own, and fails when one is lost or comes back as somebody else. It prints how long all took in seconds, and how long the
//! slowest one waited for the server in milliseconds.

use std::collections::HashSet;
use std::time::{Duration, Instant};

use futures_util::stream::{self, StreamExt};
use reqwest::{Client, Url};
use serde_json::{Value, json};

const SITE: &str = "https://shop.example.com/in";

/// What a visitor came back with, and how long their two visits to the server took.
struct Back {
    ticket: String,
    took: Duration,
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [server, sandbox, app_id, most] = arguments.as_slice() else { panic!("usage: logins SERVER SANDBOX APPID MOST") };
    let most: usize = most.parse().expect("a number of visitors");
    let client = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build().expect("a client");
    let begun = Instant::now();
    let trips = (0..most).map(|number| trip(&client, server, sandbox, app_id, number));
    let backs: Vec<Back> = stream::iter(trips).buffer_unordered(most).collect().await;
    let took = begun.elapsed();
    let tickets: HashSet<&str> = backs.iter().map(|back| back.ticket.as_str()).collect();
    assert_eq!(tickets.len(), most, "two visitors have one ticket");
    let slowest = backs.iter().map(|back| back.took).max().unwrap_or_default();
    println!("{:.2} {}", took.as_secs_f64(), slowest.as_millis());
}

/// To WeChat, back with a ticket, and the state that only this visitor had.
async fn trip(client: &Client, server: &str, sandbox: &str, app_id: &str, number: usize) -> Back {
    let state = format!("s{number}");
    let departure = Url::parse_with_params(&format!("{server}/oauth/{app_id}"), [("redirect", SITE), ("state", &state)]);
    let begun = Instant::now();
    let sent = client.get(departure.expect("an address")).send().await.expect("the server answers");
    let mut took = begun.elapsed();
    assert_eq!(sent.status(), 302);
    let header = |name: &str| sent.headers().get(name).and_then(|value| value.to_str().ok()).expect("a header").to_owned();
    let cookie = header("set-cookie").split(';').next().expect("a cookie").to_owned();

    let visit = json!({ "url": header("location"), "visitor": state, "answer": "agree" }).to_string();
    let visited = client.post(format!("{sandbox}/sandbox/visit")).header("content-type", "application/json").body(visit);
    let visited = visited.send().await.expect("the sandbox answers").text().await.expect("a body");
    let callback = serde_json::from_str::<Value>(&visited).expect("JSON")["location"].as_str().expect("a location").to_owned();

    let begun = Instant::now();
    let back = client.get(callback).header("cookie", cookie).send().await.expect("the server answers");
    took += begun.elapsed();
    assert_eq!(back.status(), 302);
    let site: Url = back.headers()["location"].to_str().expect("a text").parse().expect("an address");
    let value = |name: &str| site.query_pairs().find(|(pair, _)| pair == name).map(|(_, value)| value.into_owned());
    assert_eq!(value("state"), Some(state), "a visitor came back as somebody else");
    Back { ticket: value("ticket").expect("a ticket"), took }
}
