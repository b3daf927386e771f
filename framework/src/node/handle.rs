//! The handles a host holds: of its node, and of each transfer.

mod error;
mod letters;
mod outbox;
mod packing;
mod parts;
mod plan;
mod relay;
mod seeing;
mod sending;
mod transfer;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, oneshot, watch};

pub use self::error::SendError;
pub use self::letters::LettersHandle;
pub use self::outbox::OutboxHandle;
pub use self::relay::RelayHandle;
pub use self::sending::Destination;
pub use self::transfer::TransferHandle;
use super::Arrival;
use super::block_on::block_on;
use super::events::{EventStream, NodeEvent};
use super::hub::{Hub, Shutdown};
use super::outbox::Outbox;
use super::registry::StageRegistry;
use super::sessions::{Command, Order, SayProcessed, ToSession};
use super::shared::{Connect, NodeShared};
use super::trust::{Trust, TrustError};
use crate::delivery::TransferId;
use crate::metrics::StageReport;
use crate::pipeline::{Inbox, Tap, Tapping};
use crate::remote::{Directory, DirectoryError};
use crate::wire::{PeerId, Ticket};

/// A running node. Cloning it shares it; dropping the last handle aborts what runs,
/// [`Node::shutdown`] drains it first.
#[derive(Clone)]
pub struct Node(Arc<Inner>);

struct Inner {
    shared: Arc<NodeShared>,
    hub: actix::Addr<Hub>,
    outbox: Option<actix::Addr<Outbox>>,
    addresses: Vec<String>,
    /// From the start, until somebody takes them.
    events: Mutex<Option<broadcast::Receiver<NodeEvent>>>,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    stopped: watch::Receiver<bool>,
}

/// The parts of a handle, which the node's thread hands over.
pub(super) struct Parts {
    pub(super) shared: Arc<NodeShared>,
    pub(super) hub: actix::Addr<Hub>,
    pub(super) outbox: Option<actix::Addr<Outbox>>,
    pub(super) addresses: Vec<String>,
    pub(super) events: broadcast::Receiver<NodeEvent>,
    pub(super) stop: oneshot::Sender<()>,
}

impl Node {
    pub(super) fn new(parts: Parts, stopped: watch::Receiver<bool>) -> Self {
        let Parts { shared, hub, outbox, addresses, events, stop } = parts;
        let (events, stop) = (Mutex::new(Some(events)), Mutex::new(Some(stop)));
        Self(Arc::new(Inner { shared, hub, outbox, addresses, events, stop, stopped }))
    }

    pub(super) fn shared(&self) -> &Arc<NodeShared> {
        &self.0.shared
    }

    /// Returns the id of the node.
    pub fn peer(&self) -> PeerId {
        self.0.shared.peer()
    }

    /// The stages, suites and codecs that it has.
    pub fn registry(&self) -> &StageRegistry {
        &self.0.shared.registry
    }

    /// The addresses it listens at; a port 0 has become a real one.
    pub fn addresses(&self) -> &[String] {
        &self.0.addresses
    }

    /// Whom it trusts.
    pub fn trust(&self) -> &Trust {
        &self.0.shared.trust
    }

    /// The names it offers.
    pub fn directory(&self) -> &Directory {
        &self.0.shared.directory
    }

    /// Sets the rate of a group, in bytes in each second, at once and for what was stored at other
    /// ones ([`SendOptions::pace`](crate::SendOptions::pace)); `u64::MAX` is as fast as it goes.
    /// `None` lets the rates of deliveries count again. It is forgotten when the node stops.
    pub fn set_pace(&self, group: &str, rate: Option<u64>) {
        self.0.shared.paces.tell(group, rate);
    }

    /// Lets a tap see what all its deliveries pass on their way out, until what this returns is
    /// dropped: the content as sources give it, and what each stage makes of it. Of what goes by a
    /// relay it sees the content when that is put into its package, and then the package.
    pub fn tap(&self, tap: Arc<dyn Tap>) -> Tapping {
        self.0.shared.taps.add(tap)
    }

    /// Takes deliveries to `inbox`.
    pub fn receive(&self, name: &str, inbox: impl Inbox) -> Result<(), DirectoryError> {
        self.0.shared.directory.receive(name, Arc::new(inbox))
    }

