//! Connections in their handshake: how many there may be, and which goes when one more comes.
//!
//! Invariant: a source alone can't throw out another's. What goes is of the source that has the
//! most, and of that what has shown least: a stranger first, then who leaves this node waiting, and
//! last who waits for this node.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

/// The source of a connection, as far as limits go.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    /// An IPv4 address, in whichever way it was written.
    V4([u8; 4]),
    /// The first 64 bits of an IPv6 address: who has one address has them all.
    V6([u8; 8]),
    /// The name of the source in another transport.
    Named(String),
    /// This node itself, which dials.
    Own,
}

impl Source {
    /// The source in what a transport says of the other end: an address with a port, or any text.
    pub(crate) fn of(remote: &str) -> Self {
        let ip =
            remote.parse::<SocketAddr>().map(|address| address.ip()).or_else(|_| remote.parse());
        match ip.map(|ip| ip.to_canonical()) {
            Ok(IpAddr::V4(ip)) => Self::V4(ip.octets()),
            Ok(IpAddr::V6(ip)) => {
                Self::V6(*ip.octets().first_chunk().expect("16 bytes hold eight"))
            }
            Err(_) => {
                let host = remote.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok());
                Self::Named(host.map_or(remote, |(host, _)| host).to_owned())
            }
        }
    }
}

/// The progress that a connection has shown so far. Cloning it shares it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Standing(Arc<AtomicU8>);

impl Standing {
    /// It knows this node's key.
    pub(crate) fn known(&self) {
        self.0.store(KNOWN, Ordering::Relaxed);
    }

    /// It has done its part: the next step is this node's.
    pub(crate) fn queued(&self) {
        self.0.store(QUEUED, Ordering::Relaxed);
    }

    fn rank(&self) -> u8 {
        self.0.load(Ordering::Relaxed)
    }
}

const KNOWN: u8 = 1;
const QUEUED: u8 = 2;

/// The connections in their handshake, the oldest first.
#[derive(Debug)]
pub(crate) struct HalfOpen<T> {
    entries: VecDeque<Entry<T>>,
    most: usize,
}

#[derive(Debug)]
struct Entry<T> {
    source: Source,
    standing: Standing,
    handshake: T,
}

