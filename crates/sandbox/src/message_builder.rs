//! Builds the XML or JSON that WeChat pushes when a user writes or does something: a constructor
//! for every documented kind, and raw text for any other.

use clock::UnixSeconds;
use wechat::message::{Fields, Form, Value, write};

/// The containers of subscribe-message events in XML. In JSON their lists are at the top level.
const SUBSCRIBE_EVENTS: [&str; 3] = [
    "SubscribeMsgPopupEvent",
    "SubscribeMsgChangeEvent",
    "SubscribeMsgSentEvent",
];

/// One message or event, without who sends it and when.
///
/// ```
/// use jsdkd_sandbox::MessageBuilder;
///
/// let text = MessageBuilder::text("Hello");
/// let scan = MessageBuilder::event("SCAN").key("123").field("Ticket", "T");
/// let code = MessageBuilder::event("scancode_push").key("K").field("ScanCodeInfo.ScanType", "qrcode").field("ScanCodeInfo.ScanResult", "1");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageBuilder(Content);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Content {
    Elements { msg_type: String, inside: Elements },
    Raw(String),
}

/// Elements in order; a name may occur several times.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Elements(Vec<(String, Element)>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Element {
    Text(String),
    Elements(Elements),
}

/// The common elements of every message: recipient, sender, time, and id, which events lack.
#[derive(Clone, Copy, Debug)]
pub(super) struct Head<'a> {
    pub(super) to: &'a str,
    pub(super) from: &'a str,
    pub(super) created: UnixSeconds,
    pub(super) msg_id: &'a str,
}

impl MessageBuilder {
    /// A text.
    pub fn text(content: &str) -> Self {
        Self::of("text").field("Content", content)
    }

    /// A picture. Its `PicUrl` does not exist.
    pub fn image(media_id: &str) -> Self {
        Self::of("image")
            .field(
                "PicUrl",
                &format!("http://mmbiz.qpic.cn/mmbiz_jpg/{media_id}/0"),
            )
            .field("MediaId", media_id)
    }

    /// A voice message.
    pub fn voice(media_id: &str) -> Self {
        Self::of("voice")
            .field("MediaId", media_id)
            .field("Format", "amr")
    }

    /// A video.
    pub fn video(media_id: &str, thumb_media_id: &str) -> Self {
        Self::of("video")
            .field("MediaId", media_id)
            .field("ThumbMediaId", thumb_media_id)
    }

    /// A short video.
    pub fn short_video(media_id: &str, thumb_media_id: &str) -> Self {
        Self::of("shortvideo")
            .field("MediaId", media_id)
            .field("ThumbMediaId", thumb_media_id)
    }

    /// A location.
    pub fn location(latitude: f64, longitude: f64, label: &str) -> Self {
        // X is the latitude here, unlike the usual convention.
        let at = Self::of("location")
            .field("Location_X", &latitude.to_string())
            .field("Location_Y", &longitude.to_string());
        at.field("Scale", "16").field("Label", label)
    }

    /// A link.
    pub fn link(title: &str, description: &str, url: &str) -> Self {
        Self::of("link")
            .field("Title", title)
            .field("Description", description)
            .field("Url", url)
    }

    /// An event with only its name.
    pub fn event(name: &str) -> Self {
        Self::of("event").field("Event", name)
    }

    /// Any other kind, with only its `MsgType`.
    pub fn of(msg_type: &str) -> Self {
        Self(Content::Elements {
            msg_type: msg_type.to_owned(),
            inside: Elements::default(),
        })
    }

    /// Raw XML, sent as given.
    pub fn xml(raw: impl Into<String>) -> Self {
        Self(Content::Raw(raw.into()))
    }

    /// Raw JSON, sent as given.
    pub fn json(raw: impl Into<String>) -> Self {
        Self(Content::Raw(raw.into()))
    }

    /// The form of raw text; `None` if the message can be written in either.
    pub(super) fn form(&self) -> Option<Form> {
        match &self.0 {
            Content::Elements { .. } => None,
            Content::Raw(raw) => Some(Form::of(raw.as_bytes())),
        }
    }

    /// Sets the `EventKey`.
    #[must_use]
    pub fn key(self, key: &str) -> Self {
        self.field("EventKey", key)
    }

    /// Sets an element. A path with dots leads to a nested element: `ScanCodeInfo.ScanResult`.
    ///
    /// Setting a name again replaces it, also `FromUserName`, `MsgId` and the like. A nested name
    /// that is set again starts a new element of its parent, for lists: setting
    /// `SendPicsInfo.PicList.item.PicMd5Sum` twice makes two items. Raw XML is not changed.
    #[must_use]
    pub fn field(mut self, path: &str, text: &str) -> Self {
        if let Content::Elements { inside, .. } = &mut self.0 {
            inside.set(path, text);
        }
        self
    }

