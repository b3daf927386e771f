//! Under which addresses a listener can be dialled from elsewhere.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The addresses for a ticket: `listening` itself, or for a wildcard (`0.0.0.0`, `[::]`) the addresses of this machine, loopback last.
pub(crate) fn reachable(listening: &[String]) -> Vec<String> {
    let mut addresses: Vec<String> = Vec::new();
    for listening in listening {
        let found = match listening.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_unspecified() => {
                local(address.is_ipv6()).into_iter().map(|ip| SocketAddr::new(ip, address.port()).to_string()).collect()
            }
            _ => vec![listening.clone()],
        };
        for address in found {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    // A ticket holds eight.
    addresses.truncate(8);
    addresses
}

/// The addresses this machine would use towards the Internet and towards private networks, then loopback.
fn local(with_v6: bool) -> Vec<IpAddr> {
    const TOWARDS: [&str; 4] = ["192.0.2.1:9", "10.255.255.254:9", "172.16.255.254:9", "192.168.255.254:9"];
    let mut found: Vec<IpAddr> = TOWARDS.iter().filter_map(|there| source_towards("0.0.0.0:0", there)).collect();
    if with_v6 {
        found.extend(source_towards("[::]:0", "[2001:db8::1]:9"));
    }
    found.push(Ipv4Addr::LOCALHOST.into());
    if with_v6 {
        found.push(Ipv6Addr::LOCALHOST.into());
    }
    found
}

/// Which of our addresses the routing table picks for a destination. Connecting a UDP socket sends nothing.
fn source_towards(from: &str, there: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(there).ok()?;
    let ip = socket.local_addr().ok()?.ip();
    (!ip.is_unspecified() && !ip.is_loopback()).then_some(ip)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_becomes_addresses_one_can_dial() {
        let addresses = reachable(&["0.0.0.0:7400".into()]);
        assert_eq!(addresses.last().map(String::as_str), Some("127.0.0.1:7400"));
        assert!(addresses.iter().all(|address| !address.starts_with("0.0.0.0")), "{addresses:?}");
    }

    #[test]
    fn any_other_address_stays() {
        assert_eq!(reachable(&["127.0.0.1:7".into(), "127.0.0.1:7".into()]), ["127.0.0.1:7"]);
    }
}
