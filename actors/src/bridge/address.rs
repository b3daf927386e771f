//! Addresses as a person writes them, and which of them can be dialled.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, ToSocketAddrs};

use estafette::node::blocking;

/// An error of reading an address that nobody can be reached at, whatever the network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AddressError {
    /// It has no port, or something else where it should be.
    #[error(
        "{given:?} is no address: host:port is wanted, such as 192.0.2.7:7400, [2001:db8::7]:7400 \
         or paris.example:7400"
    )]
    Form {
        /// The address.
        given: String,
    },
    /// Port 0 stands for any port, and only to listen at.
    #[error(
        "{given:?} can't be dialled: port 0 stands for any free port of a listener, so say the \
         one it has"
    )]
    NoPort {
        /// The address.
        given: String,
    },
    /// A wildcard or a group.
    #[error("{given:?} is refused: {kind} is no address of one machine, so say the one it has")]
    NotOne {
        /// The address.
        given: String,
        /// The kind of address that it is.
        kind: &'static str,
    },
    /// A link-local address without the link: there may be one of it on each.
    #[error(
        "{given:?} is refused: it is an address of one link, so say by which network interface of \
         the machine that uses it, as in [{ip}%eth0]:{port}"
    )]
    NoLink {
        /// The address.
        given: String,
        /// The IP address in it.
        ip: Ipv6Addr,
        /// The port in it.
        port: u16,
    },
    /// A zone that this machine has no network for.
    #[error("{given:?} can't be used: this machine has no network interface {zone:?}")]
    NoZone {
        /// The address.
        given: String,
        /// The text behind the `%`.
        zone: String,
    },
}

/// Checks that an address could be dialled by somebody. Names are not looked up, and zones are left
/// to the machine that dials.
pub fn check_address(given: &str) -> Result<(), AddressError> {
    let (host, port) = split(given)?;
    if port == 0 {
        return Err(AddressError::NoPort { given: given.to_owned() });
    }
    match ip_of(host) {
        Some(ip) => check_ip(given, host, ip, port),
        None if may_be_found(host) => Ok(()),
        None => Err(AddressError::Form { given: given.to_owned() }),
    }
}

/// Checks that a machine could have an address, to listen at it: a wildcard stands for all that it
/// has, and port 0 for any port.
pub(super) fn check_own(given: &str) -> Result<(), AddressError> {
    let (host, port) = split(given)?;
    match ip_of(host) {
        Some(ip) if !ip.to_canonical().is_unspecified() => check_ip(given, host, ip, port),
        _ => Ok(()),
    }
}

fn ip_of(host: &str) -> Option<IpAddr> {
    host.split('%').next().unwrap_or(host).parse().ok()
}

fn check_ip(given: &str, host: &str, ip: IpAddr, port: u16) -> Result<(), AddressError> {
    // One of the older family inside the newer is dialled as what it is.
    let kind = match ip.to_canonical() {
        ip if ip.is_unspecified() => "a wildcard",
        ip if ip.is_multicast() => "a multicast group",
        IpAddr::V4(ip) if ip.is_broadcast() => "a broadcast address",
        // What begins with 0 means this network itself (RFC 1122, section 3.2.1.3).
        IpAddr::V4(ip) if ip.octets()[0] == 0 => "an address that begins with 0",
        IpAddr::V6(ip) if ip.is_unicast_link_local() && !host.contains('%') => {
            return Err(AddressError::NoLink { given: given.to_owned(), ip, port });
        }
        _ => return Ok(()),
    };
    Err(AddressError::NotOne { given: given.to_owned(), kind })
}

/// Returns `true` if some network may know a host by this name (RFC 1035, section 2.3.4). What ends
/// in a number is an IP address that is not whole (RFC 3696, section 2): systems take `0` for a
/// wildcard.
fn may_be_found(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_number = |label: &str| match label.strip_prefix("0x") {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_hexdigit()),
        None => label.bytes().all(|byte| byte.is_ascii_digit()),
    };
    let mut labels = name.split('.');
    let ends_in_number = labels.clone().next_back().is_some_and(is_number);
    name.len() <= 253 && labels.all(|label| (1..=63).contains(&label.len())) && !ends_in_number
}

/// Host, without brackets, and port.
fn split(given: &str) -> Result<(&str, u16), AddressError> {
    let form = || AddressError::Form { given: given.to_owned() };
    let (host, port) = given.rsplit_once(':').ok_or_else(form)?;
    let port = port.parse().map_err(|_| form())?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bare {
        Some(inside) => inside
            .split('%')
            .next()
            .and_then(|ip| ip.parse::<Ipv6Addr>().ok())
            .map(|_| inside)
            .ok_or_else(form)?,
        None => host,
    };
    let is_name = |host: &str| {
        !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_graphic() && !b"[]/:%@".contains(&byte))
    };
    if bare.is_some() || is_name(host) { Ok((host, port)) } else { Err(form()) }
}

