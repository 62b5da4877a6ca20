//! `server.admin`: where the admin listener is, which shows metrics and the status page.

use std::net::IpAddr;

use url::Host;

use super::reader::At;

const EXPECTED: &str = "an address and a port such as \"127.0.0.1:3031\"";

/// The address; `bind` and `port` are those of the public listener, as far as they are known.
pub(super) fn admin(at: &At<'_>, bind: Option<&str>, port: Option<u32>) -> Option<String> {
    let text = at.text(EXPECTED)?.trim();
    let Some((host, admin_port)) = read(text) else {
        at.expected(EXPECTED);
        return None;
    };
    let is_taken = |bind: &str| {
        let all = |host: &str| matches!(host, "0.0.0.0" | "::");
        bind == host || all(bind) || all(host)
    };
    if admin_port != 0
        && port == Some(u32::from(admin_port))
        && bind.is_some_and(|bind| is_taken(bind.trim_matches(['[', ']'])))
    {
        at.fault(format!(
            "{text} is where server.bind and server.port listen already; choose another port"
        ));
        return None;
    }
    Some(text.to_owned())
}

/// The host without brackets, and the port.
fn read(text: &str) -> Option<(&str, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let is_number = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = port.parse().ok().filter(|_| is_number)?;
    if let Some(inner) = host.strip_prefix('[') {
        let inner = inner.strip_suffix(']')?;
        return matches!(inner.parse(), Ok(IpAddr::V6(_))).then_some((inner, port));
    }
    let is_host = !host.contains(['%', '*', ',', ':', '/']) && Host::parse(host).is_ok();
    is_host.then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        assert_eq!(read("127.0.0.1:3031"), Some(("127.0.0.1", 3031)));
        assert_eq!(read("[::1]:0"), Some(("::1", 0)));
        assert_eq!(read("localhost:65535"), Some(("localhost", 65_535)));
        for text in [
            "",
            ":",
            ":3031",
            "3031",
            "127.0.0.1",
            "127.0.0.1:",
            "127.0.0.1:65536",
            "::1:3031",
            "[::1]",
            "[::1]3031",
            "[127.0.0.1]:1",
            "a:+1",
            "a b:1",
            "http://a:1",
            "*:3031",
            "a:1:2",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }
}
