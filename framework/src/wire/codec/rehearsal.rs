//! A check, made at the sender, that a type reads what it writes.
//!
//! A value whose parts have not been met in this process yet is written once more beside a list of
//! its parts, and read with that list at hand. Parts that do not agree (`skip_serializing` without
//! `skip_deserializing`, a `Serialize` that does not fit its `Deserialize`) would be read as other
//! values by whoever gets them; here they are an error that names the place. Where all agree, that
//! is remembered, so that later values cost a look at a table for each struct, variant, filled list
//! and filled option.

use std::any::type_name;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::fault::{Fault, What};
use super::read::{self, Page};
use super::write::{self, write};

/// The most parts of a value that are compared.
const COMPARED: usize = 1 << 16;
/// The most sites that are remembered.
const KNOWN: usize = 4096;
/// The farthest that a site may be from its place.
const PROBES: usize = 4;

/// Sites that agree: their keys, each near the place that its first bits name. `0`: free.
static SITES: [AtomicU64; KNOWN] = [const { AtomicU64::new(0) }; KNOWN];

fn place_of(key: u64) -> impl Iterator<Item = &'static AtomicU64> {
    let first = (key >> 52) as usize;
    (first..first + PROBES).map(|at| &SITES[at % KNOWN])
}

#[inline(always)]
fn is_known(key: u64) -> bool {
    // Nearly all are where they belong.
    SITES[(key >> 52) as usize].load(Ordering::Relaxed) == key || is_known_nearby(key)
}

#[cold]
#[inline(never)]
fn is_known_nearby(key: u64) -> bool {
    place_of(key).any(|place| place.load(Ordering::Relaxed) == key)
}

fn remember(key: u64) {
    if is_known(key) {
        return;
    }
    let free = place_of(key)
        .find(|place| place.compare_exchange(0, key, Ordering::Relaxed, Ordering::Relaxed).is_ok());
    if free.is_none() {
        // Whoever had the place is compared once more, when it comes.
        place_of(key).take(1).for_each(|place| place.store(key, Ordering::Relaxed));
    }
}

/// Sees whether there is anything in a value that has not been compared yet.
///
/// Where that is, is told by the addresses of names, which costs nothing. One name may have
/// several: then it is compared for each.
pub(super) struct Sites {
    root: usize,
    field: usize,
    /// Most come again at once: lists are of one type.
    last: u64,
    /// The number of them so far.
    count: usize,
    /// Those that are new, and how many there were before; boxed, since there are seldom any.
    #[expect(clippy::box_collection, reason = "a word is all that most pay for it")]
    new: Option<Box<Vec<(usize, u64)>>>,
}

impl Sites {
    #[inline(always)]
    pub(super) fn of<T>() -> Self {
        Self { root: type_name::<T>().as_ptr().addr(), field: 0, last: 0, count: 0, new: None }
    }

    /// The value itself, which comes before anything in it.
    #[inline(always)]
    pub(super) fn begin(&mut self) {
        self.pass(0, 0);
    }

    #[inline(always)]
    fn pass(&mut self, name: usize, number: usize) {
        let mixed =
            (self.root as u64).rotate_left(40) ^ (self.field as u64).rotate_left(20) ^ name as u64;
        let mixed = mixed
            .wrapping_add((number as u64).wrapping_mul(0xa076_1d64_78bd_642f))
            .wrapping_mul(0x9e37_79b9_7f4a_7c15);
        // Never 0, which means free.
        let key = mixed | 1;
        if key != self.last {
            self.last = key;
            if !is_known(key) {
                found(&mut self.new, self.count, key);
            }
        }
        self.count += 1;
    }

    #[inline(always)]
    pub(super) fn is_new(&self) -> bool {
        self.new.is_some()
    }
}

#[cold]
#[inline(never)]
#[expect(clippy::box_collection, reason = "as in `Sites`")]
fn found(new: &mut Option<Box<Vec<(usize, u64)>>>, count: usize, key: u64) {
    new.get_or_insert_default().push((count, key));
}