    /// The unencrypted message.
    pub(super) fn write(&self, head: &Head<'_>, form: Form) -> String {
        let (msg_type, inside) = match &self.0 {
            Content::Elements { msg_type, inside } => (msg_type, inside),
            Content::Raw(raw) => return raw.clone(),
        };
        let mut all = Elements::default();
        let created = head.created.to_string();
        for (name, text) in [
            ("ToUserName", head.to),
            ("FromUserName", head.from),
            ("CreateTime", &created),
            ("MsgType", msg_type),
        ] {
            all.set(name, text);
        }
        for (name, element) in &inside.0 {
            match element {
                Element::Text(text) => all.set(name, text),
                Element::Elements(_) => all.0.push((name.clone(), element.clone())),
            }
        }
        if msg_type != "event" && !all.has("MsgId") {
            all.set("MsgId", head.msg_id);
        }
        write::document(&all.fields(form), form)
    }
}

impl Elements {
    fn set(&mut self, path: &str, text: &str) {
        let Some((name, rest)) = path.split_once('.') else {
            let text = Element::Text(text.to_owned());
            return match self.0.iter_mut().find(|(own, _)| own == path) {
                Some((_, element)) => *element = text,
                None => self.0.push((path.to_owned(), text)),
            };
        };
        let last = self.0.iter_mut().rev().find(|(own, _)| own == name);
        match last {
            Some((_, Element::Elements(inside))) if !inside.has(rest) => inside.set(rest, text),
            _ => {
                let mut inside = Self::default();
                inside.set(rest, text);
                self.0.push((name.to_owned(), Element::Elements(inside)));
            }
        }
    }

    fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(own, _)| own == name)
    }

    fn fields(&self, form: Form) -> Fields {
        let mut fields = Fields::default();
        for (name, element) in &self.0 {
            match element {
                Element::Text(text) => fields.push_text(name, &**text),
                Element::Elements(inside)
                    if form == Form::Json && SUBSCRIBE_EVENTS.contains(&name.as_str()) =>
                {
                    for (name, value) in inside.fields(form).iter() {
                        fields.push(name.to_owned(), value.clone());
                    }
                }
                Element::Elements(inside) => {
                    fields.push(name.clone(), Value::Fields(inside.fields(form)))
                }
            }
        }
        fields
    }
}

/// The body of a push in safe mode.
pub(super) fn envelope(to: &str, encrypt: &str, form: Form) -> String {
    let mut fields = Fields::default();
    fields.push_text("ToUserName", to);
    fields.push_text("Encrypt", encrypt);
    write::document(&fields, form)
}

