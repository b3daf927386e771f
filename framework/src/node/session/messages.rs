//! Typed messages over this session's link: the stages that batches pass, and the tasks that drive
//! them.

use std::sync::Arc;

use actix::{Actor, Addr, AsyncContext, Context, Handler};
use tokio::sync::mpsc;

use super::{Session, Task};
use crate::delivery::{Incoming, KeyScope, TransferId, TransferKey};
use crate::node::link::{LinkLost, Outbound, Unseal};
use crate::node::trust::Trust;
use crate::pipeline::Wiring;
use crate::pipeline::{
    Chunk, Codec, Custody, Outlet, Parcel, Prefix, Sealed, Signal, Slots, Through, Transfer,
};
use crate::remote::{Admission, ClosePostbox, Exchange, Postbox, RemoteError, RemoteErrorKind};
use crate::wire::message::MESSAGE_STREAM;
use crate::wire::{Control, FEATURE_LETTERS, FEATURE_MESSAGES, FEATURE_ON_BEHALF, PeerId, Suite};

/// The chunk size of the stream of batches: it goes into its keys.
const BATCH_SIZE: u32 = 64 << 10;
/// Batches that may be between the exchange and the socket.
const BATCHES: usize = 4;

/// A batch of up to so many bytes is taken for one message.
const ALONE: usize = 512;
/// Bytes that are sent without waiting for more.
const ENOUGH: usize = 2 << 10;

/// The road of messages on one link. Dropping it ends that.
pub(super) struct MessageRoad {
    out: Arc<Transfer>,
    coming: Option<(Arc<Transfer>, Addr<Postbox>)>,
    faults: mpsc::UnboundedSender<Signal>,
    _tasks: [Task; 2],
}

impl Drop for MessageRoad {
    fn drop(&mut self) {
        self.out.close();
        if let Some((transfer, postbox)) = &self.coming {
            transfer.close();
            postbox.do_send(ClosePostbox);
        }
    }
}

/// Puts sealed batches before the link's writer.
struct Poster(mpsc::Sender<Outbound>);

impl Actor for Poster {
    type Context = Context<Self>;
}

impl Handler<Sealed> for Poster {
    type Result = ();

    fn handle(&mut self, sealed: Sealed, _: &mut Context<Self>) {
        // Where the queue is closed or full the link is about to end, and the batch with it: its
        // custody says so.
        let _ = self.0.try_send(Outbound::Batch(sealed));
    }
}

/// The way in which batches get sealed, and to the writer.
enum Seal {
    /// At once, where all stages are plain steps.
    Here(Through<Chunk, Sealed>, mpsc::Sender<Outbound>),
    /// By the actors of the stages.
    Actors(Outlet<Chunk>),
}

impl Seal {
    /// `false`: the batch is lost, its custody says so, and the peer would take none behind it.
    fn send(&mut self, batch: Chunk) -> bool {
        match self {
            // As with the poster.
            Self::Here(through, queue) => {
                through(batch).is_some_and(|sealed| queue.try_send(Outbound::Batch(sealed)).is_ok())
            }
            Self::Actors(inlet) => {
                inlet.send(batch);
                true
            }
        }
    }
}

struct TrustAdmits(Trust, PeerId);

impl Admission for TrustAdmits {
    fn admits(&self, name: &str) -> bool {
        self.0.allows(&self.1, name)
    }

    fn names(&self) -> Option<Arc<[Arc<str>]>> {
        self.0.names_for(&self.1)
    }

    fn version(&self) -> u64 {
        self.0.version()
    }
}

impl Session {
    /// A link is up: messages go by it if the peer has them, too.
    pub(super) fn messages_up(&mut self, ctx: &mut Context<Self>) {
        let Some(link) = &self.link else { return };
        let (epoch, suite) = (link.epoch, link.suite);
        let by_name = link.features & FEATURE_LETTERS != 0;
        let on_behalf = link.features & FEATURE_ON_BEHALF != 0;
        if link.features & FEATURE_MESSAGES == 0 {
            let text = format!(
                "{} speaks no typed messages: it is of an older version, or another program; \
                 update it",
                self.name
            );
            return self.exchange.close(RemoteError::new(RemoteErrorKind::Unsupported, text));
        }
        let (Some(queue), Ok(pipeline)) =
            (link.queue(), self.shared.registry.stages().sending_batches(suite))
        else {
            return;
        };
        let (faults, faulty) = mpsc::unbounded_channel();
        let key = TransferKey::random();
        let scope = self.batch_scope(TransferId::random(), suite, true);
        let (transfer, commitment) = (scope.transfer, key.commitment(suite));
        let secret = (*key.as_bytes()).into();
        let out = self.batch_transfer(scope, key, faults.clone());
        let seal = match pipeline.through(&self.shared.metrics) {
            Some(through) => Seal::Here(through, queue),
            None => Seal::Actors(pipeline.wire(
                &mut Wiring::new(self.shared.metrics.clone()),
                Outlet::to(Poster(queue).start().recipient()),
            )),
        };
        self.say(Control::Messages { transfer, key: secret, commitment });
        self.exchange.says_on_behalf(on_behalf);
        self.exchange.up(epoch);
        if let Some(letters) = self.shared.letters.get() {
            letters.up(self.peer, epoch, by_name, &self.exchange);
        }
        let pumping = actix::spawn(pump(Arc::clone(&self.exchange), epoch, Arc::clone(&out), seal))
            .abort_handle();
        let watching = actix::spawn(watch(faulty, epoch, ctx.address())).abort_handle();
        self.messages = Some(MessageRoad {
            out,
            coming: None,
            faults,
            _tasks: [Task(pumping), Task(watching)],
        });
    }