impl write::Watch for Sites {
    #[inline(always)]
    fn field(&mut self, name: &'static str) -> Result<(), Fault> {
        self.field = name.as_ptr().addr();
        Ok(())
    }

    #[inline(always)]
    fn site(&mut self, name: &'static str, number: usize) {
        self.pass(name.as_ptr().addr(), number);
    }
}

/// A part of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Plain(&'static str),
    Variant(&'static str),
    Open(&'static str),
    Field(&'static str),
    Close,
}

/// Lists the parts of a value as it is written.
struct Lister {
    parts: Vec<Part>,
    /// The number of parts before each site.
    sites: Vec<usize>,
}

impl Lister {
    fn list(&mut self, part: Part) -> Result<(), Fault> {
        if self.parts.len() == COMPARED {
            return Err(What::Enough.into());
        }
        self.parts.push(part);
        Ok(())
    }
}

impl write::Watch for Lister {
    fn part(&mut self, what: &'static str) -> Result<(), Fault> {
        self.list(Part::Plain(what))
    }

    fn variant(&mut self, name: &'static str) -> Result<(), Fault> {
        self.list(Part::Variant(name))
    }

    fn open(&mut self, name: &'static str) -> Result<(), Fault> {
        self.list(Part::Open(name))
    }

    fn field(&mut self, name: &'static str) -> Result<(), Fault> {
        self.list(Part::Field(name))
    }

    fn close(&mut self) -> Result<(), Fault> {
        self.list(Part::Close)
    }

    fn site(&mut self, _: &'static str, _: usize) {
        self.sites.push(self.parts.len());
    }
}

/// Compares the parts of a value, as it is read, with those that were written.
struct Comparer<'p> {
    parts: &'p [Part],
    next: usize,
    /// Of what is open: the names of its fields, and how many of them have been passed.
    open: Vec<(&'static [&'static str], usize)>,
    differs: Option<String>,
}

impl Comparer<'_> {
    fn peek(&self) -> Result<Part, Fault> {
        self.parts.get(self.next).copied().ok_or_else(|| What::Enough.into())
    }

    fn differ(&mut self, reads: &str) -> Fault {
        let writes = match self.parts.get(self.next) {
            Some(Part::Plain(what)) => format!("it writes {what}"),
            Some(Part::Variant(name)) => format!("it writes the variant `{name}`"),
            Some(Part::Open("")) => "it writes a tuple".into(),
            Some(Part::Open(name)) => format!("it writes the fields of `{name}`"),
            Some(Part::Field("")) => "it writes one more field".into(),
            Some(Part::Field(name)) => format!("it writes the field `{name}`"),
            Some(Part::Close) => "it writes no more fields".into(),
            None => "it writes nothing more".into(),
        };
        let place = self.place();
        Fault::other(
            self.differs.get_or_insert(format!("{place}{writes}, where it reads {reads}")).clone(),
        )
    }

    /// Returns where that is: the innermost struct that is open, and its field.
    fn place(&self) -> String {
        let (mut structs, mut field) = (Vec::new(), "");
        for part in &self.parts[..self.next] {
            match part {
                Part::Open(name) => structs.push((*name, std::mem::take(&mut field))),
                Part::Close => field = structs.pop().map_or("", |(_, outer)| outer),
                Part::Field(name) => field = name,
                _ => {}
            }
        }
        while let Some((name, outer)) = structs.pop() {
            match (name, field) {
                ("", _) => field = outer,
                (name, "") => return format!("in `{name}`, "),
                (name, field) => return format!("in or behind `{name}.{field}`, "),
            }
        }
        String::new()
    }
}

