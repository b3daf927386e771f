//! Programs of different versions that talk to each other over a real link.

use actix::{Actor, Context, Handler};
use estafette::remote::{DirectoryError, Presence, RemoteMessage};
use estafette::wire::{
    Choice, Control, FEATURE_MESSAGES, HANDSHAKE_LIMIT, KnockKey, LinkResponder, Offer,
    PREAMBLE_LENGTH, Preamble, Suite, choose, frame_handshake, handshake_length, negotiate,
    prologue,
};
use estafette::{Identity, Node, RemoteErrorKind};
use estafette_actors::standard;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use crate::actors::Note;
use crate::harness::{config, meet, soon};

/// An order as the first version of a program has it.
mod old {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize, RemoteMessage)]
    #[remote(name = "shop.Order", reply = Bill)]
    pub(super) struct Order {
        pub(super) article: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Bill {
        pub(super) cents: u64,
    }

    #[derive(Debug, Serialize, Deserialize, RemoteMessage)]
    #[remote(name = "shop.Pay", reply = ())]
    pub(super) enum Pay {
        Cash(u64),
    }
}

/// As the second one has it.
mod new {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize, RemoteMessage)]
    #[remote(name = "shop.Order", reply = Bill)]
    pub(super) struct Order {
        pub(super) article: String,
        #[serde(default = "one")]
        pub(super) count: u64,
        #[serde(default)]
        pub(super) wrapped: bool,
    }

    fn one() -> u64 {
        1
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    pub(super) struct Bill {
        pub(super) cents: u64,
        #[serde(default)]
        pub(super) note: Option<String>,
    }

    #[derive(Debug, Serialize, Deserialize, RemoteMessage)]
    #[remote(name = "shop.Pay", reply = ())]
    pub(super) enum Pay {
        Cash(u64),
        Card { number: String },
    }
}

struct OldShop;

impl Actor for OldShop {
    type Context = Context<Self>;
}

impl Handler<old::Order> for OldShop {
    type Result = actix::MessageResult<old::Order>;

    fn handle(&mut self, order: old::Order, _: &mut Context<Self>) -> Self::Result {
        actix::MessageResult(old::Bill { cents: order.article.len() as u64 })
    }
}

impl Handler<old::Pay> for OldShop {
    type Result = ();

    fn handle(&mut self, old::Pay::Cash(_): old::Pay, _: &mut Context<Self>) {}
}

struct NewShop;

impl Actor for NewShop {
    type Context = Context<Self>;
}

impl Handler<new::Order> for NewShop {
    type Result = actix::MessageResult<new::Order>;

    fn handle(&mut self, order: new::Order, _: &mut Context<Self>) -> Self::Result {
        let cents = order.article.len() as u64 * order.count;
        actix::MessageResult(new::Bill { cents, note: Some(format!("wrapped: {}", order.wrapped)) })
    }
}

#[tokio::test]
async fn fields_that_are_added_at_the_end_are_understood_both_ways() {
    let meeting = meet(51).await;
    let (lyon, paris) = (&meeting.pair.lyon, &meeting.pair.paris);
    paris.host("old", || OldShop).takes::<old::Order>().start().await.unwrap();
    paris.host("new", || NewShop).takes::<new::Order>().start().await.unwrap();
    let order = || new::Order { article: "tea".into(), count: 7, wrapped: true };
    let bill = soon(lyon.remote::<new::Order>("paris/old").unwrap().ask(order())).await;
    assert_eq!(
        bill,
        Ok(new::Bill { cents: 3, note: None }),
        "the older shop does not know of counts, nor of notes"
    );
    let bill = soon(
        lyon.remote::<old::Order>("paris/new").unwrap().ask(old::Order { article: "tea".into() }),
    )
    .await;
    assert_eq!(
        bill,
        Ok(old::Bill { cents: 3 }),
        "one is meant where an older program says nothing"
    );
    let bill = soon(lyon.remote::<new::Order>("paris/new").unwrap().ask(order())).await;
    assert_eq!(bill, Ok(new::Bill { cents: 21, note: Some("wrapped: true".into()) }));
}

