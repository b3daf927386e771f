//! Many remarks of a kind, told in one line.
//!
//! Invariant: memory is bounded, however many there are: a few kinds, and of each a few names and a
//! count.

use std::fmt;

/// The number of kinds that are told apart; what is of further ones is told in one line.
const KINDS: usize = 4;
/// The number of a kind that are named. So many have a line each, more have one together.
const NAMED: usize = 3;

/// Remarks by their kinds.
#[derive(Debug, Default)]
pub(crate) struct Kinds {
    kinds: Vec<Kind>,
    /// Of further kinds, under the reason of the first.
    rest: Option<Kind>,
    /// The number of all.
    total: u64,
}

#[derive(Debug)]
struct Kind {
    /// The reason that all have in common.
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
        let new = || Kind { key: key.into(), named: Vec::new(), count: 0 };
        let kind = match self.kinds.iter_mut().position(|kind| kind.key == key) {
            Some(at) => &mut self.kinds[at],
            None if self.kinds.len() == KINDS => self.rest.get_or_insert_with(new),
            None => {
                self.kinds.push(new());
                self.kinds.last_mut().expect("it was put in just now")
            }
        };
        kind.count += 1;
        if kind.named.len() < NAMED {
            kind.named.push((name.into(), reason.into()));
        }
    }

    /// The number of all.
    pub(crate) fn total(&self) -> u64 {
        self.total
    }

    /// A line for each kind, or for each of a few, as `line` makes it of the names and what is said
    /// of them; one more for what is of further kinds.
    pub(crate) fn lines<'a>(
        &'a self,
        line: impl Fn(&Names, &str) -> String + 'a,
    ) -> impl Iterator<Item = String> + 'a {
        let rest = self.rest.as_ref().map(|rest| match rest.count {
            1 => line(&rest.names(), &rest.key),
            _ => line(&rest.names(), &format!("for several reasons, such as: {}", rest.key)),
        });
        let told = move |kind: &Kind| -> Vec<String> {
            if kind.count > kind.named.len() as u64 {
                return vec![line(&kind.names(), &kind.key)];
            }
            let one = |(name, reason): &(String, String)| {
                line(&Names { text: name.clone(), several: false }, reason)
            };
            kind.named.iter().map(one).collect()
        };
        let lines: Vec<_> = self.kinds.iter().flat_map(told).chain(rest).collect();
        lines.into_iter()
    }
}

impl Kind {
    /// All of them: the first by name, and the number of the others.
    fn names(&self) -> Names {
        let names: Vec<_> = self.named.iter().map(|(name, _)| &**name).collect();
        let more = match self.count - self.named.len() as u64 {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        Names { text: names.join(", ") + &more, several: self.count > 1 }
    }
}

/// The things that a line is about.
#[derive(Debug)]
pub(crate) struct Names {
    text: String,
    several: bool,
}

impl Names {
    /// The names, and the verb in the number that fits.
    pub(crate) fn with(&self, one: &str, several: &str) -> String {
        format!("{} {}", self.text, if self.several { several } else { one })
    }
}

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
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
        let left: Vec<_> = kinds.lines(|names, _| names.with("was left", "were left")).collect();
        assert_eq!(left, ["first, 1, 2 and 2997 more were left", "fifo was left"]);
    }

    #[test]
    fn many_kinds_are_a_bounded_number_of_lines() {
        let mut kinds = Kinds::default();
        (0..5).for_each(|number| kinds.add(&format!("reason {number}"), format!("{number}")));
        assert_eq!(lines(&kinds)[KINDS], "4: reason 4", "the first of those has its name, too");
        (5..100).for_each(|number| kinds.add(&format!("reason {number}"), format!("{number}")));
        let lines = lines(&kinds);
        assert_eq!(
            (lines.len(), &*lines[KINDS], kinds.total()),
            (KINDS + 1, "4, 5, 6 and 93 more: for several reasons, such as: reason 4", 100)
        );
    }
}
