//! Named mailboxes and inboxes of a node.
//!
//! Invariant: a name stands for one thing at a time, and there are at most [`Directory::LIMIT`].

use std::any::Any;
use std::collections::HashSet;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use actix::{Message, Recipient};
use dashmap::DashMap;
use dashmap::Entry as Seat;
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::error::{RemoteError, RemoteErrorKind};
use super::letterbox::{Letterbox, letters_only};
use super::mailbox::{Door, Mailbox};
use crate::pipeline::Inbox;
use crate::wire::message::NAME_LIMIT;

/// Names, and what they stand for. Cloning it shares it.
#[derive(Clone, Default)]
pub struct Directory {
    names: Arc<DashMap<String, Named>>,
    /// Counts changes.
    version: Arc<AtomicU64>,
    changed: Arc<Notify>,
    /// All names in their order, as of a version: made when somebody asks for them.
    sorted: Arc<Mutex<Sorted>>,
}

type Sorted = (Option<u64>, Arc<[Arc<str>]>);

/// The meaning of a name.
pub(super) struct Entry {
    /// Content, and no messages.
    pub(super) inbox: bool,
    /// Each takes messages of a type from other nodes.
    pub(super) mailboxes: Vec<Arc<dyn Mailbox>>,
    /// The types of letters that are taken as JSON and passed on.
    pub(super) letters: Vec<String>,
}

enum Named {
    Inbox(Arc<dyn Inbox>),
    /// For messages of one type, from this process only.
    Mailbox(Box<dyn Any + Send + Sync>),
    /// For messages of these types, from other nodes, too.
    Mailboxes(Vec<Arc<dyn Mailbox>>),
    /// For letters of all types.
    Letterbox(Arc<dyn Letterbox>),
}

/// An error of giving a name to an actor or an inbox.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// Something has that name already.
    #[error("the name {name:?} is taken on this node; unregister it first, or choose another")]
    Taken {
        /// The name.
        name: String,
    },
    /// No sensible name.
    #[error("{name:?} can't be a name: 1 to 64 characters, no `/`, no control characters")]
    Unsuitable {
        /// The name.
        name: String,
    },
    /// No sensible name of a type of message.
    #[error("{message:?} can't be the name of a type of message: 1 to {limit} bytes")]
    Message {
        /// The name.
        message: &'static str,
        /// The limit.
        limit: usize,
    },
    /// More names than a node keeps.
    #[error("there are {limit} names already")]
    Full {
        /// The limit.
        limit: usize,
    },
}

impl Directory {
    /// The most names of a node.
    pub const LIMIT: usize = 100_000;

    /// Gives an actor's mailbox a name.
    pub fn register<M>(&self, name: &str, mailbox: Recipient<M>) -> Result<(), DirectoryError>
    where
        M: Message + Send + 'static,
        M::Result: Send,
    {
        self.insert(name, Named::Mailbox(Box::new(mailbox)))
    }

    /// The mailbox of that name, if it takes messages of this type.
    pub fn lookup<M>(&self, name: &str) -> Option<Recipient<M>>
    where
        M: Message + Send + 'static,
        M::Result: Send,
    {
        // Cloned out: no guard of the table is held while anything is awaited.
        match &*self.names.get(name)? {
            Named::Mailbox(mailbox) => mailbox.downcast_ref::<Recipient<M>>().cloned(),
            Named::Mailboxes(mailboxes) => mailboxes
                .iter()
                .find_map(|mailbox| mailbox.as_any().downcast_ref::<Arc<Door<M>>>()?.recipient()),
            Named::Inbox(_) | Named::Letterbox(_) => None,
        }
    }

    /// Returns true if anything has that name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// Gives a name to what takes letters of any type.
    pub(crate) fn post_to(
        &self,
        name: &str,
        letterbox: Arc<dyn Letterbox>,
    ) -> Result<(), DirectoryError> {
        self.insert(name, Named::Letterbox(letterbox))
    }