#[tokio::test]
async fn what_an_older_program_has_no_word_for_is_an_error_and_the_link_stays() {
    let meeting = meet(52).await;
    let (lyon, paris) = (&meeting.pair.lyon, &meeting.pair.paris);
    paris.host("shop", || OldShop).takes::<old::Pay>().start().await.unwrap();
    let shop = lyon.remote::<new::Pay>("paris/shop").unwrap();
    let error = soon(shop.ask(new::Pay::Card { number: "1234".into() })).await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Undecodable);
    assert!(
        error.message.contains("shop.Pay") && error.message.contains("same version"),
        "{error}"
    );
    let error = soon(lyon.remote::<new::Order>("paris/shop").unwrap().ask(new::Order {
        article: "tea".into(),
        count: 1,
        wrapped: false,
    }))
    .await
    .unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::NoSuchMessage);
    assert!(error.message.contains("shop.Order") && error.message.contains("shop.Pay"), "{error}");
    let mut events = lyon.events();
    assert_eq!(soon(shop.ask(new::Pay::Cash(1))).await, Ok(()));
    assert!(
        futures_util::FutureExt::now_or_never(events.next()).is_none(),
        "the link has not changed"
    );
}

/// An order as a program of another version of it has it, in another order.
mod second {
    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize, RemoteMessage)]
    #[remote(name = "shop.Order", version = 2, reply = String)]
    pub(super) struct Order {
        pub(super) count: u64,
        pub(super) article: String,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize, RemoteMessage)]
    #[remote(name = "shop.Order", version = 3, reply = String)]
    pub(super) struct Later(pub(super) u64);
}

impl Handler<second::Order> for OldShop {
    type Result = String;

    fn handle(&mut self, order: second::Order, _: &mut Context<Self>) -> String {
        format!("{} {}", order.count, order.article)
    }
}

#[tokio::test]
async fn one_name_takes_several_versions_of_a_type() {
    let meeting = meet(53).await;
    let (lyon, paris) = (&meeting.pair.lyon, &meeting.pair.paris);
    paris
        .host("hosted", || OldShop)
        .takes::<old::Order>()
        .takes::<second::Order>()
        .start()
        .await
        .unwrap();
    let (sent, started) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        actix::System::new().block_on(async {
            let actor = OldShop.start();
            sent.send((
                actor.clone().recipient::<old::Order>(),
                actor.recipient::<second::Order>(),
            ))
            .unwrap();
            std::future::pending::<()>().await;
        });
    });
    let (first, second) = started.recv().unwrap();
    paris.register("registered", first.clone()).unwrap();
    paris.register("registered", second).unwrap();
    assert!(
        matches!(paris.register("registered", first), Err(DirectoryError::Taken { .. })),
        "one actor a version"
    );
    for name in ["paris/hosted", "paris/registered"] {
        let old = lyon.remote::<old::Order>(name).unwrap();
        let new = lyon.remote::<second::Order>(name).unwrap();
        for _ in 0..2 {
            assert_eq!(
                soon(old.ask(old::Order { article: "tea".into() })).await,
                Ok(old::Bill { cents: 3 })
            );
            assert_eq!(
                soon(new.ask(second::Order { count: 7, article: "tea".into() })).await.as_deref(),
                Ok("7 tea")
            );
        }
        let error = soon(lyon.remote::<second::Later>(name).unwrap().ask(second::Later(1)))
            .await
            .unwrap_err();
        assert_eq!(error.kind, RemoteErrorKind::VersionMismatch);
        assert!(error.message.contains("version 1 and 2 of shop.Order, not 3"), "{error}");
    }
}

/// A node of another version: how it answers a handshake, and the features it has.
struct Other {
    listener: TcpListener,
    identity: Identity,
    features: u64,
}

impl Other {
    async fn start(features: u64) -> Self {
        Self {
            listener: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            identity: Identity::generate(),
            features,
        }
    }

