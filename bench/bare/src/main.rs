//! The yardstick: a bare actix-web server with one worker and no middleware. `POST /sign` parses the caller's JSON, hashes one sha1 of
//! the length that a `wx.config` has, and writes the JSON again with four more fields; `GET /plain` answers a text as long as a
//! realm query's; `POST /push` takes a message and answers a text as long as a rule's reply. It keeps nothing, checks nothing and dresses nothing, and knows nothing of jsdkd.

use std::time::{SystemTime, UNIX_EPOCH};

use actix_web::{App, HttpResponse, HttpServer, web};
use serde_json::Value;
use sha1::{Digest, Sha1};

/// As long as WeChat's own.
const TICKET: &str = "sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3-Sl-HhTdfl2fzFy1AOcHKP7qg";
const NONCE: &str = "0123456789abcdef0123456789abcdef";

/// A query's answer with a token of WeChat's usual length.
const PLAIN: &str = concat!(
    r#"{"key":"token","value":"88_Wm3WZYTPz0wzccnW_sM4AOVdWfPE4DxkXGEs8VMCPGGVi4C3VM0P37wVUCFvkVAy_90u5h9nbSlYy3"#,
    r#"-Sl-HhTdfl2fzFy1AOcHKP7qgWm3WZYTPz0wzccnW0123456789abcdef01234567"}"#
);

async fn sign(body: web::Json<Value>) -> HttpResponse {
    let mut body = body.into_inner();
    let Some(fields) = body.as_object_mut() else { return HttpResponse::BadRequest().finish() };
    let url = fields.get("url").and_then(Value::as_str).unwrap_or_default();
    let timestamp = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    let digest = Sha1::digest(format!("jsapi_ticket={TICKET}&noncestr={NONCE}&timestamp={timestamp}&url={url}"));
    let signature = digest.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    fields.insert("appId".to_owned(), "wx0123456789abcdef".into());
    fields.insert("timestamp".to_owned(), timestamp.into());
    fields.insert("nonceStr".to_owned(), NONCE.into());
    fields.insert("signature".to_owned(), signature.into());
    HttpResponse::Ok().json(body)
}

/// As long as a rule's reply to the message that the benchmark sends.
const REPLY: &str = "<xml><ToUserName><![CDATA[oABCDEFGHIJKLMNOPQRSTUVWXYZ1]]></ToUserName>\
    <FromUserName><![CDATA[gh_0123456789ab]]></FromUserName><CreateTime>1409659813</CreateTime>\
    <MsgType><![CDATA[text]]></MsgType><Content><![CDATA[hello hi there]]></Content></xml>";

async fn push(body: web::Bytes) -> HttpResponse {
    // The body is read whole and looked at no further.
    if body.is_empty() { HttpResponse::BadRequest().finish() } else { HttpResponse::Ok().content_type("text/xml").body(REPLY) }
}

async fn plain() -> HttpResponse {
    HttpResponse::Ok().content_type("application/json").body(PLAIN)
}

/// Listens on the port that is its only argument.
#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let port = std::env::args().nth(1).and_then(|port| port.parse().ok()).expect("usage: bare PORT");
    HttpServer::new(|| App::new().route("/sign", web::post().to(sign)).route("/push", web::post().to(push)).route("/plain", web::get().to(plain)))
        .workers(1)
        .bind(("127.0.0.1", port))?
        .run()
        .await
}
