//! Every kind of message and event as WeChat documents it, and what makes two of them one.

use super::*;

/// A push with `inside` after the three elements that all begin with.
fn push(inside: &str) -> String {
    format!(
        "<xml><ToUserName><![CDATA[gh_1]]></ToUserName>\n<FromUserName><![CDATA[o1]]></FromUserName>\n\
         <CreateTime>1348831860</CreateTime>\n{inside}</xml>"
    )
}

#[track_caller]
fn parse(inside: &str) -> Message {
    Message::parse(push(inside).as_bytes()).unwrap_or_else(|error| panic!("{error}: {inside}"))
}

#[track_caller]
fn event(inside: &str) -> Event {
    match parse(&format!("<MsgType><![CDATA[event]]></MsgType>{inside}")).body {
        Body::Event(event) => event,
        other => panic!("{other:?}"),
    }
}

fn s(text: &str) -> String {
    text.to_owned()
}

#[test]
fn the_common_elements_are_read() {
    let message = parse(
        "<MsgType>text</MsgType><Content>hi</Content><MsgId>6838218298347397120</MsgId>\
         <MsgDataId>2247483651</MsgDataId><Idx>2</Idx>",
    );
    assert_eq!((message.to.as_str(), message.from.as_str()), ("gh_1", "o1"));
    assert_eq!(message.created, UnixSeconds(1_348_831_860));
    assert_eq!(
        message.id.as_ref().map(MsgId::as_str),
        Some("6838218298347397120")
    );
    assert_eq!(
        message.article,
        Some(FromArticle {
            data_id: s("2247483651"),
            index: Some(2)
        })
    );
    assert_eq!(message.fields.lookup("content"), Some("hi"));
    assert!(!message.is_event());
}

#[test]
fn every_kind_of_message_is_read() {
    for (inside, body) in [
        (
            "<MsgType>text</MsgType><Content><![CDATA[a <b>]]></Content>",
            Body::Text {
                content: s("a <b>"),
                menu_id: None,
            },
        ),
        (
            "<MsgType>TEXT</MsgType><Content>a</Content><bizmsgmenuid>101</bizmsgmenuid>",
            Body::Text {
                content: s("a"),
                menu_id: Some(s("101")),
            },
        ),
        (
            "<MsgType>image</MsgType><PicUrl>http://p/?a&amp;b</PicUrl><MediaId>M</MediaId>",
            Body::Image {
                pic_url: s("http://p/?a&b"),
                media_id: s("M"),
            },
        ),
        (
            "<MsgType>voice</MsgType><MediaId>M</MediaId><Format>amr</Format><MediaId16K>K</MediaId16K>\
             <Recognition>你好</Recognition>",
            Body::Voice {
                media_id: s("M"),
                format: s("amr"),
                media_id_16k: Some(s("K")),
                recognition: Some(s("你好")),
            },
        ),
        (
            "<MsgType>voice</MsgType><MediaId>M</MediaId><Format>speex</Format><Recognition></Recognition>",
            Body::Voice {
                media_id: s("M"),
                format: s("speex"),
                media_id_16k: None,
                recognition: None,
            },
        ),
        (
            "<MsgType>video</MsgType><MediaId>M</MediaId><ThumbMediaId>T</ThumbMediaId>",
            Body::Video {
                media_id: s("M"),
                thumb_media_id: s("T"),
            },
        ),
        (
            "<MsgType>shortvideo</MsgType><MediaId>M</MediaId><ThumbMediaId>T</ThumbMediaId>",
            Body::ShortVideo {
                media_id: s("M"),
                thumb_media_id: s("T"),
            },
        ),
        (
            "<MsgType>location</MsgType><Location_X>23.134521</Location_X><Location_Y> -113.358803 </Location_Y><Scale>20</Scale>\
             <Label>L</Label>",
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
            "<MsgType>location</MsgType><Location_X>NaN</Location_X><Location_Y>1</Location_Y>",
            Body::Location {
                point: None,
                scale: None,
                label: s(""),
            },
        ),
        (
            "<MsgType>link</MsgType><Title>T</Title><Description>D</Description><Url>U</Url>",
            Body::Link {
                title: s("T"),
                description: s("D"),
                url: s("U"),
            },
        ),
        (
            "<MsgType>miniprogrampage</MsgType><AppId>wx1</AppId><Title>T</Title><PagePath>P</PagePath><ThumbUrl>U</ThumbUrl>\
             <ThumbMediaId>M</ThumbMediaId>",
            Body::MiniProgramPage {
                app_id: s("wx1"),
                title: s("T"),
                page_path: s("P"),
                thumb_url: s("U"),
                thumb_media_id: s("M"),
            },
        ),
        (
            "<MsgType>device_text</MsgType><Content>x</Content>",
            Body::Unknown {
                msg_type: s("device_text"),
            },
        ),
    ] {
        assert_eq!(parse(inside).body, body);
    }
}

