//! What a user can send, one variant for each `MsgType`. Events are in `event.rs`.

use super::event::{Event, Point};
use super::fields::Fields;

/// The content of a message. Missing fields are empty, or `None` if often absent. Source: WeChat,
/// 接收普通消息.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Body {
    /// `text`
    Text {
        /// The user's text.
        content: String,
        /// The id of the tapped menu choice.
        menu_id: Option<String>,
    },
    /// `image`
    Image {
        /// The image's address at WeChat.
        pic_url: String,
        /// The media id, to download it as temporary material.
        media_id: String,
    },
    /// `voice`
    Voice {
        /// The media id, to download it as temporary material, at 8 kHz.
        media_id: String,
        /// `amr` or `speex`.
        format: String,
        /// The media id at 16 kHz.
        media_id_16k: Option<String>,
        /// The recognised speech, for accounts with speech recognition.
        recognition: Option<String>,
    },
    /// `video`
    Video {
        /// The media id, to download it as temporary material.
        media_id: String,
        /// The preview's media id.
        thumb_media_id: String,
    },
    /// `shortvideo`
    ShortVideo {
        /// The media id, to download it as temporary material.
        media_id: String,
        /// The preview's media id.
        thumb_media_id: String,
    },
    /// `location`
    Location {
        /// The coordinates, if both are valid.
        point: Option<Point>,
        /// The map's zoom level.
        scale: Option<u32>,
        /// The place's name.
        label: String,
    },
    /// `link`
    Link {
        /// Its title.
        title: String,
        /// Its description.
        description: String,
        /// Its address.
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
        /// The picture's address at WeChat.
        thumb_url: String,
        /// The picture's media id.
        thumb_media_id: String,
    },
    /// `event`, or a push with an `Event` and no `MsgType`.
    Event(Event),
    /// A push with an `InfoType` and no `MsgType`, such as a component's tickets (授权事件).
    Info {
        /// The `InfoType`.
        name: String,
    },
    /// Any other type; see [`Message::fields`](super::Message::fields) for the contents.
    Unknown {
        /// The `MsgType`.
        msg_type: String,
    },
}

impl Body {
    /// Parses the body of a message of type `msg_type`, in any case. Without a type, `Event` and
    /// `InfoType` decide.
    pub(super) fn read(msg_type: &str, fields: &Fields) -> Self {
        let string = |name| fields.string(name);
        let named = |name| {
            fields
                .text(name)
                .is_some_and(|text| !text.trim().is_empty())
        };
        match msg_type.to_ascii_lowercase().as_str() {
            "text" => Self::Text {
                content: string("Content"),
                menu_id: fields.optional("bizmsgmenuid"),
            },
            "image" => Self::Image {
                pic_url: string("PicUrl"),
                media_id: string("MediaId"),
            },
            "voice" => Self::Voice {
                media_id: string("MediaId"),
                format: string("Format"),
                media_id_16k: fields.optional("MediaId16K"),
                recognition: fields.optional("Recognition"),
            },
            "video" => Self::Video {
                media_id: string("MediaId"),
                thumb_media_id: string("ThumbMediaId"),
            },
            "shortvideo" => Self::ShortVideo {
                media_id: string("MediaId"),
                thumb_media_id: string("ThumbMediaId"),
            },
            "location" => Self::Location {
                // WeChat's X is the latitude, unlike the usual convention.
                point: Point::read(fields, "Location_X", "Location_Y"),
                scale: fields.number("Scale"),
                label: string("Label"),
            },
            "link" => Self::Link {
                title: string("Title"),
                description: string("Description"),
                url: string("Url"),
            },
            "miniprogrampage" => Self::MiniProgramPage {
                app_id: string("AppId"),
                title: string("Title"),
                page_path: string("PagePath"),
                thumb_url: string("ThumbUrl"),
                thumb_media_id: string("ThumbMediaId"),
            },
            "event" => Self::Event(Event::read(fields)),
            "" if named("Event") => Self::Event(Event::read(fields)),
            "" if named("InfoType") => Self::Info {
                name: string("InfoType").trim().to_owned(),
            },
            _ => Self::Unknown {
                msg_type: msg_type.to_owned(),
            },
        }
    }
}
