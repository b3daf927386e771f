//! Beginning a delivery: where it goes, how its content is kept, and why it may not begin.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix::Addr;
use tokio::sync::oneshot;

use super::Node;
use super::error::SendError;
use super::plan::{Keep, Means, Wanted, plan};
use super::transfer::TransferHandle;
use crate::delivery::{Content, ContentKind, TransferId};
use crate::node::outbox::{Deposit, Given, Kept, Outbox, OutboxEntry, OutboxState};
use crate::node::reading::Seat;
use crate::node::send_options::SendOptions;
use crate::node::sessions::{DialHints, SendTo, StartTransfer};
use crate::node::shared::NodeShared;
use crate::node::transfer::{TransferState, Unsettled};
use crate::node::{CopyOrder, NodeConfig, PackOrder};
use crate::pipeline::{Codec, Compression, Source};
use crate::store::now;
use crate::wire::{PeerId, Suite, Ticket};

/// The destination of a delivery.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Destination {
    /// `"peer/inbox"`: a trusted peer's name or id, and an inbox there. What is an id means that
    /// node, never a name.
    Named(String),
    /// A trusted peer's inbox.
    Peer(PeerId, String),
    /// The node and the inbox that a ticket names.
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

impl Node {
    /// Begins a delivery. Returns when it is safely stored, so that this process may die
    /// (`stored`); without a spool, and for content that can't be found again, when this node
    /// has it (`accepted`). It goes on by itself, and the handle tells how.
    pub async fn send(
        &self,
        to: impl Into<Destination>,
        source: impl Source,
    ) -> Result<TransferHandle, SendError> {
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
        let (peer, inbox, hints) = self.resolve(to.into())?;
        let this = shared.identity.peer();
        if peer == this || options.via == Some(this) {
            return Err(SendError::ThisNode(this));
        }
        check(shared, &options)?;
        let life = options.expiry.unwrap_or(shared.config.expiry);
        let id = options.id.unwrap_or_else(TransferId::random);
        let (source, content) = look_at(source).await?;
        let reference = source.reference().filter(|found| shared.registry.can_reopen(&found.kind));
        let keep = plan(Wanted::of(&options), self.means(reference.is_some()))?;
        let delivery = NewDelivery { id, peer, inbox, hints, content, options, life };
        match (&self.0.outbox, keep, reference) {
            (Some(outbox), Keep::Reference, Some(reference)) => {
                let (entry, state) = (delivery.entry(shared, reference.into()), delivery.stored());
                let given = Given::Source(source, delivery.content);
                self.deposit(outbox, entry, given, state).await
            }
            (Some(outbox), Keep::Copy, _) => {
                let file = format!("{id}.copy");
                let bytes = delivery.content.length.unwrap_or(0);
                let entry = delivery.entry(shared, Kept::Copy { file: file.clone(), bytes });
                let state = delivery.stored();
                let copying = delivery.copying(shared, source, &file).await?;
                self.deposit(outbox, entry, Given::Copy(Box::new(copying)), state).await
            }
            (Some(outbox), Keep::Package, _) => {
                let file = format!("{id}.package");
                let kept = Kept::Package { file: file.clone(), bytes: 0 };
                let (entry, state) = (delivery.entry(shared, kept), delivery.stored());
                let packing = delivery.packing(shared, source, &file);
                self.deposit(outbox, entry, Given::Pack(Box::new(packing)), state).await
            }
            (_, _, reference) => {
                let reference = reference.filter(|_| delivery.options.stages.is_empty());
                let seat = reference.map(|found| shared.readings.enter(&found));
                self.begin(delivery, source, seat).await
            }
        }
    }

    fn means(&self, reopens: bool) -> Means {
        let shared = &self.0.shared;
        Means {
            outbox: self.0.outbox.is_some(),
            folder: shared.spool.as_ref().is_some_and(|spool| spool.folder().is_some()),
            reopens,
            packages: shared.registry.packages_in_use().is_ok(),
            copies: shared.registry.copies_in_use().is_ok(),
        }
    }

    /// Stores it, and says so.
    pub(super) async fn deposit(
        &self,
        outbox: &Addr<Outbox>,
        entry: OutboxEntry,
        given: Given,
        state: Arc<TransferState>,
    ) -> Result<TransferHandle, SendError> {
        let deposit = Deposit { id: state.id, entry, given, state: Arc::clone(&state), room: None };
        outbox.send(deposit).await.map_err(|_| SendError::Stopped)??;
        Ok(TransferHandle { state, node: self.clone() })
    }

    /// Begins it without storing it.
    async fn begin(
        &self,
        delivery: NewDelivery,
        source: Box<dyn Source>,
        seat: Option<Seat>,
    ) -> Result<TransferHandle, SendError> {
        let NewDelivery { id, peer, inbox, hints, content, options, life } = delivery;
        let state = Arc::new(TransferState::new(id, peer, content.length));
        let start = StartTransfer {
            source,
            content,
            inbox,
            options,
            attempt: 0,
            created: now(),
            life,
            state: Unsettled(Arc::clone(&state)),
            seat,
        };
        self.0.hub.send(SendTo { peer, hints, start }).await.map_err(|_| SendError::Stopped)?;
        Ok(TransferHandle { state, node: self.clone() })
    }

    pub(super) fn resolve(
        &self,
        to: Destination,
    ) -> Result<(PeerId, String, DialHints), SendError> {
        match to {
            Destination::Peer(peer, inbox) => Ok((peer, inbox, DialHints::default())),
            Destination::Ticket(ticket) => {
                let hints = DialHints {
                    addresses: ticket.addresses().to_vec(),
                    token: Some(ticket.token().clone()),
                };
                Ok((ticket.peer(), ticket.inbox().to_owned(), hints))
            }
            Destination::Named(given) => {
                let (peer, inbox) = given
                    .split_once('/')
                    .ok_or_else(|| SendError::Unknown { given: given.clone() })?;
                Ok((self.trust().find(peer)?.0, inbox.to_owned(), DialHints::default()))
            }
        }
    }
}

