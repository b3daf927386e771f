//! Under which addresses a listener can be dialled from elsewhere.

use std::net::{IpAddr, SocketAddr, UdpSocket};

use if_addrs::{IfOperStatus, Interface};

/// So many a ticket holds.
const MOST: usize = 8;

/// The addresses that a node listens at: those it was told, or, if it takes anything, any.
pub(crate) fn listen(given: &[String], takes: bool) -> Vec<String> {
    match given.is_empty() && takes {
        true => vec![anywhere().to_owned()],
        false => given.to_vec(),
    }
}

/// Any free port of all addresses, of both families where this machine has both.
fn anywhere() -> &'static str {
    // A listener of the newer family takes the older one, too.
    if UdpSocket::bind("[::]:0").is_ok() { "[::]:0" } else { "0.0.0.0:0" }
}

/// The addresses for a ticket: the first of those at which a node can be dialled.
pub(crate) fn reachable(listening: &[String]) -> Vec<String> {
    let mut addresses = dialled(listening);
    addresses.truncate(MOST);
    addresses
}

/// The addresses at which a node can be dialled: `listening` itself, or for a wildcard (`0.0.0.0`,
/// `[::]`) the addresses of this machine, loopback last.
pub(crate) fn dialled(listening: &[String]) -> Vec<String> {
    let mut addresses: Vec<String> = Vec::new();
    for listening in listening {
        let plain = listening.strip_prefix("tcp:").unwrap_or(listening);
        let found = match plain.parse::<SocketAddr>() {
            Ok(address) if address.ip().is_unspecified() => {
                let at_port = |ip| SocketAddr::new(ip, address.port()).to_string();
                local(address.is_ipv6()).into_iter().map(at_port).collect()
            }
            _ => vec![listening.clone()],
        };
        for address in found {
            if !addresses.contains(&address) {
                addresses.push(address);
            }
        }
    }
    addresses
}

/// Returns `true` if only this machine itself can dial any of these.
pub(crate) fn lead_nowhere(addresses: &[String]) -> bool {
    addresses.iter().all(|address| {
        let address = address.strip_prefix("tcp:").unwrap_or(address);
        address.starts_with("unix:/")
            || address.parse::<SocketAddr>().is_ok_and(|address| address.ip().is_loopback())
    })
}

/// The addresses of this machine that others could dial, those first that it would use towards the
/// Internet and towards private networks, then loopback.
fn local(with_v6: bool) -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_else(|error| {
        tracing::warn!(
            %error,
            "the network interfaces could not be listed: the ticket may lack addresses"
        );
        Vec::new()
    });
    let first: Vec<IpAddr> =
        TOWARDS.iter().filter_map(|(from, there)| source_towards(from, there)).collect();
    choose(&first, &interfaces, with_v6)
}

/// Public and private networks whose routes tell which addresses matter most. Nothing is sent
/// there.
const TOWARDS: [(&str, &str); 5] = [
    ("0.0.0.0:0", "192.0.2.1:9"),
    ("[::]:0", "[2001:db8::1]:9"),
    ("0.0.0.0:0", "10.255.255.254:9"),
    ("0.0.0.0:0", "172.16.255.254:9"),
    ("0.0.0.0:0", "192.168.255.254:9"),
];

/// Returns those of these that a ticket holds.
fn choose(first: &[IpAddr], interfaces: &[Interface], with_v6: bool) -> Vec<IpAddr> {
    let is_up = |interface: &&Interface| {
        !matches!(interface.oper_status, IfOperStatus::Down | IfOperStatus::NotPresent)
    };
    let listed = interfaces.iter().filter(is_up).map(Interface::ip);
    let mut chosen: Vec<IpAddr> = Vec::new();
    for ip in first.iter().copied().chain(listed) {
        let fits = with_v6 || ip.is_ipv4();
        if fits
            && !ip.is_loopback()
            && !ip.is_unspecified()
            && !is_of_one_wire(&ip)
            && !chosen.contains(&ip)
        {
            chosen.push(ip);
        }
    }
    chosen.truncate(MOST - 1);
    let loopback =
        if chosen.iter().all(IpAddr::is_ipv6) && with_v6 && chosen.iter().any(IpAddr::is_ipv6) {
            IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1])
        } else {
            IpAddr::from([127, 0, 0, 1])
        };
    chosen.push(loopback);
    chosen
}