impl read::Watch for Comparer<'_> {
    fn part(&mut self, what: &'static str) -> Result<(), Fault> {
        if self.peek()? != Part::Plain(what) {
            return Err(self.differ(what));
        }
        self.next += 1;
        Ok(())
    }

    fn variant(&mut self, index: u32, variants: &'static [&'static str]) -> Result<(), Fault> {
        let Part::Variant(name) = self.peek()? else { return Err(self.differ("a variant")) };
        // Names are listed in order, each perhaps with others that mean the same; one that is
        // skipped moves those behind it forward.
        if let Some(place) = variants.iter().position(|variant| *variant == name)
            && place < index as usize
        {
            return Err(self.differ(&format!(
                "the variant `{}` (`#[serde(skip)]` on a variant before it?)",
                variants[index as usize % variants.len()]
            )));
        }
        self.next += 1;
        Ok(())
    }

    fn open(&mut self, name: &'static str, names: &'static [&'static str]) -> Result<(), Fault> {
        let Part::Open(_) = self.peek()? else {
            let what =
                if name.is_empty() { "a tuple".into() } else { format!("the fields of `{name}`") };
            return Err(self.differ(&what));
        };
        self.next += 1;
        self.open.push((names, 0));
        Ok(())
    }

    fn field(&mut self) -> Result<(), Fault> {
        let Part::Field(name) = self.peek()? else {
            // A field that takes no bytes may be read where nothing was written: what is in it will
            // say so.
            return Ok(());
        };
        if let Some((names, passed)) = self.open.last_mut()
            && !names.is_empty()
            && !name.is_empty()
        {
            match names[*passed..].iter().position(|field| *field == name) {
                Some(further) => *passed += further + 1,
                None => {
                    let next =
                        names.get(*passed).map_or("no more".into(), |next| format!("`{next}`"));
                    return Err(self.differ(&next));
                }
            }
        }
        self.next += 1;
        Ok(())
    }

    fn close(&mut self) -> Result<(), Fault> {
        self.open.pop();
        while let Part::Field(_) = self.peek()? {
            self.next += 1;
        }
        if self.peek()? != Part::Close {
            return Err(self.differ("no more fields"));
        }
        self.next += 1;
        Ok(())
    }
}

/// Compares what a value writes with what its type reads of it.
#[cold]
#[inline(never)]
pub(super) fn rehearse<T: Serialize + DeserializeOwned>(
    value: &T,
    limit: usize,
    new: Sites,
) -> Result<(), Fault> {
    let mut bytes = Vec::new();
    // The first is the value itself.
    let mut lister = Lister { parts: Vec::new(), sites: vec![0] };
    let is_whole =
        write(value, &mut bytes, limit, bincode::config::standard(), &mut lister).is_ok();
    let Lister { parts, sites } = lister;
    let read = catch_unwind(AssertUnwindSafe(|| {
        let comparer = Comparer { parts: &parts, next: 0, open: Vec::new(), differs: None };
        let mut page = Page::new(&bytes, bincode::config::standard(), comparer);
        let outcome = T::deserialize(page.reading()).map(drop);
        let Comparer { next, differs, .. } = &mut page.watch;
        (outcome, *next, differs.take())
    }));
    let compared = match read {
        Ok((_, _, Some(differs))) => return Err(unlike::<T>(&differs)),
        Ok((Err(fault), _, None)) if fault.is_unable() => {
            return Err(unlike::<T>(&fault.to_string()));
        }
        Ok((Ok(()), next, None)) if is_whole && next < parts.len() => {
            let mut comparer = Comparer { parts: &parts, next, open: Vec::new(), differs: None };
            return Err(unlike::<T>(&comparer.differ("nothing more").to_string()));
        }
        // What its `Deserialize` says itself, of this value, is for the receiver to hear.
        Ok((Err(_), next, None)) => next,
        // All was compared. A `Deserialize` that panics, because only others read what is sent
        // here, has nothing to compare with.
        Ok((Ok(()), _, None)) | Err(_) => usize::MAX,
    };
    let compared = sites.iter().take_while(|at| **at <= compared).count();
    new.new
        .into_iter()
        .flat_map(|new| *new)
        .filter(|(place, _)| *place < compared)
        .for_each(|(_, key)| remember(key));
    Ok(())
}

fn unlike<T>(why: &str) -> Fault {
    Fault::other(format!(
        "`{}` would be read as something else than is written: {why}; write and read the same \
         fields (no `skip_serializing` without `skip_deserializing`, no name for one way only)",
        type_name::<T>()
    ))
}
