//! Requests to the outbox: to take a delivery in, and to tell what it holds.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use actix::{
    ActorFutureExt, Context, Handler, Message, MessageResult, ResponseActFuture, ResponseFuture,
    WrapFuture,
};
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::error::OutboxError;
use super::files::move_to;
use super::held::record;
use super::stored::{Clash, Stored, Tell};
use super::tries::enter;
use super::{Expected, Held, Kept, Outbox, OutboxEntry, write_to};
use crate::delivery::{Content, TransferId};
use crate::node::coming::Room;
use crate::node::ledger::Kind;
use crate::node::shared::NodeShared;
use crate::node::transfer::TransferState;
use crate::node::{Copied, CopyOrder, Copying, CopyingError, PackError, PackOrder, Packed};
use crate::pipeline::{Source, SourceReport};
use crate::store::Store;

/// Store this delivery; answered when it is durable.
#[derive(Message)]
#[rtype(result = "Result<(), OutboxError>")]
pub(crate) struct Deposit {
    pub(crate) id: TransferId,
    pub(crate) entry: OutboxEntry,
    pub(crate) given: Given,
    pub(crate) state: Arc<TransferState>,
    /// The room it takes already, if it was brought here for somebody else.
    pub(crate) room: Option<Room>,
}

/// The content that is given with a delivery to be stored.
pub(crate) enum Given {
    /// Nothing: its content is where its record says.
    Nothing,
    /// The source that its record refers to, for the first try.
    Source(Box<dyn Source>, Content),
    /// Content that is packed first.
    Pack(Box<PackOrder>),
    /// Content that is copied first, and sent meanwhile.
    Copy(Box<CopyOrder>),
    /// A package that has come, and is here: it is moved to where its record says. Nobody else
    /// may touch what is there, since a delivery that is over removes it.
    Moved(PathBuf),
}

/// The work that is done before a record is written.
enum Keeping {
    Nothing,
    Packing(Box<PackOrder>),
    Copying(PathBuf, BoxFuture<'static, Result<Copied, CopyingError>>),
    Moving(PathBuf),
}

/// A source, and what it says it is.
type Described = (Box<dyn Source>, Content);

/// All deliveries, the oldest first.
#[derive(Debug, Message)]
#[rtype(result = "Vec<(TransferId, OutboxEntry)>")]
pub(crate) struct List;

/// One delivery.
#[derive(Debug, Message)]
#[rtype(result = "Result<OutboxEntry, OutboxError>")]
pub(crate) struct Look(pub(crate) TransferId);

/// The state of one delivery.
#[derive(Debug, Message)]
#[rtype(result = "Option<Arc<TransferState>>")]
pub(crate) struct Find(pub(crate) TransferId);

/// Begin no more tries; answered when the tries that have not begun to run are given up.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Halt;

/// Take nothing more; answered when what was being stored is stored, or has failed.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Seal;

/// Answers when no try runs, and all that has become of deliveries is noted: what was told to be
/// delivered is not stored again at the next start.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Settle;

/// Keeps the content of a delivery that is to be stored.
struct Keeper {
    spool: Arc<dyn Store>,
    shared: Arc<NodeShared>,
    /// The bytes that others keep.
    used: u64,
    state: Arc<TransferState>,
}

impl Keeper {
    /// Keeps it, and writes the record of its delivery, unless that is withdrawn before.
    async fn keep(
        self,
        id: TransferId,
        mut entry: OutboxEntry,
        keeping: Keeping,
        stopped: oneshot::Receiver<()>,
    ) -> Result<OutboxEntry, OutboxError> {
        let Self { spool, shared, used, state } = self;
        let limit = shared.config.outbox_bytes;
        let kept = async {
            match keeping {
                Keeping::Nothing => Ok(()),
                Keeping::Packing(order) => {
                    let report = packed(&shared, *order, &mut entry, used, limit).await?;
                    state.set_kept(&report);
                    Ok(())
                }
                Keeping::Copying(file, done) => {
                    let done = done.await?;
                    state.set_kept(&done.report);
                    copied(done, &file, &mut entry, used, limit)
                }
                Keeping::Moving(from) => Ok(move_to(&spool, from, entry.file()).await?),
            }
        };
        tokio::select! {
            biased;
            kept = kept => kept?,
            // Content that never ends would be waited for, for ever.
            Ok(()) = stopped => return Err(OutboxError::Withdrawn),
        }
        write_to(spool, vec![record(id, &entry)?]).await?;
        Ok(entry)
    }
}

impl Handler<Deposit> for Outbox {
    type Result = ResponseActFuture<Self, Result<(), OutboxError>>;

