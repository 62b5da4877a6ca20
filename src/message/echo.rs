//! The preset `echo`: the same answers as haowang1013/wechat-server, word for word.

use wechat::message::{Body, Event, Message, Reply};

/// Returns the answer, or `None` where that server sends an empty body.
pub(super) fn reply(message: &Message) -> Option<Reply> {
    let content = match &message.body {
        Body::Text { content, .. } => format!("You said '{content}'"),
        Body::Image { pic_url, .. } => format!("Image uploaded to {pic_url}"),
        Body::Voice { .. } => "Thank you for sending a voice message".to_owned(),
        Body::Video { .. } | Body::ShortVideo { .. } => {
            "Thank you for sending a video message".to_owned()
        }
        Body::Link { .. } => "Thank you for sending a link message".to_owned(),
        Body::Event(Event::Subscribe { .. }) => "Welcome!".to_owned(),
        _ => return None,
    };
    Some(Reply::Text { content })
}
