//! Faults of nodes.

use std::collections::BTreeMap;

use super::{Checking, doubles};
use crate::fault::{Fault, quoted};
use crate::model::NodeSpec;

impl Checking<'_> {
    pub(super) fn nodes(&mut self) {
        let topology = self.topology;
        if topology.nodes.is_empty() {
            let fault = Fault::new("no-nodes", "", "the topology has no nodes");
            self.faults.push(fault.about("node").help("add one: [node.paris]"));
        }
        for (name, node) in &topology.nodes {
            let at = format!("node.{}", quoted(name));
            self.name(&at, name);
            self.node(&at, name, node);
        }
        self.shared_addresses();
        self.shared_keys();
    }

    fn node(&mut self, at: &str, name: &str, node: &NodeSpec) {
        for (key, others, does) in [
            ("trust", &node.trust, "a node does not deliver to itself"),
            ("observe", &node.observe, "a node needs no right to see itself"),
        ] {
            for (index, other) in others.iter().enumerate() {
                let place = one_of(&format!("{at}.{key}"), index, others.len());
                if other == name {
                    let fault = Fault::new("itself", place, format!("`{name}` names itself"));
                    self.faults.push(fault.label(does));
                } else {
                    self.knows(&place, other);
                }
            }
            for other in doubles(others.iter().map(String::as_str)) {
                let message = format!("`{other}` is named twice");
                let fault = Fault::new("twice", format!("{at}.{key}"), message);
                self.faults.push(fault.label("once is enough"));
            }
        }
        for (key, path) in [("key", &node.key), ("spool", &node.spool)] {
            if let Some(path) = path {
                self.path(&format!("{at}.{key}"), path);
            }
        }
        self.addresses(at, node);
        if node.line.is_some_and(|line| line.speed == 0) {
            let place = format!("{at}.line.speed");
            let fault = Fault::new("bad-limit", place, "a line can't carry nothing");
            self.faults.push(fault.label("must be one byte in a second at least"));
        }
        for fault in node.limits.faults() {
            let place = format!("{at}.limits.{}", fault.key);
            let message = format!("`{}` of {name} can't be {}", fault.key, fault.given);
            self.faults.push(Fault::new("bad-limit", place, message).label(fault.wanted));
        }
    }

    fn addresses(&mut self, at: &str, node: &NodeSpec) {
        for (index, address) in node.listen.iter().enumerate() {
            let place = one_of(&format!("{at}.listen"), index, node.listen.len());
            if let Err(why) = self.registry.check_address(&one_like(address)) {
                let message = format!("nothing can listen at {address:?}");
                // It is said of another one in its place.
                let why = if address.is_empty() { "an address is HOST:PORT".into() } else { why };
                self.faults.push(Fault::new("bad-address", place, message).label(why));
            } else if node.id.is_some() && node.addresses.is_empty() && is_for_all(address) {
                let message = format!("nobody on another machine can dial {address}");
                let fault = Fault::new("bad-address", place, message);
                let fault = fault.label("this is every address of the machine");
                let fault = fault.about(format!("{at}.addresses"));
                self.faults.push(fault.help("add one of them: addresses = [\"HOST:PORT\"]"));
            }
        }
        if let Some(http) = &node.http {
            let (host, port) = http.listen.rsplit_once(':').unwrap_or((&http.listen, ""));
            if host.is_empty() || port.parse::<u16>().is_err() || host.contains('/') {
                let message = format!("no page can be served at {:?}", http.listen);
                let fault = Fault::new("bad-address", format!("{at}.http.listen"), message);
                let fault = fault.label("an address is HOST:PORT");
                self.faults.push(fault.help("for this machine alone: http = \"127.0.0.1:7480\""));
            }
        }
        let hosts = node.http.iter().flat_map(|http| http.hosts.iter());
        let count = node.http.as_ref().map_or(0, |http| http.hosts.len());
        for (index, host) in hosts.enumerate().filter(|(_, host)| !is_host(host)) {
            let place = one_of(&format!("{at}.http.hosts"), index, count);
            let message = format!("no browser asks for a page at {host:?}");
            let fault = Fault::new("wrong-value", place, message);
            let fault = fault.label("a name alone is wanted, without scheme, port and path");
            self.faults.push(fault.help("as in hosts = [\"node.example.org\"]"));
        }
        for (index, address) in node.addresses.iter().enumerate() {
            if let Err(why) = self.registry.check_address(address) {
                let place = one_of(&format!("{at}.addresses"), index, node.addresses.len());
                let message = format!("nobody can dial {address:?}");
                self.faults.push(Fault::new("bad-address", place, message).label(why));
            }
        }
    }

    /// Two nodes of this machine can't listen at one address.
    fn shared_addresses(&mut self) {
        let doors = self.door_addresses(self.topology);
        let mut taken = Taken::default();
        for (name, node) in &self.topology.nodes {
            let listeners = node.listen.iter().enumerate().map(|(index, address)| {
                let at = format!("node.{}.listen", quoted(name));
                (address, one_of(&at, index, node.listen.len()))
            });
            let page = node
                .http
                .iter()
                .map(|http| (&http.listen, format!("node.{}.http.listen", quoted(name))));
            let doors = doors.iter().filter(|(node, ..)| node == name);
            let doors = doors.map(|(_, address, at)| (address, at.clone()));
            for (address, at) in listeners.chain(page).chain(doors) {
                // Nodes with an id may be of several machines.
                if address.ends_with(":0") || (node.id.is_some() && is_for_all(address)) {
                    continue;
                }
                if let Some(first) = taken.take(address, &at) {
                    let message = format!("two listeners have the address {address}");
                    let fault = Fault::new("same-address", at, message).label("taken already");
                    let fault = fault.related(first, "first said here");
                    self.faults.push(fault.help("choose another port"));
                }
            }
        }
    }

    fn shared_keys(&mut self) {
        let (mut ids, mut keys) = (BTreeMap::new(), BTreeMap::new());
        for (name, node) in &self.topology.nodes {
            if let Some(first) = node.id.and_then(|id| ids.insert(id, name)) {
                let message = format!("`{first}` and `{name}` have the same id");
                let fault = Fault::new("same-id", format!("node.{}.id", quoted(name)), message);
                let fault = fault.label("one id is one node");
                self.faults
                    .push(fault.related(format!("node.{}.id", quoted(first)), "first said here"));
            }
            let key = self.topology.key_of(name);
            if let Some(first) = keys.insert(key, name) {
                let message = format!("`{first}` and `{name}` have the same key file");
                let fault = Fault::new("same-id", format!("node.{}.key", quoted(name)), message);
                let fault = fault.label("one key is one node");
                self.faults
                    .push(fault.related(format!("node.{}.key", quoted(first)), "first said here"));
            }
        }
    }
}

