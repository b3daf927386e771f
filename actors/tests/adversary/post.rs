//! Batches of messages made by hand, and the actors they are for.

use actix::{Actor, Context, Handler, ResponseFuture};
use estafette::delivery::{KeyScope, TransferId, TransferKey};
use estafette::pipeline::{Codec, Prefix};
use estafette::remote::RemoteMessage;
use estafette::wire::message::{Item, Items, MESSAGE_STREAM};
use estafette::wire::{
    Control, FEATURE_MESSAGES, FrameHeader, FrameKind, HEADER_LENGTH, PeerId, SecretBytes, Suite,
};
use estafette_actors::seal::{Cipher, DefaultCipher};
use serde::{Deserialize, Serialize};

use super::peer::{Heard, Link, Mallory};
use super::world::{World, within};

/// Answered at once.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Echo", reply = Echo)]
pub(crate) struct Echo(#[serde(with = "serde_bytes")] pub(crate) Vec<u8>);

/// Never answered.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Hang", reply = u64)]
pub(crate) struct Hang(#[serde(with = "serde_bytes")] pub(crate) Vec<u8>);

struct Target;

impl Actor for Target {
    type Context = Context<Self>;
}

impl Handler<Echo> for Target {
    type Result = actix::MessageResult<Echo>;

    fn handle(&mut self, echo: Echo, _: &mut Context<Self>) -> Self::Result {
        actix::MessageResult(echo)
    }
}

impl Handler<Hang> for Target {
    type Result = ResponseFuture<u64>;

    fn handle(&mut self, _: Hang, _: &mut Context<Self>) -> Self::Result {
        Box::pin(std::future::pending())
    }
}

/// A world where paris hosts an actor `target`, and mallory speaks messages.
pub(crate) async fn world(seed: u64) -> World {
    world_with(seed, super::world::config()).await
}

pub(crate) async fn world_with(seed: u64, config: estafette::NodeConfig) -> World {
    let mut world = World::with(seed, config).await;
    world.paris.host("target", || Target).takes::<Echo>().takes::<Hang>().start().await.unwrap();
    world.mallory.features = FEATURE_MESSAGES;
    world
}

/// The actor answers lyon, whatever mallory does.
pub(crate) async fn serves_lyon(world: &World) {
    let answer =
        within(world.lyon.remote::<Echo>("paris/target").unwrap().ask(Echo(b"hi".to_vec())))
            .await
            .unwrap();
    assert_eq!(answer.0, b"hi");
}

/// One direction of a link's messages.
struct Sealing {
    key: TransferKey,
    scope: KeyScope,
    next: u64,
}

impl Sealing {
    fn new(key: TransferKey, transfer: TransferId, sender: PeerId, receiver: PeerId) -> Self {
        let scope = KeyScope {
            transfer,
            attempt: 0,
            suite: Suite::XSALSA20_POLY1305,
            sender,
            receiver,
            chunk_size: 64 << 10,
        };
        Self { key, scope, next: 0 }
    }
}

/// A link, and the batches on it.
pub(crate) struct Post {
    pub(crate) link: Link,
    out: Sealing,
    coming: Sealing,
}

impl Post {
    /// A link where paris has said that it sends batches, and mallory has said nothing.
    pub(crate) async fn connect(mallory: &Mallory) -> Self {
        Self::on(mallory, mallory.link().await).await
    }

    /// One whose socket has hardly room for what is not read.
    pub(crate) async fn narrow(mallory: &Mallory) -> Self {
        Self::on(mallory, mallory.narrow_link().await).await
    }

    async fn on(mallory: &Mallory, mut link: Link) -> Self {
        let (transfer, key) = link
            .until(|control| match control {
                Control::Messages { transfer, key, .. } => {
                    Some((transfer, TransferKey::from_bytes(*key.expose())))
                }
                _ => None,
            })
            .await;
        let (out, coming) = (
            Sealing::new(TransferKey::random(), TransferId::random(), mallory.id(), mallory.target),
            Sealing::new(key, transfer, mallory.target, mallory.id()),
        );
        Self { link, out, coming }
    }

    /// The control message that an honest peer sends before its first batch.
    pub(crate) fn announcement(&self) -> Control {
        let (key, commitment) = (
            SecretBytes::new(*self.out.key.as_bytes()),
            self.out.key.commitment(self.out.scope.suite),
        );
        Control::Messages { transfer: self.out.scope.transfer, key, commitment }
    }

    /// [`connect`](Self::connect), and mallory sends batches, too.
    pub(crate) async fn begin(mallory: &Mallory) -> Self {
        let mut post = Self::connect(mallory).await;
        post.announce().await;
        post
    }

    pub(crate) async fn announce(&mut self) {
        self.link.say(&self.announcement()).await;
    }

    /// The frame of a batch with anything inside, sealed as `index`.
    pub(crate) fn sealed(&self, index: u64, flags: u8, batch: &[u8]) -> Vec<u8> {
        let plain =
            [&Prefix { codec: Codec::RAW, raw_len: batch.len() as u32, index }.encode()[..], batch]
                .concat();
        let epoch = self.out.key.epoch_key(&self.out.scope, index);
        let mut boxed = vec![0; plain.len()];
        let tag = DefaultCipher::default().seal(
            epoch.key(),
            &epoch.nonce(index, flags != 0),
            &plain,
            &mut boxed,
        );
        let header = FrameHeader {
            len: (tag.len() + boxed.len()) as u32,
            kind: FrameKind::Chunk,
            flags,
            stream: MESSAGE_STREAM,
            index,
        };
        [&header.encode()[..], &tag, &boxed].concat()
    }

    /// The next batch, as an honest peer seals it.
    pub(crate) fn batch(&mut self, batch: &[u8]) -> Vec<u8> {
        let frame = self.sealed(self.out.next, 0, batch);
        self.out.next += 1;
        frame
    }

    pub(crate) async fn send(&mut self, items: &[Item<'_>]) {
        let frame = self.batch(&batch(items));
        self.link.channel.say_bytes(&frame).await;
    }

    /// Waits for an item from paris that `wanted` takes.
    pub(crate) async fn until<T>(&mut self, wanted: impl Fn(Item<'_>) -> Option<T>) -> T {
        loop {
            let heard = within(self.link.channel.next()).await.expect("the link stays up");
            let Heard::Chunk(frame) = heard else { continue };
            let plain = self.opened(&frame.header.encode(), frame.body());
            let mut items = Items::new(&plain[Prefix::LENGTH..]);
            while let Some((item, _)) = items.next_item().unwrap() {
                if let Some(found) = wanted(item) {
                    return found;
                }
            }
        }
    }

    fn opened(&mut self, header: &[u8; HEADER_LENGTH], body: &[u8]) -> Vec<u8> {
        let index = FrameHeader::decode(header, u32::MAX).unwrap().index;
        assert_eq!(index, self.coming.next);
        self.coming.next += 1;
        let epoch = self.coming.key.epoch_key(&self.coming.scope, index);
        let (tag, boxed) = body.split_first_chunk().unwrap();
        let mut plain = vec![0; boxed.len()];
        DefaultCipher::default()
            .open(epoch.key(), &epoch.nonce(index, false), tag, boxed, &mut plain)
            .unwrap();
        plain
    }
}

/// Items, one after the other.
pub(crate) fn batch(items: &[Item<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    items.iter().for_each(|item| item.encode(None, &mut bytes));
    bytes
}

/// Names the target of messages of this type.
pub(crate) const fn bind<M: RemoteMessage>(target: u32) -> Item<'static> {
    Item::Bind { target, name: "target", message: M::NAME, version: M::VERSION }
}

/// A message with so many bytes, as it travels.
pub(crate) fn body(length: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    estafette::wire::codec::encode_message(
        &serde_bytes::ByteBuf::from(vec![7; length]),
        &mut bytes,
    )
    .unwrap();
    bytes
}
