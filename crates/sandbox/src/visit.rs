//! A visitor's consent: by a person on the authorize page in a browser, or by a program in one
//! call. Both use `World::visit`.

use actix_web::http::header;
use actix_web::web::{Bytes, Data};
use actix_web::{HttpRequest, HttpResponse};
use serde::Deserialize;
use serde_json::json;
use url::Url;

use super::Sandbox;
use super::arrivals::Received;
use super::authorize::{Answer, PATH, Wrong};
use super::exchange::{meet, send};
use super::page;
use super::probe::parameter;
use super::refusal::Refusal;
use super::visitors::SAMPLES;

impl Sandbox {
    /// Opens an authorize link as `visitor`, who may have any name, and answers it. Returns the
    /// address that the browser is sent to, or the text of WeChat's error page. The link's host is
    /// ignored; WeChat's fragment is required.
    pub fn visit(
        &self,
        authorize_url: &str,
        visitor: &str,
        answer: Answer,
    ) -> Result<String, String> {
        let url = Url::parse(authorize_url).map_err(|error| format!("url: {error}"))?;
        if url.path() != PATH {
            return Err(format!("url: expected the path {PATH}"));
        }
        // A browser does not send the fragment, so it can only be checked here.
        if url.fragment() != Some("wechat_redirect") {
            return Err(
                "url: expected #wechat_redirect at its end; WeChat opens no page without it"
                    .to_owned(),
            );
        }
        self.answer(url.query().unwrap_or_default(), visitor, answer)
    }

    /// Makes a visitor follow an account or unfollow it. Returns the openid by which the account
    /// knows the visitor.
    pub fn follow(&self, appid: &str, visitor: &str, follows: bool) -> Result<String, String> {
        self.introduce(appid, visitor, Some(follows))
    }

    pub(super) fn introduce(
        &self,
        app_id: &str,
        visitor: &str,
        follows: Option<bool>,
    ) -> Result<String, String> {
        check_name(visitor)?;
        let world = &mut self.state().world;
        world.account_mut(app_id)?;
        let now = world.time.now();
        if let Some(follows) = follows {
            world.visitors.people.follow(app_id, visitor, follows, now);
        }
        Ok(world.visitors.people.meet(app_id, visitor))
    }

    fn answer(&self, query: &str, visitor: &str, answer: Answer) -> Result<String, String> {
        check_name(visitor)?;
        let world = &mut self.state().world;
        let asked = world.asked(query).map_err(|wrong| wrong.to_string())?;
        Ok(world.visit(&asked, visitor, answer))
    }
}

/// `GET /connect/oauth2/authorize`, the only page of open.weixin.qq.com.
pub(super) async fn authorize(sandbox: Data<Sandbox>, request: HttpRequest) -> HttpResponse {
    let effect = match meet(
        &sandbox,
        &request,
        &parameter(&request, "appid"),
        &Received::nothing(),
    )
    .await
    {
        Ok(effect) => effect,
        Err(spoiled) => return spoiled,
    };
    let scripted = effect.errcode.map(|code| {
        let text = Refusal::scripted(code, effect.errmsg.as_deref()).message;
        Wrong::numbered(code, &text, &text)
    });
    let text = match scripted.map_or_else(|| open(&sandbox, request.query_string()), Err) {
        Ok(Opened::Page(text)) => text,
        Ok(Opened::Silently(location)) => return go(location),
        Err(wrong) => page::trouble(&wrong),
    };
    dressed(send(text, page::TYPE, &effect))
}

/// `POST /sandbox/visit`: the page's form, or JSON from a program. JSON is recognised by its brace,
/// whatever the content type.
pub(super) async fn visit(sandbox: Data<Sandbox>, body: Bytes) -> HttpResponse {
    if body.trim_ascii_start().first() == Some(&b'{') {
        return by_program(&sandbox, &body);
    }
    match Form::parse(&body)
        .and_then(|form| sandbox.answer(&form.query, &form.visitor, form.answer))
    {
        Ok(location) => go(location),
        Err(error) => dressed(
            HttpResponse::BadRequest()
                .content_type(page::TYPE)
                .body(page::mistake(&error)),
        ),
    }
}

enum Opened {
    Page(String),
    Silently(String),
}

fn open(sandbox: &Sandbox, query: &str) -> Result<Opened, Wrong> {
    let world = &mut sandbox.state().world;
    let asked = world.asked(query)?;
    if world.silent && asked.is_silent() {
        return Ok(Opened::Silently(world.visit(
            &asked,
            SAMPLES[0],
            Answer::Agree,
        )));
    }
    Ok(Opened::Page(page::consent(&asked, query)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Order {
    url: String,
    visitor: String,
    answer: Answer,
}

fn by_program(sandbox: &Sandbox, body: &[u8]) -> HttpResponse {
    let example = r#"{"url":"https://open.weixin.qq.com/connect/oauth2/authorize?...#wechat_redirect","visitor":"Alice","answer":"agree"}"#;
    let order = serde_json::from_slice::<Order>(body)
        .map_err(|error| format!("{error}; expected {example}"));
    match order.and_then(|order| sandbox.visit(&order.url, &order.visitor, order.answer)) {
        Ok(location) => HttpResponse::Ok().json(json!({"location": location})),
        Err(error) => HttpResponse::BadRequest().json(json!({"error": error})),
    }
}

/// The fields of the page's form.
struct Form {
    /// The query of the authorize link. It is parsed again, because a page may be old and anyone
    /// can send a form.
    query: String,
    visitor: String,
    answer: Answer,
}

impl Form {
    fn parse(body: &[u8]) -> Result<Self, String> {
        let field = |wanted: &str| {
            let mut pairs = url::form_urlencoded::parse(body);
            pairs
                .find(|(name, _)| name == wanted)
                .map(|(_, value)| value.into_owned())
                .unwrap_or_default()
        };
        let answer = match (field("answer").as_str(), field("snapshot").is_empty()) {
            ("agree", true) => Answer::Agree,
            ("agree", false) | ("snapshot", _) => Answer::Snapshot,
            ("refuse", _) => Answer::Refuse,
            _ => return Err("answer: expected agree, refuse or snapshot".to_owned()),
        };
        Ok(Self {
            query: field("query"),
            visitor: field("visitor"),
            answer,
        })
    }
}

fn check_name(visitor: &str) -> Result<(), String> {
    let good = !visitor.is_empty() && visitor.len() <= 200 && !visitor.contains(char::is_control);
    if good {
        Ok(())
    } else {
        Err("visitor: expected a name of 1 to 200 bytes without control characters".to_owned())
    }
}

fn go(location: String) -> HttpResponse {
    HttpResponse::Found()
        .insert_header((header::LOCATION, location))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}

/// No `form-action`: Chromium applies it to the redirect after the form as well, which may lead to
/// any site.
fn dressed(mut response: HttpResponse) -> HttpResponse {
    let policy =
        "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'";
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, policy),
        (header::CACHE_CONTROL, "no-store"),
    ] {
        response
            .headers_mut()
            .insert(name, header::HeaderValue::from_static(value));
    }
    response
}