/// The addresses that are listened at, and where each is said.
#[derive(Default)]
struct Taken<'t> {
    addresses: BTreeMap<(&'t str, &'t str), String>,
    ports: BTreeMap<&'t str, String>,
    all: BTreeMap<&'t str, String>,
}

impl<'t> Taken<'t> {
    /// Takes an address, or returns the place of one that leaves no room for it.
    fn take(&mut self, address: &'t str, at: &str) -> Option<String> {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let host = if host == "localhost" { "127.0.0.1" } else { host };
        let taken = match is_for_all(address) {
            true => self.ports.get(port),
            false => self.addresses.get(&(host, port)).or_else(|| self.all.get(port)),
        };
        if taken.is_some() {
            return taken.cloned();
        }
        if is_for_all(address) {
            self.all.insert(port, at.to_owned());
        }
        self.addresses.insert((host, port), at.to_owned());
        // Of a port, and not of the path of a socket.
        if port.parse::<u16>().is_ok() {
            self.ports.entry(port).or_insert_with(|| at.to_owned());
        }
        None
    }
}

/// Returns `true` if a browser can say it as the name of a host: as a page takes it at its start.
fn is_host(name: &str) -> bool {
    let is_fine = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    name.split('.').all(|part| !part.is_empty() && part.bytes().all(is_fine))
}

/// True for `0.0.0.0:7400` and `[::]:7400`, at which each machine has a node of its own.
fn is_for_all(address: &str) -> bool {
    WILDCARDS.iter().any(|(all, _)| address.starts_with(all))
}

/// An address that is as good as one to listen at, and that can be dialled.
fn one_like(address: &str) -> String {
    let all = WILDCARDS.iter().find(|(all, _)| address.starts_with(all));
    let one = all.map_or_else(|| address.to_owned(), |(all, one)| address.replacen(all, one, 1));
    one.strip_suffix(":0").map(|host| format!("{host}:1")).unwrap_or(one)
}

/// The addresses that mean every one of a machine, each with one of those.
const WILDCARDS: [(&str, &str); 2] = [("0.0.0.0:", "127.0.0.1:"), ("[::]:", "[::1]:")];

/// The key of one value of a list, which may have been written as that value alone.
pub(super) fn one_of(at: &str, index: usize, count: usize) -> String {
    if count > 1 { format!("{at}[{index}]") } else { at.to_owned() }
}
