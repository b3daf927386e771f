//! Tests that a relay keeps, remembers and answers a package as its sender's, whatever the relay or
//! other senders say.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use estafette::delivery::FailureKind;
use estafette::node::{Destination, PackOrder, Packages, Packed, RelayQuota, Store, TrustedPeer};
use estafette::pipeline::{Compression, Source};
use estafette::wire::Suite;
use estafette::{Identity, Node, NodeConfig, SendOptions, TransferId};
use estafette_actors::package::FilePackages;
use estafette_actors::sink::MemorySink;
use estafette_actors::source::BytesSource;
use estafette_actors::spool::Spool;
use estafette_actors::standard;
use tempfile::TempDir;

use super::harness::{config, within};
use super::held::HeldSpool;
use super::three::{PARIS, World, content, relayed};

/// The time that packages live here, in seconds.
const LIFE: u64 = 3600;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs()
}

/// Packs this for paris.
fn pack(
    world: &World,
    sender: &Identity,
    transfer: TransferId,
    content: Vec<u8>,
    file: PathBuf,
) -> Packed {
    let source = BytesSource::new("letter", content).unwrap();
    let created = now();
    let order = PackOrder {
        content: source.content(),
        source: Box::new(source),
        identity: sender.clone(),
        receiver: world.identities[PARIS].peer(),
        transfer,
        chunk_size: 4 << 10,
        suite: Suite::XSALSA20_POLY1305,
        compression: Compression::Snappy,
        coders: Vec::new(),
        inbox: "in".into(),
        created,
        expires: created + LIFE,
        token: None,
        file,
        stages: standard().stages().clone(),
    };
    let pack = move || actix::System::new().block_on(FilePackages.pack(order)).unwrap();
    std::thread::spawn(pack).join().unwrap()
}

/// Has the relay say from now on that what it keeps lives for `life` seconds only.
fn shorten(world: &World, life: u64) {
    let (key, mut record) = world.spools[1].load("outbox").unwrap().remove(0);
    let read =
        |record: &[u8], at: usize| u64::from_le_bytes(record[at..at + 8].try_into().unwrap());
    // When it was stored, and behind that when it expires.
    let is_there = |at: &usize| {
        now().abs_diff(read(&record, *at)) < 1000
            && read(&record, at + 8).abs_diff(read(&record, *at) + LIFE) < 1000
    };
    let at = (0..record.len() - 16).find(is_there).unwrap();
    let expires = read(&record, at) + life;
    record[at + 8..at + 16].copy_from_slice(&expires.to_le_bytes());
    world.spools[1].put("outbox", &key, &record).unwrap();
}

#[tokio::test]
async fn a_receiver_remembers_for_as_long_as_the_sender_said_and_not_as_the_relay_does() {
    within(async {
        let (world, began) = (World::new(), now());
        let (lyon, dijon) = (world.node(0).await, world.relay(RelayQuota::default()).await);
        let to = Destination::Peer(world.identities[PARIS].peer(), "in".into());
        let options =
            SendOptions { expiry: Some(Duration::from_secs(LIFE)), ..SendOptions::default() };
        let transfer = world.send_by_relay_with(&lyon, to, b"once", options).await;
        relayed(&lyon, &transfer).await;
        dijon.abort().await;
        drop(dijon);
        shorten(&world, 200);
        let (dijon, (paris, _arrived)) =
            (world.relay(RelayQuota::default()).await, world.paris().await);
        lyon.stay_connected(dijon.peer());
        transfer.delivered().await.unwrap();
        let (sender, id, arrival) = paris.arrivals().remove(0);
        assert_eq!((sender, id), (lyon.peer(), transfer.id()));
        assert!(
            arrival.expires >= began + LIFE,
            "it is forgotten after {} s",
            arrival.expires.saturating_sub(began)
        );
        for node in [lyon, dijon, paris] {
            node.shutdown().await;
        }
    })
    .await;
}

/// A fourth node, whose package for paris has the id of one that lyon has sent there.
struct Nantes {
    identity: Identity,
    folder: TempDir,
    spool: Arc<dyn Store>,
}

impl Nantes {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let spool = Arc::new(Spool::open(folder.path().join("nantes")).unwrap()) as Arc<dyn Store>;
        Self { identity: Identity::generate(), folder, spool }
    }

    async fn node(&self, world: &World) -> Node {
        let stages = standard().transport(world.network.transport("nantes"));
        let node = Node::builder()
            .name("nantes")
            .identity(self.identity.clone())
            .spool(Arc::clone(&self.spool))
            .stages(stages);
        let node = node.peer("dijon", world.identities[1].peer(), ["dijon"]).peer(
            "paris",
            world.identities[PARIS].peer(),
            ["paris"],
        );
        node.config(config()).start().await.unwrap()
    }

    /// Dijon, as one that knows this node, too.
    async fn relay(&self, world: &World) -> Node {
        let dijon =
            Node::builder().name("dijon").identity(world.identities[1].clone()).listen("dijon");
        let dijon = dijon
            .stages(standard().transport(world.network.transport("dijon")))
            .spool(Arc::clone(&world.spools[1]));
        let known = [
            ("lyon", world.identities[0].peer()),
            ("paris", world.identities[PARIS].peer()),
            ("nantes", self.identity.peer()),
        ];
        let dijon =
            known.into_iter().fold(dijon, |dijon, (name, peer)| dijon.peer(name, peer, [name]));
        dijon
            .config(NodeConfig { relay: Some(RelayQuota::default()), ..config() })
            .start()
            .await
            .unwrap()
    }

    /// Gives the stored package `from` the id `id`, and this content.
    fn take_id(&self, world: &World, from: TransferId, id: TransferId, content: Vec<u8>) {
        let file = self.folder.path().join("nantes/bulk").join(format!("{}.package", from));
        let packed = pack(world, &self.identity, id, content, file);
        // What the receiver's word is recognised by stands in the record of the package that was
        // there before.
        let record = self.spool.find("outbox", from.as_bytes()).unwrap().unwrap();
        let record = with_expected(record, &packed);
        self.spool.put("outbox", id.as_bytes(), &record).unwrap();
        self.spool.remove("outbox", from.as_bytes()).unwrap();
    }
}

