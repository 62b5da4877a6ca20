//! A list of networks: the proxies whose forwarded headers count, or the callers that are allowed.

use std::fmt;
use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net};

const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];
const PRIVATE: [&str; 6] = [
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "169.254.0.0/16",
    "fc00::/7",
    "fe80::/10",
];

/// An IPv4 network with a shorter prefix than this is a large part of the internet. The private
/// network fc00::/7 is not.
const WIDE: u8 = 8;

/// A list of networks: those whose forwarded headers count, or those that are answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    /// As the settings write them.
    words: Vec<String>,
}

/// How far a list of networks reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reach {
    /// No further than this machine.
    Loopback,
    /// Some networks.
    Networks,
    /// All addresses there are, or a large part of them.
    Internet,
}

impl TrustedProxies {
    /// This machine and private networks.
    pub fn nearby() -> Self {
        let mut nearby = Self::default();
        for word in ["loopback", "private"] {
            nearby.add(word);
        }
        nearby
    }

    /// True if the list contains `address`. An IPv4-mapped IPv6 address is compared as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.networks.iter().any(|net| net.contains(&address))
    }

    /// How far the list reaches.
    pub fn reach(&self) -> Reach {
        // Joined first: 0.0.0.0/1 and 128.0.0.0/1 are all of it, too.
        let reach = IpNet::aggregate(&self.networks)
            .into_iter()
            .map(|net| match net {
                net if net.network().is_loopback() && net.broadcast().is_loopback() => {
                    Reach::Loopback
                }
                IpNet::V4(net) if net.prefix_len() < WIDE => Reach::Internet,
                IpNet::V6(net) if net.prefix_len() < WIDE - 1 => Reach::Internet,
                _ => Reach::Networks,
            });
        reach.max().unwrap_or(Reach::Loopback)
    }

    /// Adds `loopback`, `private`, an address or a network, or several of them. Returns `false` if
    /// any part of `text` is invalid.
    pub fn add(&mut self, text: &str) -> bool {
        let is_separator = |c: char| c.is_whitespace() || matches!(c, ',' | ';' | '，' | '；');
        let parts: Vec<&str> = text
            .split(is_separator)
            .filter(|part| !part.is_empty())
            .collect();
        !parts.is_empty() && parts.into_iter().all(|part| self.add_one(part))
    }

    fn add_one(&mut self, text: &str) -> bool {
        let before = self.networks.len();
        match text.to_ascii_lowercase().as_str() {
            "loopback" | "localhost" => self
                .networks
                .extend(LOOPBACK.iter().filter_map(|net| net.parse::<IpNet>().ok())),
            "private" => self
                .networks
                .extend(PRIVATE.iter().filter_map(|net| net.parse::<IpNet>().ok())),
            other => {
                let bare = other
                    .strip_prefix('[')
                    .and_then(|inner| inner.strip_suffix(']'))
                    .unwrap_or(other);
                let net = bare.parse().ok().or_else(|| {
                    bare.parse()
                        .ok()
                        .map(|ip: IpAddr| IpNet::from(ip.to_canonical()))
                });
                self.networks
                    .extend(net.map(canonical).filter(|net| !is_nobody(net)));
            }
        }
        let fits = self.networks.len() > before;
        self.words.extend(fits.then(|| text.to_owned()));
        fits
    }
}

/// As the settings write it: `loopback, 203.0.113.0/24`.
impl fmt::Display for TrustedProxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(", "))
    }
}

/// Converts an IPv4-mapped network to IPv4, since callers are compared that way.
fn canonical(net: IpNet) -> IpNet {
    let IpNet::V6(six) = net else { return net };
    let four = six
        .network()
        .to_ipv4_mapped()
        .zip(six.prefix_len().checked_sub(96));
    four.and_then(|(ip, length)| Ipv4Net::new(ip, length).ok())
        .map_or(net, IpNet::from)
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
        for text in [
            "loopback",
            "private",
            "203.0.113.0/24",
            "198.51.100.7",
            "2001:db8::1",
        ] {
            assert!(proxies.add(text), "{text}");
        }
        for text in [
            " Loopback ",
            "[::1]",
            "10.1.2.3/8",
            "::ffff:9.9.9.0/120",
            "1.2.3.4, 5.6.7.8",
        ] {
            assert!(TrustedProxies::default().add(text), "{text}");
        }
        for text in [
            "0.0.0.0",
            "::",
            "10.0.0.1:80",
            "10.0.0.1, x",
            ",",
            "*",
            "10.0.0.0/255.0.0.0",
            "https://10.0.0.1",
        ] {
            assert!(!TrustedProxies::default().add(text), "{text}");
        }
        let mut odd = TrustedProxies::default();
        assert!(
            odd.add("10.1.2.3/8") && odd.add("::ffff:9.9.9.0/120") && odd.add("1.2.3.4, 5.6.7.8,")
        );
        for ip in [
            "10.9.9.9",
            "9.9.9.7",
            "::ffff:9.9.9.8",
            "1.2.3.4",
            "5.6.7.8",
        ] {
            assert!(odd.contains(ip.parse().expect("an address")), "{ip}");
        }
        assert!(!odd.contains([11, 0, 0, 1].into()) && !odd.contains([9, 9, 8, 1].into()));
        assert!(!proxies.add("publik") && !proxies.add("10.0.0.0/33") && !proxies.add(""));
        let inside = [
            "127.0.0.1",
            "::1",
            "10.9.8.7",
            "::ffff:192.168.1.1",
            "203.0.113.200",
            "198.51.100.7",
            "fd00::1",
            "2001:db8::1",
        ];
        for ip in inside {
            assert!(proxies.contains(ip.parse().expect("an address")), "{ip}");
        }
        for ip in ["8.8.8.8", "198.51.100.8", "2001:db8::2", "172.32.0.1"] {
            assert!(!proxies.contains(ip.parse().expect("an address")), "{ip}");
        }
    }

    #[test]
    fn a_lists_reach_is_classified() {
        let reach = |words: &[&str]| {
            let mut list = TrustedProxies::default();
            assert!(words.iter().all(|word| list.add(word)), "{words:?}");
            list.reach()
        };
        for near in [
            &[][..],
            &["loopback"],
            &["127.0.0.1"],
            &["::1"],
            &["127.1.0.0/16"],
        ] {
            assert_eq!(reach(near), Reach::Loopback, "{near:?}");
        }
        for some in [
            &["loopback", "private"][..],
            &["203.0.113.7"],
            &["10.0.0.0/8"],
            &["2001:db8::/32"],
            &["fc00::/7"],
        ] {
            assert_eq!(reach(some), Reach::Networks, "{some:?}");
        }
        for all in [
            &["0.0.0.0/0"][..],
            &["loopback", "::/0"],
            &["0.0.0.0/1", "128.0.0.0/1"],
            &["2000::/3"],
            &["64.0.0.0/2"],
        ] {
            assert_eq!(reach(all), Reach::Internet, "{all:?}");
        }
    }
}
