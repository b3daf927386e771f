//! What others ask of the outbox: to take a delivery in, and to tell what it holds.

use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use actix::{ActorFutureExt, Context, Handler, Message, MessageResult, ResponseActFuture, WrapFuture};

use super::{Expected, Held, Kept, Outbox, OutboxEntry, OutboxState, TABLE, write_to};
use crate::delivery::{Content, Failure, FailureKind, TransferId};
use crate::node::handle::TransferState;
use crate::node::shared::NodeShared;
use crate::node::{Change, PackError, PackOrder, Packed, RelayQuota};
use crate::pipeline::Source;

/// Store this delivery; answered when it is durable.
#[derive(Message)]
#[rtype(result = "Result<(), OutboxError>")]
pub(crate) struct Deposit {
    pub(crate) id: TransferId,
    pub(crate) entry: OutboxEntry,
    pub(crate) source: Option<(Box<dyn Source>, Content)>,
    /// Content to be packed first.
    pub(crate) pack: Option<Box<PackOrder>>,
    pub(crate) state: Arc<TransferState>,
    /// What one sender may have kept here, if it is for somebody else.
    pub(crate) quota: Option<RelayQuota>,
}

/// All deliveries, the oldest first.
#[derive(Debug, Message)]
#[rtype(result = "Vec<(TransferId, OutboxEntry)>")]
pub(crate) struct List;

/// The state of one delivery.
#[derive(Debug, Message)]
#[rtype(result = "Option<Arc<TransferState>>")]
pub(crate) struct Find(pub(crate) TransferId);

/// Begin no more tries; answered when the tries that have not begun to run are given up.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Halt;

