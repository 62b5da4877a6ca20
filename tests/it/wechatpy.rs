//! Messages and envelopes compared with the library wechatpy: what one writes, the other reads.

use std::io::BufRead;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;

use clock::UnixSeconds;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use secrecy::SecretString;
use serde_json::{Value, json};
use wechat::account::AppId;
use wechat::crypt::{self, EnvelopeKey};
use wechat::message::{
    Article, Body, Envelope, Event, Fields, Message, Music, Reply, sealed_reply,
};

use crate::messages;
use crate::support::app::{self, TestApp};
use crate::support::deliveries;
use crate::support::pip::Python;

/// Installed by pip once per target folder.
const PACKAGES: [&str; 7] = [
    "wechatpy==1.8.18",
    "cryptography==50.0.2",
    "optionaldict==0.1.2",
    "python-dateutil==2.9.0.post0",
    "requests==2.34.2",
    "six==1.17.0",
    "xmltodict==1.0.4",
];

/// It ends in stray bits, as most keys do.
const KEY: &str = "jWmYm7qr5nMoAUwZRjGtBxmz3KA1tkAj3ykkR6q2B2C";
const TOKEN: &str = "QDG6eK";
const APP: &str = "wx5823bf96d3bd56c7";
const TIMESTAMP: &str = "1409659813";
const NOW: UnixSeconds = UnixSeconds(1_409_659_813);
const NONCE: &str = "1372623149";

/// wechatpy, installed by the first test that asks.
struct Wechatpy(Python);

/// wechatpy for another test, which runs its own scripts.
pub(crate) fn installed() -> Option<Python> {
    wechatpy()?;
    Python::with(
        "wechatpy",
        &PACKAGES,
        "import wechatpy.crypto, wechatpy.replies",
    )
}

fn wechatpy() -> Option<&'static Wechatpy> {
    static WECHATPY: OnceLock<Option<Wechatpy>> = OnceLock::new();
    WECHATPY
        .get_or_init(|| {
            Python::with(
                "wechatpy",
                &PACKAGES,
                "import wechatpy.crypto, wechatpy.replies",
            )
            .map(Wechatpy)
        })
        .as_ref()
}

impl Wechatpy {
    fn python(&self, arguments: &[&str]) -> Command {
        self.0.run(arguments)
    }

    fn answers(&self, questions: &[Value]) -> Vec<Value> {
        self.0.answers("wechatpy/questions.py", questions)
    }
}

/// Random text of pieces that XML or Python might misread, without white space at its ends, which
/// wechatpy would trim.
fn words(rng: &mut StdRng) -> String {
    const PIECES: [&str; 16] = [
        "a", "微信", "😀", "&", "&amp;", "<", ">", "]]>", "]", "\n", " ", "\"", "'", "%s", "{0}",
        "qrscene_",
    ];
    let middle: String = (0..rng.random_range(0..20))
        .map(|_| PIECES[rng.random_range(0..PIECES.len())])
        .collect();
    format!("w{middle}w")
}

/// Texts of every length from 0 to 96 bytes, and some longer ones.
fn texts(rng: &mut StdRng) -> Vec<String> {
    (0..=96)
        .map(|length| "x".repeat(length))
        .chain((0..40).map(|_| words(rng)))
        .collect()
}

fn rng() -> StdRng {
    let seed = rand::random();
    // Shown if the test fails.
    println!("seed {seed}");
    StdRng::seed_from_u64(seed)
}

fn key() -> EnvelopeKey {
    EnvelopeKey::parse(&SecretString::from(KEY)).unwrap()
}

fn app() -> AppId {
    AppId::parse(APP).unwrap()
}

/// The content of the element `name` of `xml`, which is in CDATA.
fn element<'x>(xml: &'x str, name: &str) -> &'x str {
    let (_, rest) = xml.split_once(&format!("<{name}><![CDATA[")).unwrap();
    rest.split_once("]]>").unwrap().0
}

fn question(ask: &str, rest: Value) -> Value {
    let mut question = json!({ "ask": ask, "token": TOKEN, "key": KEY, "app": APP, "timestamp": TIMESTAMP, "nonce": NONCE });
    question
        .as_object_mut()
        .unwrap()
        .extend(rest.as_object().unwrap().clone());
    question
}

#[test]
fn what_wechatpy_encrypts_we_decrypt() {
    let Some(wechatpy) = wechatpy() else { return };
    let texts = texts(&mut rng());
    let questions: Vec<Value> = texts
        .iter()
        .map(|text| question("seal", json!({ "text": text })))
        .collect();
    for (text, xml) in texts.iter().zip(wechatpy.answers(&questions)) {
        let xml = xml.as_str().unwrap();
        let envelope = Envelope::parse(xml.as_bytes()).unwrap();
        assert!(
            crypt::signature(TOKEN, TIMESTAMP, NONCE, &envelope.encrypt)
                .matches(element(xml, "MsgSignature"))
        );
        assert_eq!(
            key().decrypt(&app(), &envelope.encrypt).as_deref(),
            Ok(text.as_bytes())
        );
    }
}

