//! Events between a user and an account, one variant per `Event`. Reports on sent messages are in
//! `report.rs`.

use super::fields::{Fields, Value};
use super::report::{MassSendReport, PublishReport, SubscribeMessage, TemplateOutcome};

/// An event. Fields that WeChat left out are empty, or `None` where they are often left out.
/// Source: WeChat, 接收事件推送 and 自定义菜单事件推送.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// `subscribe`: somebody follows the account.
    Subscribe {
        /// What the account put into the QR code, where one was scanned; without the `qrscene_`
        /// that WeChat puts before it.
        scene: Option<String>,
        /// That QR code's ticket.
        ticket: Option<String>,
    },
    /// `unsubscribe`: somebody follows no longer. No answer reaches them, and their data are to be
    /// deleted.
    Unsubscribe,
    /// `SCAN`: a follower has scanned a QR code of the account.
    Scan {
        /// What the account put into it.
        scene: String,
        /// Its ticket.
        ticket: Option<String>,
    },
    /// `LOCATION`: where a follower is who lets the account know.
    Location {
        /// Where, when both coordinates can be read.
        point: Option<Point>,
        /// Within how many metres.
        precision: Option<f64>,
    },
    /// `CLICK`: a menu entry with a key of the account's own.
    Click {
        /// That key.
        key: String,
    },
    /// `VIEW`: a menu entry that opens a page.
    View {
        /// The page.
        url: String,
        /// Which menu, of several for different people.
        menu_id: Option<String>,
    },
    /// `view_miniprogram`: a menu entry that opens a mini program.
    ViewMiniProgram {
        /// The page in it.
        path: String,
        /// Which menu, of several for different people.
        menu_id: Option<String>,
    },
    /// `scancode_push`: a menu entry that scans and shows what was scanned.
    ScanCodePush(ScanCode),
    /// `scancode_waitmsg`: a menu entry that scans and waits for the account's answer.
    ScanCodeWaitMsg(ScanCode),
    /// `pic_sysphoto`: a menu entry that takes photographs.
    PicSysPhoto(Pictures),
    /// `pic_photo_or_album`: a menu entry that takes photographs or has them chosen.
    PicPhotoOrAlbum(Pictures),
    /// `pic_weixin`: a menu entry that has photographs chosen.
    PicWeixin(Pictures),
    /// `location_select`: a menu entry that has a place chosen.
    LocationSelect {
        /// The entry's key.
        key: String,
        /// Where, when both coordinates can be read.
        point: Option<Point>,
        /// The zoom of the map.
        scale: Option<u32>,
        /// The place in words.
        label: String,
        /// The name of what is there.
        poi_name: String,
    },
    /// `TEMPLATESENDJOBFINISH`: the result of a template message.
    TemplateSendJobFinish {
        /// The id from the send call.
        msg_id: String,
        /// The delivery status.
        outcome: TemplateOutcome,
    },
    /// `MASSSENDJOBFINISH`: the result of a mass sending.
    MassSendJobFinish(Box<MassSendReport>),
    /// `PUBLISHJOBFINISH`: the result of a publication.
    PublishJobFinish(Box<PublishReport>),
    /// `subscribe_msg_popup_event`: somebody was asked which messages they want.
    SubscribeMsgPopup(Vec<SubscribeMessage>),
    /// `subscribe_msg_change_event`: somebody has changed in their settings which messages they
    /// want.
    SubscribeMsgChange(Vec<SubscribeMessage>),
    /// `subscribe_msg_sent_event`: such a message was sent.
    SubscribeMsgSent(Vec<SubscribeMessage>),
    /// Any other event; see [`Message::fields`](super::Message::fields) for its contents.
    Unknown {
        /// What it is called.
        name: String,
    },
}

/// What a menu entry has scanned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScanCode {
    /// The entry's key.
    pub key: String,
    /// `qrcode` or `barcode`.
    pub scan_type: String,
    /// What stands in it.
    pub result: String,
}

/// Which photographs will come as messages of their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pictures {
    /// The entry's key.
    pub key: String,
    /// How many there are.
    pub count: Option<u32>,
    /// The MD5 of each.
    pub md5: Vec<String>,
}

