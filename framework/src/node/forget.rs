//! What a revoked peer left here goes with it.

use std::sync::Arc;

use actix::{Context, Handler, Message};

use super::outbox::Outbox;
use super::shared::NodeShared;
use crate::wire::PeerId;

/// A peer was revoked: what is kept of it for others, and was not delivered, goes.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ForgetPeer(pub(crate) PeerId);

/// Some peers were revoked.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
struct ForgetUntrusted;

impl NodeShared {
    /// Removes what a peer has left here, and gives its room back: what has come of its packages, and its packages for others that
    /// were not delivered. What it delivered stays, and so does the memory of that: it guards against doubles. Returns at once;
    /// nothing is lost by doing it again.
    pub(crate) fn forget_peer(self: &Arc<Self>, peer: PeerId) {
        if let Some(outbox) = self.outbox.get() {
            outbox.do_send(ForgetPeer(peer));
        }
        let shared = Arc::clone(self);
        // Where nothing works any more the next start removes it.
        drop(tokio::task::spawn_blocking(move || shared.forget_files(peer)));
    }

    /// The same for all that are trusted no more, where it is not known who was revoked.
    pub(crate) fn forget_untrusted(self: &Arc<Self>) {
        if let Some(outbox) = self.outbox.get() {
            outbox.do_send(ForgetUntrusted);
        }
        self.stopped.peers().into_iter().filter(|peer| !self.trust.knows(peer)).for_each(|peer| self.forget_peer(peer));
    }

    /// The part of it that blocks.
    fn forget_files(&self, peer: PeerId) {
        let (packages, bytes) = self.spool.as_deref().map_or((0, 0), |spool| self.stopped.forget(peer, spool));
        if packages > 0 {
            tracing::info!(peer = %peer.short(), packages, bytes, "removed what a revoked peer had left here");
        }
        self.ledger.tidy(peer, std::time::Instant::now());
    }
}

impl Handler<ForgetPeer> for Outbox {
    type Result = ();

    fn handle(&mut self, ForgetPeer(peer): ForgetPeer, ctx: &mut Context<Self>) {
        let (packages, bytes) = self.forget_relayed_for(peer, ctx);
        if packages > 0 {
            tracing::info!(peer = %peer.short(), packages, bytes, "took out the packages that a revoked peer had left here for others");
        }
    }
}

impl Handler<ForgetUntrusted> for Outbox {
    type Result = ();

    fn handle(&mut self, _: ForgetUntrusted, _: &mut Context<Self>) {
        self.relayed_for().into_iter().filter(|peer| !self.shared.trust.knows(peer)).for_each(|peer| self.shared.forget_peer(peer));
    }
}