#[test]
fn what_we_encrypt_wechatpy_decrypts() {
    let Some(wechatpy) = wechatpy() else { return };
    let mut rng = rng();
    let texts = texts(&mut rng);
    let mut unseal = |text: &String| {
        let xml = sealed_reply(
            TOKEN,
            &key().encrypt(&app(), text.as_bytes(), rng.random()),
            NOW,
            NONCE,
        );
        question(
            "unseal",
            json!({ "xml": xml, "signature": element(&xml, "MsgSignature") }),
        )
    };
    let questions: Vec<Value> = texts.iter().map(&mut unseal).collect();
    for (text, answer) in texts.iter().zip(wechatpy.answers(&questions)) {
        assert_eq!(answer.as_str(), Some(text.as_str()));
    }
}

/// `<name>text</name>`, in CDATA or escaped.
fn written(rng: &mut StdRng, name: &str, text: &str) -> String {
    if rng.random() {
        format!(
            "<{name}><![CDATA[{}]]></{name}>",
            text.replace("]]>", "]]]]><![CDATA[>")
        )
    } else {
        format!(
            "<{name}>{}</{name}>",
            text.replace('&', "&amp;")
                .replace('<', "&lt;")
                .replace('>', "&#62;")
        )
    }
}

/// The elements of each kind of message that wechatpy has a class for, each with a random text or
/// number. A name with a dot opens an element that contains others, and closes it.
const KINDS: [(&str, &str); 19] = [
    ("text", "Content MsgId"),
    ("image", "PicUrl MediaId MsgId"),
    ("voice", "MediaId Format Recognition MsgId"),
    ("video", "MediaId ThumbMediaId MsgId"),
    ("shortvideo", "MediaId ThumbMediaId MsgId"),
    ("location", "Location_X Location_Y Scale Label MsgId"),
    ("link", "Title Description Url MsgId"),
    (
        "miniprogrampage",
        "AppId Title PagePath ThumbUrl ThumbMediaId MsgId",
    ),
    ("event:subscribe", ""),
    ("event:unsubscribe", ""),
    ("event:SCAN", "EventKey Ticket"),
    ("event:LOCATION", "Latitude Longitude Precision"),
    ("event:CLICK", "EventKey"),
    ("event:VIEW", "EventKey"),
    (
        "event:scancode_waitmsg",
        "EventKey .ScanCodeInfo ScanType ScanResult .ScanCodeInfo",
    ),
    (
        "event:pic_weixin",
        "EventKey .SendPicsInfo Count .PicList .item PicMd5Sum .item .item PicMd5Sum .item .PicList .SendPicsInfo",
    ),
    (
        "event:location_select",
        "EventKey .SendLocationInfo Location_X Location_Y Scale Label Poiname .SendLocationInfo",
    ),
    ("event:TEMPLATESENDJOBFINISH", "MsgID Status"),
    (
        "event:MASSSENDJOBFINISH",
        "MsgID Status TotalCount FilterCount SentCount ErrorCount",
    ),
];

/// A push of one of the kinds.
fn push(rng: &mut StdRng, kind: &str, elements: &str) -> String {
    let (msg_type, event) = kind
        .split_once(':')
        .map_or((kind, None), |(msg_type, event)| (msg_type, Some(event)));
    let mut xml = "<xml>".to_owned();
    for (name, text) in [
        ("ToUserName", words(rng)),
        ("FromUserName", words(rng)),
        ("CreateTime", "1348831860".to_owned()),
    ] {
        xml += &written(rng, name, &text);
    }
    xml += &written(rng, "MsgType", msg_type);
    xml += &event
        .map(|event| written(rng, "Event", event))
        .unwrap_or_default();
    let mut open = Vec::new();
    for name in elements.split_whitespace() {
        match name.strip_prefix('.') {
            Some(name) if open.last() == Some(&name) => {
                open.pop();
                xml += &format!("</{name}>");
            }
            Some(name) => {
                open.push(name);
                xml += &format!("<{name}>");
            }
            None => {
                let text = match name {
                    "Count" => "2".to_owned(),
                    "Scale" | "MsgId" | "MsgID" => rng.random_range(0..u32::MAX).to_string(),
                    _ if name.ends_with("Count") => rng.random_range(0..1000).to_string(),
                    "Location_X" | "Location_Y" | "Latitude" | "Longitude" | "Precision" => {
                        format!("{:.6}", rng.random_range(-90.0..90.0))
                    }
                    _ => words(rng),
                };
                xml += &written(rng, name, &text);
            }
        }
    }
    xml + "</xml>"
}