impl Event {
    /// Parses the event in `fields`. Ignores the name's case, because WeChat's spelling varies.
    pub(super) fn read(fields: &Fields) -> Self {
        let name = fields.text("Event").unwrap_or_default().trim();
        let key = || fields.string("EventKey");
        let (ticket, menu_id) = (|| fields.optional("Ticket"), || fields.optional("MenuId"));
        match name.to_ascii_lowercase().as_str() {
            "subscribe" => {
                let scene = fields
                    .text("EventKey")
                    .and_then(|key| key.strip_prefix("qrscene_"));
                Self::Subscribe {
                    scene: scene.map(str::to_owned),
                    ticket: ticket(),
                }
            }
            "unsubscribe" => Self::Unsubscribe,
            "scan" => Self::Scan {
                scene: key(),
                ticket: ticket(),
            },
            "location" => {
                let precision = fields
                    .number::<f64>("Precision")
                    .filter(|metres| metres.is_finite());
                Self::Location {
                    point: Point::read(fields, "Latitude", "Longitude"),
                    precision,
                }
            }
            "click" => Self::Click { key: key() },
            "view" => Self::View {
                url: key(),
                menu_id: menu_id(),
            },
            "view_miniprogram" => Self::ViewMiniProgram {
                path: key(),
                menu_id: menu_id(),
            },
            "scancode_push" => Self::ScanCodePush(ScanCode::read(fields)),
            "scancode_waitmsg" => Self::ScanCodeWaitMsg(ScanCode::read(fields)),
            "pic_sysphoto" => Self::PicSysPhoto(Pictures::read(fields)),
            "pic_photo_or_album" => Self::PicPhotoOrAlbum(Pictures::read(fields)),
            "pic_weixin" => Self::PicWeixin(Pictures::read(fields)),
            "location_select" => location_select(key(), fields.inner("SendLocationInfo")),
            "templatesendjobfinish" => {
                let outcome = TemplateOutcome::read(fields.text("Status").unwrap_or_default());
                Self::TemplateSendJobFinish {
                    msg_id: fields.string("MsgID"),
                    outcome,
                }
            }
            "masssendjobfinish" => Self::MassSendJobFinish(Box::new(MassSendReport::read(fields))),
            "publishjobfinish" => Self::PublishJobFinish(Box::new(PublishReport::read(
                fields.inner("PublishEventInfo"),
            ))),
            "subscribe_msg_popup_event" => {
                Self::SubscribeMsgPopup(SubscribeMessage::list(fields, "SubscribeMsgPopupEvent"))
            }
            "subscribe_msg_change_event" => {
                Self::SubscribeMsgChange(SubscribeMessage::list(fields, "SubscribeMsgChangeEvent"))
            }
            "subscribe_msg_sent_event" => {
                Self::SubscribeMsgSent(SubscribeMessage::list(fields, "SubscribeMsgSentEvent"))
            }
            _ => Self::Unknown {
                name: name.to_owned(),
            },
        }
    }
}

fn location_select(key: String, info: &Fields) -> Event {
    Event::LocationSelect {
        key,
        point: Point::read(info, "Location_X", "Location_Y"),
        scale: info.number("Scale"),
        label: info.string("Label"),
        poi_name: info.string("Poiname"),
    }
}

impl ScanCode {
    fn read(fields: &Fields) -> Self {
        let info = fields.inner("ScanCodeInfo");
        Self {
            key: fields.string("EventKey"),
            scan_type: info.string("ScanType"),
            result: info.string("ScanResult"),
        }
    }
}

impl Pictures {
    fn read(fields: &Fields) -> Self {
        let info = fields.inner("SendPicsInfo");
        let items = info.entries("PicList", "item").into_iter();
        let md5 = items.filter_map(|item| item.get("PicMd5Sum").and_then(Value::as_text));
        Self {
            key: fields.string("EventKey"),
            count: info.number("Count"),
            md5: md5.map(str::to_owned).collect(),
        }
    }
}

/// Geographic coordinates.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    /// Degrees north.
    pub latitude: f64,
    /// Degrees east.
    pub longitude: f64,
}

impl Point {
    pub(super) fn read(fields: &Fields, latitude: &str, longitude: &str) -> Option<Self> {
        let degrees = |name| {
            fields
                .number::<f64>(name)
                .filter(|degrees| degrees.is_finite())
        };
        Some(Self {
            latitude: degrees(latitude)?,
            longitude: degrees(longitude)?,
        })
    }
}
