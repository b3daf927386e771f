//! A node's description of itself: which names take which messages, and in which ways.
//!
//! Invariant: a peer is told of what it may send to, and of nothing else: what it may not send to
//! looks as if it were not there. An answer has at most [`NAMES_MOST`] names and about
//! [`BYTES_MOST`] bytes, and says where it goes on.

use std::any::Any;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::admission::Admission;
use super::directory::{Directory, Entry};
use super::error::{RemoteError, RemoteErrorKind};
use super::form::{Form, Native};
#[cfg(feature = "json")]
use super::json::{Json, SUFFIX};
use super::mailbox::{CallIn, Done, Mailbox, read};
use super::message::{RemoteMessage, Schemas};
use super::serving::Traced;
use super::teller::Teller;
use crate::wire::message::Shape;

/// The name under which a node answers for itself. An actor may have it, too: what the node takes
/// there is [`Describe`] alone.
pub const NODE: &str = "estafette";

/// The most names of an answer.
const NAMES_MOST: usize = 256;
/// The most types of one name that are told of.
const TYPES_MOST: usize = 256;
/// A longer schema is left out.
const SCHEMA_MOST: usize = 16 << 10;
/// An answer that has so many bytes goes on in the next one.
const BYTES_MOST: usize = 256 << 10;

/// The most names that are asked for.
const GATHERED_MOST: usize = 10_000;
/// After so many bytes of memory no more are asked for: what the other node says is up to it.
const GATHERED_BYTES: usize = 16 << 20;

/// Asks a node what may be sent to it, under the name [`NODE`]; `Node::describe` does so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Describe {
    /// Only this name.
    pub name: Option<String>,
    /// Only names behind this one: the [`Description::more`] of the answer before.
    pub after: Option<String>,
}

impl actix::Message for Describe {
    type Result = Description;
}

impl RemoteMessage for Describe {
    const NAME: &'static str = "estafette.Describe";
    const VERSION: u32 = 1;
    const JSON: bool = cfg!(feature = "json");
}

/// The names of a node that the asker may send to, in the order of the names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Description {
    /// The names.
    pub names: Vec<Described>,
    /// There are more names behind this one.
    pub more: Option<String>,
}

/// A name, and what it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Described {
    /// The name.
    pub name: String,
    /// True if it is an inbox, which takes content and no messages.
    pub inbox: bool,
    /// True if its actor lives.
    pub up: bool,
    /// The types of messages it takes; none if it takes durable messages of all types, as JSON, to
    /// pass them on.
    pub takes: Vec<Taken>,
    /// True if it takes more types than `takes` lists.
    pub cut: bool,
}

/// A type of message that a name takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Taken {
    /// Its name.
    pub message: String,
    /// Its version.
    pub version: u32,
    /// The forms in which it may be written: `native`, `json`.
    pub forms: Vec<String>,
    /// The ways in which it may be sent: `tell`, `ask`, `deliver`, `download`, `upload`, `open`.
    pub ways: Vec<String>,
    /// The JSON schema of the message, where it is known and has no more than 16 KiB.
    pub schema: Option<String>,
    /// The JSON schema of its answer, or of each of them.
    pub answer_schema: Option<String>,
}

/// Answers for a node, in this form.
pub(super) struct Describing<F> {
    directory: Directory,
    admission: Arc<dyn Admission>,
    /// Set if messages are delivered here.
    delivers: bool,
    of: PhantomData<F>,
}

/// Returns the mailbox for this type of message to [`NODE`], if the node itself answers it.
pub(super) fn own_mailbox(
    (name, message, version): (&str, &str, u32),
    directory: &Directory,
    admission: &Arc<dyn Admission>,
    delivers: bool,
) -> Option<Arc<dyn Mailbox>> {
    if name != NODE || version != Describe::VERSION {
        return None;
    }
    let (directory, admission) = (directory.clone(), Arc::clone(admission));
    #[cfg(feature = "json")]
    if message == Json::name::<Describe>() {
        return Some(Arc::new(Describing::<Json> {
            directory,
            admission,
            delivers,
            of: PhantomData,
        }));
    }
    (message == Describe::NAME).then(|| {
        Arc::new(Describing::<Native> { directory, admission, delivers, of: PhantomData })
            as Arc<dyn Mailbox>
    })
}