/// What we read in a message, under wechatpy's names.
fn ours(message: &Message) -> Value {
    let number = |text: &str| text.parse::<f64>().unwrap();
    let id = message
        .id
        .as_ref()
        .map_or(json!(0), |id| json!(id.as_str().parse::<u64>().unwrap()));
    let text = |name: &str| message.fields.lookup(name).unwrap().to_owned();
    let mut ours = match &message.body {
        Body::Text { content, .. } => json!({ "content": content }),
        Body::Image { pic_url, media_id } => json!({ "image": pic_url, "media_id": media_id }),
        Body::Voice {
            media_id,
            format,
            recognition,
            ..
        } => {
            json!({ "media_id": media_id, "format": format, "recognition": recognition })
        }
        Body::Video {
            media_id,
            thumb_media_id,
        }
        | Body::ShortVideo {
            media_id,
            thumb_media_id,
        } => {
            json!({ "media_id": media_id, "thumb_media_id": thumb_media_id })
        }
        Body::Location {
            point,
            scale,
            label,
        } => {
            let point = point.unwrap();
            assert_eq!(
                (point.latitude, point.longitude),
                (number(&text("location_x")), number(&text("location_y")))
            );
            json!({ "location_x": text("location_x"), "location_y": text("location_y"), "scale": scale.unwrap().to_string(), "label": label })
        }
        Body::Link {
            title,
            description,
            url,
        } => json!({ "title": title, "description": description, "url": url }),
        Body::MiniProgramPage {
            app_id,
            title,
            page_path,
            thumb_url,
            thumb_media_id,
        } => json!({
            "app_id": app_id, "title": title, "page_path": page_path, "thumb_url": thumb_url, "thumb_media_id": thumb_media_id,
        }),
        Body::Event(event) => of_event(event),
        other => panic!("{other:?}"),
    };
    let (to, from, created) = (&message.to, &message.from, message.created.0);
    let common =
        json!({ "type": text("msgtype"), "target": to, "source": from, "time": created, "id": id });
    for (name, value) in common.as_object().unwrap() {
        // The id of a report is that of the message it reports on.
        ours.as_object_mut()
            .unwrap()
            .entry(name)
            .or_insert_with(|| value.clone());
    }
    ours
}

fn of_event(event: &Event) -> Value {
    let number = |text: &str| text.parse::<u64>().unwrap();
    match event {
        Event::Subscribe {
            scene: None,
            ticket: None,
        } => json!({ "event": "subscribe" }),
        Event::Unsubscribe => json!({ "event": "unsubscribe" }),
        Event::Scan { scene, ticket } => {
            json!({ "event": "scan", "scene_id": scene, "ticket": ticket })
        }
        Event::Location { point, precision } => {
            let point = point.unwrap();
            json!({ "event": "location", "latitude": point.latitude, "longitude": point.longitude, "precision": precision })
        }
        Event::Click { key } => json!({ "event": "click", "key": key }),
        Event::View { url, .. } => json!({ "event": "view", "url": url }),
        Event::ScanCodeWaitMsg(scan) => {
            json!({ "event": "scancode_waitmsg", "key": scan.key, "scan_type": scan.scan_type, "scan_result": scan.result })
        }
        Event::PicWeixin(pictures) => {
            let items: Vec<Value> = pictures
                .md5
                .iter()
                .map(|md5| json!({ "PicMd5Sum": md5 }))
                .collect();
            json!({ "event": "pic_weixin", "key": pictures.key, "count": pictures.count, "pictures": items })
        }
        Event::LocationSelect {
            key,
            scale,
            label,
            poi_name,
            point: Some(_),
        } => json!({
            "event": "location_select", "key": key, "scale": scale.unwrap().to_string(), "label": label, "poiname": poi_name,
        }),
        Event::TemplateSendJobFinish { msg_id, .. } => {
            json!({ "event": "templatesendjobfinish", "id": number(msg_id) })
        }
        Event::MassSendJobFinish(report) => json!({
            "event": "masssendjobfinish", "id": number(&report.msg_id), "status": report.status, "total_count": report.total,
            "filter_count": report.filtered, "sent_count": report.sent, "error_count": report.failed,
        }),
        other => panic!("{other:?}"),
    }
}

