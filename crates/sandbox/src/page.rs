//! The pages behind the sandbox's authorize link: plain HTML in Chinese and English, readable on a
//! phone, without scripts or external resources.

use super::authorize::{Asked, Wrong};
use super::visitors::SAMPLES;

/// Their content type.
pub(super) const TYPE: &str = "text/html; charset=utf-8";

const STYLE: &str = include_str!("sandbox.css");

/// Asks who is visiting and whether they agree. `query` is the link's query, which the form sends
/// back.
pub(super) fn consent(asked: &Asked, query: &str) -> String {
    let (what_zh, what_en) = if asked.is_silent() {
        (
            "你的身份（openid）。真实的微信不会询问，直接跳转。",
            "Who you are (your openid). The real WeChat goes on without asking.",
        )
    } else {
        (
            "你的身份（openid）、昵称和头像。",
            "Who you are (your openid), your nickname and your picture.",
        )
    };
    let body = format!(
        r#"<h1>{app} 申请获取<small>asks for</small></h1>
<p class="what">{what_zh}<small>{what_en}</small></p>
<form method="post" action="../../sandbox/visit">
<input type="hidden" name="query" value="{query}">
<fieldset>
<legend>谁来访问？ <small>Who visits?</small></legend>
{people}
<label class="also"><input type="checkbox" name="snapshot" value="yes"{ticked}><span>快照页访客<small>As a snapshot visitor: somebody who does not exist</small></span></label>
</fieldset>
<button class="yes" name="answer" value="agree">同意 <small>Agree</small></button>
<button name="answer" value="refuse">拒绝 <small>Refuse</small></button>
</form>
<p class="where">之后前往 <small>Then on to</small> <code>{redirect}</code><br>scope <code>{scope}</code></p>"#,
        app = escape(&asked.app_id),
        query = escape(query),
        people = people(),
        ticked = if asked.snapshot { " checked" } else { "" },
        redirect = escape(asked.redirect.as_str()),
        scope = escape(&asked.scope),
    );
    document("授权 · Authorize", &body)
}

/// WeChat's error page.
pub(super) fn trouble(wrong: &Wrong) -> String {
    let code = wrong
        .code
        .map(|code| format!("<p class=\"code\">{code}</p>"))
        .unwrap_or_default();
    let (chinese, english) = (escape(&wrong.chinese), escape(&wrong.english));
    let body = format!(
        "<h1>链接无法访问<small>WeChat does not open this link</small></h1>\n{code}<p>{chinese}</p>\n<p lang=\"en\">{english}</p>"
    );
    document("出错 · Error", &body)
}

/// The answer to an invalid form.
pub(super) fn mistake(error: &str) -> String {
    document(
        "出错 · Error",
        &format!(
            "<h1>无法继续<small>This cannot go on</small></h1>\n<p lang=\"en\">{}</p>",
            escape(error)
        ),
    )
}

/// One radio button per sample visitor; the first is preselected.
fn people() -> String {
    let person = |(index, name): (usize, &&str)| {
        let checked = if index == 0 { " checked" } else { "" };
        format!(
            "<label><input type=\"radio\" name=\"visitor\" value=\"{name}\"{checked}><span>{name}</span></label>\n"
        )
    };
    SAMPLES.iter().enumerate().map(person).collect()
}

fn document(title: &str, body: &str) -> String {
    format!(
        r#"<!doctype html>
<html lang="zh-CN">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{title}</title>
<style>
{STYLE}</style>
</head>
<body>
<header><b>微信沙箱</b> <small>WeChat sandbox: not the real WeChat</small></header>
<main>
{body}
</main>
</body>
</html>
"#
    )
}

fn escape(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            '\'' => safe.push_str("&#39;"),
            _ => safe.push(character),
        }
    }
    safe
}