impl<F: Form> Describing<F> {
    fn describe(&self, what: &Describe) -> Description {
        let allowed = self.admission.names();
        let names = match (&what.name, allowed) {
            (Some(name), _) => {
                let admitted = self.admission.admits(name);
                if admitted { vec![Arc::from(name.as_str())].into() } else { Arc::default() }
            }
            (None, Some(allowed)) => allowed,
            (None, None) => self.directory.sorted(),
        };
        let behind = |name: &Arc<str>| what.after.as_ref().is_none_or(|after| **name > **after);
        let first = names.partition_point(|name| !behind(name));
        let mut description = Description::default();
        let mut bytes = 0;
        for name in &names[first..] {
            let Some(entry) = self.directory.entry(name) else { continue };
            if description.names.len() == NAMES_MOST || bytes >= BYTES_MOST {
                description.more = description.names.last().map(|last| last.name.clone());
                break;
            }
            let described = self.described(name, &entry);
            bytes += described.bytes();
            description.names.push(described);
        }
        description
    }

    fn described(&self, name: &str, entry: &Entry) -> Described {
        let Entry { inbox, mailboxes, letters } = entry;
        let mut takes: Vec<Taken> = Vec::new();
        let mut cut = false;
        for mailbox in mailboxes {
            let (message, form) = form(mailbox.message());
            let known = takes
                .iter_mut()
                .find(|known| known.message == message && known.version == mailbox.version());
            if let Some(known) = known {
                known.forms.push(form.into());
                continue;
            }
            cut = takes.len() == TYPES_MOST;
            if cut {
                break;
            }
            let ways: &[&str] = match (mailbox.streams(), self.delivers) {
                (true, _) => &["ask", "download", "upload", "open"],
                (false, true) => &["ask", "tell", "deliver"],
                (false, false) => &["ask", "tell"],
            };
            let schemas = mailbox.schemas();
            let known = |schema: fn(&Schemas) -> &String| {
                schemas.map(schema).filter(|text| text.len() <= SCHEMA_MOST).cloned()
            };
            takes.push(Taken {
                message: message.into(),
                version: mailbox.version(),
                forms: vec![form.into()],
                ways: ways.iter().map(|&way| way.into()).collect(),
                schema: known(|schemas| &schemas.message),
                answer_schema: known(|schemas| &schemas.answer),
            });
        }
        for message in letters.iter().filter(|_| self.delivers) {
            cut = takes.len() == TYPES_MOST;
            if cut {
                break;
            }
            takes.push(Taken {
                message: message.clone(),
                version: 1,
                forms: vec!["json".into()],
                ways: vec!["deliver".into()],
                schema: None,
                answer_schema: None,
            });
        }
        let up = mailboxes.iter().all(|mailbox| mailbox.is_alive());
        Described { name: name.into(), inbox: *inbox, up, takes, cut }
    }
}

impl Described {
    /// About how many bytes of memory it takes.
    pub(crate) fn bytes(&self) -> usize {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        let words = |words: &[String]| {
            words.iter().map(|word| size_of::<String>() + word.len()).sum::<usize>()
        };
        let each = |taken: &Taken| {
            let schemas = length(&taken.schema) + length(&taken.answer_schema);
            let lists = words(&taken.forms) + words(&taken.ways);
            size_of::<Taken>() + taken.message.len() + lists + schemas
        };
        let takes = self.takes.iter().map(each).sum::<usize>();
        size_of::<Self>() + self.name.len() + takes
    }
}

/// The answers of a node, one after the other.
pub(crate) struct Gathered {
    pub(crate) all: Description,
    bytes: usize,
    next: Option<Describe>,
}

impl Gathered {
    /// Those about all its names, or about this one.
    pub(crate) fn of(name: Option<&str>) -> Self {
        let next = Describe { name: name.map(str::to_owned), after: None };
        Self { all: Description::default(), bytes: 0, next: Some(next) }
    }

    /// Returns the next question.
    pub(crate) fn next(&self) -> Option<Describe> {
        self.next.clone()
    }

    /// The answer to that.
    pub(crate) fn add(&mut self, answer: Description) -> Result<(), RemoteError> {
        let Some(asked) = self.next.take() else { return Ok(()) };
        let Description { names, more } = answer;
        let more = more.filter(|more| asked.name.is_none() && Some(more) > asked.after.as_ref());
        if names.is_empty() && more.is_some() {
            let text = "it says that there are more names, and tells none";
            return Err(RemoteError::new(RemoteErrorKind::BadReply, text));
        }
        for described in names {
            if self.is_full() {
                self.all.more = self.all.names.last().map(|last| last.name.clone());
                return Ok(());
            }
            self.bytes += described.bytes();
            self.all.names.push(described);
        }
        if self.is_full() {
            self.all.more = more;
        } else {
            self.next = more.map(|more| Describe { after: Some(more), ..asked });
        }
        Ok(())
    }