/// The unencrypted message with the ciphertext as its last element.
pub(super) fn beside(clear: &str, encrypt: &str) -> String {
    let (end, element) = match Form::of(clear.as_bytes()) {
        Form::Xml => (
            "</xml>",
            format!("<Encrypt><![CDATA[{encrypt}]]></Encrypt>"),
        ),
        Form::Json => ("}", format!(r#","Encrypt":"{encrypt}""#)),
    };
    let end = clear.rfind(end).unwrap_or(clear.len());
    format!("{}{element}{}", &clear[..end], &clear[end..])
}

#[cfg(test)]
mod tests {
    use super::*;
    use wechat::message::{Body, Event, Message, MsgId, Pictures, Point};

    const HEAD: Head<'_> = Head {
        to: "gh_1",
        from: "o1",
        created: UnixSeconds(1_348_831_860),
        msg_id: "6838218298347397120",
    };

    #[track_caller]
    fn read(pushed: &MessageBuilder) -> Message {
        read_as(Form::Xml, pushed)
    }

    #[track_caller]
    fn read_as(form: Form, pushed: &MessageBuilder) -> Message {
        let text = pushed.write(&HEAD, form);
        let message =
            Message::parse(text.as_bytes()).unwrap_or_else(|error| panic!("{error}: {text}"));
        assert_eq!((message.form, message.is_repaired), (form, false), "{text}");
        message
    }

    #[test]
    fn a_text_is_written_as_wechat_documents_it() {
        let start = "<xml><ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[o1]]></FromUserName>\
                     <CreateTime>1348831860</CreateTime>";
        let text = "<MsgType><![CDATA[text]]></MsgType><Content><![CDATA[this is a test]]></Content>\
                    <MsgId>6838218298347397120</MsgId></xml>";
        assert_eq!(
            MessageBuilder::text("this is a test").write(&HEAD, Form::Xml),
            format!("{start}{text}")
        );
        let event = "<MsgType><![CDATA[event]]></MsgType><Event><![CDATA[CLICK]]></Event><EventKey><![CDATA[K]]></EventKey></xml>";
        assert_eq!(
            MessageBuilder::event("CLICK")
                .key("K")
                .write(&HEAD, Form::Xml),
            format!("{start}{event}"),
            "an event has no MsgId"
        );
        assert_eq!(
            MessageBuilder::xml("<any>thing").write(&HEAD, Form::Xml),
            "<any>thing"
        );
    }

    #[test]
    fn every_kind_is_parsed_as_itself() {
        let s = str::to_owned;
        for (pushed, body) in [
            (
                MessageBuilder::text("a]]>b <c>"),
                Body::Text {
                    content: s("a]]>b <c>"),
                    menu_id: None,
                },
            ),
            (
                MessageBuilder::image("M"),
                Body::Image {
                    pic_url: s("http://mmbiz.qpic.cn/mmbiz_jpg/M/0"),
                    media_id: s("M"),
                },
            ),
            (
                MessageBuilder::voice("M").field("Recognition", "你好"),
                Body::Voice {
                    media_id: s("M"),
                    format: s("amr"),
                    media_id_16k: None,
                    recognition: Some(s("你好")),
                },
            ),
            (
                MessageBuilder::video("M", "T"),
                Body::Video {
                    media_id: s("M"),
                    thumb_media_id: s("T"),
                },
            ),
            (
                MessageBuilder::short_video("M", "T"),
                Body::ShortVideo {
                    media_id: s("M"),
                    thumb_media_id: s("T"),
                },
            ),
            (
                MessageBuilder::location(23.134521, -113.358803, "L").field("Scale", "20"),
                Body::Location {
                    point: Some(Point {
                        latitude: 23.134521,
                        longitude: -113.358803,
                    }),
                    scale: Some(20),
                    label: s("L"),
                },
            ),
            (
                MessageBuilder::link("T", "D", "U"),
                Body::Link {
                    title: s("T"),
                    description: s("D"),
                    url: s("U"),
                },
            ),
            (
                MessageBuilder::event("unsubscribe"),
                Body::Event(Event::Unsubscribe),
            ),
            (
                MessageBuilder::event("SCAN")
                    .key("123")
                    .field("Ticket", "T"),
                Body::Event(Event::Scan {
                    scene: s("123"),
                    ticket: Some(s("T")),
                }),
            ),
            (
                MessageBuilder::event("pic_weixin")
                    .key("K")
                    .field("SendPicsInfo.Count", "2")
                    .field("SendPicsInfo.PicList.item.PicMd5Sum", "a")
                    .field("SendPicsInfo.PicList.item.PicMd5Sum", "b"),
                Body::Event(Event::PicWeixin(Pictures {
                    key: s("K"),
                    count: Some(2),
                    md5: vec![s("a"), s("b")],
                })),
            ),
            (
                MessageBuilder::of("novel"),
                Body::Unknown {
                    msg_type: s("novel"),
                },
            ),
        ] {
            for form in [Form::Xml, Form::Json] {
                let message = read_as(form, &pushed);
                assert_eq!(message.body, body);
                assert_eq!(
                    message.id.as_ref().map(MsgId::as_str),
                    (!message.is_event()).then_some(HEAD.msg_id)
                );
            }
        }
    }

    #[test]
    fn a_field_is_replaced_and_a_list_grows() {
        let message = read(
            &MessageBuilder::text("a")
                .field("Content", "b")
                .field("FromUserName", "o2")
                .field("MsgId", "x<1"),
        );
        assert_eq!(message.fields.to_json(), {
            r#"{"ToUserName":"gh_1","FromUserName":"o2","CreateTime":"1348831860","MsgType":"text","Content":"b","MsgId":"x<1"}"#
        });
        let list = ["A", "B"].into_iter().fold(
            MessageBuilder::event("subscribe_msg_popup_event"),
            |pushed, id| {
                let at = |name| format!("SubscribeMsgPopupEvent.List.{name}");
                pushed
                    .field(&at("TemplateId"), id)
                    .field(&at("SubscribeStatusString"), "accept")
            },
        );
        assert_eq!(
            list.write(&HEAD, Form::Xml).split("</Event>").nth(1),
            Some(
                "<SubscribeMsgPopupEvent>\
                 <List><TemplateId><![CDATA[A]]></TemplateId><SubscribeStatusString><![CDATA[accept]]></SubscribeStatusString></List>\
                 <List><TemplateId><![CDATA[B]]></TemplateId><SubscribeStatusString><![CDATA[accept]]></SubscribeStatusString></List>\
                 </SubscribeMsgPopupEvent></xml>"
            )
        );
    }
    #[test]
    fn json_is_written_as_wechat_writes_it() {
        let head = r#"{"ToUserName":"gh_1","FromUserName":"o1","CreateTime":1348831860,"MsgType":"#;
        let popup = ["A", "B"].into_iter().fold(
            MessageBuilder::event("subscribe_msg_popup_event"),
            |pushed, id| pushed.field("SubscribeMsgPopupEvent.List.TemplateId", id),
        );
        for (pushed, rest) in [
            (
                MessageBuilder::text("a\"你"),
                r#""text","Content":"a\"你","MsgId":6838218298347397120}"#,
            ),
            (
                MessageBuilder::event("CLICK").key("1"),
                r#""event","Event":"CLICK","EventKey":"1"}"#,
            ),
            (
                popup,
                r#""event","Event":"subscribe_msg_popup_event","List":[{"TemplateId":"A"},{"TemplateId":"B"}]}"#,
            ),
        ] {
            assert_eq!(pushed.write(&HEAD, Form::Json), format!("{head}{rest}"));
        }
        assert_eq!(MessageBuilder::json("{any").write(&HEAD, Form::Xml), "{any");
    }
}
