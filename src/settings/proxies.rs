//! Whose word about the caller's address counts. A list of networks; it knows nothing of headers.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

use super::lists;

const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];
const PRIVATE: [&str; 6] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"];

/// The networks whose forwarded headers count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

impl TrustedProxies {
    /// This machine and private networks.
    pub(super) fn nearby() -> Self {
        let mut nearby = Self::default();
        for word in ["loopback", "private"] {
            nearby.add(word);
        }
        nearby
    }

    /// Whether the proxy at `address` is believed. An IPv4 address in IPv6 clothes is judged as what it is.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }

    /// Adds `loopback`, `private`, an address or a network, or several of them; `false` when any part of `text` is none of these.
    pub(super) fn add(&mut self, text: &str) -> bool {
        let parts = lists::items(text, |_| true);
        !parts.is_empty() && parts.into_iter().all(|part| self.add_one(part))
    }

    fn add_one(&mut self, text: &str) -> bool {
        let before = self.0.len();
        match text.to_ascii_lowercase().as_str() {
            "loopback" | "localhost" => self.0.extend(LOOPBACK.iter().filter_map(|net| net.parse::<IpNet>().ok())),
            "private" => self.0.extend(PRIVATE.iter().filter_map(|net| net.parse::<IpNet>().ok())),
            other => {
                let bare = other.strip_prefix('[').and_then(|inner| inner.strip_suffix(']')).unwrap_or(other);
                let net = bare.parse().ok().or_else(|| bare.parse().ok().map(|ip: IpAddr| IpNet::from(ip.to_canonical())));
                self.0.extend(net.map(canonical).filter(|net| !is_nobody(net)));
            }
        }
        self.0.len() > before
    }
}

/// A network of IPv4 addresses in IPv6 clothes, as what it is: callers are compared so.
fn canonical(net: IpNet) -> IpNet {
    let IpNet::V6(six) = net else { return net };
    let four = six.network().to_ipv4_mapped().zip(six.prefix_len().checked_sub(96));
    four.and_then(|(ip, length)| Ipv4Net::new(ip, length).ok()).map_or(net, IpNet::from)
}

/// The unspecified address, which no caller has.
fn is_nobody(net: &IpNet) -> bool {
    net.addr().is_unspecified() && net.prefix_len() == net.max_prefix_len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_addresses_and_networks_are_understood() {
        let mut proxies = TrustedProxies::default();
        for text in ["loopback", "private", "203.0.113.0/24", "198.51.100.7", "2001:db8::1"] {
            assert!(proxies.add(text), "{text}");
        }
        for text in [" Loopback ", "[::1]", "10.1.2.3/8", "::ffff:9.9.9.0/120", "1.2.3.4, 5.6.7.8"] {
            assert!(TrustedProxies::default().add(text), "{text}");
        }
        for text in ["0.0.0.0", "::", "10.0.0.1:80", "10.0.0.1, x", ",", "*", "10.0.0.0/255.0.0.0", "https://10.0.0.1"] {
            assert!(!TrustedProxies::default().add(text), "{text}");
        }
        let mut odd = TrustedProxies::default();
        assert!(odd.add("10.1.2.3/8") && odd.add("::ffff:9.9.9.0/120") && odd.add("1.2.3.4, 5.6.7.8,"));
        for ip in ["10.9.9.9", "9.9.9.7", "::ffff:9.9.9.8", "1.2.3.4", "5.6.7.8"] {
            assert!(odd.contains(ip.parse().expect("an address")), "{ip}");
        }
        assert!(!odd.contains([11, 0, 0, 1].into()) && !odd.contains([9, 9, 8, 1].into()));
        assert!(!proxies.add("publik") && !proxies.add("10.0.0.0/33") && !proxies.add(""));
        let inside =
            ["127.0.0.1", "::1", "10.9.8.7", "::ffff:192.168.1.1", "203.0.113.200", "198.51.100.7", "fd00::1", "2001:db8::1"];
        for ip in inside {
            assert!(proxies.contains(ip.parse().expect("an address")), "{ip}");
        }
        for ip in ["8.8.8.8", "198.51.100.8", "2001:db8::2", "172.32.0.1"] {
            assert!(!proxies.contains(ip.parse().expect("an address")), "{ip}");
        }
    }
}
