//! Checks the variables that set the proxy of outgoing calls. The HTTP client reads them itself and
//! ignores an invalid one; here that is a fault, because every call would bypass the proxy.

use super::environment::Environment;
use super::faults::{About, Weight};
use super::reader::Reader;

/// The variables, in both spellings. The first one that is set is used.
const VARIABLES: [[&str; 2]; 3] = [
    ["HTTPS_PROXY", "https_proxy"],
    ["HTTP_PROXY", "http_proxy"],
    ["ALL_PROXY", "all_proxy"],
];

/// The proxy protocols that the client supports.
const SCHEMES: [&str; 6] = ["http", "https", "socks4", "socks4a", "socks5", "socks5h"];

const CURE: &str = "expected an address such as \"http://proxy.example.com:8080\" or \"socks5h://127.0.0.1:1080\"; unset the variable to call directly";

/// Reports every variable that is not a proxy's address. Its value may hold a password, so it is
/// not shown.
pub(super) fn check(env: &Environment, reader: &Reader<'_>) {
    for names in VARIABLES {
        let set = names.iter().find_map(|name| Some((*name, env.get(name)?)));
        if let Some((name, Err(reason))) = set.map(|(name, value)| (name, proxy(value))) {
            reader.remark(
                About::Variable(name.to_owned()),
                Weight::Fault,
                format!("{reason}; {CURE}"),
            );
        }
    }
}

/// Why `text` is not a proxy's address.
fn proxy(text: &str) -> Result<(), &'static str> {
    const PERCENT: &str =
        "other characters than letters and digits in its user or password must be percent-encoded";
    let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
    if !SCHEMES.contains(&scheme) {
        return Err(
            "its scheme must be http, https, socks4, socks4a, socks5 or socks5h, in lower case",
        );
    }
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if !text.contains("://") && !path.is_empty() {
        return Err("without a scheme it must be a host and a port");
    }
    if path.contains('@') {
        return Err(PERCENT);
    }
    let place = match authority.split_once('@') {
        Some((user, place)) if place.contains('@') || !user.bytes().all(is_user) => {
            return Err(PERCENT);
        }
        Some((_, place)) => place,
        None => authority,
    };
    let (host, port) = match place
        .strip_prefix('[')
        .and_then(|rest| rest.split_once(']'))
    {
        Some((host, port)) if host.parse::<std::net::Ipv6Addr>().is_ok() => (host, port),
        Some(_) => return Err("its host is not an IPv6 address"),
        None => place.split_at(place.find(':').unwrap_or(place.len())),
    };
    let is_name =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    if host.is_empty() || !host.bytes().all(is_name) {
        return Err("its host is missing, or is not a name or an IP address");
    }
    match port.strip_prefix(':') {
        None if port.is_empty() => Ok(()),
        Some(port)
            if port.parse::<u16>().is_ok_and(|port| port > 0)
                && port.bytes().all(|byte| byte.is_ascii_digit()) =>
        {
            Ok(())
        }
        _ => Err("its port must be a number from 1 to 65535"),
    }
}

/// A character allowed in a user or password, or the `%` of an encoded one.
fn is_user(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:%".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn supported_proxies_are_accepted() {
        for good in [
            "http://proxy:8080",
            "https://user:p%40ss@proxy.example.com",
            "http://proxy:8080/",
            "proxy:8080",
            "proxy",
            "user:pass@10.0.0.1:3128",
            "socks5://127.0.0.1:1080",
            "socks5h://user@[::1]:1080",
            "socks4://proxy",
            "socks4a://proxy:1",
        ] {
            assert_eq!(proxy(good), Ok(()), "{good}");
            let client = reqwest::Proxy::all(good);
            assert!(client.is_ok(), "{good}");
        }
    }

    #[test]
    fn unsupported_proxies_are_faults() {
        for bad in [
            "socks://127.0.0.1:1080",
            "SOCKS5://127.0.0.1:1080",
            "HTTP://proxy:1",
            "ftp://proxy:1",
            "://proxy",
            "http://",
            "http://:8080",
            "http://proxy:",
            "http://proxy:0",
            "http://proxy:65536",
            "http://proxy:+1",
            "http://proxy:port",
            "http://user:p@ss@proxy:1",
            "http://user:p/ss@proxy:1",
            "http://user:p#ss@proxy:1",
            "http://user:pa ss@proxy:1",
            "http://代理:1",
            "socks5:127.0.0.1:1080",
            "proxy:8080/path",
            " http://proxy:1",
            "http://proxy:1 ",
            "http://[::1",
            "http://[x]:1",
            "http://::1:1080",
            "direct ",
        ] {
            assert!(proxy(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_fault_names_the_variable_and_not_its_value() {
        let env: Environment = [
            ("ALL_PROXY", "socks://user:MARKER@proxy:1080"),
            ("https_proxy", "http://a:MARKER@b@c"),
        ]
        .into_iter()
        .collect();
        let reader = Reader::new(&env);
        check(&env, &reader);
        let remarks = format!("{:?}", reader.into_remarks());
        assert!(
            remarks.contains("ALL_PROXY")
                && remarks.contains("https_proxy")
                && remarks.contains("socks5h://"),
            "{remarks}"
        );
        assert!(!remarks.contains("MARKER"), "{remarks}");
    }
}
