//! Removal of everything that a revoked peer has left here.

use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::{Addr, AsyncContext, Context, Handler, Message};

use super::blocking::apart;
use super::memory;
use super::outbox::Outbox;
use super::shared::NodeShared;
use crate::pipeline::Journal;
use crate::wire::PeerId;

/// The longest wait until an attempt lets go of what is to be removed; then the time between looks.
const LET_GO: Duration = Duration::from_secs(10);
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// A peer was revoked: what is kept of it for others, and was not delivered, goes.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct ForgetPeer(pub(crate) PeerId);

/// Some peers were revoked.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
struct ForgetUntrusted;

impl NodeShared {
    /// Removes what a peer has left here, and gives its room back: what has come of its packages,
    /// its packages for others that were not delivered, and its letters that no actor has.
    /// Letters to it are dead. What it delivered stays, and so does the memory of that: it guards
    /// against doubles. Returns at once; nothing is lost by doing it again.
    pub(crate) fn forget_peer(self: &Arc<Self>, peer: PeerId, outbox: Option<&Addr<Outbox>>) {
        if let Some(outbox) = outbox {
            outbox.do_send(ForgetPeer(peer));
        }
        if let Some(letters) = self.letters.get() {
            let (from, to) = letters.cut_off(peer);
            if from + to > 0 {
                tracing::info!(
                    peer = %peer.short(), from, to,
                    "the letters from and to a revoked peer are over"
                );
            }
        }
        let shared = Arc::clone(self);
        // Where nothing works any more the next start removes it.
        drop(apart(move || shared.forget_files(peer)));
    }

    /// The same for all that are trusted no more, where it is not known who was revoked.
    pub(crate) fn forget_untrusted(self: &Arc<Self>, outbox: Option<&Addr<Outbox>>) {
        if let Some(outbox) = outbox {
            outbox.do_send(ForgetUntrusted);
        }
        self.stopped
            .peers()
            .into_iter()
            .filter(|peer| !self.trust.knows(peer))
            .for_each(|peer| self.forget_peer(peer, outbox));
    }

    /// The same for all that have become untrusted while the node runs: their letters, too. At the
    /// start a host may still be about to say whom it trusts, and letters that came are refused
    /// when it is their turn.
    pub(crate) fn forget_revoked(self: &Arc<Self>, outbox: Option<&Addr<Outbox>>) {
        self.forget_untrusted(outbox);
        let peers = self.letters.get().map_or_else(Vec::new, |letters| letters.peers());
        peers
            .into_iter()
            .filter(|peer| !self.trust.knows(peer))
            .for_each(|peer| self.forget_peer(peer, outbox));
    }

    /// Removes the oldest partial deliveries of a peer, as far as they are more than it may leave.
    /// Blocks.
    pub(crate) fn drop_partials_beyond(&self, peer: PeerId) {
        for key in self.partials.beyond(peer, self.config.partials, self.config.partials_bytes) {
            tracing::info!(
                peer = %peer.short(),
                "removing the oldest partial delivery of a peer: it has left more than it may"
            );
            self.drop_partial(key);
        }
    }

    /// Removes what the note of this key tells of, and the note. Blocks.
    pub(crate) fn drop_partial(&self, key: Vec<u8>) {
        self.partials.taken(&key);
        let Some(spool) = &self.spool else { return };
        match Journal::of_note(Arc::clone(spool), key) {
            Ok(journal) if journal.outdated().is_some() => {
                let start = Instant::now();
                // An attempt that has just ended may not have let go of it yet.
                while self.directory.inboxes().iter().any(|inbox| inbox.discard(&journal))
                    && start.elapsed() < LET_GO
                {
                    std::thread::sleep(LOOK_AGAIN);
                }
            }
            Ok(_) => {}
            Err(error) => {
                tracing::warn!(
                    %error,
                    "the note about a partial delivery can't be read, so what it tells of stays"
                )
            }
        }
    }

    /// Takes up the partial deliveries that an earlier process left, the oldest first, as far as
    /// that can be told.
    pub(crate) fn take_up_partials(&self) -> std::io::Result<()> {
        let Some(spool) = &self.spool else { return Ok(()) };
        let mut notes = spool.load(Journal::TABLE)?;
        notes.sort_by_key(|(_, note)| Journal::expires(note));
        notes.into_iter().for_each(|(key, _)| self.partials.left(key, 0));
        Ok(())
    }

    /// Removes the partial deliveries that have expired. Blocks.
    pub(crate) fn drop_expired_partials(&self, now: u64) -> std::io::Result<()> {
        let Some(spool) = &self.spool else { return Ok(()) };
        let old = |(key, note): (Vec<u8>, Vec<u8>)| {
            memory::is_old(Journal::expires(&note), now).then_some(key)
        };
        spool
            .load(Journal::TABLE)?
            .into_iter()
            .filter_map(old)
            .for_each(|key| self.drop_partial(key));
        Ok(())
    }

    /// The part of it that blocks.
    fn forget_files(&self, peer: PeerId) {
        let partials = self.partials.of(peer);
        let count = partials.len();
        partials.into_iter().for_each(|key| self.drop_partial(key));
        if count > 0 {
            tracing::info!(
                peer = %peer.short(), partials = count,
                "removed the partial deliveries of a revoked peer"
            );
        }
        let (packages, bytes) =
            self.spool.as_deref().map_or((0, 0), |spool| self.stopped.forget(peer, spool));
        if packages > 0 {
            tracing::info!(
                peer = %peer.short(), packages, bytes,
                "removed what a revoked peer had left here"
            );
        }
        self.ledger.tidy(peer, Instant::now());
    }
}

impl Handler<ForgetPeer> for Outbox {
    type Result = ();

    fn handle(&mut self, ForgetPeer(peer): ForgetPeer, ctx: &mut Context<Self>) {
        let (packages, bytes) = self.forget_relayed_for(peer, ctx);
        if packages > 0 {
            tracing::info!(
                peer = %peer.short(), packages, bytes,
                "took out the packages that a revoked peer had left here for others"
            );
        }
    }
}

impl Handler<ForgetUntrusted> for Outbox {
    type Result = ();

    fn handle(&mut self, _: ForgetUntrusted, ctx: &mut Context<Self>) {
        let outbox = ctx.address();
        self.relayed_for()
            .into_iter()
            .filter(|peer| !self.shared.trust.knows(peer))
            .for_each(|peer| self.shared.forget_peer(peer, Some(&outbox)));
    }
}