    /// Returns the letterbox that takes letters of any type under that name.
    pub(crate) fn letterbox(&self, name: &str) -> Option<Arc<dyn Letterbox>> {
        match &*self.names.get(name)? {
            Named::Letterbox(letterbox) => Some(Arc::clone(letterbox)),
            _ => None,
        }
    }

    /// Lets a name take messages of one more type, from other nodes, too.
    pub(crate) fn offer(
        &self,
        name: &str,
        mailbox: Arc<dyn Mailbox>,
    ) -> Result<(), DirectoryError> {
        self.offer_all(name, vec![mailbox])
    }

    /// Checks that [`Directory::offer_all`] would take these now.
    pub(crate) fn check_offer(
        &self,
        name: &str,
        offered: &[Arc<dyn Mailbox>],
    ) -> Result<(), DirectoryError> {
        let is_wrong = |message: &&str| message.is_empty() || message.len() > NAME_LIMIT;
        if let Some(message) = offered.iter().map(|mailbox| mailbox.message()).find(is_wrong) {
            return Err(DirectoryError::Message { message, limit: NAME_LIMIT });
        }
        self.check(name)?;
        let mut kinds = HashSet::new();
        let are_new = offered.iter().all(|mailbox| kinds.insert(kind(&**mailbox)));
        let collides = |mailbox: &Arc<dyn Mailbox>| {
            kinds.contains(&kind(&**mailbox)) && !is_over(&**mailbox, name)
        };
        let is_free = match self.names.get(name).as_deref() {
            None => true,
            Some(Named::Mailboxes(mailboxes)) => !mailboxes.iter().any(collides),
            Some(_) => offered.is_empty(),
        };
        if are_new && is_free {
            Ok(())
        } else {
            Err(DirectoryError::Taken { name: name.to_owned() })
        }
    }

    /// Lets a name take messages of these types, too: of all of them or, after an error, of none.
    /// What takes one of them already keeps it, unless its actor has ended for good.
    pub(crate) fn offer_all(
        &self,
        name: &str,
        offered: Vec<Arc<dyn Mailbox>>,
    ) -> Result<(), DirectoryError> {
        self.check_offer(name, &offered)?;
        if offered.is_empty() {
            return Ok(());
        }
        let taken = || DirectoryError::Taken { name: name.to_owned() };
        match self.names.entry(name.to_owned()) {
            Seat::Occupied(mut place) => match place.get_mut() {
                Named::Mailboxes(mailboxes) => {
                    let is_offered = |there: &Arc<dyn Mailbox>| {
                        offered.iter().any(|new| kind(&**new) == kind(&**there))
                    };
                    // Somebody may have come in between.
                    if mailboxes.iter().any(|there| is_offered(there) && !is_over(&**there, name)) {
                        return Err(taken());
                    }
                    // What else one that is over took may be offered later: letters wait for that.
                    mailboxes.retain(|there| !is_offered(there));
                    mailboxes.extend(offered)
                }
                _ => return Err(taken()),
            },
            Seat::Vacant(place) => drop(place.insert(Named::Mailboxes(offered))),
        }
        self.note_change();
        Ok(())
    }