    /// A ticket for one peer, good for 24 hours, to deliver to `inbox`.
    pub fn ticket(&self, inbox: &str) -> Result<Ticket, TrustError> {
        self.ticket_for(inbox, 1, Duration::from_secs(24 * 3600))
    }

    /// A ticket that so many peers may redeem within `valid`.
    pub fn ticket_for(
        &self,
        inbox: &str,
        redeemers: u16,
        valid: Duration,
    ) -> Result<Ticket, TrustError> {
        self.trust().issue(self.peer(), self.0.addresses.clone(), inbox, redeemers, valid)
    }

    /// The ticket to give out at each start of a program: the same one, as long as nobody has used
    /// it ([`Trust::reissue`]).
    pub fn standing_ticket(
        &self,
        addresses: Vec<String>,
        inbox: &str,
        redeemers: u16,
        valid: Duration,
    ) -> Result<Ticket, TrustError> {
        self.trust().reissue(&self.0.shared.identity, addresses, inbox, redeemers, valid)
    }

    /// Keeps a link with a trusted peer up, as long as this node runs: so that a relay can hand
    /// over what it keeps for this node, and tell what has become of what it carries from here.
    /// A session that is given up because nobody was there for long, or because the peer
    /// refuses, must be asked for again.
    pub fn stay_connected(&self, peer: PeerId) {
        // With itself there is nothing to be linked.
        if peer != self.peer() {
            self.0.hub.do_send(Connect(peer));
        }
    }

    /// Returns the reason why the spool takes nothing more, if it has failed. Nothing is stored and
    /// no delivery is taken until the program is started again with a spool that works.
    pub fn spool_failure(&self) -> Option<String> {
        self.0.shared.spool.as_ref()?.failure()
    }

    /// Returns the deliveries that arrived here and are still remembered, the newest first.
    pub fn arrivals(&self) -> Vec<(PeerId, TransferId, Arrival)> {
        self.arrivals_where(usize::MAX, |_, _, _| true)
    }

    /// Returns the newest of the deliveries that arrived here and are wanted, `most` of them at
    /// most, the newest first: as [`Node::arrivals`], and nothing is copied but these.
    pub fn arrivals_where(
        &self,
        most: usize,
        wanted: impl Fn(PeerId, TransferId, &Arrival) -> bool,
    ) -> Vec<(PeerId, TransferId, Arrival)> {
        let (mut list, now) =
            (self.0.shared.remembered.pick(most, wanted), self.0.shared.clock.now());
        for (.., arrival) in &mut list {
            arrival.expires = now.on_the_wall(arrival.passes.unwrap_or(arrival.expires));
        }
        list
    }

    /// Returns the time by which this node keeps what must not be lost for a clock that steps: in
    /// seconds, since a moment that is the same in all lives of its spool. No wall clock puts it
    /// forward or back; the time while its machine was off is not counted.
    pub fn time_lived(&self) -> u64 {
        self.0.shared.clock.now().certain
    }

    /// Returns the delivery of this sender by this id, if it arrived here and is still remembered:
    /// as [`Node::arrivals`] does, and nothing else is looked at.
    pub fn arrival(&self, sender: PeerId, transfer: TransferId) -> Option<Arrival> {
        let mut arrival = self.0.shared.remembered.here(sender, transfer)?;
        let now = self.0.shared.clock.now();
        arrival.expires = now.on_the_wall(arrival.passes.unwrap_or(arrival.expires));
        Some(arrival)
    }

    /// Says that this application is done with a delivery it received: the sender hears of it as
    /// soon as there is a link, and is told again until it has noted it. Returns when that is
    /// durable here; `false` if no such delivery is remembered.
    pub async fn processed(&self, sender: PeerId, transfer: TransferId) -> std::io::Result<bool> {
        let (shared, hub) = (Arc::clone(&self.0.shared), self.0.hub.clone());
        let changed = match shared.remembered.arrival(sender, transfer) {
            Some(arrival) if arrival.processed == super::Processed::No => {
                let note = move || {
                    shared.remembered.change(sender, transfer, |arrival| {
                        if arrival.processed == super::Processed::No {
                            arrival.processed = super::Processed::Unheard;
                        }
                    })
                };
                crate::store::blocking::blocking(note).await??
            }
            // What is remembered is durable.
            known => known,
        };
        if let Some(arrival) = &changed {
            let carried_as = arrival.elsewhere.unwrap_or(transfer);
            for (peer, transfer) in
                [Some((sender, transfer)), arrival.carried_by.map(|by| (by, carried_as))]
                    .into_iter()
                    .flatten()
            {
                hub.do_send(ToSession(
                    peer,
                    SayProcessed { transfer, mac: *arrival.processed_mac.expose() },
                ));
            }
        }
        Ok(changed.is_some())
    }

