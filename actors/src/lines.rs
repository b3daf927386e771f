//! Many remarks of a kind, told in one line.
//!
//! Invariant: memory is bounded, however many there are: a few kinds, and of each a few names and a
//! count.

/// How many kinds are told apart; what is of further ones is counted.
const KINDS: usize = 4;
/// How many of a kind are named. So many have a line each, more have one together.
const NAMED: usize = 3;

/// Remarks by their kinds.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    kinds: Vec<Kind>,
    /// How many there are in all.
    total: u64,
}

#[derive(Debug)]
struct Kind {
    /// What all have in common.
    key: String,
    /// The first, and what was said of each.
    named: Vec<(String, String)>,
    count: u64,
}

impl Kinds {
    /// Something called `name`, and what there is to be said of it. What stands behind a `, to ` is
    /// of this one alone.
    pub(crate) fn add(&mut self, reason: &str, name: impl Into<String>) {
        self.total += 1;
        let key = reason.split_once(", to ").map_or(reason, |(key, _)| key);
        let kind = match self.kinds.iter_mut().position(|kind| kind.key == key) {
            Some(at) => &mut self.kinds[at],
            None if self.kinds.len() == KINDS => return,
            None => {
                self.kinds.push(Kind { key: key.into(), named: Vec::new(), count: 0 });
                self.kinds.last_mut().expect("it was put in just now")
            }
        };
        kind.count += 1;
        if kind.named.len() < NAMED {
            kind.named.push((name.into(), reason.into()));
        }
    }

    /// How many there are in all.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// A line for each kind, or for each of a few, as `line` makes it of the names and what is said
    /// of them; one more for what is of further kinds.
    pub(crate) fn lines<'a>(
        &'a self,
        line: impl Fn(&str, &str) -> String + 'a,
    ) -> impl Iterator<Item = String> + 'a {
        let unnamed = self.total - self.kinds.iter().map(|kind| kind.count).sum::<u64>();
        let rest = (unnamed > 0).then(|| line(&format!("{unnamed} more"), "for other reasons"));
        let told = move |kind: &Kind| -> Vec<String> {
            let more = kind.count - kind.named.len() as u64;
            if more == 0 {
                return kind.named.iter().map(|(name, reason)| line(name, reason)).collect();
            }
            let names: Vec<_> = kind.named.iter().map(|(name, _)| &**name).collect();
            vec![line(&format!("{} and {more} more", names.join(", ")), &kind.key)]
        };
        self.kinds.iter().flat_map(told).chain(rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(kinds: &Kinds) -> Vec<String> {
        kinds.lines(|names, why| format!("{names}: {why}")).collect()
    }

    #[test]
    fn three_thousand_of_a_kind_are_one_line() {
        let mut kinds = Kinds::default();
        kinds.add("it is a link, to /x", "first");
        assert_eq!(lines(&kinds), ["first: it is a link, to /x"]);
        (1..3000).for_each(|number| {
            kinds.add(&format!("it is a link, to /{number}"), number.to_string())
        });
        kinds.add("it is a pipe", "fifo");
        assert_eq!(
            lines(&kinds),
            ["first, 1, 2 and 2997 more: it is a link", "fifo: it is a pipe"]
        );
    }

    #[test]
    fn many_kinds_are_a_bounded_number_of_lines() {
        let mut kinds = Kinds::default();
        (0..100).for_each(|number| kinds.add(&format!("reason {number}"), "x"));
        let lines = lines(&kinds);
        assert_eq!(
            (lines.len(), &*lines[KINDS], kinds.total()),
            (KINDS + 1, "96 more: for other reasons", 100)
        );
    }
}
