//! Whose word about the caller's address counts. A list of networks; it knows nothing of headers.

use std::net::IpAddr;

use ipnet::IpNet;

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

    /// Adds `loopback`, `private`, an address or a network; `false` when `text` is none of these.
    pub(super) fn add(&mut self, text: &str) -> bool {
        let before = self.0.len();
        match text {
            "loopback" => self.0.extend(LOOPBACK.iter().filter_map(|net| net.parse::<IpNet>().ok())),
            "private" => self.0.extend(PRIVATE.iter().filter_map(|net| net.parse::<IpNet>().ok())),
            other => {
                self.0.extend(other.parse().ok().or_else(|| other.parse().ok().map(|ip: IpAddr| IpNet::from(ip.to_canonical()))))
            }
        }
        self.0.len() > before
    }
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