    /// Takes one link; what was agreed on, and the first thing that is said on it.
    async fn link(&self) -> (TcpStream, Choice, Option<Control>) {
        let (mut io, _) = self.listener.accept().await.unwrap();
        let key = KnockKey::of(self.identity.peer());
        let mut bytes = [0; PREAMBLE_LENGTH];
        io.read_exact(&mut bytes).await.unwrap();
        let preamble = Preamble::decode(&bytes, &key).unwrap();
        let reply = negotiate(&preamble);
        io.write_all(&reply.encode()).await.unwrap();
        let prologue = prologue(&preamble, &reply);
        let responder = LinkResponder::new(&self.identity, &prologue).unwrap();
        let mut length = [0; 2];
        io.read_exact(&mut length).await.unwrap();
        let mut message = vec![0; handshake_length(length).unwrap().min(HANDSHAKE_LIMIT)];
        io.read_exact(&mut message).await.unwrap();
        let (_, theirs, ready) = responder.read(key.open(&prologue, &message).unwrap()).unwrap();
        let ours = Offer {
            suites: vec![Suite::XSALSA20_POLY1305],
            features: self.features,
            max_frame: 1 << 20,
            lanes: 2,
        };
        let choice = choose(&ours, &theirs).unwrap();
        let (answer, mut established) = ready.finish(&choice).unwrap();
        io.write_all(&frame_handshake(&answer).unwrap()).await.unwrap();
        let welcome =
            established.sealer.seal_control(&Control::Welcome { name: "other".into() }).unwrap();
        io.write_all(&welcome).await.unwrap();
        let mut decoder = estafette::wire::FrameDecoder::new(1 << 20);
        let (mut bytes, mut said) = (bytes::BytesMut::new(), None);
        // The hello, and what comes behind it where messages were agreed on: which process it is,
        // and which names it has.
        for _ in 0..if choice.features == 0 { 1 } else { 3 } {
            let frame = loop {
                if let Some(frame) = decoder.decode(&mut bytes).unwrap() {
                    break frame;
                }
                assert_ne!(io.read_buf(&mut bytes).await.unwrap(), 0);
            };
            said = Some(established.opener.open_control(frame.body()).unwrap());
        }
        (io, choice, said)
    }

    /// A node that knows it.
    async fn known(&self) -> Node {
        let node = Node::builder().name("lyon").stages(standard()).config(config());
        node.peer("other", self.identity.peer(), [self.listener.local_addr().unwrap().to_string()])
            .start()
            .await
            .unwrap()
    }
}

#[tokio::test]
async fn a_peer_without_messages_is_unsupported_at_once_whoever_asks_and_whenever() {
    let other = Other::start(0).await;
    let lyon = other.known().await;
    let note = lyon.remote::<Note>("other/sum").unwrap();
    let mut watch = lyon.watch("other/sum").unwrap();
    let (first, (io, choice, _)) =
        soon(async { tokio::join!(note.tell(Note(1, vec![])), other.link()) }).await;
    assert_eq!(choice.features, 0);
    assert_eq!(first.unwrap_err().kind, RemoteErrorKind::Unsupported);
    // The link stands; whoever comes later need not wait either.
    let order = lyon.remote::<old::Order>("other/shop").unwrap();
    let error = soon(order.ask(old::Order { article: String::new() })).await.unwrap_err();
    assert_eq!(error.kind, RemoteErrorKind::Unsupported);
    assert!(error.message.contains("older version"), "{error}");
    assert_eq!(note.try_tell(&Note(2, vec![])).unwrap_err().kind, RemoteErrorKind::Unsupported);
    let unsupported = Presence::Down { kind: RemoteErrorKind::Unsupported };
    while *watch.now() != unsupported {
        soon(watch.changed()).await;
    }
    assert_eq!(*lyon.watch("other").unwrap().now(), unsupported);
    // The other node is updated, and started anew.
    let updated = Other { features: FEATURE_MESSAGES, ..other };
    drop(io);
    let (asked, (_io, _, said)) = soon(async {
        let asking = async {
            loop {
                // What is not known yet: that the old link is gone.
                match note.try_tell(&Note(3, vec![])) {
                    Err(error)
                        if error.kind == RemoteErrorKind::Unsupported
                            || error.kind == RemoteErrorKind::Unreachable =>
                    {
                        tokio::task::yield_now().await;
                    }
                    sent => return sent,
                }
            }
        };
        tokio::join!(asking, updated.link())
    })
    .await;
    asked.unwrap();
    assert!(matches!(said, Some(Control::Messages { .. })), "{said:?}");
}

#[tokio::test]
async fn features_of_a_later_version_are_not_agreed_on() {
    let newer = Other::start(u64::MAX).await;
    let lyon = newer.known().await;
    let note = lyon.remote::<Note>("other/sum").unwrap();
    let (told, (_io, choice, said)) =
        soon(async { tokio::join!(note.tell(Note(1, vec![])), newer.link()) }).await;
    told.unwrap();
    assert_eq!(choice.features & FEATURE_MESSAGES, FEATURE_MESSAGES);
    assert_ne!(choice.features, u64::MAX, "what this version does not know is not agreed on");
    assert!(matches!(said, Some(Control::Messages { .. })), "{said:?}");
}