#[test]
fn wechatpy_and_we_read_the_same_message() {
    let Some(wechatpy) = wechatpy() else { return };
    let mut rng = rng();
    let pushes: Vec<String> = (0..8)
        .flat_map(|_| KINDS)
        .map(|(kind, elements)| push(&mut rng, kind, elements))
        .collect();
    let messages: Vec<Message> = pushes
        .iter()
        .map(|xml| Message::parse(xml.as_bytes()).unwrap_or_else(|error| panic!("{error}: {xml}")))
        .collect();
    let expected: Vec<Value> = messages.iter().map(ours).collect();
    let names = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    let ask = |(xml, ours): (&String, &Value)| {
        question("message", json!({ "xml": xml, "names": names(ours) }))
    };
    let theirs = wechatpy.answers(&pushes.iter().zip(&expected).map(ask).collect::<Vec<_>>());
    let trees = wechatpy.answers(
        &pushes
            .iter()
            .map(|xml| question("tree", json!({ "xml": xml })))
            .collect::<Vec<_>>(),
    );
    for (at, xml) in pushes.iter().enumerate() {
        assert_eq!(expected[at], theirs[at], "{xml}");
        assert_eq!(tree(&messages[at].fields), trees[at], "{xml}");
    }
}

fn tree(fields: &Fields) -> Value {
    serde_json::from_str(&fields.to_json()).unwrap()
}

#[test]
fn what_we_reply_wechatpy_reads() {
    let Some(wechatpy) = wechatpy() else { return };
    let mut rng = rng();
    let asked = push(&mut rng, "event:CLICK", "EventKey");
    let asked = Message::parse(asked.as_bytes()).unwrap();
    let mut pairs = Vec::new();
    for _ in 0..8 {
        let [a, b, c, d, e] = std::array::from_fn(|_| words(&mut rng));
        let video = Reply::Video {
            media_id: a.clone(),
            title: Some(b.clone()),
            description: Some(c.clone()),
        };
        let music = Music {
            title: Some(a.clone()),
            description: Some(b.clone()),
            url: Some(c.clone()),
            hq_url: Some(d.clone()),
            thumb_media_id: e.clone(),
        };
        let article = |title: &str| Article {
            title: title.to_owned(),
            description: b.clone(),
            pic_url: c.clone(),
            url: d.clone(),
        };
        let item = |title: &str| json!({ "title": title, "description": b, "image": c, "url": d });
        pairs.extend([
            (Reply::Text { content: a.clone() }, json!({ "type": "text", "content": a })),
            (Reply::Image { media_id: a.clone() }, json!({ "type": "image", "media_id": a })),
            (Reply::Voice { media_id: a.clone() }, json!({ "type": "voice", "media_id": a })),
            (video, json!({ "type": "video", "media_id": a, "title": b, "description": c })),
            (
                Reply::Music(music),
                json!({ "type": "music", "title": a, "description": b, "music_url": c, "hq_music_url": d, "thumb_media_id": e }),
            ),
            // Two articles, because wechatpy itself cannot read one.
            (Reply::News(vec![article(&a), article(&e)]), json!({ "type": "news", "articles": [item(&a), item(&e)] })),
            (Reply::TransferCustomerService { account: None }, json!({ "type": "transfer_customer_service" })),
        ]);
    }
    let ask = |(reply, meant): &(Reply, Value)| {
        let names: Vec<_> = ["source", "target", "time"]
            .into_iter()
            .map(str::to_owned)
            .chain(meant.as_object().unwrap().keys().cloned())
            .collect();
        question(
            "reply",
            json!({ "xml": reply.to_xml(&asked, NOW).unwrap(), "names": names }),
        )
    };
    let answers = wechatpy.answers(&pairs.iter().map(ask).collect::<Vec<_>>());
    for ((reply, mut meant), read) in pairs.into_iter().zip(answers) {
        let common = json!({ "source": asked.to, "target": asked.from, "time": NOW.0 });
        meant
            .as_object_mut()
            .unwrap()
            .extend(common.as_object().unwrap().clone());
        assert_eq!(meant, read, "{reply:?}");
    }
}

/// A wechatpy server, killed on drop.
struct Behind(Child);

impl Drop for Behind {
    fn drop(&mut self) {
        // Both fail only if it has exited already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn a_wechatpy_back_end_works_unchanged() {
    let Some(wechatpy) = wechatpy() else { return };
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/wechatpy/backend.py");
    let mut child = Behind(
        wechatpy
            .python(&[script, deliveries::TOKEN])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap(),
    );
    let mut port = String::new();
    std::io::BufReader::new(child.0.stdout.take().unwrap())
        .read_line(&mut port)
        .unwrap();
    let rules = json!([{ "on": "*", "forward": format!("http://127.0.0.1:{}/", port.trim()) }]);
    let settings =
        json!({ "aesKey": deliveries::AES_KEY, "mode": "compatible", "messages": rules });
    let app = TestApp::with(messages::with(settings)).await;
    let (query, body) = deliveries::sealed(&deliveries::text("你好 <&>", 1), app::APP, "n-1");
    let answer = deliveries::deliver(&app, "/wechat", &query, &body).await;
    assert_eq!(
        deliveries::content(&deliveries::opened(&answer, app::APP)),
        "wechatpy heard 你好 <&> from oUser"
    );
}