/// Checks what can be known to be wrong before the source is looked at.
pub(super) fn check(shared: &NodeShared, options: &SendOptions) -> Result<(), SendError> {
    if let Some(chunk_size) = options.chunk_size {
        // Of the size alone: the node's own window and pool are as they are.
        let most = usize::try_from(NodeConfig::POOL_MOST).unwrap_or(usize::MAX);
        let (window, pool) = (most, most);
        NodeConfig { chunk_size, window, pool, ..shared.config.clone() }.check()?;
    }
    let registry = &shared.registry;
    registry.stages().sending(&options.stages, Suite::XSALSA20_POLY1305)?;
    registry.stages().check_asked(&options.stages, options.compression)?;
    let chunk_size = options.chunk_size.unwrap_or(shared.config.chunk_size);
    registry.stages().growth(&options.stages, chunk_size)?;
    let expiry = options.expiry.unwrap_or(shared.config.expiry);
    Ok(NodeConfig { expiry, ..shared.config.clone() }.check()?)
}

/// A delivery that was asked for, and may be begun.
pub(super) struct NewDelivery {
    pub(super) id: TransferId,
    pub(super) peer: PeerId,
    pub(super) inbox: String,
    pub(super) hints: DialHints,
    pub(super) content: Content,
    pub(super) options: SendOptions,
    /// The time for which it is worth delivering.
    pub(super) life: Duration,
}

impl NewDelivery {
    pub(super) fn stored(&self) -> Arc<TransferState> {
        Arc::new(TransferState::stored(self.id, self.peer, self.content.length))
    }

    /// Its record in the outbox.
    pub(super) fn entry(&self, shared: &NodeShared, kept: Kept) -> OutboxEntry {
        let Self { options, hints, content, .. } = self;
        let packs = matches!(kept, Kept::Package { .. });
        let created = shared.clock.now().passed;
        OutboxEntry {
            peer: self.peer,
            via: options.via,
            relayed_for: None,
            inbox: self.inbox.clone(),
            // What a relay carries is dialled nowhere else.
            addresses: if packs { Vec::new() } else { hints.addresses.clone() },
            token: hints.token.clone().filter(|_| !packs),
            content: kept,
            expected: None,
            name: content.name.to_string(),
            length: content.length,
            chunk_size: options.chunk_size,
            // A package is compressed inside.
            codec: if packs {
                Some(Codec::RAW)
            } else {
                options.compression.map(Compression::codec)
            },
            stages: if packs { Vec::new() } else { options.stages.clone() },
            created,
            expires: created + self.life.as_secs(),
            tries: if packs { 0 } else { 1 },
            state: OutboxState::Stored,
            last_failure: None,
            heard: None,
            packed_as: None,
            pace: options.pace.clone(),
            priority: options.priority,
            elsewhere: None,
        }
    }

    /// For this node's own eyes a copy will do.
    async fn copying(
        self,
        shared: &Arc<NodeShared>,
        source: Box<dyn Source>,
        file: &str,
    ) -> Result<CopyOrder, SendError> {
        let (source, twin) = with_twin(shared, source, &self.content).await?;
        Ok(CopyOrder {
            source,
            twin,
            content: self.content,
            identity: shared.identity.clone(),
            transfer: self.id,
            suite: Suite::XSALSA20_POLY1305,
            file: in_the_spool(shared, file),
        })
    }

    fn packing(self, shared: &NodeShared, source: Box<dyn Source>, file: &str) -> PackOrder {
        let Self { id, peer, inbox, hints, content, options, life } = self;
        // Whoever is away can't be asked what it has: of what is not asked for, snappy.
        let compression = options.compression.unwrap_or(match shared.config.compression {
            Compression::Off => Compression::Off,
            _ => Compression::Snappy,
        });
        // What is carried is sealed: whoever taps sees it before.
        let source = shared.taps.around(source, &content, id);
        PackOrder {
            source,
            content,
            identity: shared.identity.clone(),
            receiver: peer,
            transfer: id,
            chunk_size: options.chunk_size.unwrap_or(shared.config.chunk_size),
            suite: Suite::XSALSA20_POLY1305,
            compression,
            coders: options.stages,
            inbox,
            // What is in a package has nobody who tells how long is left.
            created: now(),
            expires: now() + life.as_secs(),
            token: hints.token,
            file: in_the_spool(shared, file),
            stages: shared.registry.stages().clone(),
        }
    }
}

/// The place of a file in the spool's folder, which the plan has asked for.
pub(super) fn in_the_spool(shared: &NodeShared, file: &str) -> PathBuf {
    let folder = shared.spool.as_ref().and_then(|spool| spool.folder());
    folder.map_or_else(|| file.into(), |folder| folder.join(file))
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
        let twin = twin.filter(|twin| {
            version.is_some() && twin.version() == version && twin.content() == content
        });
        (source, twin)
    })
    .await
}

/// Does what may block, and may panic, as sources do.
async fn on_a_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, SendError> {
    let (done, is_done) = oneshot::channel();
    let work = move || {
        // Whoever asked may be gone.
        let _ = done.send(work());
    };
    std::thread::Builder::new()
        .name("estafette-look".into())
        .spawn(work)
        .map_err(SendError::Thread)?;
    is_done.await.map_err(|_| SendError::SourcePanicked)
}
