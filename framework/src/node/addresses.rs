//! The addresses that a peer is dialled at: those that came with what is sent to it, and those of
//! the trust. All of them are dialled side by side, since nobody knows which are still right.

/// The most of the former: two tickets' worth.
pub(crate) const HINTED: usize = 16;

/// The addresses of a peer.
#[derive(Debug, Default)]
pub(crate) struct Addresses {
    /// The newest first.
    hinted: Vec<String>,
    said: Vec<String>,
    all: Vec<String>,
}

impl Addresses {
    pub(crate) fn new(said: Vec<String>) -> Self {
        Self { hinted: Vec::new(), all: said.clone(), said }
    }

    /// They came with something to send.
    pub(crate) fn hint(&mut self, newest: Vec<String>) {
        let before = std::mem::take(&mut self.hinted);
        self.hinted = distinct(newest.into_iter().chain(before)).take(HINTED).collect();
        self.join();
    }

    /// They are those of the trust now. Where that has none, what it said before may still do.
    pub(crate) fn say(&mut self, said: Vec<String>) {
        if said.is_empty() || said == self.said {
            return;
        }
        self.said = said;
        self.join();
    }

    pub(crate) fn all(&self) -> &[String] {
        &self.all
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    fn join(&mut self) {
        self.all = distinct(self.hinted.iter().chain(&self.said).cloned()).collect();
    }
}

/// Each once, where it comes first.
pub(crate) fn distinct(addresses: impl Iterator<Item = String>) -> impl Iterator<Item = String> {
    let mut seen = std::collections::HashSet::new();
    addresses.filter(move |address| seen.insert(address.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn some(addresses: &[&str]) -> Vec<String> {
        addresses.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn all_that_was_ever_said_is_dialled_the_newest_first() {
        let mut known = Addresses::new(some(&["said:1"]));
        known.hint(some(&["old:1", "old:2"]));
        known.hint(some(&["new:1", "old:2"]));
        assert_eq!(known.all(), ["new:1", "old:2", "old:1", "said:1"]);
        known.say(some(&["moved:1", "old:1"]));
        assert_eq!(known.all(), ["new:1", "old:2", "old:1", "moved:1"]);
        known.say(Vec::new());
        assert_eq!(known.all().last().map(String::as_str), Some("moved:1"));
        for number in 0..100 {
            known.hint(some(&[&format!("a:{number}")]));
        }
        assert_eq!((known.all().len(), &*known.all()[0]), (HINTED + 2, "a:99"));
    }
}