    /// Returns the mailbox that takes messages of that type under that name.
    pub(crate) fn mailbox(
        &self,
        name: &str,
        message: &str,
        version: u32,
    ) -> Result<Arc<dyn Mailbox>, RemoteError> {
        let nobody = || {
            RemoteError::new(
                RemoteErrorKind::NoSuchName,
                format!("nothing is registered as {name:?} there: is it running?"),
            )
        };
        let named = self.names.get(name).ok_or_else(nobody)?;
        if matches!(&*named, Named::Letterbox(_)) {
            return Err(letters_only(name));
        }
        let Named::Mailboxes(mailboxes) = &*named else {
            let text = format!("{name:?} takes no messages from other nodes there");
            return Err(RemoteError::new(RemoteErrorKind::NoSuchMessage, text));
        };
        if let Some(mailbox) =
            mailboxes.iter().find(|mailbox| kind(&***mailbox) == (message, version))
        {
            return Ok(Arc::clone(mailbox));
        }
        let versions: Vec<_> = mailboxes
            .iter()
            .filter(|mailbox| mailbox.message() == message)
            .map(|mailbox| mailbox.version().to_string())
            .collect();
        if versions.is_empty() {
            let mut known: Vec<_> = mailboxes.iter().map(|mailbox| mailbox.message()).collect();
            known.dedup();
            let text = format!("{name:?} does not take {message}; it takes {}", known.join(", "));
            return Err(RemoteError::new(RemoteErrorKind::NoSuchMessage, text));
        }
        let text = format!(
            "{name:?} takes version {} of {message}, not {version}: update the older program",
            versions.join(" and ")
        );
        Err(RemoteError::new(RemoteErrorKind::VersionMismatch, text))
    }

    /// Tells that what has that name is alive, or why not. What is over counts where nothing else
    /// has it.
    pub(crate) fn presence(&self, name: &str) -> Result<(), RemoteErrorKind> {
        match self.names.get(name).as_deref() {
            None => Err(RemoteErrorKind::NoSuchName),
            Some(Named::Mailboxes(mailboxes)) => {
                let is_free = mailboxes.iter().all(|mailbox| is_over(&**mailbox, name));
                let counts = |mailbox: &Arc<dyn Mailbox>| is_free || !is_over(&**mailbox, name);
                match mailboxes.iter().find(|mailbox| !mailbox.is_alive() && counts(mailbox)) {
                    Some(dead) => Err(dead.why_dead(name).kind),
                    None => Ok(()),
                }
            }
            Some(Named::Inbox(_) | Named::Mailbox(_) | Named::Letterbox(_)) => Ok(()),
        }
    }