#[test]
fn every_user_event_is_read() {
    let point = Some(Point {
        latitude: 23.137466,
        longitude: 113.352425,
    });
    let scanned = || ScanCode {
        key: s("K"),
        scan_type: s("qrcode"),
        result: s("1"),
    };
    let scan_info = "<EventKey>K</EventKey><ScanCodeInfo><ScanType>qrcode</ScanType>\n<ScanResult>1</ScanResult></ScanCodeInfo>";
    let pictures = || Pictures {
        key: s("K"),
        count: Some(2),
        md5: vec![s("5a75aaca"), s("1b5f7c23")],
    };
    let pics_info = "<EventKey>K</EventKey><SendPicsInfo><Count>2</Count><PicList><item><PicMd5Sum>5a75aaca</PicMd5Sum></item>\
                     <item><PicMd5Sum>1b5f7c23</PicMd5Sum></item></PicList></SendPicsInfo>";
    for (inside, expected) in [
        (
            "<Event>subscribe</Event>",
            Event::Subscribe {
                scene: None,
                ticket: None,
            },
        ),
        (
            "<Event>subscribe</Event><EventKey><![CDATA[]]></EventKey>",
            Event::Subscribe {
                scene: None,
                ticket: None,
            },
        ),
        (
            "<Event>subscribe</Event><EventKey>qrscene_123123</EventKey><Ticket>T</Ticket>",
            Event::Subscribe {
                scene: Some(s("123123")),
                ticket: Some(s("T")),
            },
        ),
        ("<Event>unsubscribe</Event>", Event::Unsubscribe),
        (
            "<Event>SCAN</Event><EventKey>123</EventKey><Ticket>T</Ticket>",
            Event::Scan {
                scene: s("123"),
                ticket: Some(s("T")),
            },
        ),
        (
            "<Event>LOCATION</Event><Latitude>23.137466</Latitude><Longitude>113.352425</Longitude>\
             <Precision>119.385040</Precision>",
            Event::Location {
                point,
                precision: Some(119.38504),
            },
        ),
        (
            "<Event>CLICK</Event><EventKey>K</EventKey>",
            Event::Click { key: s("K") },
        ),
        (
            "<Event>VIEW</Event><EventKey>http://u/?a=b</EventKey><MenuId>4</MenuId>",
            Event::View {
                url: s("http://u/?a=b"),
                menu_id: Some(s("4")),
            },
        ),
        (
            "<Event>view_miniprogram</Event><EventKey>pages/index</EventKey>",
            Event::ViewMiniProgram {
                path: s("pages/index"),
                menu_id: None,
            },
        ),
        (
            &format!("<Event>scancode_push</Event>{scan_info}"),
            Event::ScanCodePush(scanned()),
        ),
        (
            &format!("<Event>scancode_waitmsg</Event>{scan_info}"),
            Event::ScanCodeWaitMsg(scanned()),
        ),
        (
            &format!("<Event>pic_sysphoto</Event>{pics_info}"),
            Event::PicSysPhoto(pictures()),
        ),
        (
            &format!("<Event>pic_photo_or_album</Event>{pics_info}"),
            Event::PicPhotoOrAlbum(pictures()),
        ),
        (
            &format!("<Event>pic_weixin</Event>{pics_info}"),
            Event::PicWeixin(pictures()),
        ),
        (
            "<Event>location_select</Event><EventKey>6</EventKey><SendLocationInfo><Location_X>23.137466</Location_X>\
             <Location_Y>113.352425</Location_Y><Scale>15</Scale><Label>L</Label><Poiname/></SendLocationInfo>",
            Event::LocationSelect {
                key: s("6"),
                point,
                scale: Some(15),
                label: s("L"),
                poi_name: s(""),
            },
        ),
        (
            "<Event>user_enter_tempsession</Event><SessionFrom>x</SessionFrom>",
            Event::Unknown {
                name: s("user_enter_tempsession"),
            },
        ),
        ("", Event::Unknown { name: s("") }),
    ] {
        assert_eq!(event(inside), expected, "{inside}");
    }
}

