//! Named mailboxes and inboxes of a node.
//!
//! Invariant: a name stands for one thing at a time, and there are at most [`Directory::LIMIT`].

use std::any::Any;
use std::fmt;
use std::sync::Arc;

use actix::{Message, Recipient};
use dashmap::{DashMap, Entry};

use crate::pipeline::Inbox;

/// Names, and what they stand for. Cloning it shares it.
#[derive(Clone, Default)]
pub struct Directory(Arc<DashMap<String, Named>>);

enum Named {
    Inbox(Arc<dyn Inbox>),
    Mailbox(Box<dyn Any + Send + Sync>),
}

/// Why a name could not be given.
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
        match &*self.0.get(name)? {
            Named::Mailbox(mailbox) => mailbox.downcast_ref::<Recipient<M>>().cloned(),
            Named::Inbox(_) => None,
        }
    }

    /// Gives an inbox a name.
    pub fn receive(&self, name: &str, inbox: Arc<dyn Inbox>) -> Result<(), DirectoryError> {
        self.insert(name, Named::Inbox(inbox))
    }

    /// The inbox of that name.
    pub fn inbox(&self, name: &str) -> Option<Arc<dyn Inbox>> {
        match &*self.0.get(name)? {
            Named::Inbox(inbox) => Some(Arc::clone(inbox)),
            Named::Mailbox(_) => None,
        }
    }

    /// Frees a name; `false` if nothing had it. Transfers that run go on.
    pub fn unregister(&self, name: &str) -> bool {
        self.0.remove(name).is_some()
    }

    /// All names, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut names: Vec<_> = self.0.iter().map(|entry| entry.key().clone()).collect();
        names.sort();
        names
    }

    fn insert(&self, name: &str, named: Named) -> Result<(), DirectoryError> {
        if name.is_empty() || name.chars().count() > 64 || name.chars().any(|c| c == '/' || c.is_control()) {
            return Err(DirectoryError::Unsuitable { name: name.to_owned() });
        }
        if self.0.len() >= Self::LIMIT {
            return Err(DirectoryError::Full { limit: Self::LIMIT });
        }
        match self.0.entry(name.to_owned()) {
            Entry::Occupied(_) => Err(DirectoryError::Taken { name: name.to_owned() }),
            Entry::Vacant(place) => {
                place.insert(named);
                Ok(())
            }
        }
    }
}

impl fmt::Debug for Directory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.names()).finish()
    }
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
        assert_eq!(directory.lookup::<Double>("doubler").unwrap().send(Double(4)).await.unwrap(), 8);
        let again = directory.register("doubler", Doubler.start().recipient::<Double>());
        assert_eq!(again, Err(DirectoryError::Taken { name: "doubler".into() }));
        assert!(directory.unregister("doubler") && directory.lookup::<Double>("doubler").is_none());
        assert!(directory.inbox("doubler").is_none());
    }

    #[test]
    fn names_are_checked() {
        let directory = Directory::default();
        for bad in ["", "a/b", "a\nb"] {
            assert!(matches!(directory.insert(bad, Named::Mailbox(Box::new(()))), Err(DirectoryError::Unsuitable { .. })), "{bad:?}");
        }
    }
}