    /// Counts changes.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// Waits for a change from the moment on that this is enabled.
    pub(crate) fn changed(&self) -> Notified<'_> {
        self.changed.notified()
    }

    fn note_change(&self) {
        self.version.fetch_add(1, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Gives an inbox a name.
    pub fn receive(&self, name: &str, inbox: Arc<dyn Inbox>) -> Result<(), DirectoryError> {
        self.insert(name, Named::Inbox(inbox))
    }

    /// Gives a name to an inbox in place of the one that has it: a sender never finds none. `false`
    /// if no inbox has it, and nothing is changed. Transfers that run go on to the earlier one.
    pub fn replace(&self, name: &str, inbox: Arc<dyn Inbox>) -> bool {
        let replaced = match self.names.get_mut(name) {
            Some(mut named) if matches!(*named, Named::Inbox(_)) => {
                *named = Named::Inbox(inbox);
                true
            }
            _ => false,
        };
        if replaced {
            self.note_change();
        }
        replaced
    }

    /// The inbox of that name.
    pub fn inbox(&self, name: &str) -> Option<Arc<dyn Inbox>> {
        match &*self.names.get(name)? {
            Named::Inbox(inbox) => Some(Arc::clone(inbox)),
            Named::Mailbox(_) | Named::Mailboxes(_) | Named::Letterbox(_) => None,
        }
    }

    /// Returns the meaning of a name to other nodes; `None` where it is nothing to them.
    pub(super) fn entry(&self, name: &str) -> Option<Entry> {
        let (inbox, mailboxes, letters) = match &*self.names.get(name)? {
            Named::Inbox(_) => (true, Vec::new(), Vec::new()),
            Named::Mailboxes(mailboxes) => (false, mailboxes.clone(), Vec::new()),
            Named::Letterbox(letterbox) => (false, Vec::new(), letterbox.types()),
            Named::Mailbox(_) => return None,
        };
        Some(Entry { inbox, mailboxes, letters })
    }

    /// All names in their order. Made once for each change of them: there may be many.
    pub(super) fn sorted(&self) -> Arc<[Arc<str>]> {
        let mut sorted = self.sorted.lock().unwrap_or_else(PoisonError::into_inner);
        let version = self.version();
        if sorted.0 != Some(version) {
            let mut names: Vec<Arc<str>> =
                self.names.iter().map(|entry| entry.key().as_str().into()).collect();
            names.sort_unstable();
            *sorted = (Some(version), names.into());
        }
        Arc::clone(&sorted.1)
    }

    /// All inboxes.
    pub(crate) fn inboxes(&self) -> Vec<Arc<dyn Inbox>> {
        let inbox = |named: &Named| match named {
            Named::Inbox(inbox) => Some(Arc::clone(inbox)),
            Named::Mailbox(_) | Named::Mailboxes(_) | Named::Letterbox(_) => None,
        };
        self.names.iter().filter_map(|entry| inbox(entry.value())).collect()
    }

    /// Frees a name; `false` if nothing had it. Transfers that run go on.
    pub fn unregister(&self, name: &str) -> bool {
        let was_there = self.names.remove(name).is_some();
        self.note_change();
        was_there
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.names.iter().map(|entry| entry.key().clone()).collect();
        names.sort();
        names
    }

    fn check(&self, name: &str) -> Result<(), DirectoryError> {
        if name.is_empty()
            || name.chars().count() > 64
            || name.chars().any(|c| c == '/' || c.is_control())
        {
            return Err(DirectoryError::Unsuitable { name: name.to_owned() });
        }
        if self.names.len() >= Self::LIMIT {
            return Err(DirectoryError::Full { limit: Self::LIMIT });
        }
        Ok(())
    }

    fn insert(&self, name: &str, named: Named) -> Result<(), DirectoryError> {
        self.check(name)?;
        match self.names.entry(name.to_owned()) {
            Seat::Occupied(_) => Err(DirectoryError::Taken { name: name.to_owned() }),
            Seat::Vacant(place) => {
                place.insert(named);
                self.note_change();
                Ok(())
            }
        }
    }
}

/// Returns the kind of messages that a mailbox takes: several versions of a type may have one name,
/// so that older programs are understood for a while.
fn kind(mailbox: &dyn Mailbox) -> (&'static str, u32) {
    (mailbox.message(), mailbox.version())
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
}

/// Tells of a mailbox whose actor has ended, and is not started anew.
fn is_over(mailbox: &dyn Mailbox, name: &str) -> bool {
    !mailbox.is_alive() && mailbox.why_dead(name).kind == RemoteErrorKind::Died
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix::{Actor, Context, Handler};

    #[derive(Message)]
    #[rtype(result = "u32")]
    struct Double(u32);

    struct Doubler;
    impl Actor for Doubler {
        type Context = Context<Self>;
    }
    impl Handler<Double> for Doubler {
        type Result = u32;
        fn handle(&mut self, message: Double, _: &mut Context<Self>) -> u32 {
            message.0 * 2
        }
    }

    #[actix::test]
    async fn a_name_leads_to_its_mailbox_until_it_is_freed() {
        let directory = Directory::default();
        directory.register("doubler", Doubler.start().recipient::<Double>()).unwrap();
        assert_eq!(
            directory.lookup::<Double>("doubler").unwrap().send(Double(4)).await.unwrap(),
            8
        );
        let again = directory.register("doubler", Doubler.start().recipient::<Double>());
        assert_eq!(again, Err(DirectoryError::Taken { name: "doubler".into() }));
        assert!(directory.unregister("doubler") && directory.lookup::<Double>("doubler").is_none());
        assert!(directory.inbox("doubler").is_none());
    }

    #[test]
    fn names_are_checked() {
        let directory = Directory::default();
        for bad in ["", "a/b", "a\nb"] {
            assert!(
                matches!(
                    directory.insert(bad, Named::Mailbox(Box::new(()))),
                    Err(DirectoryError::Unsuitable { .. })
                ),
                "{bad:?}"
            );
        }
    }
}
