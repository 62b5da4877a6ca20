//! The common SDK calls besides tokens, tickets and messages: media, mini-programs, menus, codes,
//! quotas, WeCom's messages. One row per path. All are counted, recorded and subject to faults like
//! the others.

use actix_web::http::Method;
use actix_web::web::{self, Data, Payload, ServiceConfig};
use actix_web::{HttpRequest, HttpResponse};
use serde_json::{Value, json};

use super::arrivals::Received;
use super::exchange::{finish, meet, refused, scripted};
use super::media::{self, Media, PICTURE};
use super::probe::{owner, parameter};
use super::refusal::Refusal;
use super::world::World;
use super::{Sandbox, mint};

/// The method of a call and how it is authenticated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Asked {
    Get,
    Post,
    /// By a program without a token.
    Openly,
}

/// A call to one of these paths.
struct Call<'a> {
    app_id: String,
    request: &'a HttpRequest,
    received: &'a Received,
}

/// A successful answer.
enum Answer {
    Json(Value),
    File(String, Media),
}

type Act = fn(&mut World, &Call<'_>) -> Result<Answer, Refusal>;

/// Every path, its method and its handler.
const ROWS: [(&str, Asked, Act); 23] = [
    ("/cgi-bin/get_api_domain_ip", Asked::Get, |_, _| {
        done(json!({"ip_list": ["192.0.2.20"]}))
    }),
    ("/cgi-bin/callback/check", Asked::Post, |_, call| {
        need(&call.json()?, "action")?;
        done(json!({
            "dns": [{"ip": "192.0.2.30", "real_operator": "UNICOM"}],
            "ping": [{"ip": "192.0.2.30", "from_operator": "UNICOM", "package_loss": "0%", "time": "23.079ms"}],
        }))
    }),
    ("/cgi-bin/media/upload", Asked::Post, upload),
    ("/cgi-bin/media/uploadimg", Asked::Post, |_, call| {
        media::uploaded(call.request, &call.received.bytes, "image")?;
        done(json!({"url": format!("http://mmbiz.qpic.cn/mmbiz_jpg/{}/0", mint::code())}))
    }),
    ("/cgi-bin/media/get", Asked::Get, download),
    ("/wxa/getwxacodeunlimit", Asked::Post, |_, call| {
        need(&call.json()?, "scene")?;
        picture()
    }),
    ("/wxa/getwxacode", Asked::Post, |_, call| {
        need(&call.json()?, "path")?;
        picture()
    }),
    ("/cgi-bin/showqrcode", Asked::Openly, |_, call| {
        if parameter(call.request, "ticket").is_empty() {
            Err(Refusal::BAD_ARGUMENT)
        } else {
            picture()
        }
    }),
    ("/cgi-bin/qrcode/create", Asked::Post, |_, call| {
        need(&call.json()?, "action_name")?;
        done(
            json!({"ticket": mint::ticket(), "expire_seconds": 60, "url": format!("http://weixin.qq.com/q/{}", mint::code())}),
        )
    }),
    ("/sns/jscode2session", Asked::Openly, session),
    (
        "/wxa/business/getuserphonenumber",
        Asked::Post,
        |world, call| {
            need(&call.json()?, "code")?;
            let watermark =
                json!({"timestamp": world.time.now().seconds().0, "appid": call.app_id});
            done(json!({"errcode": 0, "errmsg": "ok", "phone_info": {
                "phoneNumber": "13800138000", "purePhoneNumber": "13800138000", "countryCode": "86", "watermark": watermark,
            }}))
        },
    ),
    ("/cgi-bin/message/subscribe/send", Asked::Post, |_, call| {
        let message = call.json()?;
        need(&message, "touser").map_err(|_| Refusal::WRONG_OPENID)?;
        need(&message, "template_id").map_err(|_| Refusal::BAD_TEMPLATE)?;
        done(json!({"errcode": 0, "errmsg": "ok", "msgid": 200_228_331}))
    }),
    ("/cgi-bin/message/mass/sendall", Asked::Post, |_, call| {
        call.json()?;
        done(
            json!({"errcode": 0, "errmsg": "send job submission success", "msg_id": 34_182, "msg_data_id": 206_227_730}),
        )
    }),
    ("/cgi-bin/message/send", Asked::Post, |_, call| {
        let message = call.json()?;
        need(&message, "msgtype").map_err(|_| Refusal::BAD_MESSAGE_TYPE)?;
        done(json!({"errcode": 0, "errmsg": "ok", "invaliduser": "", "msgid": mint::code()}))
    }),
    ("/cgi-bin/menu/create", Asked::Post, |world, call| {
        let menu = call.json()?;
        world.kept.menus.insert(call.app_id.clone(), menu);
        done(ok())
    }),
    ("/cgi-bin/menu/get", Asked::Get, |world, call| {
        match world.kept.menus.get(&call.app_id) {
            Some(menu) => done(json!({"menu": menu})),
            None => Err(Refusal::NO_MENU),
        }
    }),
    ("/cgi-bin/menu/delete", Asked::Get, |world, call| {
        world.kept.menus.remove(&call.app_id);
        done(ok())
    }),
    ("/cgi-bin/user/get", Asked::Get, |_, _| {
        done(json!({"total": 0, "count": 0, "next_openid": ""}))
    }),
    ("/cgi-bin/openapi/quota/get", Asked::Post, |_, call| {
        need(&call.json()?, "cgi_path")?;
        done(
            json!({"errcode": 0, "errmsg": "ok", "quota": {"daily_limit": 10_000, "used": 1, "remain": 9_999}}),
        )
    }),
    // Returns the address of an earlier call, including its token, as WeChat does.
    ("/cgi-bin/openapi/rid/get", Asked::Post, |world, call| {
        need(&call.json()?, "rid")?;
        let address = call.request.query_string().to_owned();
        let request = json!({
            "invoke_time": world.time.now().seconds().0, "cost_in_ms": 30, "request_url": address, "request_body": "",
            "response_body": "", "client_ip": "203.0.113.7",
        });
        done(json!({"errcode": 0, "errmsg": "ok", "request": request}))
    }),
    ("/cgi-bin/clear_quota", Asked::Post, |_, call| {
        need(&call.json()?, "appid")?;
        done(ok())
    }),
    ("/cgi-bin/clear_quota/v2", Asked::Openly, |world, call| {
        let named = |name: &str| {
            let written = parameter(call.request, name);
            if written.is_empty() {
                call.json()
                    .ok()
                    .and_then(|body| body[name].as_str().map(str::to_owned))
                    .unwrap_or_default()
            } else {
                written
            }
        };
        world.login(&named("appid"), &named("appsecret"))?;
        done(ok())
    }),
    // For third-party platforms only: every other token is refused as invalid.
    ("/cgi-bin/account/fastregister", Asked::Post, |_, _| {
        Err(Refusal::NOT_LATEST)
    }),
];

/// The paths.
pub(super) fn paths() -> impl Iterator<Item = &'static str> {
    ROWS.iter().map(|(path, _, _)| *path)
}

