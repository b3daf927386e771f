//! The handles a host holds: of its node, and of each transfer.

use std::fmt;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::sync::{broadcast, oneshot, watch};

use super::builder::{NodeBuilder, Parts};
use super::events::{NodeEvent, TransferNews};
use super::hub::{Connect, Hub, SendTo, Shutdown, ToSession};
use super::outbox::{Deposit, Find, Given, Kept, List, OrderKind, Outbox, OutboxEntry, OutboxError, OutboxState};
use super::session::signals::{Command, Know, Order, Outcome, SayProcessed, SendOptions, Start};
use super::shared::NodeShared;
use super::trust::{Trust, TrustError, now};
use super::{Arrival, ConfigError, CopyOrder, NodeConfig, PackOrder};
use crate::delivery::{Content, ContentKind, Failure, Receipt, TransferId};
use crate::metrics::StageReport;
use crate::pipeline::{Compression, Inbox, Source, SourceReport};
use crate::remote::{Directory, DirectoryError};
use crate::wire::{PeerId, Ticket};

/// A running node. Cloning it shares it; dropping the last handle aborts what runs, [`Node::shutdown`] drains it first.
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

/// Where a delivery goes.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Destination {
    /// `"peer/inbox"`: a trusted peer's name, and an inbox there.
    Named(String),
    /// A trusted peer's inbox.
    Peer(PeerId, String),
    /// Where a ticket leads.
    Ticket(Ticket),
}

impl From<&str> for Destination {
    fn from(name: &str) -> Self {
        Self::Named(name.to_owned())
    }
}

impl From<Ticket> for Destination {
    fn from(ticket: Ticket) -> Self {
        Self::Ticket(ticket)
    }
}

