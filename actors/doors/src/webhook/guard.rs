//! The guard of addresses: a webhook goes to public addresses alone, unless others are allowed.
//!
//! Invariant: what is connected to is an address that was looked at, never a name that is resolved
//! once more.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::str::FromStr;

/// The most addresses of a name that are looked at.
const ADDRESSES_MOST: usize = 16;

/// A network, such as `10.0.0.0/8` or `fd00::/8`; an address alone is one of one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

/// Text that names no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{given:?} is no network: ADDRESS/BITS is one, such as 10.0.0.0/8 or fd00::/8")]
pub struct NetworkError {
    given: String,
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let wrong = || NetworkError { given: text.chars().take(80).collect() };
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), |bits| bits.parse().map_err(|_| wrong()))?;
        if bits > most { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Network {
    const fn v4(a: u8, b: u8, c: u8, bits: u8) -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::new(a, b, c, 0)), bits }
    }

    const fn v6(first: u16, second: u16, bits: u8) -> Self {
        Self { address: IpAddr::V6(Ipv6Addr::new(first, second, 0, 0, 0, 0, 0, 0)), bits }
    }

    fn has(self, address: IpAddr) -> bool {
        let begins_alike = |one: u128, other: u128, width: u32| {
            let rest = width - u32::from(self.bits);
            one.checked_shr(rest).unwrap_or(0) == other.checked_shr(rest).unwrap_or(0)
        };
        match (self.address, address) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                begins_alike(own.to_bits().into(), other.to_bits().into(), 32)
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                begins_alike(own.to_bits(), other.to_bits(), 128)
            }
            _ => false,
        }
    }
}

/// Networks that are not the public internet: the special addresses of IANA's registries, and what
/// carries addresses of version 4 within, by which each of them could be reached.
const SPECIAL: [Network; 30] = [
    Network::v4(0, 0, 0, 8),     // this network
    Network::v4(10, 0, 0, 8),    // private
    Network::v4(100, 64, 0, 10), // shared by customers of a provider
    Network::v4(127, 0, 0, 8),   // loopback
    Network { address: IpAddr::V4(Ipv4Addr::new(168, 63, 129, 16)), bits: 32 }, // Azure's own
    Network::v4(169, 254, 0, 16), // link-local, with the metadata of clouds
    Network::v4(172, 16, 0, 12), // private
    Network::v4(192, 0, 0, 24),  // protocols
    Network::v4(192, 0, 2, 24),  // documents
    Network::v4(192, 31, 196, 24), // AS112
    Network::v4(192, 52, 193, 24), // multicast through tunnels
    Network::v4(192, 88, 99, 24), // 6to4 relays
    Network::v4(192, 168, 0, 16), // private
    Network::v4(192, 175, 48, 24), // AS112
    Network::v4(198, 18, 0, 15), // benchmarks
    Network::v4(198, 51, 100, 24), // documents
    Network::v4(203, 0, 113, 24), // documents
    Network::v4(224, 0, 0, 3),   // multicast, what is reserved, broadcast
    Network::v6(0, 0, 8),        // unspecified, loopback, IPv4 within
    Network::v6(0x64, 0xff9b, 32), // NAT64
    Network::v6(0x100, 0, 64),   // thrown away
    Network::v6(0x2001, 0, 23),  // protocols, Teredo
    Network::v6(0x2001, 0xdb8, 32), // documents
    Network::v6(0x2002, 0, 16),  // 6to4
    Network::v6(0x3fff, 0, 20),  // documents
    Network::v6(0x5f00, 0, 16),  // segments
    Network::v6(0xfc00, 0, 7),   // unique local
    Network::v6(0xfe80, 0, 10),  // link-local
    Network::v6(0xfec0, 0, 10),  // site-local
    Network::v6(0xff00, 0, 8),   // multicast
];

