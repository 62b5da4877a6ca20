//! A visitor's way over a real socket: the page, the form, the order from a program, and what an
//! account then learns.

use reqwest::redirect::Policy;

use super::*;

const ACCESS: &str = "/sns/oauth2/access_token";
const REFRESH: &str = "/sns/oauth2/refresh_token";
const USERINFO: &str = "/sns/userinfo";
const AUTH: &str = "/sns/auth";
const USER: &str = "/cgi-bin/user/info";
const AUTHORIZE: &str = "/connect/oauth2/authorize";

fn link(scope: &str) -> String {
    format!(
        "{AUTHORIZE}?appid={APP}&redirect_uri=http%3A%2F%2Fa.example%2Fcb%3Fx%3D1&response_type=code&scope={scope}&state=s1"
    )
}

/// A page of HTML, or where the answer leads: status, `Location`, body.
async fn open(bench: &Bench, request: reqwest::RequestBuilder) -> (u16, String, String) {
    let client = Client::builder()
        .redirect(Policy::none())
        .build()
        .expect("a client");
    let response = client
        .execute(request.build().expect("a request"))
        .await
        .expect("an answer");
    let location = response
        .headers()
        .get("location")
        .map_or("", |value| value.to_str().expect("ASCII"))
        .to_owned();
    if location.is_empty() {
        assert_eq!(
            response.headers()["content-type"],
            "text/html; charset=utf-8"
        );
        assert!(
            response.headers()["content-security-policy"]
                .to_str()
                .is_ok_and(|policy| policy.starts_with("default-src 'none'"))
        );
    }
    assert_eq!(response.headers()["cache-control"], "no-store");
    let status = response.status().as_u16();
    assert!(bench.sandbox.calls(AUTHORIZE) > 0);
    (status, location, response.text().await.expect("a body"))
}

impl Bench {
    async fn page(&self, path_and_query: &str) -> (u16, String, String) {
        open(self, self.client.get(self.sandbox.url() + path_and_query)).await
    }

    async fn form(&self, fields: &[(&str, &str)]) -> (u16, String, String) {
        let body = url::form_urlencoded::Serializer::new(String::new())
            .extend_pairs(fields)
            .finish();
        let request = self
            .client
            .post(self.sandbox.url() + "/sandbox/visit")
            .body(body);
        open(
            self,
            request.header("content-type", "application/x-www-form-urlencoded"),
        )
        .await
    }

    fn visit(&self, scope: &str, visitor: &str, answer: Answer) -> Result<String, String> {
        self.sandbox.visit(
            &format!("https://open.weixin.qq.com{}#wechat_redirect", link(scope)),
            visitor,
            answer,
        )
    }

    fn code(&self, scope: &str, visitor: &str, answer: Answer) -> String {
        code_of(&self.visit(scope, visitor, answer).expect("a callback"))
    }

    async fn exchange(&self, code: &str) -> Value {
        self.get(&exchange_query(code)).await
    }

    async fn login(&self, scope: &str, visitor: &str, answer: Answer) -> Value {
        self.exchange(&self.code(scope, visitor, answer)).await
    }
}

fn exchange_query(code: &str) -> String {
    format!("{ACCESS}?appid={APP}&secret={SECRET}&code={code}&grant_type=authorization_code")
}

fn code_of(callback: &str) -> String {
    let rest = callback
        .strip_prefix("http://a.example/cb?x=1&code=")
        .expect("a code");
    rest.strip_suffix("&state=s1")
        .expect("the state")
        .to_owned()
}

