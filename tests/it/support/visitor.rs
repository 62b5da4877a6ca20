//! A visitor with a browser that keeps its cookie; the sandbox plays WeChat.

use std::sync::Mutex;

use reqwest::{Method, Url};
use sandbox::Answer;
use wechat::signature;

use super::app::{REALM, REALM_SECRET, Response, TestApp, now_ms};

/// A browser that visits one server.
pub(crate) struct Browser<'a> {
    app: &'a TestApp,
    /// `name=value`, as sent back.
    cookie: Mutex<Option<String>>,
}

impl<'a> Browser<'a> {
    pub(crate) fn new(app: &'a TestApp) -> Self {
        Self {
            app,
            cookie: Mutex::default(),
        }
    }

    /// The same browser at another instance with the same host name.
    pub(crate) fn at(&self, app: &'a TestApp) -> Self {
        Self {
            app,
            cookie: Mutex::new(self.cookie()),
        }
    }

    pub(crate) fn cookie(&self) -> Option<String> {
        self.cookie.lock().expect("no test panics here").clone()
    }

    /// Opens a path or a URL of the server.
    pub(crate) async fn open(&self, address: &str) -> Response {
        self.send(Method::GET, address).await
    }

    pub(crate) async fn send(&self, method: Method, address: &str) -> Response {
        let path = match address.parse::<Url>() {
            Ok(url) => address[url.origin().ascii_serialization().len()..].to_owned(),
            Err(_) => address.to_owned(),
        };
        let mut request = self
            .app
            .request(method, &path)
            .header("accept-language", "en");
        if let Some(cookie) = self.cookie() {
            request = request.header("cookie", cookie);
        }
        let response = self.app.send(request).await;
        if let Some(given) = response
            .header("set-cookie")
            .split(';')
            .next()
            .filter(|given| !given.is_empty())
        {
            *self.cookie.lock().expect("no test panics here") = Some(given.to_owned());
        }
        response
    }

    /// Starts a login with `query` and answers WeChat's question as `visitor`. Returns where WeChat
    /// sends the browser.
    pub(crate) async fn at_wechat(
        &self,
        app_id: &str,
        query: &str,
        visitor: &str,
        answer: Answer,
    ) -> String {
        let begun = self.open(&format!("/oauth/{app_id}?{query}")).await;
        assert_eq!(begun.status, 302, "{}", begun.body);
        self.app
            .sandbox
            .visit(begun.header("location"), visitor, answer)
            .expect("WeChat takes the address")
    }

    /// Runs a complete login; returns the answer to the callback.
    pub(crate) async fn trip(
        &self,
        app_id: &str,
        query: &str,
        visitor: &str,
        answer: Answer,
    ) -> Response {
        let callback = self.at_wechat(app_id, query, visitor, answer).await;
        self.open(&callback).await
    }
}

/// The parameter `name` in the query of an answer's `Location`.
#[track_caller]
pub(crate) fn returned(response: &Response, name: &str) -> Option<String> {
    assert_eq!(response.status, 302, "{}", response.body);
    parameter(response.header("location"), name)
}

/// The parameter `name` in the query of `address`.
#[track_caller]
pub(crate) fn parameter(address: &str, name: &str) -> Option<String> {
    let url: Url = address
        .parse()
        .unwrap_or_else(|_| panic!("{address:?} is an address"));
    url.query_pairs()
        .find(|(pair, _)| pair == name)
        .map(|(_, value)| value.into_owned())
}

/// `path` with `pairs`, signed with version 2 by the tests' realm.
pub(crate) fn signed(method: &str, path: &str, pairs: &[(&str, &str)]) -> String {
    let ts = now_ms();
    let mut pairs = pairs.to_vec();
    pairs.extend([("realm", REALM), ("nonce", "n-1"), ("ts", &ts)]);
    let query = signature::canonical_query(pairs);
    let sign = signature::realm_v2(REALM_SECRET, method, path, &query, b"").text();
    format!("{path}?{query}&sign={sign}")
}