    fn handle(
        &mut self,
        Deposit { id, mut entry, given, state, room }: Deposit,
        ctx: &mut Context<Self>,
    ) -> Self::Result {
        if let Err(error) = self.has_room(id, &entry, room.is_some(), ctx) {
            return Box::pin(actix::fut::ready(Err(error)));
        }
        let (mut source, keeping) = match self.begin_to_keep(given) {
            Ok(begun) => begun,
            Err(error) => return Box::pin(actix::fut::ready(Err(error))),
        };
        if self.dormant || self.stopping {
            // Another process makes the first try.
            (entry.tries, source) = (0, None);
        }
        let keeper = Keeper {
            spool: Arc::clone(&self.spool),
            shared: Arc::clone(&self.shared),
            used: self.used(),
            state: Arc::clone(&state),
        };
        let goes_at_once = source.is_some() && matches!(keeping, Keeping::Copying(..));
        let (hop, turn) = (entry.next_hop(), entry.turn());
        let (stop, stopped) = oneshot::channel();
        let (giver, answered) = oneshot::channel();
        let seat = source.as_ref().and_then(|_| enter(&self.shared, &entry));
        let held = Held {
            source,
            seat,
            room,
            stop: Some(stop),
            giver: Some(giver),
            ..Held::new(Stored::new(entry.clone()), state)
        };
        self.entries.insert(id, held);
        self.account_for(id);
        if goes_at_once {
            self.schedule.wait(hop, turn, id, Instant::now());
            self.try_what_is_due(ctx);
        }
        let stored = keeper.keep(id, entry, keeping, stopped);
        Box::pin(stored.into_actor(self).then(move |stored, outbox, ctx| {
            outbox.is_stored(id, stored, ctx);
            outbox.try_what_is_due(ctx);
            // Who has to wait is not waited for.
            if let Some(held) = outbox.entries.get_mut(&id) {
                held.seat = None;
            }
            outbox.look_settled();
            async move { answered.await.unwrap_or(Err(OutboxError::None)) }.into_actor(outbox)
        }))
    }
}

impl Outbox {
    /// Begins a copy; the first try reads it as it grows.
    fn begin_to_keep(&self, given: Given) -> Result<(Option<Described>, Keeping), OutboxError> {
        match given {
            Given::Nothing => Ok((None, Keeping::Nothing)),
            Given::Source(source, content) => Ok((Some((source, content)), Keeping::Nothing)),
            Given::Pack(order) => Ok((None, Keeping::Packing(order))),
            Given::Moved(from) => Ok((None, Keeping::Moving(from))),
            Given::Copy(order) => {
                let (file, content) = (order.file.clone(), order.content.clone());
                let Copying { source, done } = self
                    .shared
                    .registry
                    .copies_in_use()
                    .map_err(CopyingError::from)?
                    .copy(*order)?;
                Ok((Some((source, content)), Keeping::Copying(file, done)))
            }
        }
    }

    /// A delivery is stored, or could not be. Its first try may have begun, and ended.
    fn is_stored(
        &mut self,
        id: TransferId,
        stored: Result<OutboxEntry, OutboxError>,
        ctx: &mut Context<Self>,
    ) {
        let at = self.at();
        let Some(held) = self.entries.get_mut(&id) else { return };
        let actions = match stored {
            Ok(entry) => held.stored.recorded(entry, held.source.is_some(), at),
            Err(error) => {
                held.unstored = Some(error);
                held.stored.unrecorded(at)
            }
        };
        self.carry_out(id, actions, ctx);
    }

    fn has_room(
        &mut self,
        id: TransferId,
        entry: &OutboxEntry,
        has_room: bool,
        ctx: &mut Context<Self>,
    ) -> Result<(), OutboxError> {
        let limit = self.shared.config.outbox;
        if self.sealed.is_some() {
            return Err(OutboxError::None);
        }
        // In records of earlier builds what is kept for others is under its sender's id.
        let earlier =
            entry.relayed_for.and_then(|sender| self.kept_for(sender, entry.known_as(id)));
        let known = earlier.unwrap_or(id);
        if let Some(held) = self.entries.get_mut(&known) {
            let (clash, actions) = held.stored.meets(entry);
            self.carry_out(known, actions, ctx);
            return Err(match clash {
                Clash::Same => OutboxError::Known(true),
                Clash::Other => OutboxError::Known(false),
                Clash::NotYet(why) => OutboxError::Unfit { id, why },
            });
        }
        if self.entries.values().filter(|held| held.entry().is_open()).count() >= limit {
            return Err(OutboxError::Full { limit });
        }
        let (used, limit) = (self.used(), self.shared.config.outbox_bytes);
        if !has_room && used + entry.bytes() > limit {
            Err(OutboxError::OverQuota { used, limit })
        } else {
            Ok(())
        }
    }

