//! Whose word about the caller's address counts. A list of networks; it knows nothing of headers.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];
const PRIVATE: [&str; 6] = ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "169.254.0.0/16", "fc00::/7", "fe80::/10"];

/// An IPv4 network with a shorter prefix than this is a large part of the internet. The private network fc00::/7 is not.
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
        self.networks.iter().any(|net| net.contains(&address))
    }

    /// How far the list reaches.
    pub fn reach(&self) -> Reach {
        // Joined first: 0.0.0.0/1 and 128.0.0.0/1 are all of it, too.
        let reach = IpNet::aggregate(&self.networks).into_iter().map(|net| match net {
            net if net.network().is_loopback() && net.broadcast().is_loopback() => Reach::Loopback,
            IpNet::V4(net) if net.prefix_len() < WIDE => Reach::Internet,
            IpNet::V6(net) if net.prefix_len() < WIDE - 1 => Reach::Internet,
            _ => Reach::Networks,
        });
        reach.max().unwrap_or(Reach::Loopback)
    }

    /// Adds `loopback`, `private`, an address or a network; `false` when `text` is none of these.
    pub(super) fn add(&mut self, text: &str) -> bool {
        let before = self.networks.len();
        match text {
            "loopback" => self.networks.extend(LOOPBACK.iter().filter_map(|net| net.parse::<IpNet>().ok())),
            "private" => self.networks.extend(PRIVATE.iter().filter_map(|net| net.parse::<IpNet>().ok())),
            other => {
                let address = || other.parse().ok().map(|ip: IpAddr| IpNet::from(ip.to_canonical()));
                self.networks.extend(other.parse().ok().or_else(address));
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

    #[test]
    fn a_list_tells_how_far_it_reaches() {
        let reach = |words: &[&str]| {
            let mut list = TrustedProxies::default();
            assert!(words.iter().all(|word| list.add(word)), "{words:?}");
            list.reach()
        };
        for near in [&[][..], &["loopback"], &["127.0.0.1"], &["::1"], &["127.1.0.0/16"]] {
            assert_eq!(reach(near), Reach::Loopback, "{near:?}");
        }
        for some in [&["loopback", "private"][..], &["203.0.113.7"], &["10.0.0.0/8"], &["2001:db8::/32"], &["fc00::/7"]] {
            assert_eq!(reach(some), Reach::Networks, "{some:?}");
        }
        for all in [&["0.0.0.0/0"][..], &["loopback", "::/0"], &["0.0.0.0/1", "128.0.0.0/1"], &["2000::/3"], &["64.0.0.0/2"]] {
            assert_eq!(reach(all), Reach::Internet, "{all:?}");
        }
    }
}