    fn is_full(&self) -> bool {
        self.all.names.len() == GATHERED_MOST || self.bytes >= GATHERED_BYTES
    }
}

/// The name of a type, and how it is written.
fn form(message: &str) -> (&str, &'static str) {
    #[cfg(feature = "json")]
    if let Some(message) = message.strip_suffix(SUFFIX) {
        return (message, "json");
    }
    (message, "native")
}

impl<F: Form> Mailbox for Describing<F> {
    fn message(&self) -> &'static str {
        F::name::<Describe>()
    }

    fn version(&self) -> u32 {
        Describe::VERSION
    }

    fn is_alive(&self) -> bool {
        true
    }

    fn why_dead(&self, _: &str) -> RemoteError {
        asked_only()
    }

    fn as_any(&self) -> &dyn Any {
        &()
    }

    fn streams(&self) -> bool {
        false
    }

    fn tell(&self, _: &[u8], _: &Teller, _: Option<&Traced>) -> Result<(), RemoteError> {
        Err(asked_only())
    }

    fn tell_confirmed(&self, _: &[u8], done: Done, _: Option<&Traced>) -> Result<(), RemoteError> {
        done.say(true);
        Err(asked_only())
    }

    fn call(&self, body: &[u8], CallIn { shape, served, .. }: CallIn) {
        if shape != Shape::Ask {
            return served.fail(&asked_only());
        }
        match read::<Describe, F>(body) {
            Ok(what) => served.answer(&self.describe(&what), F::writer()),
            Err(error) => served.fail(&error),
        }
    }
}

fn asked_only() -> RemoteError {
    let text = format!("a node is asked for its {}, and takes it in no other way", Describe::NAME);
    RemoteError::new(RemoteErrorKind::NoSuchMessage, text)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    /// An answer of so many names, each with a schema of so many bytes.
    fn answer(names: usize, schema: usize, more: Option<&str>) -> Description {
        let name = |number| {
            let taken = Taken {
                message: "test.Long".into(),
                version: 1,
                forms: vec![],
                ways: vec![],
                schema: Some("x".repeat(schema)),
                answer_schema: None,
            };
            let name = format!("name {number:05}");
            Described { name, inbox: false, up: true, takes: vec![taken], cut: false }
        };
        Description { names: (0..names).map(name).collect(), more: more.map(str::to_owned) }
    }

    #[test]
    fn a_node_that_tells_ever_more_is_not_asked_for_ever() {
        // Few long answers, or one: what is kept is cut, and says so.
        let mut gathered = Gathered::of(None);
        let mut asked = 0;
        while gathered.next().is_some() {
            asked += 1;
            let more = format!("name {asked:05}");
            gathered.add(answer(4, 1 << 20, Some(&more))).unwrap();
        }
        assert_eq!((asked, gathered.all.names.len()), (4, 16));
        assert_eq!(gathered.all.more.as_deref(), Some("name 00004"));
        for (names, schema, kept) in [(20_000, 0, 10_000), (64, 1 << 20, 16)] {
            // One name alone has no more than all of them, either.
            for name in [None, Some("one")] {
                let mut gathered = Gathered::of(name);
                gathered.add(answer(names, schema, None)).unwrap();
                assert_eq!(gathered.all.names.len(), kept);
                assert_eq!(gathered.all.more.as_ref(), Some(&gathered.all.names[kept - 1].name));
                assert_eq!(gathered.next(), None);
            }
        }
    }

    #[test]
    fn more_without_names_is_an_error_and_more_of_the_same_is_the_end() {
        let mut gathered = Gathered::of(None);
        gathered.add(answer(1, 0, Some("b"))).unwrap();
        assert_eq!(gathered.next().unwrap().after.as_deref(), Some("b"));
        let error = gathered.add(answer(0, 0, Some("c"))).unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::BadReply);
        let mut gathered = Gathered::of(None);
        gathered.add(answer(1, 0, Some("b"))).unwrap();
        gathered.add(answer(1, 0, Some("b"))).unwrap();
        assert_eq!((gathered.next(), gathered.all.names.len()), (None, 2));
    }
}