#[test]
fn every_report_event_is_read() {
    for (status, outcome) in [
        ("success", TemplateOutcome::Delivered),
        ("failed:user block", TemplateOutcome::Blocked),
        ("failed: user block", TemplateOutcome::Blocked),
        ("failed: system failed", TemplateOutcome::SystemFailed),
        ("failed:system failed", TemplateOutcome::SystemFailed),
        ("Failed: other", TemplateOutcome::Other(s("Failed: other"))),
    ] {
        let inside = format!(
            "<Event>TEMPLATESENDJOBFINISH</Event><MsgID>200163836</MsgID><Status>{status}</Status>"
        );
        assert_eq!(
            event(&inside),
            Event::TemplateSendJobFinish {
                msg_id: s("200163836"),
                outcome
            }
        );
    }

    let Event::MassSendJobFinish(report) = event(
        "<Event>MASSSENDJOBFINISH</Event><MsgID>1000001625</MsgID><Status>err(30003)</Status><TotalCount>4</TotalCount>\
         <FilterCount>3</FilterCount><SentCount>2</SentCount><ErrorCount>1</ErrorCount><CopyrightCheckResult><Count>2</Count>\
         <ResultList><item><ArticleIdx>1</ArticleIdx><AuditState>2</AuditState></item>\
         <item><ArticleIdx>2</ArticleIdx></item></ResultList>\
         <CheckState>2</CheckState></CopyrightCheckResult><ArticleUrlResult><Count>1</Count><ResultList><item>\
         <ArticleIdx>1</ArticleIdx><ArticleUrl>U</ArticleUrl></item></ResultList></ArticleUrlResult>",
    ) else {
        panic!("another event")
    };
    let copyright = report.copyright.as_ref().expect("a check");
    assert_eq!((copyright.state, copyright.items.len()), (Some(2), 2));
    assert_eq!(copyright.items[0].text("AuditState"), Some("2"));
    let expected = MassSendReport {
        msg_id: s("1000001625"),
        status: s("err(30003)"),
        total: Some(4),
        filtered: Some(3),
        sent: Some(2),
        failed: Some(1),
        copyright: report.copyright.clone(),
        articles: vec![ArticleUrl {
            index: Some(1),
            url: s("U"),
        }],
    };
    assert_eq!(*report, expected);

    let published = event(
        "<Event>PUBLISHJOBFINISH</Event><PublishEventInfo><publish_id>2247503051</publish_id><publish_status>2</publish_status>\
         <article_id>b5O2</article_id><article_detail><count>1</count>\
         <item><idx>1</idx><article_url>U</article_url></item></article_detail>\
         <fail_idx>1</fail_idx><fail_idx>2</fail_idx></PublishEventInfo>",
    );
    let expected = PublishReport {
        publish_id: s("2247503051"),
        status: Some(2),
        article_id: Some(s("b5O2")),
        articles: vec![ArticleUrl {
            index: Some(1),
            url: s("U"),
        }],
        failed: vec![1, 2],
    };
    assert_eq!(published, Event::PublishJobFinish(Box::new(expected)));
}

