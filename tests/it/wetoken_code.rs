//! Codes to followers: `/wx/{appid}/wxcode/send`.

use reqwest::Method;
use sandbox::Fault;
use serde_json::json;

use crate::sql_store::install;
use crate::sql_wetoken::create_wetokens_tables;
use crate::support::app::{APP, APP_SECRET, TestApp};
use crate::support::databases;
use crate::support::keepers::eventually;
use crate::wetoken::{refused, succeeded, with};

const SEND: &str = "/cgi-bin/message/template/send";
const NEW: &str = "wx-new";

/// A server with a created app, whose codes use the template `T1`, and the openid of a follower.
async fn with_template() -> (TestApp, String) {
    let app = with(json!({ "apps": null })).await;
    app.sandbox.add_account(NEW, APP_SECRET);
    let create =
        format!("/wechat/app/create?appid={NEW}&secret={APP_SECRET}&token=t&wcode_template_id=T1");
    succeeded(&app.get(&create).await);
    let openid = app.sandbox.follow(NEW, "Alice", true).unwrap();
    (app, openid)
}

fn path(app_id: &str, user: &str) -> String {
    format!("/wx/{app_id}/wxcode/send?user_name={user}&system_name=%E5%95%86%E5%9F%8E&code=4711")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_is_sent_to_an_openid() {
    let (app, openid) = with_template().await;
    succeeded(&app.get(&path(NEW, &openid)).await);
    let form = format!("user_name={openid}&system_name=x&code=1");
    let posted = app.request(Method::POST, &format!("/wx/{NEW}/wxcode/send"));
    succeeded(
        &app.send(
            posted
                .header(
                    "content-type",
                    "application/x-www-form-urlencoded; charset=utf-8",
                )
                .body(form),
        )
        .await,
    );
    let sent = app.sandbox.sent(NEW);
    let date = sent[0]["data"]["keyword3"]["value"]
        .as_str()
        .expect("a time")
        .to_owned();
    assert!(
        chrono::NaiveDateTime::parse_from_str(&date, "%Y/%m/%d %H:%M:%S").is_ok(),
        "{date}"
    );
    let expected = json!({
        "touser": openid,
        "template_id": "T1",
        "data": {
            "first": { "value": "您正在登录[商城]" },
            "keyword1": { "value": "4711", "color": "#43CD80" },
            "keyword2": { "value": "5分钟" },
            "keyword3": { "value": date },
            "remark": { "value": "若非本人操作请注意账户安全" },
        },
    });
    assert_eq!((sent.len(), &sent[0]), (2, &expected));
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_database_the_user_is_looked_up_by_name() {
    let Some(database) = databases::mariadb() else {
        return;
    };
    create_wetokens_tables(&database);
    install(&database.url()).await;
    let app = with(json!({ "cache": { "sql": database.url() } })).await;
    let openid = app.sandbox.follow(APP, "Alice", true).unwrap();
    database
        .sql(&format!("INSERT INTO wechat_user_info (appid, openid, user_name, status) VALUES ('{APP}', '{openid}', '小明', 0)"));
    let xiaoming = path(APP, "%E5%B0%8F%E6%98%8E");
    assert!(refused(&app.get(&xiaoming).await, 400).contains("template"));
    // The settings' app is served, and the row's template is used.
    database.sql(&format!(
        "INSERT INTO wechat_app_info (appid, secret, token, aes_key, mchid, pay_key, sub_appid, sub_mchid, wcode_template_id)
         VALUES ('{APP}', 'another-secret', 't', '', '', '', '', '', 'T2')"
    ));
    eventually("the template is seen", async || {
        app.get(&xiaoming).await.body.contains("success")
    })
    .await;
    let sent = app.sandbox.sent(APP);
    assert_eq!(
        (sent[0]["touser"].as_str(), sent[0]["template_id"].as_str()),
        (Some(openid.as_str()), Some("T2"))
    );
    for stranger in ["bob", &openid] {
        let told = refused(&app.get(&path(APP, stranger)).await, 400);
        assert!(told.contains("user_name"), "{told}");
    }
    assert_eq!(app.sandbox.sent(APP).len(), 1);
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_or_refused_parameters_send_nothing() {
    let (app, openid) = with_template().await;
    let send = async |query: &str| {
        refused(
            &app.get(&format!("/wx/{NEW}/wxcode/send?{query}")).await,
            400,
        )
    };
    assert_eq!(send("system_name=s&code=1").await, "user_name is missing");
    assert_eq!(send("user_name=u&code=1").await, "system_name is missing");
    assert_eq!(send("user_name=u&system_name=s").await, "code is missing");
    assert!(
        refused(&app.get(&path("wx-none", &openid)).await, 400).starts_with("no app of this appid")
    );
    let head = app
        .send(app.request(Method::HEAD, &path(NEW, &openid)))
        .await;
    assert_eq!(
        (head.status.as_u16(), app.sandbox.calls(SEND)),
        (200, 0),
        "HEAD only looks"
    );
    let stranger = app.sandbox.follow(NEW, "Bob", false).unwrap();
    assert!(
        refused(&app.get(&path(NEW, &stranger)).await, 400).starts_with("WeChat refused: 43004")
    );
    app.sandbox.fault(
        Fault::errcode(45009, "reach max api daily quota limit")
            .on(SEND)
            .times(1),
    );
    assert!(refused(&app.get(&path(NEW, &openid)).await, 400).starts_with("WeChat refused: 45009"));
    assert!(app.sandbox.sent(NEW).is_empty());
    app.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalidated_token_is_renewed_and_the_code_sent_once() {
    let (app, openid) = with_template().await;
    succeeded(&app.get(&path(NEW, &openid)).await);
    app.sandbox.void_token(NEW);
    succeeded(&app.get(&path(NEW, &openid)).await);
    assert_eq!(
        (
            app.sandbox.sent(NEW).len(),
            app.sandbox.calls("/cgi-bin/token")
        ),
        (2, 2)
    );
    app.stop().await;
}