    /// Returns the events of the node from now on.
    pub fn events(&self) -> EventStream {
        EventStream {
            events: self.0.shared.events.subscribe(),
            stopped: self.0.stopped.clone(),
            only: None,
        }
    }

    /// Returns the events of the node since it was started, for the first caller only. They include
    /// those from before anybody could ask, and go on from now on. Later callers get `None`.
    pub fn events_since_start(&self) -> Option<EventStream> {
        let events = self.0.events.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(EventStream { events, ..self.events() })
    }

    /// Cancels a transfer, of either direction.
    pub fn cancel(&self, transfer: TransferId) {
        self.0.hub.do_send(Command { transfer, what: Order::Cancel });
    }

    /// Pauses a transfer, of either direction: what has credit still arrives.
    pub fn pause(&self, transfer: TransferId) {
        self.0.hub.do_send(Command { transfer, what: Order::Pause });
    }

    /// Lets a paused transfer go on.
    pub fn resume(&self, transfer: TransferId) {
        self.0.hub.do_send(Command { transfer, what: Order::Resume });
    }

    /// Returns the counters of every stage.
    pub fn metrics(&self) -> Vec<StageReport> {
        self.0.shared.metrics.report()
    }

    /// Takes nothing new, lets running transfers end within the limit of the configuration, then
    /// stops the node.
    pub async fn shutdown(&self) {
        self.shutdown_within(self.0.shared.config.drain_for).await;
    }

    /// [`Node::shutdown`] without waiting: running transfers fail, and their peers are told; what
    /// is stored goes on when the node is started again. Cuts a shutdown short that is under
    /// way.
    pub async fn stop(&self) {
        self.shutdown_within(Duration::ZERO).await;
    }

    /// [`Node::shutdown`] with a limit of its own for what runs, whatever the configuration says.
    /// What is over by then is written down: that takes 15 s more at most.
    pub async fn shutdown_within(&self, limit: Duration) {
        // An error means that the node has stopped already.
        let _ = self.0.hub.send(Shutdown { limit }).await;
        self.0.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut stopped = self.0.stopped.clone();
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }

    /// Returns the units of credit that messages of a peer take here until they are handled.
    #[cfg(feature = "test-util")]
    pub fn unhandled_of(&self, peer: PeerId) -> u64 {
        self.0.shared.ledger.account(peer).held(super::ledger::Kind::Messages)
    }

    /// The same of requests of streams that are not read yet.
    #[cfg(feature = "test-util")]
    pub fn unread_of(&self, peer: PeerId) -> u64 {
        self.0.shared.ledger.account(peer).held(super::ledger::Kind::Requests)
    }

    /// Returns a count of what the node holds for its peers now.
    #[cfg(feature = "test-util")]
    pub async fn held(&self) -> super::held::Held {
        let census = self.0.hub.send(super::held::Census).await;
        super::held::Held::of(&self.0.shared, census.unwrap_or_default())
    }

    /// Returns the number of key exchanges that the node has begun. A key exchange is the cost of a
    /// handshake.
    #[cfg(feature = "test-util")]
    pub fn key_exchanges(&self) -> u64 {
        self.0.shared.turns.taken()
    }

    /// Stops the node at once, as if its process had died: peers are told nothing.
    #[cfg(any(test, feature = "test-util"))]
    pub async fn abort(&self) {
        self.0.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut stopped = self.0.stopped.clone();
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }

    /// [`Node::shutdown`] for a plain thread.
    pub fn shutdown_blocking(&self) {
        block_on(self.shutdown());
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("peer", &self.peer())
            .field("addresses", &self.0.addresses)
            .finish_non_exhaustive()
    }
}