/// Adds the routes.
pub(super) fn routes(config: &mut ServiceConfig) {
    for (path, asked, act) in ROWS {
        let handler = move |sandbox: Data<Sandbox>, request: HttpRequest, payload: Payload| async move {
            respond(&sandbox, &request, payload, asked, act).await
        };
        config.route(path, web::to(handler));
    }
}

async fn respond(
    sandbox: &Sandbox,
    request: &HttpRequest,
    payload: Payload,
    asked: Asked,
    act: Act,
) -> HttpResponse {
    let received = Received::read(payload).await;
    let token = parameter(request, "access_token");
    let named = if asked == Asked::Openly {
        parameter(request, "appid")
    } else {
        owner(sandbox, &token)
    };
    let effect = match meet(sandbox, request, &named, &received).await {
        Ok(effect) => effect,
        Err(spoiled) => return spoiled,
    };
    let result = match scripted(&effect) {
        Some(refusal) => Err(refusal),
        None if !received.whole => Err(Refusal::BAD_BODY),
        None => perform(
            &mut sandbox.state().world,
            request,
            &received,
            &token,
            named,
            (asked, act),
        ),
    };
    match result {
        Ok(Answer::Json(body)) => finish(body, &effect),
        Ok(Answer::File(name, media)) => {
            let status = effect
                .status
                .and_then(|status| status.try_into().ok())
                .unwrap_or(actix_web::http::StatusCode::OK);
            if effect.half_body {
                return super::exchange::half(media.bytes, &media.content_type);
            }
            media::send(request, &media.content_type, &name, media.bytes, status)
        }
        Err(refusal) => finish(refused(sandbox, &refusal), &effect),
    }
}

