//! The network of a client address, the unit of per-client limits. Private addresses have none,
//! because those clients belong to the operator.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A public IPv4 address, an IPv6 /56 (usually one subscriber) or a /48 (one site).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum ClientNetwork {
    /// One address.
    V4(Ipv4Addr),
    /// The first 56 bits of an address.
    Subscriber(Ipv6Addr),
    /// The first 48 bits of an address.
    Site(Ipv6Addr),
}

impl ClientNetwork {
    /// Returns the network of a public `address`; `None` for loopback, private, link-local and
    /// shared (100.64.0.0/10) ones.
    pub fn of(address: IpAddr) -> Option<Self> {
        match address.to_canonical() {
            IpAddr::V4(v4) => Self::of_v4(v4),
            IpAddr::V6(v6)
                if v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local() =>
            {
                None
            }
            IpAddr::V6(v6) => match v6.segments() {
                // NAT64 (RFC 6052) and 6to4 (RFC 3056) map all of IPv4 into one prefix.
                [0x64, 0xff9b, 0, 0, 0, 0, high, low] | [0x2002, high, low, ..] => {
                    Self::of_v4(Ipv4Addr::from(u32::from(high) << 16 | u32::from(low)))
                }
                _ => Some(Self::Subscriber(prefix(v6, 56))),
            },
        }
    }

    fn of_v4(v4: Ipv4Addr) -> Option<Self> {
        let is_shared = v4.octets()[0] == 100 && v4.octets()[1] & 0xc0 == 64;
        let is_own = v4.is_private() || v4.is_loopback() || v4.is_link_local() || is_shared;
        (!is_own).then_some(Self::V4(v4))
    }

    /// Returns the /48 around a /56. It contains 256 of them.
    pub fn site(self) -> Option<Self> {
        match self {
            Self::Subscriber(v6) => Some(Self::Site(prefix(v6, 48))),
            Self::V4(_) | Self::Site(_) => None,
        }
    }
}

fn prefix(v6: Ipv6Addr, bits: u32) -> Ipv6Addr {
    Ipv6Addr::from(u128::from(v6) & !(u128::MAX >> bits))
}

/// The first address of the network.
impl fmt::Display for ClientNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4(v4) => v4.fmt(f),
            Self::Subscriber(v6) | Self::Site(v6) => v6.fmt(f),
        }
    }
}

/// How many permits each network holds. A /48 may hold twice as many as one of its /56.
#[derive(Debug, Default)]
pub struct Shares(HashMap<ClientNetwork, usize>);

impl Shares {
    /// Returns the network at its limit if `from` may hold `most` permits: `from` itself or its
    /// site.
    pub fn exhausted(&self, from: Option<ClientNetwork>, most: usize) -> Option<ClientNetwork> {
        let from = from?;
        let site = from.site().filter(|site| self.held(*site) >= 2 * most);
        Some(from).filter(|from| self.held(*from) >= most).or(site)
    }

    /// Counts one permit taken.
    pub fn enter(&mut self, from: Option<ClientNetwork>) {
        for network in levels(from) {
            *self.0.entry(network).or_default() += 1;
        }
    }

    /// Counts one permit returned.
    pub fn leave(&mut self, from: Option<ClientNetwork>) {
        for network in levels(from) {
            if let Some(held) = self.0.get_mut(&network) {
                *held -= 1;
                if *held == 0 {
                    self.0.remove(&network);
                }
            }
        }
    }

    fn held(&self, network: ClientNetwork) -> usize {
        self.0.get(&network).copied().unwrap_or_default()
    }

    /// True if no network holds a permit.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A network and the site around it.
pub fn levels(from: Option<ClientNetwork>) -> impl Iterator<Item = ClientNetwork> {
    from.into_iter().chain(from.and_then(ClientNetwork::site))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network(address: &str) -> Option<ClientNetwork> {
        ClientNetwork::of(address.parse().expect("an address"))
    }

    #[test]
    fn private_addresses_belong_to_no_network() {
        let own = [
            "127.0.0.1",
            "10.1.2.3",
            "192.168.0.1",
            "172.16.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "100.127.255.255",
        ];
        let own_v6 = [
            "::1",
            "fd00::1",
            "fe80::1",
            "::ffff:10.0.0.1",
            "64:ff9b::10.0.0.1",
        ];
        for own in own.into_iter().chain(own_v6) {
            assert_eq!(network(own), None, "{own}");
        }
    }

    #[test]
    fn a_public_ipv4_address_is_one_network() {
        let written = |address| network(address).map(|network| network.to_string());
        assert_eq!(written("203.0.113.7").as_deref(), Some("203.0.113.7"));
        for same in [
            "::ffff:203.0.113.7",
            "64:ff9b::203.0.113.7",
            "2002:cb00:7107::1",
            "2002:cb00:7107:ff00::1",
        ] {
            assert_eq!(network(same), network("203.0.113.7"), "{same}");
        }
        assert_ne!(network("203.0.113.8"), network("203.0.113.7"));
        assert!(network("100.63.255.255").is_some() && network("100.128.0.0").is_some());
    }

    #[test]
    fn an_ipv6_network_is_a_56_within_a_48() {
        assert_eq!(
            network("2001:db8:1:2:3:4:5:6"),
            network("2001:db8:1:ff:ffff::1")
        );
        assert_ne!(network("2001:db8:1:2::1"), network("2001:db8:1:102::1"));
        let site = |address| network(address).and_then(ClientNetwork::site);
        assert_eq!(site("2001:db8:1:2::1"), site("2001:db8:1:ff02::1"));
        assert_ne!(site("2001:db8:1:2::1"), site("2001:db8:2:2::1"));
    }

    #[test]
    fn a_site_has_twice_the_share_of_a_network() {
        let (mut shares, one, other) = (
            Shares::default(),
            network("2001:db8:1:2::1"),
            network("2001:db8:1:102::1"),
        );
        let third = network("2001:db8:1:202::1");
        for _ in 0..3 {
            assert_eq!(shares.exhausted(one, 3), None);
            shares.enter(one);
        }
        assert_eq!(
            (shares.exhausted(one, 3), shares.exhausted(other, 3)),
            (one, None)
        );
        (0..3).for_each(|_| shares.enter(other));
        assert_eq!(
            shares.exhausted(third, 3),
            third.and_then(ClientNetwork::site)
        );
        assert_eq!(
            (
                shares.exhausted(network("203.0.113.7"), 3),
                shares.exhausted(None, 0)
            ),
            (None, None)
        );
        (0..3).for_each(|_| shares.leave(other));
        (0..3).for_each(|_| shares.leave(one));
        assert!(
            shares.is_empty(),
            "networks that hold nothing are not remembered"
        );
    }
}