impl<T> HalfOpen<T> {
    /// Room for `most`, a quarter of it for each source.
    pub(crate) fn new(most: usize) -> Self {
        Self { entries: VecDeque::new(), most }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns the most that there may be of one source.
    pub(crate) fn most_of_one(&self) -> usize {
        (self.most / 4).max(1)
    }

    /// Forgets those that are over.
    pub(crate) fn retain(&mut self, mut under_way: impl FnMut(&T) -> bool) {
        self.entries.retain(|entry| under_way(&entry.handshake));
    }

    /// Removes, and returns, the one that has to go before one more comes from `source`.
    pub(crate) fn make_room(&mut self, source: &Source) -> Option<T> {
        if self.entries.iter().filter(|entry| entry.source == *source).count() >= self.most_of_one()
        {
            return self.evict(|entry| entry.source == *source);
        }
        if self.entries.len() < self.most {
            return None;
        }
        let mut sources: HashMap<&Source, usize> = HashMap::new();
        self.entries.iter().for_each(|entry| *sources.entry(&entry.source).or_default() += 1);
        let most = sources.values().copied().max().unwrap_or(0);
        let crowd: Vec<Source> = sources
            .into_iter()
            .filter(|(_, count)| *count == most)
            .map(|(source, _)| source.clone())
            .collect();
        self.evict(|entry| crowd.contains(&entry.source))
    }

    /// One more; [`HalfOpen::make_room`] comes first.
    pub(crate) fn push(&mut self, source: Source, standing: Standing, handshake: T) {
        self.entries.push_back(Entry { source, standing, handshake });
    }

    pub(crate) fn drain(&mut self) -> impl Iterator<Item = T> {
        self.entries.drain(..).map(|entry| entry.handshake)
    }

    /// Of those that may go, the one that has shown least; the oldest of these.
    fn evict(&mut self, may_go: impl Fn(&Entry<T>) -> bool) -> Option<T> {
        let candidates = self.entries.iter().enumerate().filter(|(_, entry)| may_go(entry));
        let (at, _) = candidates.min_by_key(|(at, entry)| (entry.standing.rank(), *at))?;
        self.entries.remove(at).map(|entry| entry.handshake)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Room for eight, two of each source; connections are numbered.
    fn table() -> HalfOpen<u32> {
        HalfOpen::new(8)
    }

    /// One more; what had to go for it.
    fn add(table: &mut HalfOpen<u32>, remote: &str, number: u32) -> (Option<u32>, Standing) {
        let (source, standing) = (Source::of(remote), Standing::default());
        let gone = table.make_room(&source);
        assert_eq!(table.make_room(&source), None, "one is enough");
        table.push(source, standing.clone(), number);
        (gone, standing)
    }

    #[test]
    fn an_address_is_one_source_and_so_is_a_network_of_64_bits() {
        let same = |left: &str, right: &str| Source::of(left) == Source::of(right);
        assert!(same("192.0.2.1:7", "192.0.2.1:8"));
        assert!(same("192.0.2.1:7", "[::ffff:192.0.2.1]:8"), "written as IPv6");
        assert!(!same("192.0.2.1:7", "192.0.2.2:7"));
        assert!(same("[2001:db8:1:2::1]:7", "[2001:db8:1:2:ffff:ffff:ffff:ffff]:8"));
        assert!(!same("[2001:db8:1:2::1]:7", "[2001:db8:1:3::1]:7"));
        assert!(same("[fe80::1%1]:7", "[fe80::2%2]:7"));
        assert!(same("lyon", "lyon:8") && !same("lyon", "paris"));
        assert!(!same("unix:user 1000", "unix:user 1001"));
        assert!(!same("0.0.0.0:1", "[::]:1") && Source::of("own") != Source::Own);
    }

    #[test]
    fn a_source_that_has_its_share_pays_for_one_more_itself() {
        let mut table = table();
        add(&mut table, "192.0.2.1:1", 1);
        for number in 2..100 {
            let gone = add(&mut table, &format!("[2001:db8::{number:x}]:1"), number).0;
            assert_eq!(gone, (number > 3).then(|| number - 2), "its oldest");
        }
        assert_eq!(table.len(), 3);
    }

    #[test]
    fn where_it_is_full_the_largest_source_pays() {
        let mut table = table();
        let honest = add(&mut table, "192.0.2.1:1", 0).1;
        for number in 1..8 {
            assert_eq!(add(&mut table, &format!("198.51.100.{}:1", number / 2), number).0, None);
        }
        // Every source has two but the honest one and one more.
        assert_eq!(add(&mut table, "203.0.113.1:1", 8).0, Some(2));
        assert_eq!(add(&mut table, "203.0.113.2:1", 9).0, Some(4));
        honest.known();
        // By now all have one or two, and then one.
        for number in 10..200 {
            assert_ne!(
                add(&mut table, &format!("203.0.113.{number}:1"), number).0,
                Some(0),
                "who knows the key stays"
            );
        }
        assert_eq!(table.len(), 8);
    }

    #[test]
    fn a_stranger_goes_first_then_who_is_waited_for_then_who_waits() {
        let mut table = HalfOpen::new(12);
        let standings: Vec<_> =
            (0..3).map(|number| add(&mut table, "192.0.2.1:1", number).1).collect();
        standings[0].queued();
        standings[1].known();
        assert_eq!(add(&mut table, "192.0.2.1:2", 3).0, Some(2));
        assert_eq!(add(&mut table, "192.0.2.1:3", 4).0, Some(3));
        table.entries.back().unwrap().standing.queued();
        assert_eq!(add(&mut table, "192.0.2.1:4", 5).0, Some(1));
        table.entries.back().unwrap().standing.queued();
        assert_eq!(add(&mut table, "192.0.2.1:5", 6).0, Some(0), "all wait: the oldest");
    }

    #[test]
    fn what_is_over_makes_room() {
        let mut table = table();
        for number in 0..8 {
            add(&mut table, &format!("192.0.2.{number}:1"), number);
        }
        table.retain(|number| number % 2 == 0);
        assert_eq!(add(&mut table, "198.51.100.1:1", 8).0, None);
        assert_eq!(table.drain().collect::<Vec<_>>(), [0, 2, 4, 6, 8]);
        assert_eq!((table.len(), HalfOpen::<u32>::new(1).most_of_one()), (0, 1));
    }
}