fn perform(
    world: &mut World,
    request: &HttpRequest,
    received: &Received,
    token: &str,
    named: String,
    (asked, act): (Asked, Act),
) -> Result<Answer, Refusal> {
    let app_id = match asked {
        Asked::Openly => named,
        _ => world.admit(token)?.to_owned(),
    };
    match asked {
        Asked::Get if request.method() != Method::GET => return Err(Refusal::GET_ONLY),
        Asked::Post if request.method() != Method::POST => return Err(Refusal::POST_ONLY),
        _ => {}
    }
    act(
        world,
        &Call {
            app_id,
            request,
            received,
        },
    )
}

impl Call<'_> {
    /// Parses the body as a JSON object, regardless of its content type, which some SDKs omit.
    fn json(&self) -> Result<Value, Refusal> {
        if self.received.bytes.is_empty() {
            return Err(Refusal::EMPTY_BODY);
        }
        serde_json::from_slice(&self.received.bytes)
            .ok()
            .filter(Value::is_object)
            .ok_or(Refusal::BAD_BODY)
    }
}

fn done(body: Value) -> Result<Answer, Refusal> {
    Ok(Answer::Json(body))
}

fn ok() -> Value {
    json!({"errcode": 0, "errmsg": "ok"})
}

fn need(body: &Value, name: &str) -> Result<(), Refusal> {
    if body[name].as_str().is_some_and(|text| !text.is_empty()) {
        Ok(())
    } else {
        Err(Refusal::bad_element(name))
    }
}

fn picture() -> Result<Answer, Refusal> {
    let media = Media {
        kind: "image".to_owned(),
        content_type: "image/png".to_owned(),
        name: String::new(),
        bytes: PICTURE.into(),
    };
    Ok(Answer::File("qrcode.png".to_owned(), media))
}

fn upload(world: &mut World, call: &Call<'_>) -> Result<Answer, Refusal> {
    let kind = parameter(call.request, "type");
    if !matches!(
        kind.as_str(),
        "image" | "voice" | "video" | "thumb" | "file"
    ) {
        return Err(Refusal::BAD_MEDIA_TYPE);
    }
    let media = media::uploaded(call.request, &call.received.bytes, &kind)?;
    let id = mint::ticket();
    world.kept.media.add(&id, media);
    let name = if kind == "thumb" {
        "thumb_media_id"
    } else {
        "media_id"
    };
    let mut answer = json!({"type": kind, "created_at": world.time.now().seconds().0});
    answer[name] = id.into();
    done(answer)
}

/// A video is returned as its URL, all other media as bytes.
fn download(world: &mut World, call: &Call<'_>) -> Result<Answer, Refusal> {
    let id = parameter(call.request, "media_id");
    let media = world.kept.media.get(&id)?.clone();
    if media.kind == "video" {
        return done(json!({"video_url": format!("http://vweixinp.tc.qq.com/{id}.f10.mp4")}));
    }
    let ending = media
        .name
        .rsplit_once('.')
        .map_or("bin", |(_, ending)| ending);
    Ok(Answer::File(format!("{id}.{ending}"), media))
}

/// A mini-program's `wx.login`: every code except `invalid` logs somebody in, once.
fn session(world: &mut World, call: &Call<'_>) -> Result<Answer, Refusal> {
    let [app_id, secret, code, grant_type] =
        ["appid", "secret", "js_code", "grant_type"].map(|name| parameter(call.request, name));
    for (value, refusal) in [
        (&app_id, Refusal::NO_APPID),
        (&secret, Refusal::NO_SECRET),
        (&code, Refusal::NO_CODE),
    ] {
        if value.is_empty() {
            return Err(refusal);
        }
    }
    if grant_type != "authorization_code" {
        return Err(Refusal::BAD_GRANT_TYPE);
    }
    world.login(&app_id, &secret)?;
    let name = format!("{app_id}\0{code}");
    if code == "invalid" {
        return Err(Refusal::UNKNOWN_CODE);
    }
    if world.kept.codes.get(&name).is_some() {
        return Err(Refusal::USED_CODE);
    }
    world.kept.codes.insert(&name, ());
    done(
        json!({"openid": mint::openid(&app_id, &code), "session_key": "tiihtNczf5v6AKRyjwEUhQ==", "unionid": mint::unionid(&code)}),
    )
}
