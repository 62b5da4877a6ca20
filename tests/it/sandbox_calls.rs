//! The sandbox's common calls: media, mini-programs, menus, codes, WeCom's messages; and the record
//! of requests.

use sandbox::{Fault, Sandbox, SandboxOptions};
use serde_json::{Value, json};

const APP: &str = "wxdemo0000000001";
const SECRET: &str = "demo-app-secret";

struct Bench {
    sandbox: Sandbox,
    client: reqwest::Client,
    token: String,
    _running: sandbox::RunningSandbox,
}

impl Bench {
    async fn start() -> Self {
        rustls::crypto::ring::default_provider()
            .install_default()
            .ok();
        let accounts = vec![(APP.to_owned(), SECRET.to_owned())];
        let options = SandboxOptions {
            accounts,
            ..SandboxOptions::default()
        };
        let (sandbox, running) = Sandbox::start(([127, 0, 0, 1], 0).into(), options)
            .await
            .unwrap();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let mut bench = Self {
            sandbox,
            client,
            token: String::new(),
            _running: running,
        };
        let path =
            format!("/cgi-bin/token?grant_type=client_credential&appid={APP}&secret={SECRET}");
        bench.token = bench
            .json(bench.client.get(bench.sandbox.url() + &path))
            .await["access_token"]
            .as_str()
            .unwrap()
            .to_owned();
        bench
    }

    fn at(&self, path: &str) -> String {
        let mark = if path.contains('?') { '&' } else { '?' };
        format!(
            "{}{path}{mark}access_token={}",
            self.sandbox.url(),
            self.token
        )
    }

    async fn json(&self, request: reqwest::RequestBuilder) -> Value {
        serde_json::from_str(&request.send().await.unwrap().text().await.unwrap()).unwrap()
    }

    async fn get(&self, path: &str) -> Value {
        self.json(self.client.get(self.at(path))).await
    }