/// Why the outbox did not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OutboxError {
    /// It is full.
    #[error("the outbox holds {limit} deliveries that are still to be delivered, which is all it may; cancel some of them, or wait")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// Its packages take all the room they may.
    #[error(
        "packages of {used} bytes are in the outbox, and with this one they would pass the {limit} they may take; cancel some of them, or wait"
    )]
    OverQuota {
        /// Bytes there are.
        used: u64,
        /// The limit.
        limit: u64,
    },
    /// There is a delivery of this id already: the same one, or another.
    #[error("the outbox has a delivery of this id already")]
    Known(bool),
    /// The content could not be put into a package.
    #[error(transparent)]
    Pack(#[from] PackError),
    /// The spool failed: nothing was stored.
    #[error("the delivery could not be stored: {0}")]
    Store(#[from] io::Error),
    /// There is no such delivery.
    #[error("there is no delivery {0} in the outbox")]
    Unknown(TransferId),
    /// It is not in a state for that.
    #[error("the delivery {id} {why}")]
    Unfit {
        /// Which one.
        id: TransferId,
        /// Why not, and what to do.
        why: &'static str,
    },
    /// The node keeps no outbox, or has stopped.
    #[error("the node has no outbox: it was started without a spool, or has been shut down")]
    None,
}

impl Handler<Deposit> for Outbox {
    type Result = ResponseActFuture<Self, Result<(), OutboxError>>;

    fn handle(&mut self, Deposit { id, mut entry, mut source, pack, state, quota }: Deposit, _: &mut Context<Self>) -> Self::Result {
        if let Err(error) = self.has_room(id, &entry, quota) {
            return Box::pin(actix::fut::ready(Err(error)));
        }
        if self.dormant {
            // Another process makes the first try.
            (entry.tries, source) = (0, None);
        }
        let held = Held { entry: entry.clone(), state, source, busy: true, cancelled: Rc::default(), said: None, revived: false };
        self.entries.insert(id, held);
        let (spool, shared, used, limit) =
            (Arc::clone(&self.spool), Arc::clone(&self.shared), self.used(), self.shared.config.outbox_bytes);
        let stored = async move {
            if let Some(order) = pack {
                packed(&shared, *order, &mut entry, used, limit).await?;
            }
            let record = Change::Put { table: TABLE, key: id.as_bytes().to_vec(), value: entry.encode()? };
            write_to(spool, vec![record]).await?;
            Ok::<_, OutboxError>(entry)
        };
        Box::pin(stored.into_actor(self).map(move |stored, outbox, ctx| {
            let entry = match stored {
                Ok(entry) => entry,
                Err(error) => {
                    outbox.entries.remove(&id);
                    return Err(error);
                }
            };
            if let Some(held) = outbox.entries.get_mut(&id) {
                held.entry = entry;
                if held.cancelled.get() {
                    drop(outbox.remove(id, ctx));
                } else {
                    outbox.schedule.wait(held.entry.next_hop(), held.entry.created, id, Instant::now());
                    outbox.set_free(id, ctx);
                }
            }
            outbox.try_what_is_due(ctx);
            Ok(())
        }))
    }
}

impl Outbox {
    fn has_room(&self, id: TransferId, entry: &OutboxEntry, quota: Option<RelayQuota>) -> Result<(), OutboxError> {
        let limit = self.shared.config.outbox;
        if self.stopping {
            return Err(OutboxError::None);
        }
        if let Some(known) = self.entries.get(&id) {
            if known.entry.relayed_for.is_some() && matches!(known.entry.state, OutboxState::Dead { .. }) {
                return Err(OutboxError::Unfit { id, why: "was given up here, and is not forgotten yet; send it again later" });
            }
            return Err(OutboxError::Known((known.entry.peer, known.entry.relayed_for) == (entry.peer, entry.relayed_for)));
        }
        if self.entries.values().filter(|held| held.entry.is_open()).count() >= limit {
            return Err(OutboxError::Full { limit });
        }
        let (used, limit) = (self.used(), self.shared.config.outbox_bytes);
        if used + entry.bytes() > limit {
            return Err(OutboxError::OverQuota { used, limit });
        }
        let Some(RelayQuota { packages, bytes }) = quota else { return Ok(()) };
        let counts = |entry: &OutboxEntry| entry.is_open() || entry.is_unheard();
        let theirs = self.entries.values().filter(|held| held.entry.relayed_for == entry.relayed_for && counts(&held.entry));
        let (count, used) = theirs.fold((0, 0), |(count, used), held| (count + 1, used + held.entry.bytes()));
        if count >= packages {
            return Err(OutboxError::Full { limit: packages });
        }
        if used + entry.bytes() > bytes { Err(OutboxError::OverQuota { used, limit: bytes }) } else { Ok(()) }
    }

    /// Bytes of all packages.
    fn used(&self) -> u64 {
        self.entries.values().map(|held| held.entry.bytes()).sum()
    }
}

/// Packs the content of `entry`.
async fn packed(shared: &NodeShared, order: PackOrder, entry: &mut OutboxEntry, used: u64, limit: u64) -> Result<(), OutboxError> {
    let file = order.file.clone();
    let packages = shared.registry.packages_in_use().map_err(PackError::from)?;
    let packed = packages.pack(order).await?;
    if used + packed.bytes > limit {
        // It was never promised; a leftover is removed at the next start.
        let _ = std::fs::remove_file(&file);
        return Err(OutboxError::OverQuota { used, limit });
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Packed { bytes, length, digest, delivered_mac, processed_mac, .. } = packed;
    entry.content = Kept::Package { file: name, bytes };
    entry.expected = Some(Expected { digest, length, delivered_mac, processed_mac });
    entry.length = Some(length);
    Ok(())
}

impl Handler<List> for Outbox {
    type Result = MessageResult<List>;

    fn handle(&mut self, _: List, _: &mut Context<Self>) -> Self::Result {
        let mut list: Vec<_> = self.entries.iter().map(|(&id, held)| (id, held.entry.clone())).collect();
        list.sort_by_key(|(id, entry)| (entry.created, *id));
        MessageResult(list)
    }
}

impl Handler<Find> for Outbox {
    type Result = Option<Arc<TransferState>>;

    fn handle(&mut self, Find(id): Find, _: &mut Context<Self>) -> Self::Result {
        self.entries.get(&id).map(|held| Arc::clone(&held.state))
    }
}

impl Handler<Halt> for Outbox {
    type Result = ();

    fn handle(&mut self, _: Halt, _: &mut Context<Self>) {
        self.stopping = true;
        for held in self.entries.values().filter(|held| held.entry.is_open() && !held.busy) {
            let text = "the node stopped; the delivery is stored, and goes on when the node is started again";
            held.state.end(Err(Failure::new(FailureKind::Shutdown, text)));
        }
    }
}

impl std::fmt::Debug for Deposit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deposit").field("id", &self.id).finish_non_exhaustive()
    }
}