#[tokio::test]
async fn a_person_agrees_and_returns_with_a_code() {
    let bench = bench().await;
    let query = link("snsapi_userinfo");
    let (status, _, page) = bench.page(&query).await;
    assert_eq!(status, 200);
    for part in [
        APP,
        "昵称和头像",
        "your picture",
        "name=\"visitor\" value=\"Alice\"",
        "name=\"answer\" value=\"refuse\"",
        "a.example",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("<script"), "{page}");
    let query = query.split_once('?').expect("a query").1;
    assert!(
        page.contains(&format!(
            "name=\"query\" value=\"{}\"",
            query.replace('&', "&amp;")
        )),
        "{page}"
    );
    let form = [("query", query), ("visitor", "小明"), ("answer", "agree")];
    let (status, location, _) = bench.form(&form).await;
    let login = bench.exchange(&code_of(&location)).await;
    assert_eq!(
        (status, login.get("is_snapshotuser"), &login["scope"]),
        (302, None, &json!("snsapi_userinfo"))
    );
    let (_, location, _) = bench
        .form(&[form[0], form[1], ("snapshot", "yes"), form[2]])
        .await;
    assert_eq!(
        bench.exchange(&code_of(&location)).await["is_snapshotuser"],
        1
    );
    let (_, location, _) = bench.form(&[form[0], form[1], ("answer", "refuse")]).await;
    assert_eq!(location, "http://a.example/cb?x=1&state=s1");
    for broken in [
        vec![form[0], form[2]],
        vec![form[0], form[1]],
        vec![("query", "appid=<b>"), form[1], form[2]],
    ] {
        let (status, _, page) = bench.form(&broken).await;
        assert!(status == 400 && !page.contains("<b>&"), "{page}");
    }
}

#[tokio::test]
async fn a_wrong_link_gets_wechats_error_page() {
    let bench = bench().await;
    let good = link("snsapi_base");
    bench
        .sandbox
        .set_oauth_domain(APP, Some("a.example"))
        .expect("an account");
    assert!(bench.page(&good).await.2.contains("<form"));
    for (wrong, shown) in [
        (good.replace("a.example", "www.a.example"), "10003"),
        (good.replace("snsapi_base", "<b>"), "10005"),
        (good.replace("snsapi_base", ""), "10010"),
        (good.replace(APP, "wx0"), "40013"),
        (good.replace("&state=s1", "") + "&state=", "10013"),
        (format!("{good}&appid={APP}"), "in this order"),
        (AUTHORIZE.to_owned(), "10012"),
    ] {
        let (status, _, page) = bench.page(&wrong).await;
        assert!(
            status == 200
                && page.contains(shown)
                && !page.contains("<form")
                && !page.contains("<b>b"),
            "{wrong}: {page}"
        );
    }
    bench.sandbox.fault(
        Fault::errcode(10009, "too frequent")
            .on(AUTHORIZE)
            .of(APP)
            .times(1),
    );
    let (_, _, page) = bench.page(&good).await;
    assert!(
        page.contains("10009") && page.contains("too frequent"),
        "{page}"
    );
    bench
        .sandbox
        .set_oauth_domain(APP, None)
        .expect("an account");
    assert!(
        bench
            .page(&good.replace("a.example", "b.example"))
            .await
            .2
            .contains("<form")
    );
    assert_eq!(bench.sandbox.calls_of(APP, AUTHORIZE), 8);
}