/// Returns true if a webhook may go there.
pub(super) fn permits(address: IpAddr, allowed: &[Network]) -> bool {
    // One of version 4 that is written as one of version 6 is what it is.
    let address = address.to_canonical();
    allowed.iter().any(|network| network.has(address))
        || !SPECIAL.iter().any(|network| network.has(address))
}

/// The addresses of a host that a webhook may go to. It blocks while a name is looked up.
///
/// # Errors
/// The reason, for a person.
pub(super) fn resolve(
    host: &str,
    port: u16,
    allowed: &[Network],
) -> Result<Vec<SocketAddr>, String> {
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let found = match bare.parse::<IpAddr>() {
        Ok(address) => vec![SocketAddr::new(address, port)],
        Err(_) => (bare, port)
            .to_socket_addrs()
            .map_err(|error| format!("the name {host:?} can't be resolved: {error}"))?
            .take(ADDRESSES_MOST)
            .collect(),
    };
    let fit = found.iter().copied().filter(|address| permits(address.ip(), allowed));
    let fit: Vec<_> = fit.collect();
    match (fit.is_empty(), found.first()) {
        (true, Some(first)) => Err(format!(
            "{host:?} is {}, which is no address of the public internet: nothing is sent there \
             unless its network is allowed (allow = [\"{}\"])",
            first.ip(),
            first.ip().to_canonical()
        )),
        (true, None) => Err(format!("the name {host:?} has no address")),
        (false, _) => Ok(fit),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    fn permitted(address: &str, allowed: &[&str]) -> bool {
        let allowed: Vec<_> = allowed.iter().map(|network| network.parse().unwrap()).collect();
        permits(address.parse().unwrap(), &allowed)
    }

    #[test]
    fn what_is_not_the_public_internet_is_refused() {
        for special in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.255.0.1",
            "168.63.129.16",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.19.255.255",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.255.255.255",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "3fff::1",
            "5f00::1",
            "fc00::1",
            "fd12:3456::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "ff02::1",
        ] {
            assert!(!permitted(special, &[]), "{special}");
        }
        for public in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "126.0.0.1",
            "128.0.0.1",
            "168.63.129.15",
            "168.63.129.17",
            "169.253.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.169.0.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "::ffff:1.1.1.1",
            "2001:4860:4860::8888",
            "2606:4700::1111",
            "2a00::1",
        ] {
            assert!(permitted(public, &[]), "{public}");
        }
    }

    #[test]
    fn what_is_allowed_is_that_and_no_more() {
        assert!(permitted("127.0.0.1", &["127.0.0.0/8"]));
        assert!(permitted("::ffff:127.0.0.1", &["127.0.0.1"]));
        assert!(!permitted("10.0.0.1", &["127.0.0.0/8"]));
        assert!(!permitted("::1", &["127.0.0.0/8"]));
        assert!(permitted("fd00::1", &["fd00::/8"]) && !permitted("fc00::1", &["fd00::/8"]));
        assert!(permitted("10.0.0.1", &["0.0.0.0/0"]) && permitted("::1", &["::/0"]));
        for wrong in ["", "10", "10.0.0.0/33", "::/129", "a/8", "10.0.0.0/-1"] {
            let why = wrong.parse::<Network>().unwrap_err().to_string();
            assert!(why.contains("ADDRESS/BITS"), "{why}");
        }
        assert_eq!("10.0.0.0/8".parse::<Network>().unwrap().to_string(), "10.0.0.0/8");
    }

    #[test]
    fn a_name_is_what_it_resolves_to() {
        let loopback = ["127.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
        for host in ["localhost", "127.0.0.1", "[::1]", "[::ffff:127.0.0.1]"] {
            let why = resolve(host, 80, &[]).unwrap_err();
            assert!(why.contains("public internet") && why.contains("allow = ["), "{why}");
            let fit = resolve(host, 80, &loopback).unwrap();
            assert!(fit.iter().all(|address| address.port() == 80) && !fit.is_empty());
        }
    }
}
