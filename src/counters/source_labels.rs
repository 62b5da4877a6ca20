//! The labels `appid` and `kind` of a source's credential. A WeCom application is named as in the
//! gateway, `CORPID/AGENTID`, and the corp's ticket `CORPID/corp`; any other source is
//! `source/NAME`, and what it grants is a `token`. No appid contains a slash, and no corp is called
//! `source`, so the names cannot clash.

use wechat::credential::CredentialKind;

/// Put before the name of a source that is not WeCom's.
const SOURCE: &str = "source/";

/// The labels of the source called `name`.
pub fn source_labels(name: &str) -> (String, CredentialKind) {
    // No other source has a dot in its name.
    let wecom = name.strip_prefix("wecom.");
    let parts: Vec<_> = wecom.into_iter().flat_map(|rest| rest.split('.')).collect();
    match parts[..] {
        [corpid, agentid, "token"] => (format!("{corpid}/{agentid}"), CredentialKind::AccessToken),
        [corpid, agentid, "ticket"] => (format!("{corpid}/{agentid}"), CredentialKind::JsapiTicket),
        [corpid, "ticket"] => (format!("{corpid}/corp"), CredentialKind::JsapiTicket),
        _ => (format!("{SOURCE}{name}"), CredentialKind::AccessToken),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wecom_is_named_by_corp_and_agent() {
        let of = |name| {
            let (account, kind) = source_labels(name);
            (account, kind.name())
        };
        let agent = "ww1/1000002".to_owned();
        assert_eq!(of("wecom.ww1.1000002.token"), (agent.clone(), "token"));
        assert_eq!(of("wecom.ww1.1000002.ticket"), (agent, "ticket"));
        assert_eq!(of("wecom.ww1.ticket"), ("ww1/corp".to_owned(), "ticket"));
        assert_eq!(of("shop\"s"), ("source/shop\"s".to_owned(), "token"));
        assert_eq!(of("wecom"), ("source/wecom".to_owned(), "token"));
    }
}
