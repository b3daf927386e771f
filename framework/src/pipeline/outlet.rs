//! The edge between two stages: knows where messages of one type go now, and lets a supervisor
//! change that.

use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use actix::Recipient;
use tokio::sync::oneshot;

use super::parcel::Parcel;
use crate::metrics::StageMetrics;

/// The output of a stage, which can be rewired. Clones share it: all of them are rewired together.
pub struct Outlet<M: Parcel>(Arc<Socket<M>>);

struct Socket<M: Parcel> {
    recipient: RwLock<Option<Recipient<M>>>,
    stage: Option<(Arc<str>, Arc<StageMetrics>)>,
    /// Held for its drop.
    _held: Option<oneshot::Sender<Infallible>>,
}

// Derived, it would ask for messages that can be cloned.
impl<M: Parcel> Clone for Outlet<M> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<M: Parcel> Outlet<M> {
    /// An outlet into this mailbox.
    pub fn to(recipient: Recipient<M>) -> Self {
        Self(Arc::new(Socket { recipient: RwLock::new(Some(recipient)), stage: None, _held: None }))
    }

    /// The outlet of the last actor of a chain. What comes with it fails when nobody holds the
    /// outlet any more: when the last actor is gone, and so, since each holds the outlet to the
    /// next, all are.
    pub(crate) fn last(recipient: Recipient<M>) -> (Self, oneshot::Receiver<Infallible>) {
        let (held, released) = oneshot::channel();
        (
            Self(Arc::new(Socket {
                recipient: RwLock::new(Some(recipient)),
                stage: None,
                _held: Some(held),
            })),
            released,
        )
    }

    /// An outlet into the stage `name`, wired later; what is sent before that is dropped, and so
    /// reported as lost.
    pub fn into_stage(name: Arc<str>, metrics: Arc<StageMetrics>) -> Self {
        Self(Arc::new(Socket {
            recipient: RwLock::new(None),
            stage: Some((name, metrics)),
            _held: None,
        }))
    }

    /// Hands a message over. Where nobody is there to take it, its custody reports it as lost.
    ///
    /// It never waits: the credit each chunk travels with is what bounds mailboxes, not their
    /// capacity, which actix ignores here (ADR 2).
    #[allow(
        clippy::disallowed_methods,
        reason = "the one place where messages of the data path are sent"
    )]
    pub fn send(&self, message: M) {
        if let Some((name, metrics)) = &self.0.stage {
            message.custody().enter(name);
            metrics.enqueued();
        }
        if let Some(recipient) = &*self.0.recipient.read().unwrap_or_else(PoisonError::into_inner) {
            recipient.do_send(message);
        }
    }

    /// Sends everything to another mailbox from now on.
    pub fn rewire(&self, recipient: Recipient<M>) {
        if let Some((_, metrics)) = &self.0.stage {
            metrics.mailbox_emptied();
        }
        *self.0.recipient.write().unwrap_or_else(PoisonError::into_inner) = Some(recipient);
    }

    /// Returns whether the actor behind it is alive.
    pub fn is_connected(&self) -> bool {
        self.0
            .recipient
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .as_ref()
            .is_some_and(Recipient::connected)
    }
}

impl<M: Parcel> fmt::Debug for Outlet<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").field("connected", &self.is_connected()).finish_non_exhaustive()
    }
}