#[tokio::test]
async fn silent_mode_grants_the_base_scope_without_a_page() {
    let bench = bench().await;
    assert_eq!(
        bench.post("/sandbox/tuning", r#"{"silent":true}"#).await.0,
        200
    );
    let (status, location, _) = bench.page(&link("snsapi_base")).await;
    assert_eq!(status, 302);
    let openid = bench.exchange(&code_of(&location)).await["openid"].clone();
    assert_eq!(
        openid,
        bench.login("snsapi_base", "小明", Answer::Agree).await["openid"]
    );
    assert!(
        bench
            .page(&link("snsapi_userinfo"))
            .await
            .2
            .contains("<form")
    );
}

#[tokio::test]
async fn a_program_visits_in_one_call() {
    let bench = bench().await;
    let url = bench.sandbox.url() + &link("snsapi_base") + "#wechat_redirect";
    let order = |url: &str, visitor: &str, answer: &str| {
        json!({"url": url, "visitor": visitor, "answer": answer}).to_string()
    };
    let (status, answer) = bench
        .post("/sandbox/visit", order(&url, "Alice", "agree"))
        .await;
    let login = bench.exchange(&code_of(text(&answer, "location"))).await;
    assert_eq!(
        (status, login.get("unionid"), login.get("errcode")),
        (200, None, None)
    );
    let (_, answer) = bench
        .post("/sandbox/visit", order(&url, "Alice", "snapshot"))
        .await;
    assert_eq!(
        bench.exchange(&code_of(text(&answer, "location"))).await["is_snapshotuser"],
        1
    );
    let (_, answer) = bench
        .post("/sandbox/visit", order(&url, "Alice", "refuse"))
        .await;
    assert_eq!(answer["location"], "http://a.example/cb?x=1&state=s1");
    for (body, hint) in [
        (
            order(url.trim_end_matches("#wechat_redirect"), "Alice", "agree"),
            "#wechat_redirect",
        ),
        (
            order(&url.replace("authorize", "qrconnect"), "Alice", "agree"),
            AUTHORIZE,
        ),
        (
            order(&url.replace("snsapi_base", "x"), "Alice", "agree"),
            "10005: ",
        ),
        (order("x", "Alice", "agree"), "url: "),
        (order(&url, "", "agree"), "visitor: "),
        (order(&url, "Alice", "maybe"), r#""answer":"agree""#),
    ] {
        let (status, answer) = bench.post("/sandbox/visit", body).await;
        assert!(
            status == 400 && text(&answer, "error").contains(hint),
            "{answer}"
        );
    }
    let survey = bench.get("/sandbox/state").await["accounts"][APP].clone();
    assert_eq!(
        ["visits", "codes", "logins"].map(|name| survey[name].as_u64()),
        [Some(3), Some(2), Some(2)]
    );
    assert!(!survey.to_string().contains(text(&login, "access_token")));
}

#[tokio::test]
async fn a_code_is_exchanged_for_tokens_and_the_profile() {
    let bench = bench().await;
    let login = bench.login("snsapi_userinfo", "Alice", Answer::Agree).await;
    let [token, openid, refresh] =
        ["access_token", "openid", "refresh_token"].map(|name| text(&login, name));
    assert_eq!(
        (
            &login["expires_in"],
            login.get("errcode"),
            login["unionid"].is_string()
        ),
        (&json!(7200), None, true)
    );
    let profile = bench
        .get(&format!(
            "{USERINFO}?access_token={token}&openid={openid}&lang=zh_CN"
        ))
        .await;
    assert!(text(&profile, "headimgurl").ends_with("/132"), "{profile}");
    let expected = json!({"openid": openid, "nickname": "Alice", "sex": 0, "province": "", "city": "", "country": "", "privilege": [],
        "unionid": login["unionid"], "headimgurl": profile["headimgurl"]});
    assert_eq!(profile, expected);
    let alive = bench
        .get(&format!("{AUTH}?access_token={token}&openid={openid}"))
        .await;
    assert_eq!(alive, json!({"errcode": 0, "errmsg": "ok"}));
    let renewed = bench
        .get(&format!(
            "{REFRESH}?appid={APP}&grant_type=refresh_token&refresh_token={refresh}"
        ))
        .await;
    let expected = json!({"access_token": token, "expires_in": 7200, "refresh_token": refresh, "openid": openid, "scope": login["scope"]});
    assert_eq!(renewed, expected);
    let counts = [ACCESS, USERINFO, AUTH, REFRESH].map(|path| bench.sandbox.calls_of(APP, path));
    assert_eq!(counts, [1, 1, 1, 1]);
}

#[tokio::test]
async fn every_refusal_about_a_visitor_has_its_code() {
    let bench = bench().await;
    let login = bench.login("snsapi_base", "Alice", Answer::Agree).await;
    let [token, openid, refresh] =
        ["access_token", "openid", "refresh_token"].map(|name| text(&login, name).to_owned());
    let code = bench.code("snsapi_base", "Alice", Answer::Agree);
    let used = bench.code("snsapi_base", "Alice", Answer::Agree);
    bench.exchange(&used).await;
    for (query, refused) in [
        (exchange_query(&code).replace(APP, ""), 41002),
        (exchange_query(&code).replace(SECRET, ""), 41004),
        (exchange_query(""), 41008),
        (
            exchange_query(&code).replace("authorization_code", "client_credential"),
            40002,
        ),
        (exchange_query(&code).replace(APP, "wx0"), 40013),
        (exchange_query(&code).replace(SECRET, "x"), 40125),
        (exchange_query("x"), 40029),
        (exchange_query(&used), 40163),
        (
            format!("{REFRESH}?appid={APP}&grant_type=refresh_token"),
            41003,
        ),
        (
            format!("{REFRESH}?appid={APP}&grant_type=x&refresh_token={refresh}"),
            40002,
        ),
        (
            format!("{REFRESH}?appid={APP}&grant_type=refresh_token&refresh_token=x"),
            40030,
        ),
        (
            format!("{USERINFO}?access_token={token}&openid={openid}"),
            48001,
        ),
        (format!("{USERINFO}?access_token=x&openid={openid}"), 40001),
        (format!("{USERINFO}?openid={openid}"), 41001),
        (format!("{AUTH}?access_token={token}&openid=x"), 40003),
        (
            format!("{USER}?access_token={token}&openid={openid}"),
            40014,
        ),
    ] {
        assert_eq!(bench.get(&query).await["errcode"], refused, "{query}");
    }
    bench.sandbox.advance(Duration::from_secs(300));
    assert_eq!(bench.exchange(&code).await["errcode"], 42003);
    bench.sandbox.advance(Duration::from_secs(6900));
    assert_eq!(
        bench
            .get(&format!("{AUTH}?access_token={token}&openid={openid}"))
            .await["errcode"],
        42001
    );
    bench.sandbox.advance(Duration::from_secs(30 * 86_400));
    let late = format!("{REFRESH}?appid={APP}&grant_type=refresh_token&refresh_token={refresh}");
    assert_eq!(bench.get(&late).await["errcode"], 42002);
    let snapshot = bench
        .login("snsapi_userinfo", "Alice", Answer::Snapshot)
        .await;
    let [token, openid] = ["access_token", "openid"].map(|name| text(&snapshot, name));
    assert_eq!(
        bench
            .get(&format!("{USERINFO}?access_token={token}&openid={openid}"))
            .await["errcode"],
        48001
    );
    for path in [ACCESS, REFRESH, USERINFO, AUTH, USER] {
        assert_eq!(bench.post(path, "").await.1["errcode"], 43001, "{path}");
        bench
            .sandbox
            .fault(Fault::errcode(-1, "system error").on(path).times(1));
        assert_eq!(bench.get(path).await["errcode"], -1, "{path}");
    }
}

#[tokio::test]
async fn an_account_reads_followers_and_little_of_others() {
    let bench = bench().await;
    let token = bench.token().await;
    let user = |openid: &str| {
        format!(
            "{USER}?access_token={}&openid={openid}&lang=zh_CN",
            text(&token, "access_token")
        )
    };
    let (status, known) = bench
        .post(
            "/sandbox/visitors",
            json!({"appid": APP, "visitor": "Alice"}).to_string(),
        )
        .await;
    let openid = text(&known, "openid");
    assert_eq!(
        (status, bench.get(&user(openid)).await),
        (200, json!({"subscribe": 0, "openid": openid}))
    );
    let order = json!({"appid": APP, "visitor": "Alice", "follows": true});
    assert_eq!(
        bench.post("/sandbox/visitors", order.to_string()).await.1,
        known
    );
    let follower = bench.get(&user(openid)).await;
    assert_eq!(
        (&follower["subscribe"], &follower["tagid_list"]),
        (&json!(1), &json!([]))
    );
    assert!(
        follower["subscribe_time"].is_u64() && follower["unionid"].is_string(),
        "{follower}"
    );
    let account =
        json!({"appid": APP, "secret": SECRET, "bound": false, "oauth_domain": "b.example"});
    assert_eq!(
        bench.post("/sandbox/accounts", account.to_string()).await.0,
        200
    );
    assert_eq!(bench.get(&user(openid)).await.get("unionid"), None);
    assert!(
        bench
            .visit("snsapi_base", "Alice", Answer::Agree)
            .is_err_and(|error| error.starts_with("10003: "))
    );
    assert_eq!(
        bench.sandbox.follow(APP, "Alice", false).as_deref(),
        Ok(openid)
    );
    assert_eq!(bench.get(&user(openid)).await["subscribe"], 0);
    assert_eq!(bench.get(&user("oNobody")).await["errcode"], 40003);
    assert_eq!(bench.sandbox.calls_of(APP, USER), 5);
    for (path, body, hint) in [
        (
            "/sandbox/visitors",
            json!({"appid": "wx0", "visitor": "Alice"}),
            "no account",
        ),
        (
            "/sandbox/visitors",
            json!({"appid": APP, "visitor": "a\nb"}),
            "control characters",
        ),
        (
            "/sandbox/accounts",
            json!({"appid": "wx3", "secret": "s", "oauth_domain": "https://a.example/"}),
            "a host name",
        ),
    ] {
        let (status, answer) = bench.post(path, body.to_string()).await;
        assert!(
            status == 400 && text(&answer, "error").contains(hint),
            "{answer}"
        );
    }
    assert!(
        bench.sandbox.set_bound("wx3", true).is_err(),
        "a mistake opens no account"
    );
}