    /// Bytes of all packages and copies, those included that are coming.
    fn used(&self) -> u64 {
        self.shared.ledger.total(Kind::PackageBytes)
    }
}

/// Notes where the content of `entry` was copied to.
fn copied(
    Copied { bytes, length, .. }: Copied,
    file: &Path,
    entry: &mut OutboxEntry,
    used: u64,
    limit: u64,
) -> Result<(), OutboxError> {
    if used + bytes > limit {
        // It was never promised; a leftover is removed at the next start.
        let _ = std::fs::remove_file(file);
        return Err(OutboxError::OverQuota { used, limit });
    }
    let file = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    (entry.content, entry.length) = (Kept::Copy { file, bytes }, Some(length));
    Ok(())
}

/// Packs the content of `entry`, and tells what its source says.
async fn packed(
    shared: &NodeShared,
    order: PackOrder,
    entry: &mut OutboxEntry,
    used: u64,
    limit: u64,
) -> Result<SourceReport, OutboxError> {
    let file = order.file.clone();
    let packages = shared.registry.packages_in_use().map_err(PackError::from)?;
    let packed = packages.pack(order).await?;
    if used + packed.bytes > limit {
        // It was never promised; a leftover is removed at the next start.
        let _ = std::fs::remove_file(&file);
        return Err(OutboxError::OverQuota { used, limit });
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Packed { bytes, length, digest, delivered_mac, processed_mac, report } = packed;
    entry.content = Kept::Package { file: name, bytes };
    entry.expected = Some(Expected { digest, length, delivered_mac, processed_mac });
    entry.length = Some(length);
    Ok(report)
}

impl Handler<List> for Outbox {
    type Result = MessageResult<List>;

    fn handle(&mut self, _: List, _: &mut Context<Self>) -> Self::Result {
        let now = self.shared.clock.now();
        // By the id that whoever it is of knows, where no two have the same.
        let mut packed = HashMap::<TransferId, usize>::new();
        for id in self.entries.values().filter_map(|held| held.entry().packed_as) {
            *packed.entry(id).or_default() += 1;
        }
        let is_clear = |known_as: &TransferId| {
            !self.entries.contains_key(known_as) && packed.get(known_as) == Some(&1)
        };
        let shown =
            |id: TransferId, known_as: TransferId| if is_clear(&known_as) { known_as } else { id };
        let dated = |(&id, held): (&TransferId, &Held)| {
            (shown(id, held.entry().known_as(id)), held.entry().dated(now))
        };
        let mut list: Vec<_> = self.entries.iter().map(dated).collect();
        list.sort_by_key(|(id, entry)| (entry.created, *id));
        MessageResult(list)
    }
}

impl Handler<Look> for Outbox {
    type Result = Result<OutboxEntry, OutboxError>;

    fn handle(&mut self, Look(id): Look, _: &mut Context<Self>) -> Self::Result {
        let held = self.entries.get(&self.meant(id)).ok_or(OutboxError::Unknown(id))?;
        if held.stored.storing.is_some() {
            return Err(OutboxError::Storing(id));
        }
        Ok(held.entry().dated(self.shared.clock.now()))
    }
}

impl Handler<Find> for Outbox {
    type Result = Option<Arc<TransferState>>;

    fn handle(&mut self, Find(id): Find, _: &mut Context<Self>) -> Self::Result {
        self.entries.get(&self.meant(id)).map(|held| Arc::clone(&held.state))
    }
}

impl Handler<Halt> for Outbox {
    type Result = ();

    fn handle(&mut self, _: Halt, _: &mut Context<Self>) {
        self.stopping = true;
        let idle = self
            .entries
            .iter()
            .filter(|(_, held)| held.entry().is_open() && !held.stored.is_busy());
        let idle: Vec<_> = idle.map(|(&id, _)| id).collect();
        idle.into_iter().for_each(|id| self.tell(id, Tell::Later(None)));
    }
}

impl Handler<Seal> for Outbox {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Seal, _: &mut Context<Self>) -> Self::Result {
        let (settled, is_settled) = oneshot::channel();
        self.sealed = Some(Some(settled));
        self.look_settled();
        Box::pin(async move {
            // Replaced by another one that seals it: the same.
            let _ = is_settled.await;
        })
    }
}

impl Handler<Settle> for Outbox {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Settle, _: &mut Context<Self>) -> Self::Result {
        let (settled, is_settled) = oneshot::channel();
        self.settling = Some(settled);
        self.look_settled();
        Box::pin(async move {
            // Replaced by another one that waits for it: the same.
            let _ = is_settled.await;
        })
    }
}

impl Outbox {
    /// Tells who has sealed it that nothing is being stored any more, if that is so, and who waits
    /// for it to settle, that nothing is left to be written.
    pub(super) fn look_settled(&mut self) {
        let waits_for_stored = self.sealed.as_ref().is_some_and(Option::is_some);
        if !waits_for_stored && self.settling.is_none() {
            return;
        }
        let stored = self.entries.values().all(|held| held.stored.storing.is_none());
        // Whoever asked may be gone.
        if let Some(waiting) = &mut self.sealed
            && stored
            && let Some(settled) = waiting.take()
        {
            let _ = settled.send(());
        }
        // What is still being stored has no record yet: nobody waits for it any longer.
        let written = self.writing == 0
            && self
                .entries
                .values()
                .all(|held| !held.stored.trying || held.stored.storing.is_some());
        if written && let Some(settled) = self.settling.take() {
            let _ = settled.send(());
        }
    }
}

impl std::fmt::Debug for Deposit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Deposit").field("id", &self.id).finish_non_exhaustive()
    }
}
