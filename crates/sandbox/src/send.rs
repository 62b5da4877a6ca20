//! The rules for customer-service and template messages.

use serde_json::Value;

use super::refusal::Refusal;
use super::world::World;

/// Maximum length of a text in bytes.
const MAX_TEXT_LEN: usize = 2048;

/// The first message id: the one in WeChat's example.
const FIRST_NUMBER: u64 = 200_228_332;

impl World {
    /// `POST /cgi-bin/message/custom/send`. WeChat accepts a message only within 48 hours of the
    /// person's last action. The sandbox knows only who follows: it refuses people who have
    /// unfollowed, and accepts those it does not know.
    pub(super) fn send_custom(&mut self, app_id: &str, message: Value) -> Result<(), Refusal> {
        let follows = self
            .visitors
            .people
            .follows(app_id, text(&message, "touser"))?;
        check_custom(&message)?;
        if follows == Some(false) {
            return Err(Refusal::OUT_OF_TIME);
        }
        let sent = self.outbox.of(app_id);
        sent.custom += 1;
        sent.keep(message);
        Ok(())
    }

    /// `POST /cgi-bin/message/template/send`: returns the message's id. A message with the same
    /// `client_msg_id` to the same person within ten minutes is not sent again and gets the first
    /// one's id; WeChat's answer in this case is undocumented.
    pub(super) fn send_template(&mut self, app_id: &str, message: Value) -> Result<u64, Refusal> {
        let openid = text(&message, "touser");
        let follows = self.visitors.people.follows(app_id, openid)?;
        if text(&message, "template_id").is_empty() {
            return Err(Refusal::BAD_TEMPLATE);
        }
        if follows == Some(false) {
            return Err(Refusal::NOT_FOLLOWING);
        }
        check_data(&message["data"])?;
        let (now, span) = (self.time.now(), self.lifetime / 12);
        let repeatable = Some(text(&message, "client_msg_id")).filter(|id| !id.is_empty());
        let repeatable = repeatable.map(|id| [app_id, openid, id].join("\0"));
        if let Some((number, at)) = repeatable
            .as_ref()
            .and_then(|name| self.outbox.repeatable.get(name))
            && at.until(now) < span
        {
            return Ok(*number);
        }
        let number = FIRST_NUMBER + self.outbox.templates;
        self.outbox.templates += 1;
        if let Some(name) = repeatable {
            self.outbox.repeatable.insert(&name, (number, now));
        }
        let sent = self.outbox.of(app_id);
        sent.template += 1;
        sent.keep(message);
        Ok(number)
    }
}

/// Checks the elements that a customer-service message of its type requires. Source: WeChat, 客服接口
/// (发消息).
fn check_custom(message: &Value) -> Result<(), Refusal> {
    let kind = text(message, "msgtype");
    let inside = &message[kind];
    let needs = |name, refusal| {
        if text(inside, name).is_empty() {
            Err(refusal)
        } else {
            Ok(())
        }
    };
    match kind {
        "text" if text(inside, "content").len() > MAX_TEXT_LEN => Err(Refusal::TOO_LONG),
        "text" => needs("content", Refusal::EMPTY_CONTENT),
        "image" | "voice" | "video" | "mpnews" => needs("media_id", Refusal::BAD_MEDIA),
        "music" => needs("thumb_media_id", Refusal::BAD_MEDIA),
        "news" => match inside["articles"].as_array().map_or(0, Vec::len) {
            0 => Err(Refusal::EMPTY_NEWS),
            1 => Ok(()),
            // A reply may have eight articles, a customer-service message one.
            _ => Err(Refusal::TOO_MANY_ARTICLES),
        },
        "mpnewsarticle" | "msgmenu" | "wxcard" | "miniprogrampage" if inside.is_object() => Ok(()),
        "mpnewsarticle" | "msgmenu" | "wxcard" | "miniprogrampage" => Err(Refusal::BAD_BODY),
        _ => Err(Refusal::BAD_MESSAGE_TYPE),
    }
}

/// Checks that every element of a template message has a non-empty value. Which elements are
/// required depends on the template.
fn check_data(data: &Value) -> Result<(), Refusal> {
    let elements = data
        .as_object()
        .filter(|elements| !elements.is_empty())
        .ok_or_else(|| Refusal::bad_element("data"))?;
    let is_empty =
        |element: &Value| text(element, "value").is_empty() && !element["value"].is_number();
    match elements.iter().find(|(_, element)| is_empty(element)) {
        Some((name, _)) => Err(Refusal::bad_element(&format!("data.{name}.value"))),
        None => Ok(()),
    }
}

/// A string member of an object; empty if absent.
fn text<'v>(object: &'v Value, name: &str) -> &'v str {
    object[name].as_str().unwrap_or_default()
}