/// Why a delivery was not begun.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The name does not say where.
    #[error("{given:?} is no destination: \"peer/inbox\" is wanted, with the name of a trusted peer; known are: {known}")]
    Unknown {
        /// What was given.
        given: String,
        /// The names of trusted peers.
        known: String,
    },
    /// An option can't work.
    #[error(transparent)]
    Options(#[from] ConfigError),
    /// A stage is not registered here.
    #[error(transparent)]
    Stages(#[from] crate::supervise::RegistryError),
    /// The source panicked when it was asked what it is.
    #[error("the source panicked when it was asked what it is; see the log")]
    SourcePanicked,
    /// The operating system gave no thread.
    #[error("no thread could be started to look at the source: {0}")]
    Thread(std::io::Error),
    /// A relay carries packages, and this node makes none.
    #[error("only a node with a spool that has a folder can send through a relay, and not what is transient: give it one with `.spool(…)`")]
    NoPackages,
    /// Nothing keeps a copy.
    #[error("only a node with a spool that has a folder can keep a copy of what it sends, and not of what is transient")]
    NoCopies,
    /// It could not be stored.
    #[error(transparent)]
    Outbox(#[from] OutboxError),
    /// The node has stopped.
    #[error("the node has been shut down")]
    Stopped,
}

impl Node {
    /// Begins to put a node together.
    pub fn builder() -> NodeBuilder {
        NodeBuilder::default()
    }

    pub(super) fn new(parts: Parts, has_stopped: oneshot::Receiver<()>) -> Self {
        let Parts { shared, hub, outbox, addresses, events, stop } = parts;
        let (ended, stopped) = watch::channel(false);
        // A plain thread, since the host may have no runtime; it ends with the node.
        std::thread::spawn(move || {
            let _ = has_stopped.blocking_recv();
            let _ = ended.send(true);
        });
        let (events, stop) = (Mutex::new(Some(events)), Mutex::new(Some(stop)));
        Self(Arc::new(Inner { shared, hub, outbox, addresses, events, stop, stopped }))
    }

    pub(super) fn shared(&self) -> &Arc<NodeShared> {
        &self.0.shared
    }

    /// Who it is.
    pub fn peer(&self) -> PeerId {
        self.0.shared.peer()
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

    /// Takes deliveries to `inbox`.
    pub fn receive(&self, name: &str, inbox: impl Inbox) -> Result<(), DirectoryError> {
        self.0.shared.directory.receive(name, Arc::new(inbox))
    }

    /// A ticket for one peer, good for 24 hours, to deliver to `inbox`.
    pub fn ticket(&self, inbox: &str) -> Result<Ticket, TrustError> {
        self.ticket_for(inbox, 1, Duration::from_secs(24 * 3600))
    }

    /// A ticket that so many peers may redeem within `valid`.
    pub fn ticket_for(&self, inbox: &str, redeemers: u16, valid: Duration) -> Result<Ticket, TrustError> {
        self.trust().issue(self.peer(), self.0.addresses.clone(), inbox, redeemers, valid)
    }

    /// Begins a delivery. Returns when it is safely stored, so that this process may die (`stored`); without a spool, and for
    /// content that can't be found again, when this node has it (`accepted`). It goes on by itself, and the handle tells how.
    pub async fn send(&self, to: impl Into<Destination>, source: impl Source) -> Result<TransferHandle, SendError> {
        self.send_with(to, source, SendOptions::default()).await
    }

    /// [`Node::send`] with options of its own.
    pub async fn send_with(
        &self,
        to: impl Into<Destination>,
        source: impl Source,
        options: SendOptions,
    ) -> Result<TransferHandle, SendError> {
        let shared = &self.0.shared;
        let (peer, inbox, know) = self.resolve(to.into())?;
        if let Some(size) = options.chunk_size {
            NodeConfig { chunk_size: size, window: usize::MAX, pool: usize::MAX, ..shared.config.clone() }.check()?;
        }
        shared.registry.sending(&options.stages, crate::wire::Suite::XSALSA20_POLY1305)?;
        let expiry = options.expiry.unwrap_or(shared.config.expiry);
        NodeConfig { expiry, ..shared.config.clone() }.check()?;
        let id = TransferId::random();
        let (source, content) = look_at(source).await?;
        let created = now();
        let expires = created + expiry.as_secs();
        let refers = options.via.is_none() && !options.copy;
        let kept = source.reference().filter(|reference| refers && shared.registry.can_reopen(&reference.kind));
        let folder = shared.spool.as_ref().and_then(|spool| spool.folder());
        let in_folder = folder.filter(|_| kept.is_none());
        // A relay carries packages; for this node's own eyes a copy will do.
        let packs = in_folder.is_some() && options.via.is_some() && shared.registry.packages_in_use().is_ok();
        let copies = in_folder.is_some() && options.via.is_none() && shared.registry.copies_in_use().is_ok();
        if options.via.is_some() && (options.transient || !packs || self.0.outbox.is_none()) {
            return Err(SendError::NoPackages);
        }
        if options.copy && (options.transient || !(packs || copies) || self.0.outbox.is_none()) {
            return Err(SendError::NoCopies);
        }
        if let (Some(outbox), false, true) = (&self.0.outbox, options.transient, packs || copies || kept.is_some()) {
            let Know { addresses, token } = know;
            let file = format!("{}.{}", id.to_hex(), if packs { "package" } else { "copy" });
            let chunk_size = options.chunk_size.unwrap_or(shared.config.chunk_size);
            let compression = options.compression.unwrap_or(shared.config.compression);
            let entry = OutboxEntry {
                peer,
                via: options.via,
                relayed_for: None,
                inbox: inbox.clone(),
                // What a relay carries is dialled nowhere else.
                addresses: if options.via.is_some() { Vec::new() } else { addresses },
                token: token.map(Into::into).filter(|_| options.via.is_none()),
                content: match kept {
                    Some(reference) => reference.into(),
                    None if packs => Kept::Package { file: file.clone(), bytes: 0 },
                    None => Kept::Copy { file: file.clone(), bytes: content.length.unwrap_or(0) },
                },
                expected: None,
                name: content.name.to_string(),
                length: content.length,
                chunk_size: options.chunk_size,
                // A package is compressed inside.
                compressed: if packs { Some(false) } else { options.compression.map(|compression| compression == Compression::Snappy) },
                stages: if packs { Vec::new() } else { options.stages.clone() },
                created,
                expires,
                tries: if packs { 0 } else { 1 },
                state: OutboxState::Stored,
                last_failure: None,
                heard: None,
            };
            let state = Arc::new(TransferState::stored(id, peer));
            let given = match in_folder {
                None => Given::Source(source, content),
                Some(folder) if copies => {
                    let (identity, file) = (shared.identity.clone(), folder.join(file));
                    let (source, twin) = with_twin(shared, source, &content).await?;
                    Given::Copy(Box::new(CopyOrder { source, twin, content, identity, transfer: id, file }))
                }
                Some(folder) => {
                    let order = PackOrder {
                        source,
                        content,
                        identity: shared.identity.clone(),
                        receiver: peer,
                        transfer: id,
                        chunk_size,
                        compression,
                        stages: options.stages,
                        inbox,
                        created,
                        expires,
                        token: token.map(Into::into),
                        file: folder.join(file),
                        registry: shared.registry.clone(),
                    };
                    Given::Pack(Box::new(order))
                }
            };
            let deposit = Deposit { id, entry, given, state: Arc::clone(&state), quota: None };
            outbox.send(deposit).await.map_err(|_| SendError::Stopped)??;
            return Ok(TransferHandle { state, node: self.clone() });
        }
        let state = Arc::new(TransferState::new(id, peer));
        let start = Start { source, content, inbox, options, attempt: 0, created, expires, state: Unsettled(Arc::clone(&state)) };
        self.0.hub.send(SendTo { peer, know, start }).await.map_err(|_| SendError::Stopped)?;
        Ok(TransferHandle { state, node: self.clone() })
    }

    /// Keeps a link with a trusted peer up, as long as this node runs: so that a relay can hand over what it keeps for this
    /// node, and tell what has become of what it carries from here. A session that is given up because nobody was there for
    /// long, or because the peer refuses, must be asked for again.
    pub fn stay_connected(&self, peer: PeerId) {
        self.0.hub.do_send(Connect(peer));
    }

    /// The deliveries in the outbox, the oldest first: those still to be delivered, and how others ended.
    pub async fn outbox(&self) -> Result<Vec<(TransferId, OutboxEntry)>, OutboxError> {
        self.the_outbox()?.send(List).await.map_err(|_| OutboxError::None)
    }

    /// The handle of a delivery in the outbox, whichever process stored it.
    pub async fn transfer(&self, id: TransferId) -> Result<TransferHandle, OutboxError> {
        let state = self.the_outbox()?.send(Find(id)).await.map_err(|_| OutboxError::None)?;
        Ok(TransferHandle { state: state.ok_or(OutboxError::Unknown(id))?, node: self.clone() })
    }

    /// Tries a delivery of the outbox now; a dead letter comes to life again.
    pub async fn retry(&self, id: TransferId) -> Result<(), OutboxError> {
        self.order(id, OrderKind::Retry).await
    }

    /// Takes a delivery out of the outbox that is still to be delivered.
    pub async fn withdraw(&self, id: TransferId) -> Result<(), OutboxError> {
        self.order(id, OrderKind::Cancel).await
    }

    /// Forgets a delivery of the outbox that is over, a dead letter too.
    pub async fn forget(&self, id: TransferId) -> Result<(), OutboxError> {
        self.order(id, OrderKind::Drop).await
    }

    /// What was delivered here and is still remembered, the newest first.
    pub fn arrivals(&self) -> Vec<(PeerId, TransferId, Arrival)> {
        self.0.shared.remembered.list()
    }

    /// Says that this application is done with a delivery it received: the sender hears of it as soon as there is a link, and
    /// is told again until it has noted it. Returns when that is durable here; `false` if no such delivery is remembered.
    pub async fn processed(&self, sender: PeerId, transfer: TransferId) -> std::io::Result<bool> {
        let (shared, hub) = (Arc::clone(&self.0.shared), self.0.hub.clone());
        let (done, is_done) = oneshot::channel();
        std::thread::Builder::new().name("estafette-word".into()).spawn(move || {
            let changed = shared.remembered.change(sender, transfer, |arrival| {
                if arrival.processed == super::Processed::No {
                    arrival.processed = super::Processed::Unheard;
                }
            });
            // Whoever asked may be gone.
            let _ = done.send(changed);
        })?;
        let changed = is_done.await.map_err(std::io::Error::other)??;
        if let Some(arrival) = &changed {
            for peer in [Some(sender), arrival.carried_by].into_iter().flatten() {
                hub.do_send(ToSession(peer, SayProcessed { transfer, mac: *arrival.processed_mac.expose() }));
            }
        }
        Ok(changed.is_some())
    }

    async fn order(&self, id: TransferId, what: OrderKind) -> Result<(), OutboxError> {
        self.the_outbox()?.send(super::outbox::Order { id, what }).await.map_err(|_| OutboxError::None)?
    }

    fn the_outbox(&self) -> Result<&actix::Addr<Outbox>, OutboxError> {
        self.0.outbox.as_ref().ok_or(OutboxError::None)
    }

    fn resolve(&self, to: Destination) -> Result<(PeerId, String, Know), SendError> {
        match to {
            Destination::Peer(peer, inbox) => Ok((peer, inbox, Know::default())),
            Destination::Ticket(ticket) => {
                let know = Know { addresses: ticket.addresses().to_vec(), token: Some(*ticket.token().expose()) };
                Ok((ticket.peer(), ticket.inbox().to_owned(), know))
            }
            Destination::Named(given) => {
                let found = given.split_once('/').and_then(|(name, inbox)| Some((self.trust().named(name)?.0, inbox.to_owned())));
                found.map(|(peer, inbox)| (peer, inbox, Know::default())).ok_or_else(|| {
                    let names: Vec<_> = self.trust().list().into_iter().map(|(_, peer)| peer.name).collect();
                    SendError::Unknown { given, known: if names.is_empty() { "none".into() } else { names.join(", ") } }
                })
            }
        }
    }

    /// What happens on the node from now on.
    pub fn events(&self) -> EventStream {
        EventStream { events: self.0.shared.events.subscribe(), stopped: self.0.stopped.clone(), only: None }
    }

    /// What has happened on the node since it was started, before whoever started it could ask, and what happens from now on;
    /// for the first who asks.
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

    /// What every stage has counted.
    pub fn metrics(&self) -> Vec<StageReport> {
        self.0.shared.metrics.report()
    }

    /// Takes nothing new, lets running transfers end within the limit of the configuration, then stops the node.
    pub async fn shutdown(&self) {
        self.shut_down(self.0.shared.config.drain_for).await;
    }

    /// [`Node::shutdown`] without waiting: running transfers fail, and their peers are told; what is stored goes on when the node
    /// is started again. Cuts a shutdown short that is under way.
    pub async fn stop(&self) {
        self.shut_down(Duration::ZERO).await;
    }

    async fn shut_down(&self, limit: Duration) {
        // An error means that the node has stopped already.
        let _ = self.0.hub.send(Shutdown { limit }).await;
        self.0.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut stopped = self.0.stopped.clone();
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }

    /// What it holds for its peers now.
    #[cfg(feature = "test-util")]
    pub async fn held(&self) -> super::held::Held {
        let census = self.0.hub.send(super::held::Census).await;
        super::held::Held::of(&self.0.shared, census.unwrap_or_default())
    }

    /// Stops the node at once, as if its process had died: peers are told nothing.
    #[cfg(feature = "test-util")]
    pub async fn abort(&self) {
        self.0.stop.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut stopped = self.0.stopped.clone();
        let _ = stopped.wait_for(|stopped| *stopped).await;
    }

    /// [`Node::shutdown`] for a plain thread.
    pub fn shutdown_blocking(&self) {
        super::builder::block_on(self.shutdown());
    }
}

/// Asks a source what it is, on a thread of its own: a tree counts its entries for that.
async fn look_at(source: impl Source) -> Result<(Box<dyn Source>, Content), SendError> {
    on_a_thread(move || {
        let content = source.content();
        (Box::new(source) as Box<dyn Source>, content)
    })
    .await
}

/// A source of a file, and another one of the same version of it, if that can be found and told.
async fn with_twin(
    shared: &Arc<NodeShared>,
    source: Box<dyn Source>,
    content: &Content,
) -> Result<(Box<dyn Source>, Option<Box<dyn Source>>), SendError> {
    if !matches!(content.kind, ContentKind::File { .. }) {
        return Ok((source, None));
    }
    let (shared, content) = (Arc::clone(shared), content.clone());
    on_a_thread(move || {
        let twin = source.reference().and_then(|reference| shared.registry.reopen(&reference).ok());
        let version = source.version();
        let twin = twin.filter(|twin| version.is_some() && twin.version() == version && twin.content() == content);
        (source, twin)
    })
    .await
}

/// Does what may block, and may panic, as sources do.
async fn on_a_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, SendError> {
    let (done, is_done) = oneshot::channel();
    let work = move || {
        // Whoever asked may be gone.
        let _ = done.send(work());
    };
    std::thread::Builder::new().name("estafette-look".into()).spawn(work).map_err(SendError::Thread)?;
    is_done.await.map_err(|_| SendError::SourcePanicked)
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("peer", &self.peer()).field("addresses", &self.0.addresses).finish_non_exhaustive()
    }
}

/// What a transfer has come to.
#[derive(Clone, Debug, Default)]
pub struct TransferStatus {
    /// Whether it is in the outbox, so that it outlives this process.
    pub stored: bool,
    /// Whether the receiver has accepted it.
    pub started: bool,
    /// Bytes of content that have arrived.
    pub bytes: u64,
    /// Bytes there are, where that is known.
    pub total: Option<u64>,
    /// What the source had to say when it was read to its end.
    pub report: SourceReport,
    /// Whether the receiving application has said that it is done with it.
    pub processed: bool,
    /// How it ended, if it has.
    pub outcome: Option<Result<Receipt, Failure>>,
}

/// The state of a transfer, shared between its session and its handles.
#[derive(Debug)]
pub(crate) struct TransferState {
    pub(crate) id: TransferId,
    peer: PeerId,
    status: watch::Sender<TransferStatus>,
    /// The stored delivery that this is a try at.
    stored: Option<Arc<TransferState>>,
    /// What will prove that it was processed.
    proof: OnceLock<[u8; 32]>,
    enclosed: OnceLock<Receipt>,
}

impl TransferState {
    fn new(id: TransferId, peer: PeerId) -> Self {
        Self {
            id,
            peer,
            status: watch::channel(TransferStatus::default()).0,
            stored: None,
            proof: OnceLock::new(),
            enclosed: OnceLock::new(),
        }
    }

    /// The state of a delivery in the outbox.
    pub(crate) fn stored(id: TransferId, peer: PeerId) -> Self {
        let state = Self::new(id, peer);
        state.update(|status| status.stored = true);
        state
    }

    /// The state of a try at a delivery in the outbox.
    pub(crate) fn for_try(stored: &Arc<Self>) -> Self {
        Self { stored: Some(Arc::clone(stored)), ..Self::new(stored.id, stored.peer) }
    }

    pub(crate) fn set_proof(&self, proof: [u8; 32]) {
        // Set once: a try is delivered once.
        let _ = self.proof.set(proof);
    }

    /// Notes the word about what was in a package.
    pub(crate) fn set_enclosed(&self, receipt: Receipt) {
        // Set once: a try is delivered once.
        let _ = self.enclosed.set(receipt);
    }

    pub(crate) fn enclosed(&self) -> Option<Receipt> {
        self.enclosed.get().cloned()
    }

    pub(crate) fn proof(&self) -> [u8; 32] {
        self.proof.get().copied().unwrap_or_default()
    }

    pub(crate) fn is_try(&self) -> bool {
        self.stored.is_some()
    }

    pub(crate) fn update(&self, change: impl Fn(&mut TransferStatus)) {
        if let Some(stored) = &self.stored {
            stored.status.send_modify(&change);
        }
        self.status.send_modify(change);
    }

    /// Waits for the end.
    pub(crate) async fn outcome(&self) -> Outcome {
        let mut status = self.status.subscribe();
        let ended = status.wait_for(|status| status.outcome.is_some()).await;
        let outcome = ended.ok().and_then(|status| status.outcome.clone());
        outcome.unwrap_or_else(|| Err(Failure::new(crate::delivery::FailureKind::Shutdown, "the node stopped")))
    }

    /// Notes progress; whether there was any.
    pub(crate) fn progressed(&self, bytes: u64, total: Option<u64>) -> bool {
        if let Some(stored) = &self.stored {
            stored.progressed(bytes, total);
        }
        self.status.send_if_modified(|status| {
            let more = bytes > status.bytes;
            (status.bytes, status.total) = (bytes.max(status.bytes), total);
            more
        })
    }

    pub(crate) fn end(&self, outcome: Outcome) {
        self.status.send_modify(|status| {
            if let Ok(receipt) = &outcome {
                (status.bytes, status.total) = (receipt.length, Some(receipt.length));
            }
            status.outcome.get_or_insert(outcome);
        });
    }
}

/// A transfer whose end has to be told. Dropped before that, with its session or on the way there, it tells that it failed, so
/// that nobody waits for it for ever.
#[derive(Debug)]
pub(crate) struct Unsettled(pub(crate) Arc<TransferState>);

impl std::ops::Deref for Unsettled {
    type Target = TransferState;
    fn deref(&self) -> &TransferState {
        &self.0
    }
}

impl Drop for Unsettled {
    fn drop(&mut self) {
        let text = "the node stopped before the delivery was done";
        self.0.end(Err(Failure::new(crate::delivery::FailureKind::Shutdown, text)));
    }
}

/// A delivery under way. Dropping it leaves the delivery as it is.
#[derive(Clone, Debug)]
pub struct TransferHandle {
    state: Arc<TransferState>,
    node: Node,
}

impl TransferHandle {
    /// Its id.
    pub fn id(&self) -> TransferId {
        self.state.id
    }

    /// To whom it goes.
    pub fn peer(&self) -> PeerId {
        self.state.peer
    }

    /// What it has come to.
    pub fn status(&self) -> TransferStatus {
        self.state.status.borrow().clone()
    }

    /// Waits until the receiver has verified and committed it, or it has failed at both ends.
    pub async fn delivered(&self) -> Result<Receipt, Failure> {
        self.state.outcome().await
    }

    /// Waits until the receiving application has said that it is done with it ([`Node::processed`]), or it has failed. For
    /// deliveries in the outbox only: others fail at once, since nobody would remember to wait.
    pub async fn processed(&self) -> Result<Receipt, Failure> {
        if !self.status().stored {
            let text = "the delivery is not in an outbox, so nobody keeps what would prove that it was processed";
            return Err(Failure::new(crate::delivery::FailureKind::Refused, text));
        }
        let mut status = self.state.status.subscribe();
        let over = |status: &TransferStatus| status.processed || matches!(status.outcome, Some(Err(_)));
        // The sender of the channel is held by this handle.
        let _ = status.wait_for(over).await;
        self.delivered().await
    }

    /// What happens to it from now on.
    pub fn events(&self) -> EventStream {
        EventStream { only: Some(self.state.id), ..self.node.events() }
    }

    /// Gives it up, at both ends.
    pub fn cancel(&self) {
        self.node.cancel(self.id());
    }

    /// Pauses it.
    pub fn pause(&self) {
        self.node.pause(self.id());
    }

    /// Lets it go on.
    pub fn resume(&self) {
        self.node.resume(self.id());
    }
}

/// A subscription to events. One that is read too slowly misses the oldest.
#[derive(Debug)]
pub struct EventStream {
    events: broadcast::Receiver<NodeEvent>,
    /// The node's handles keep the channel open after the node has stopped.
    stopped: watch::Receiver<bool>,
    only: Option<TransferId>,
}

impl EventStream {
    /// The next event; `None` when the node has stopped.
    pub async fn next(&mut self) -> Option<NodeEvent> {
        loop {
            let event = tokio::select! {
                biased;
                event = self.events.recv() => event,
                _ = self.stopped.wait_for(|stopped| *stopped) => return None,
            };
            match event {
                Ok(event) if self.is_for_us(&event) => return Some(event),
                Ok(_) | Err(broadcast::error::RecvError::Lagged(_)) => {}
                Err(broadcast::error::RecvError::Closed) => return None,
            }
        }
    }

    /// The next event of a transfer; `None` when the node has stopped.
    pub async fn next_news(&mut self) -> Option<TransferNews> {
        loop {
            if let NodeEvent::Transfer(event) = self.next().await? {
                return Some(event.news);
            }
        }
    }

    fn is_for_us(&self, event: &NodeEvent) -> bool {
        self.only.is_none_or(|id| matches!(event, NodeEvent::Transfer(event) if event.transfer == id))
    }
}