#[test]
fn every_subscription_event_is_read() {
    let asked = |id: &str, answer: &str, scene: Option<&str>| SubscribeMessage {
        template_id: s(id),
        answer: Some(s(answer)),
        popup_scene: scene.map(s),
        msg_id: None,
        error_code: None,
        error_status: None,
    };
    let popup = event(
        "<Event>subscribe_msg_popup_event</Event><SubscribeMsgPopupEvent>\
         <List><TemplateId>A</TemplateId><SubscribeStatusString>accept</SubscribeStatusString><PopupScene>2</PopupScene></List>\
         <List><TemplateId>B</TemplateId><SubscribeStatusString>reject</SubscribeStatusString><PopupScene>2</PopupScene></List>\
         </SubscribeMsgPopupEvent>",
    );
    assert_eq!(
        popup,
        Event::SubscribeMsgPopup(vec![
            asked("A", "accept", Some("2")),
            asked("B", "reject", Some("2"))
        ])
    );
    let change = event(
        "<Event>subscribe_msg_change_event</Event><SubscribeMsgChangeEvent><List><TemplateId>A</TemplateId>\
         <SubscribeStatusString>reject</SubscribeStatusString></List></SubscribeMsgChangeEvent>",
    );
    assert_eq!(
        change,
        Event::SubscribeMsgChange(vec![asked("A", "reject", None)])
    );
    let sent = event(
        "<Event>subscribe_msg_sent_event</Event><SubscribeMsgSentEvent><List>\
         <TemplateId>A</TemplateId><MsgID>1700827132819554304</MsgID>\
         <ErrorCode>0</ErrorCode><ErrorStatus>success</ErrorStatus></List></SubscribeMsgSentEvent>",
    );
    let expected = SubscribeMessage {
        template_id: s("A"),
        answer: None,
        popup_scene: None,
        msg_id: Some(s("1700827132819554304")),
        error_code: Some(s("0")),
        error_status: Some(s("success")),
    };
    assert_eq!(sent, Event::SubscribeMsgSent(vec![expected]));
}

#[test]
fn an_unknown_kind_keeps_all_its_fields() {
    let message = parse("<MsgType>novel</MsgType><A><B>1</B><B>2</B></A>");
    assert_eq!(
        message.fields.to_json(),
        r#"{"ToUserName":"gh_1","FromUserName":"o1","CreateTime":"1348831860","MsgType":"novel","A":{"B":["1","2"]}}"#
    );
}

