//! What a user can send, one variant for each `MsgType`. Events are in `event.rs`.

use super::event::Event;
use super::fields::Fields;

/// What a message says. Fields that WeChat left out are empty, or `None` where they are often left out.
/// Source: WeChat, 接收普通消息.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Body {
    /// `text`
    Text {
        /// What the user wrote.
        content: String,
        /// The id of the menu message's choice, where the user tapped one.
        menu_id: Option<String>,
    },
    /// `image`
    Image {
        /// Where WeChat serves it.
        pic_url: String,
        /// By which it is fetched as temporary material.
        media_id: String,
    },
    /// `voice`
    Voice {
        /// By which it is fetched as temporary material, at 8 kHz.
        media_id: String,
        /// `amr` or `speex`.
        format: String,
        /// The same at 16 kHz.
        media_id_16k: Option<String>,
        /// What was said, from accounts with speech recognition.
        recognition: Option<String>,
    },
    /// `video`
    Video {
        /// By which it is fetched as temporary material.
        media_id: String,
        /// The same for its preview.
        thumb_media_id: String,
    },
    /// `shortvideo`
    ShortVideo {
        /// By which it is fetched as temporary material.
        media_id: String,
        /// The same for its preview.
        thumb_media_id: String,
    },
    /// `location`
    Location {
        /// Where, when both coordinates can be read.
        point: Option<Point>,
        /// The zoom of the map.
        scale: Option<u32>,
        /// The place in words.
        label: String,
    },
    /// `link`
    Link {
        /// Its title.
        title: String,
        /// What it is about.
        description: String,
        /// Where it leads.
        url: String,
    },
    /// `miniprogrampage`
    MiniProgramPage {
        /// The mini program's appid.
        app_id: String,
        /// The page's title.
        title: String,
        /// The page.
        page_path: String,
        /// Where WeChat serves its picture.
        thumb_url: String,
        /// By which the picture is fetched as temporary material.
        thumb_media_id: String,
    },
    /// `event`, or a push with an `Event` and no `MsgType`.
    Event(Event),
    /// A push with an `InfoType` and no `MsgType`, such as a component's tickets (授权事件).
    Info {
        /// The `InfoType`.
        name: String,
    },
    /// Any other; all there is to it stands in [`Message::fields`](super::Message::fields).
    Unknown {
        /// What it is called.
        msg_type: String,
    },
}

/// A place on the earth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
}

impl Body {
    /// The body of a message of this `msg_type`, whatever its case. Without a type, `Event` and `InfoType` say what it is.
    pub(super) fn read(msg_type: &str, fields: &Fields) -> Self {
        let string = |name| fields.string(name);
        let named = |name| fields.text(name).is_some_and(|text| !text.trim().is_empty());
        match msg_type.to_ascii_lowercase().as_str() {
            "text" => Self::Text { content: string("Content"), menu_id: fields.optional("bizmsgmenuid") },
            "image" => Self::Image { pic_url: string("PicUrl"), media_id: string("MediaId") },
            "voice" => Self::Voice {
                media_id: string("MediaId"),
                format: string("Format"),
                media_id_16k: fields.optional("MediaId16K"),
                recognition: fields.optional("Recognition"),
            },
            "video" => Self::Video { media_id: string("MediaId"), thumb_media_id: string("ThumbMediaId") },
            "shortvideo" => Self::ShortVideo { media_id: string("MediaId"), thumb_media_id: string("ThumbMediaId") },
            "location" => Self::Location {
                // X is the latitude here, unlike on every map.
                point: Point::read(fields, "Location_X", "Location_Y"),
                scale: fields.number("Scale"),
                label: string("Label"),
            },
            "link" => Self::Link { title: string("Title"), description: string("Description"), url: string("Url") },
            "miniprogrampage" => Self::MiniProgramPage {
                app_id: string("AppId"),
                title: string("Title"),
                page_path: string("PagePath"),
                thumb_url: string("ThumbUrl"),
                thumb_media_id: string("ThumbMediaId"),
            },
            "event" => Self::Event(Event::read(fields)),
            "" if named("Event") => Self::Event(Event::read(fields)),
            "" if named("InfoType") => Self::Info { name: string("InfoType").trim().to_owned() },
            _ => Self::Unknown { msg_type: msg_type.to_owned() },
        }
    }
}

impl Point {
    pub(super) fn read(fields: &Fields, latitude: &str, longitude: &str) -> Option<Self> {
        let degrees = |name| fields.number::<f64>(name).filter(|degrees| degrees.is_finite());
        Some(Self { latitude: degrees(latitude)?, longitude: degrees(longitude)? })
    }
}