/// A record with what this package is recognised by, in place of that of another one of the same
/// length.
fn with_expected(mut record: Vec<u8>, packed: &Packed) -> Vec<u8> {
    let old = *blake3::hash(&[b'x'; 9]).as_bytes();
    let at = record.windows(32).position(|window| *window == old).unwrap();
    record[at..at + 32].copy_from_slice(&packed.digest);
    // The length lies between, in eight bytes.
    record[at + 40..at + 72].copy_from_slice(&packed.delivered_mac);
    record[at + 72..at + 104].copy_from_slice(&packed.processed_mac);
    record
}

#[tokio::test]
async fn packages_of_two_senders_with_one_id_are_both_kept_and_both_arrive() {
    within(async {
        let (world, nantes) = (World::new(), Nantes::new());
        let lyon = world.node(0).await;
        let bytes = content(50_000);
        let transfer = world.send_by_relay(&lyon, "in", &bytes).await;
        let id = transfer.id();
        let node = nantes.node(&world).await;
        let other = world.send_by_relay(&node, "in", &[b'x'; 9]).await.id();
        node.abort().await;
        drop(node);
        nantes.take_id(&world, other, id, b"not yours".to_vec());
        let dijon = nantes.relay(&world).await;
        lyon.outbox().retry(id).await.unwrap();
        relayed(&lyon, &transfer).await;
        let before = std::fs::read(world.kept(id)).unwrap();
        let node = nantes.node(&world).await;
        let second = node.outbox().transfer(id).await.unwrap();
        relayed(&node, &second).await;
        assert!(std::fs::read(world.kept(id)).unwrap() == before, "it was replaced");
        assert_eq!(dijon.outbox().list().await.unwrap().len(), 2);
        // Over a restart of the relay, too.
        dijon.abort().await;
        drop(dijon);
        let dijon = nantes.relay(&world).await;
        let paris = world.node(PARIS).await;
        paris.trust().add(nantes.identity.peer(), TrustedPeer::new("nantes")).unwrap();
        let (inbox, mut arrived) = MemorySink::channel(1 << 20, 4);
        paris.receive("in", inbox).unwrap();
        paris.stay_connected(dijon.peer());
        for _ in 0..2 {
            let delivered = arrived.recv().await.unwrap();
            let expected = if delivered.offer.peer == lyon.peer() {
                bytes.clone()
            } else {
                b"not yours".to_vec()
            };
            assert!(delivered.bytes == expected, "of {}", delivered.offer.peer.short());
            assert_eq!(delivered.offer.transfer, id);
            // When the inbox has it, it may not be remembered yet.
            while !paris.processed(delivered.offer.peer, id).await.unwrap() {
                tokio::task::yield_now().await;
            }
        }
        for (node, length) in [(&lyon, 50_000), (&node, 9)] {
            node.stay_connected(dijon.peer());
            assert_eq!(
                node.outbox().transfer(id).await.unwrap().delivered().await.unwrap().length,
                length
            );
            node.outbox().transfer(id).await.unwrap().processed().await.unwrap();
        }
        assert_eq!(paris.arrivals().len(), 2);
        for node in [lyon, node, paris, dijon] {
            node.shutdown().await;
        }
        assert!(arrived.try_recv().is_err(), "it was delivered twice");
    })
    .await;
}

#[tokio::test]
async fn what_was_unpacked_is_not_told_as_refused_when_its_sender_is_trusted_no_more() {
    within(async {
        let mut world = World::new();
        let spool = HeldSpool::that_remembers_late(&world.folder.path().join("paris-held"));
        world.spools[PARIS] = Arc::clone(&spool) as _;
        let (paris, _arrived) = world.paris().await;
        let (lyon, dijon) = (world.node(0).await, world.relay(RelayQuota::default()).await);
        let transfer = world.send_by_relay(&lyon, "files", b"a letter").await;
        spool.reached().await;
        let there = world.folder.path().join("in/letter");
        assert_eq!(std::fs::read(&there).unwrap(), b"a letter");
        // It is not remembered, and who packed it may deliver elsewhere only.
        let trusts = |inbox: &str| {
            let lyon_there =
                TrustedPeer { inboxes: vec![inbox.to_owned()], ..TrustedPeer::new("lyon") };
            paris.trust().add(lyon.peer(), lyon_there).unwrap();
        };
        trusts("others");
        spool.answer(Err(std::io::Error::other("the disk is full")));
        let failure = loop {
            let list = dijon.outbox().list().await.unwrap();
            let (_, kept) = list.into_iter().next().unwrap();
            assert!(kept.is_open(), "{:?}", kept.state);
            if let Some(failure) =
                kept.last_failure.filter(|failure| failure.message.contains("may not deliver"))
            {
                break failure;
            }
            tokio::task::yield_now().await;
        };
        assert_eq!(failure.kind, FailureKind::Busy, "{failure}");
        trusts("*");
        assert_eq!(transfer.delivered().await.unwrap().length, 8);
        assert_eq!(std::fs::read_dir(world.folder.path().join("in")).unwrap().count(), 1);
        for node in [lyon, dijon, paris] {
            node.shutdown().await;
        }
    })
    .await;
}