    /// The peer will send batches, sealed under this key.
    pub(super) fn on_messages(
        &mut self,
        transfer: TransferId,
        key: [u8; 32],
        commitment: &[u8; 32],
        ctx: &mut Context<Self>,
    ) {
        if let Err(why) = self.take_batches(transfer, key, commitment, ctx) {
            let why = format!("the peer broke the protocol: {why}");
            self.say(Control::Goodbye { reason: why.clone() });
            self.link_down(&why);
        }
    }

    fn take_batches(
        &mut self,
        transfer: TransferId,
        key: [u8; 32],
        commitment: &[u8; 32],
        ctx: &mut Context<Self>,
    ) -> Result<(), String> {
        let (Some(link), Some(road)) = (&self.link, &self.messages) else {
            return Err("messages were not agreed on".into());
        };
        let (epoch, suite, key) = (link.epoch, link.suite, TransferKey::from_bytes(key));
        if key.commitment(suite) != *commitment {
            return Err("the key of its messages is not the one it commits to".into());
        }
        let pipeline = self
            .shared
            .registry
            .stages()
            .receiving_batches(suite)
            .map_err(|error| error.to_string())?;
        let coming =
            self.batch_transfer(self.batch_scope(transfer, suite, false), key, road.faults.clone());
        let session = ctx.address();
        let end = move |why| session.do_send(LinkLost { epoch, why });
        let admission = Arc::new(TrustAdmits(self.shared.trust.clone(), self.peer));
        let exchange = (Arc::clone(&self.exchange), epoch);
        let letters = self.shared.letters.get().cloned();
        let postbox = Postbox::new(
            exchange,
            self.peer,
            self.shared.directory.clone(),
            admission,
            letters,
            end,
        )
        .start();
        let tail = Outlet::to(postbox.clone().recipient());
        let inlet = match pipeline.through(&self.shared.metrics) {
            Some(through) => Unseal::Here(through, tail),
            None => {
                Unseal::Actors(pipeline.wire(&mut Wiring::new(self.shared.metrics.clone()), tail))
            }
        };
        if !link.batches.open(Arc::clone(&coming), inlet) {
            return Err("it begins to send messages a second time".into());
        }
        if let Some(road) = &mut self.messages {
            road.coming = Some((coming, postbox));
        }
        Ok(())
    }

    /// There is no link any more.
    pub(super) fn messages_down(&mut self, why: &str) {
        self.messages = None;
        self.exchange.down(RemoteErrorKind::LinkLost, why);
        if let Some(letters) = self.shared.letters.get() {
            letters.down(self.peer);
        }
    }

    /// There will be no link soon.
    pub(super) fn messages_given_up(&self, kind: RemoteErrorKind, why: &str) {
        self.exchange.give_up(RemoteError::new(kind, why));
    }

    fn batch_scope(&self, transfer: TransferId, suite: Suite, outgoing: bool) -> KeyScope {
        let (here, there) = (self.shared.peer(), self.peer);
        let (sender, receiver) = if outgoing { (here, there) } else { (there, here) };
        KeyScope { transfer, attempt: 0, suite, sender, receiver, chunk_size: BATCH_SIZE }
    }

    fn batch_transfer(
        &self,
        scope: KeyScope,
        key: TransferKey,
        faults: mpsc::UnboundedSender<Signal>,
    ) -> Arc<Transfer> {
        // What compresses well tells by its length what it is; and messages are short.
        let (codec, buffers) = (None, self.shared.buffers.clone());
        Transfer::new(scope, key, MESSAGE_STREAM, codec, buffers, Incoming::new(1), faults)
    }
}

/// Takes batches from the exchange as long as this is its link.
async fn pump(exchange: Arc<Exchange>, epoch: u64, transfer: Arc<Transfer>, mut seal: Seal) {
    let slots = Slots::new(BATCHES);
    let (mut index, mut last) = (0, 0);
    while exchange.filled(epoch).await {
        // Whoever has been woken together with this task puts its messages into the same batch. A
        // caller that is alone does not wait. So much is worth a batch of its own: whoever
        // gets it has something to do while the others are woken.
        if last > ALONE && exchange.unread() < ENOUGH {
            tokio::task::yield_now().await;
        }
        let slot = slots.take().await;
        let content = exchange.take_batch(epoch, |batch| {
            let mut buffer = transfer.buffers.take(Prefix::LENGTH + batch.len());
            let raw_len = u32::try_from(batch.len()).expect("a batch is short");
            buffer[..Prefix::LENGTH]
                .copy_from_slice(&Prefix { codec: Codec::RAW, raw_len, index }.encode());
            buffer[Prefix::LENGTH..].copy_from_slice(batch);
            let length = buffer.len();
            buffer.freeze(0..length)
        });
        let Some(content) = content else { continue };
        last = content.len();
        let custody = Custody::outgoing(&transfer, index, content.len() as u64, None);
        custody.hold_slot(slot);
        index += 1;
        if !seal.send(Chunk::from_parts(custody, content)) {
            return;
        }
    }
}

/// Ends the link when a batch is damaged or lost: what it said can't be said again.
async fn watch(mut faulty: mpsc::UnboundedReceiver<Signal>, epoch: u64, session: Addr<Session>) {
    let why = match faulty.recv().await {
        Some(Signal::Fault(fault)) => format!("a batch of messages is damaged: {}", fault.message),
        Some(Signal::Lost(lost)) => {
            format!(
                "a batch of messages was lost in the stage {:?}; see the log",
                lost.stage.as_deref().unwrap_or("link")
            )
        }
        None => return,
    };
    session.do_send(LinkLost { epoch, why });
}