/// All that an address stands for, the families in turn, beginning with the one that the system
/// puts first.
pub(super) async fn resolve(given: &str) -> io::Result<Vec<SocketAddr>> {
    let invalid = |error| io::Error::new(io::ErrorKind::InvalidInput, error);
    let (host, port) = split(given).map_err(invalid)?;
    if let Some((_, zone)) = host.split_once('%') {
        // The system knows the networks of this process, which may see another one's /sys.
        let whole = (host.to_owned(), port);
        let found = blocking(move || whole.to_socket_addrs()).await?.into_iter().flatten();
        let has_zone = |address: &SocketAddr| match address {
            SocketAddr::V6(address) => address.scope_id() != 0,
            SocketAddr::V4(_) => false,
        };
        let found: Vec<_> = found.filter(has_zone).take(1).collect();
        let none = AddressError::NoZone { given: given.to_owned(), zone: zone.to_owned() };
        return if found.is_empty() { Err(invalid(none)) } else { Ok(found) };
    }
    let name = (host.to_owned(), port);
    let found: Vec<_> = match host.parse::<IpAddr>() {
        Ok(ip) => vec![(ip, port).into()],
        Err(_) => blocking(move || name.to_socket_addrs()).await??.collect(),
    };
    if found.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("{host} has no address")));
    }
    Ok(in_turn(found))
}

/// No family stands behind all of the other: what swallows one often swallows all of it.
fn in_turn(found: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let first_is_v6 = found.first().is_some_and(SocketAddr::is_ipv6);
    let (first, second): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut first, mut second) = (first.into_iter(), second.into_iter());
    let mut turns = Vec::with_capacity(first.len() + second.len());
    loop {
        let before = turns.len();
        turns.extend(first.next());
        turns.extend(second.next());
        if turns.len() == before {
            return turns;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddrV6;

    use super::*;

    #[test]
    fn what_nobody_can_dial_is_told_from_what_somebody_may() {
        for good in [
            "192.0.2.7:7400",
            "[2001:db8::7]:7400",
            "[fe80::1%eth0]:7",
            "paris.example:7400",
            "localhost:1",
            "127.0.0.1:65535",
            "paris.example.:7400",
            "my_host:1",
            "7seas:1",
            "4.example:1",
        ] {
            assert_eq!(check_address(good), Ok(()), "{good}");
        }
        for form in [
            "",
            "paris",
            "paris:",
            "paris:http",
            ":7400",
            "2001:db8::7:7400x",
            "[::1:7400",
            "[paris]:7",
            "a b:7",
            "x:70000",
            "tcp://a:7",
            "0:7",
            "127.1:7",
            "256.1.1.1:7",
            "1.2.3.4.5:7",
            "0x7f000001:7",
            "paris..example:7",
            ".paris:7",
            &format!("{}:7", "a".repeat(64)),
            &format!("{}a:7", "ab.".repeat(85)),
        ] {
            assert!(matches!(check_address(form), Err(AddressError::Form { .. })), "{form}");
        }
        // Eight groups and a port, without brackets: nobody could tell where the port begins.
        assert!(matches!(check_address("2001:db8::7:7400"), Err(AddressError::Form { .. })));
        assert!(matches!(check_address("paris:0"), Err(AddressError::NoPort { .. })));
        for none in [
            "0.0.0.0:7",
            "[::]:7",
            "224.0.0.1:7",
            "[ff02::1%eth0]:7",
            "255.255.255.255:7",
            "0.1.2.3:44",
            "[::ffff:0.0.0.0]:7",
        ] {
            assert!(matches!(check_address(none), Err(AddressError::NotOne { .. })), "{none}");
        }
        let no_link = check_address("[fe80::1]:7400").unwrap_err();
        assert!(matches!(no_link, AddressError::NoLink { .. }), "{no_link}");
        assert!(no_link.to_string().contains("[fe80::1%eth0]:7400"), "{no_link}");
    }

    #[test]
    fn what_no_machine_has_is_not_listened_at() {
        for good in ["0.0.0.0:0", "[::]:7400", "[::1]:0", "[fe80::1%eth0]:0", "paris:0", "0:0"] {
            assert_eq!(check_own(good), Ok(()), "{good}");
        }
        for none in ["224.0.0.1:0", "[ff02::1%eth0]:7", "255.255.255.255:0", "[fe80::1]:0"] {
            let error = check_own(none).unwrap_err().to_string();
            assert!(error.contains(none), "{error}");
        }
    }

    #[tokio::test]
    async fn a_zone_is_an_interface_of_this_machine() {
        let found = resolve("[fe80::1%lo]:7").await.unwrap();
        let number: u32 =
            std::fs::read_to_string("/sys/class/net/lo/ifindex").unwrap().trim().parse().unwrap();
        assert_eq!(found, [SocketAddrV6::new("fe80::1".parse().unwrap(), 7, 0, number).into()]);
        let none = resolve("[fe80::1%nowhere0]:7").await.unwrap_err();
        assert!(none.to_string().contains("no network interface \"nowhere0\""), "{none}");
    }

    #[test]
    fn families_take_turns() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let (a, b, c, d) =
            (address("[::1]:1"), address("[::2]:1"), address("192.0.2.1:1"), address("[::3]:1"));
        assert_eq!(in_turn(vec![a, b, d, c]), [a, c, b, d]);
    }
}