#[test]
fn the_common_elements_may_not_repeat() {
    let whole = push("<MsgType>text</MsgType><Content>secret words</Content><MsgId>1</MsgId>");
    for name in ["ToUserName", "FromUserName", "CreateTime", "MsgType"] {
        let twice = whole.replace("</xml>", &format!("<{name}>1</{name}></xml>"));
        let error = Message::parse(twice.as_bytes()).expect_err("two of them");
        assert_eq!(error, MessageError::Repeated(name));
        assert_eq!(
            error.to_string(),
            format!("the message has more than one {name}")
        );
        let listed = format!(r#"{{"{name}":["a","b"]}}"#);
        assert_eq!(
            Message::parse(listed.as_bytes()),
            Err(MessageError::Repeated(name))
        );
        let json_twice = format!(r#"{{"{name}":"a","{name}":"b"}}"#);
        assert_eq!(
            Message::parse(json_twice.as_bytes()),
            Err(MessageError::Repeated(name))
        );
    }
    assert_eq!(
        Message::parse(
            whole
                .replace("</Content>", "</Content><Content>x</Content>")
                .as_bytes()
        )
        .map(|_| ()),
        Ok(())
    );
}

#[test]
fn a_push_without_sender_recipient_or_type_is_a_message() {
    let whole = push("<MsgType>text</MsgType><Content>x</Content>");
    for (name, empty) in [
        ("ToUserName", false),
        ("FromUserName", false),
        ("ToUserName", true),
        ("FromUserName", true),
    ] {
        let without = whole
            .replace(&format!("<{name}>"), "<X>")
            .replace(&format!("</{name}>"), "</X>");
        let blank = without.replace("</xml>", &format!("<{name}> </{name}></xml>"));
        let message =
            Message::parse(if empty { blank } else { without }.as_bytes()).expect("a message");
        assert!(
            !message.can_be_answered() && matches!(message.body, Body::Text { .. }),
            "{name}"
        );
    }
    let of = |body: &str| Message::parse(body.as_bytes()).expect("a message").body;
    let info = Body::Info {
        name: s("component_verify_ticket"),
    };
    assert_eq!(
        of("<xml><AppId>wx1</AppId><InfoType><![CDATA[component_verify_ticket]]></InfoType></xml>"),
        info
    );
    assert_eq!(
        of(r#"{"AppId":"wx1","InfoType":"component_verify_ticket"}"#),
        info
    );
    assert_eq!(
        of("<xml><Event>CLICK</Event><EventKey>K</EventKey></xml>"),
        Body::Event(Event::Click { key: s("K") })
    );
    assert_eq!(
        of("<xml><AppId>wx1</AppId></xml>"),
        Body::Unknown { msg_type: s("") }
    );
}

#[test]
fn a_date_is_read_in_every_notation() {
    let created = |text: &str| {
        let body = push("<MsgType>text</MsgType>").replace("1348831860", text);
        Message::parse(body.as_bytes())
            .expect("a message")
            .created
            .0
    };
    for (text, meant) in [
        (" 7 ", 7),
        ("1700000000.123", 1_700_000_000),
        ("1.7e9", 1_700_000_000),
    ] {
        assert_eq!(created(text), meant, "{text}");
    }
    for text in [
        "",
        "x",
        "-1",
        "NaN",
        "inf",
        "99999999999999999999",
        "2026-01-02T03:04:05Z",
    ] {
        assert_eq!(created(text), 0, "{text}");
    }
}

#[test]
fn a_message_in_json_is_the_same_value() {
    let head = r#""ToUserName":"gh_1","FromUserName":"o1","CreateTime":1348831860"#;
    let parse = |inside: &str| {
        let message = Message::parse(format!("{{{head},{inside}}}").as_bytes());
        message.unwrap_or_else(|error| panic!("{error}: {inside}"))
    };
    let text = parse(r#""MsgType":"text","Content":"你\u597d","MsgId":6838218298347397121"#);
    assert_eq!(
        (
            text.to.as_str(),
            text.from.as_str(),
            text.created.0,
            text.form
        ),
        ("gh_1", "o1", 1_348_831_860, Form::Json)
    );
    assert_eq!(
        text.id.as_ref().map(MsgId::as_str),
        Some("6838218298347397121"),
        "beyond what a float holds"
    );
    assert_eq!(
        text.body,
        Body::Text {
            content: s("你好"),
            menu_id: None
        }
    );
    assert_eq!(
        parse(r#""MsgType":"location","Location_X":23.134521,"Location_Y":"-113.358803","Scale":20,"Label":null"#).body,
        Body::Location { point: Some(Point { latitude: 23.134521, longitude: -113.358803 }), scale: Some(20), label: s("") }
    );
    let pictures = || {
        Event::PicWeixin(Pictures {
            key: s("K"),
            count: Some(2),
            md5: vec![s("a"), s("b")],
        })
    };
    for list in [
        r#"{"item":[{"PicMd5Sum":"a"},{"PicMd5Sum":"b"}]}"#,
        r#"[{"PicMd5Sum":"a"},{"PicMd5Sum":"b"}]"#,
        r#"[{"item":{"PicMd5Sum":"a"}},{"item":{"PicMd5Sum":"b"}}]"#,
    ] {
        let event = format!(
            r#""MsgType":"event","Event":"pic_weixin","EventKey":"K","SendPicsInfo":{{"Count":2,"PicList":{list}}}"#
        );
        assert_eq!(parse(&event).body, Body::Event(pictures()), "{list}");
    }
}

#[test]
fn subscription_events_are_read_from_json() {
    let ids = |inside: &str| {
        let body = format!(r#"{{"MsgType":"event",{inside}}}"#);
        match Message::parse(body.as_bytes()).expect("a message").body {
            Body::Event(
                Event::SubscribeMsgPopup(list)
                | Event::SubscribeMsgChange(list)
                | Event::SubscribeMsgSent(list),
            ) => list
                .into_iter()
                .map(|message| message.template_id)
                .collect::<Vec<_>>(),
            other => panic!("{other:?}"),
        }
    };
    for (name, container) in [
        ("subscribe_msg_popup_event", "SubscribeMsgPopupEvent"),
        ("subscribe_msg_change_event", "SubscribeMsgChangeEvent"),
        ("subscribe_msg_sent_event", "SubscribeMsgSentEvent"),
    ] {
        let one = r#"{"TemplateId":"A","SubscribeStatusString":"accept"}"#;
        let two = r#"[{"TemplateId":"A"},{"TemplateId":"B"}]"#;
        for list in [
            format!(r#""Event":"{name}","List":{one}"#),
            format!(r#""Event":"{name}","List":[{one}]"#),
            format!(r#""Event":"{name}","{container}":{{"List":{one}}}"#),
            format!(r#""Event":"{name}","{container}":[{one}]"#),
        ] {
            assert_eq!(ids(&list), ["A"], "{list}");
        }
        for list in [
            format!(r#""Event":"{name}","List":{two}"#),
            format!(r#""Event":"{name}","{container}":{{"List":{two}}}"#),
            format!(r#""Event":"{name}","{container}":{two}"#),
        ] {
            assert_eq!(ids(&list), ["A", "B"], "{list}");
        }
    }
}

#[test]
fn only_a_repeated_delivery_has_the_same_key() {
    let key = |inside: &str| parse(inside).dedup_key();
    let text = |id: &str| format!("<MsgType>text</MsgType><Content>a</Content><MsgId>{id}</MsgId>");
    let click = |key: &str| {
        format!("<MsgType>event</MsgType><Event>CLICK</Event><EventKey>{key}</EventKey>")
    };
    let finish = |id: &str| {
        format!("<MsgType>event</MsgType><Event>TEMPLATESENDJOBFINISH</Event><MsgID>{id}</MsgID>")
    };
    let check = |trace: &str| {
        format!(
            "<MsgType>event</MsgType><Event>wxa_media_check</Event><trace_id>{trace}</trace_id>"
        )
    };
    let card = |code: &str| {
        format!(
            "<MsgType>event</MsgType><Event>user_get_card</Event><UserCardCode>{code}</UserCardCode>"
        )
    };
    let sent = |id: &str| {
        format!(
            "<MsgType>event</MsgType><Event>subscribe_msg_sent_event</Event>\
             <SubscribeMsgSentEvent><List><TemplateId>A</TemplateId><MsgID>{id}</MsgID></List></SubscribeMsgSentEvent>"
        )
    };
    for inside in [text("1"), click("a"), finish("1"), check("T1"), sent("1")] {
        assert_eq!(key(&inside), key(&inside.replace("><", ">\n<")));
        let cdata = inside
            .replace("<MsgType>event<", "<MsgType><![CDATA[event]]><")
            .replace("<Event>CLICK<", "<Event><![CDATA[CLICK]]><");
        assert_eq!(key(&inside), key(&cdata));
    }
    assert_eq!(
        key("<MsgType>a</MsgType><B>1</B><C>2</C>"),
        key("<C>2</C><B>1</B><MsgType>a</MsgType>"),
        "names in another order"
    );
    let json = |text: &str| {
        Message::parse(text.as_bytes())
            .expect("a message")
            .dedup_key()
    };
    assert_eq!(
        json(r#"{"Event":"E","List":[{"Id":1}]}"#),
        json("{ \"List\" : [ {\"Id\":1} ],\n\"Event\":\"\\u0045\" }")
    );
    let mut keys = vec![
        key(&text("1")),
        key(&text("2")),
        key(&text("1").replace(">a<", ">b<")),
        key(&click("a")),
        key(&click("b")),
        key(&click("a").replace("CLICK", "VIEW")),
        key("<MsgType>event</MsgType><Event>CLICKa</Event><EventKey></EventKey>"),
        key(&finish("1")),
        key(&finish("2")),
        key(&check("T1")),
        key(&check("T2")),
        key(&card("1")),
        key(&card("2")),
        key(&sent("1")),
        key(&sent("2")),
        key(&sent("1").replace("</List>", "</List><List><MsgID>2</MsgID></List>")),
        key("<A><B>1</B></A><C>2</C>"),
        key("<A><B>1</B><C>2</C></A>"),
        key("<A>1</A><A>2</A>"),
        key("<A>2</A><A>1</A>"),
        key("<A>1</A>"),
        json(r#"{"Event":"E","trace_id":"T1"}"#),
        json(r#"{"Event":"E","trace_id":"T2"}"#),
        json(r#"{"Event":"E","detail":[{"label":1},{"label":2}]}"#),
        json(r#"{"Event":"E","detail":[{"label":2},{"label":1}]}"#),
        json(r#"{"Event":"E","n":9007199254740993}"#),
        json(r#"{"Event":"E","n":9007199254740992}"#),
        Message::parse(b"<xml><Event>E</Event></xml>")
            .expect("a message")
            .dedup_key(),
        json(r#"{"Event":"E"}"#),
    ];
    for (from, to) in [("o1", "o2"), ("gh_1", "gh_2"), ("1348831860", "1348831861")] {
        let other = push(&click("a")).replace(from, to);
        keys.push(
            Message::parse(other.as_bytes())
                .expect("a message")
                .dedup_key(),
        );
    }
    let count = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), count);
    assert!(
        keys.iter().all(|key| key.len() == 64),
        "a long EventKey makes no long key"
    );
}