/// Link-local addresses: who dials one must say by which of its own interfaces, which a ticket
/// can't know.
fn is_of_one_wire(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Returns which of our addresses the routing table picks for a destination. Connecting a UDP
/// socket sends nothing.
fn source_towards(from: &str, there: &str) -> Option<IpAddr> {
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(there).ok()?;
    Some(socket.local_addr().ok()?.ip())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn interface(ip: &str) -> Interface {
        let addr = match ip.parse().unwrap() {
            IpAddr::V4(ip) => {
                let netmask = [255, 255, 255, 0].into();
                if_addrs::IfAddr::V4(if_addrs::Ifv4Addr {
                    ip,
                    netmask,
                    prefixlen: 24,
                    broadcast: None,
                })
            }
            IpAddr::V6(ip) => {
                let netmask = [0xffff, 0xffff, 0xffff, 0xffff, 0, 0, 0, 0].into();
                if_addrs::IfAddr::V6(if_addrs::Ifv6Addr {
                    ip,
                    netmask,
                    prefixlen: 64,
                    broadcast: None,
                })
            }
        };
        Interface {
            name: "net0".into(),
            addr,
            index: Some(2),
            oper_status: IfOperStatus::Up,
            is_p2p: false,
        }
    }

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

    #[test]
    fn all_interfaces_that_others_could_dial_are_there_and_routes_decide_which_comes_first() {
        let interfaces =
            ["127.0.0.1", "192.168.5.7", "fd00::7", "fe80::1", "169.254.3.4", "2001:db8::5", "::1"]
                .map(interface);
        let ips = |texts: &[&str]| {
            texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<IpAddr>>()
        };
        let first = ips(&["2001:db8::5"]);
        assert_eq!(
            choose(&first, &interfaces, true),
            ips(&["2001:db8::5", "192.168.5.7", "fd00::7", "127.0.0.1"])
        );
        assert_eq!(choose(&[], &interfaces, false), ips(&["192.168.5.7", "127.0.0.1"]));
        assert_eq!(choose(&[], &interfaces[5..], true), ips(&["2001:db8::5", "::1"]));
    }

    #[test]
    fn a_ticket_that_leads_nowhere_is_known() {
        assert!(lead_nowhere(&["127.0.0.1:7".into(), "[::1]:7".into()]));
        assert!(!lead_nowhere(&["192.168.5.7:7".into(), "127.0.0.1:7".into()]));
        assert!(!lead_nowhere(&["paris.example:7".into()]));
    }

    #[test]
    fn schemes_change_nothing_about_who_can_dial() {
        let found = reachable(&["tcp:0.0.0.0:7400".into(), "unix:/run/a".into()]);
        assert!(found.contains(&"127.0.0.1:7400".to_owned()) && !found[0].starts_with("tcp:"));
        assert_eq!(found.last().map(String::as_str), Some("unix:/run/a"));
        let here = ["unix:/run/a", "tcp:127.0.0.1:7400", "[::1]:7"].map(str::to_owned);
        assert!(lead_nowhere(&here) && !lead_nowhere(&["tcp:192.0.2.1:7".to_owned()]));
    }

    #[test]
    fn no_more_addresses_than_a_ticket_holds() {
        let interfaces: Vec<_> =
            (1..=20).map(|last| interface(&format!("192.168.5.{last}"))).collect();
        let chosen = choose(&[], &interfaces, true);
        assert_eq!((chosen.len(), chosen.last().map(IpAddr::is_loopback)), (MOST, Some(true)));
    }
}