    async fn post(&self, path: &str, body: Value) -> Value {
        self.json(self.client.post(self.at(path)).body(body.to_string()))
            .await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_comes_back_byte_for_byte() {
    let bench = Bench::start().await;
    let bytes: Vec<u8> = (0..300_000_u32)
        .map(|number| (number % 251) as u8)
        .collect();
    let head = "--B1\r\nContent-Disposition: form-data; name=\"note\"\r\n\r\n--not the boundary\r\n\
                --B1\r\nContent-Disposition: form-data; name=\"media\"; filename=\"图 1.jpg\"\r\nContent-Type: image/jpeg\r\n\r\n";
    let form = [head.as_bytes(), &bytes, b"\r\n--B1--\r\n"].concat();
    let upload = |kind: &str| {
        let request = bench
            .client
            .post(bench.at(&format!("/cgi-bin/media/upload?type={kind}")));
        request
            .header("content-type", "multipart/form-data; boundary=B1")
            .body(form.clone())
    };
    let media = bench.json(upload("image")).await;
    assert_eq!(media["type"], "image", "{media}");
    let path = format!(
        "/cgi-bin/media/get?media_id={}",
        media["media_id"].as_str().unwrap()
    );
    let answer = bench.client.get(bench.at(&path)).send().await.unwrap();
    let (kind, name) = (
        answer.headers()["content-type"].clone(),
        answer.headers()["content-disposition"].clone(),
    );
    assert!(
        kind == "image/jpeg" && name.to_str().unwrap().ends_with(".jpg\""),
        "{kind:?} {name:?}"
    );
    assert_eq!(answer.bytes().await.unwrap(), bytes);
    let part = bench
        .client
        .get(bench.at(&path))
        .header("range", "bytes=10-19")
        .send()
        .await
        .unwrap();
    assert_eq!(
        (
            part.status().as_u16(),
            part.headers()["content-range"].to_str().unwrap()
        ),
        (206, "bytes 10-19/300000")
    );
    assert_eq!(part.bytes().await.unwrap(), bytes[10..20]);

    let video = bench.json(upload("video")).await;
    let video = bench
        .get(&format!(
            "/cgi-bin/media/get?media_id={}",
            video["media_id"].as_str().unwrap()
        ))
        .await;
    assert!(
        video["video_url"].is_string(),
        "a video comes as its address: {video}"
    );
    assert_eq!(
        bench.get("/cgi-bin/media/get?media_id=x").await["errcode"],
        40007
    );
    assert_eq!(bench.json(upload("film")).await["errcode"], 40004);
    assert_eq!(
        bench
            .post("/cgi-bin/media/upload?type=image", json!({}))
            .await["errcode"],
        41005
    );
    bench
        .sandbox
        .fault(Fault::half_body().on("/cgi-bin/media/get"));
    let cut = bench.client.get(bench.at(&path)).send().await.unwrap();
    assert!(
        cut.bytes().await.is_err(),
        "a body that is cut is no whole one"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_arrived_is_recorded_byte_for_byte() {
    let bench = Bench::start().await;
    let body = "{\"touser\":\"oAbcdefghijklmnopqrstuvwxyz0\",\"msgtype\":\"text\",\"text\":{\"content\":\"你好 & 再见\"}}";
    let path = format!(
        "/cgi-bin/message/custom/send?a='{{x}}'&access_token={}&b=%7e+",
        bench.token
    );
    let sent = bench
        .client
        .post(bench.sandbox.url() + &path)
        .header("x-odd", "1")
        .body(body)
        .send()
        .await
        .unwrap();
    assert_eq!(sent.status(), 200);
    let [arrival] = &bench.sandbox.arrivals("/cgi-bin/message/custom/send")[..] else {
        panic!("one call")
    };
    assert_eq!(
        (
            arrival.method.as_str(),
            arrival.header("x-odd"),
            arrival.whole
        ),
        ("POST", "1", true)
    );
    assert_eq!(arrival.body.as_deref(), Some(body.as_bytes()));
    assert!(
        arrival.target.contains(&bench.token) && arrival.target.ends_with("&b=%7e+"),
        "{}",
        arrival.target
    );
    let shown = bench
        .json(bench.client.get(format!(
            "{}/sandbox/calls?path=/cgi-bin/message/custom/send",
            bench.sandbox.url()
        )))
        .await;
    assert_eq!(
        (
            &shown["calls"][0]["body"],
            shown["calls"][0]["length"].as_u64()
        ),
        (&json!(body), Some(body.len() as u64))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn mini_programs_menus_codes_and_wecom_are_answered() {
    let bench = Bench::start().await;
    let login = |code: &str, secret: &str| {
        let query =
            format!("appid={APP}&secret={secret}&js_code={code}&grant_type=authorization_code");
        bench.json(bench.client.get(format!(
            "{}/sns/jscode2session?{query}",
            bench.sandbox.url()
        )))
    };
    let session = login("c1", SECRET).await;
    assert!(
        session["openid"].is_string() && session["session_key"].is_string(),
        "{session}"
    );
    for (code, secret, errcode) in [
        ("c1", SECRET, 40163),
        ("invalid", SECRET, 40029),
        ("c2", "wrong", 40125),
        ("", SECRET, 41008),
    ] {
        assert_eq!(
            login(code, secret).await["errcode"],
            errcode,
            "{code} {secret}"
        );
    }
    let phone = bench
        .post("/wxa/business/getuserphonenumber", json!({ "code": "x" }))
        .await;
    assert_eq!(phone["phone_info"]["countryCode"], "86");
    assert_eq!(bench.get("/cgi-bin/menu/get").await["errcode"], 46003);
    assert_eq!(
        bench
            .post("/cgi-bin/menu/create", json!({ "button": [] }))
            .await["errcode"],
        0
    );
    assert_eq!(
        bench.get("/cgi-bin/menu/get").await["menu"],
        json!({ "button": [] })
    );
    let code = bench
        .client
        .post(bench.at("/wxa/getwxacodeunlimit"))
        .body("{\"scene\":\"a=1\"}")
        .send()
        .await
        .unwrap();
    assert_eq!(code.headers()["content-type"], "image/png");
    assert_eq!(
        bench.post("/wxa/getwxacodeunlimit", json!({})).await["errcode"],
        47003
    );
    let text =
        json!({ "touser": "@all", "msgtype": "text", "agentid": 1, "text": { "content": "x" } });
    assert_eq!(
        bench.post("/cgi-bin/message/send", text).await["errcode"],
        0
    );
    assert_eq!(
        bench
            .post(
                "/cgi-bin/message/subscribe/send",
                json!({ "touser": "o", "template_id": "t" })
            )
            .await["errcode"],
        0
    );
    // A valid token of the wrong kind is refused as invalid, as WeChat does.
    assert_eq!(
        bench.post("/cgi-bin/account/fastregister", json!({})).await["errcode"],
        40001
    );
    assert!(bench.sandbox.accepts(&bench.token));
    let shown = bench
        .post("/cgi-bin/openapi/rid/get", json!({ "rid": "r" }))
        .await;
    assert!(
        shown["request"]["request_url"]
            .as_str()
            .unwrap()
            .contains(&bench.token),
        "{shown}"
    );
    assert_eq!(
        bench.post("/cgi-bin/menu/get", json!({})).await["errcode"],
        43001
    );
    bench.token_is_asked_for().await;
}

impl Bench {
    async fn token_is_asked_for(&self) {
        for path in [
            "/cgi-bin/media/get?media_id=x",
            "/cgi-bin/menu/get",
            "/cgi-bin/get_api_domain_ip",
        ] {
            assert_eq!(
                self.json(self.client.get(self.sandbox.url() + path)).await["errcode"],
                41001,
                "{path}"
            );
        }
        self.sandbox.fault(
            Fault::errcode(45009, "reach max")
                .on("/cgi-bin/menu/get")
                .times(1),
        );
        assert_eq!(self.get("/cgi-bin/menu/get").await["errcode"], 45009);
    }
}
