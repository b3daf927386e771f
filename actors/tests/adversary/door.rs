//! At the door, where connections are before their peer is known: copies of what others said,
//! crowds, and a thread that is busy.

use std::io;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use estafette::node::{Connection, Io, Listener, Transport};
use estafette::wire::{
    Control, KNOCK_LENGTH, KnockKey, LinkInitiator, PREAMBLE_LENGTH, Preamble, Purpose,
};
use estafette::{Identity, NodeConfig};
use estafette_actors::bridge::Tcp;
use estafette_actors::standard;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::peer::{Mallory, closed, handshake_message, offer, preambles, silent};
use super::proxy::Proxy;
use super::world::{World, config, refused, within};

#[tokio::test]
async fn a_copy_of_a_handshake_costs_no_exchange_of_keys() {
    let world = World::new(1).await;
    let mut events = world.paris.events();
    // Somebody on the road writes down how a link and a lane begin.
    let proxy = Proxy::clean(&world.mallory.address).await;
    let honest = Mallory { address: proxy.address.clone(), ..world.mallory.clone() };
    let mut link = honest.link().await;
    drop(honest.lane(&mut link, 0).await);
    link.stands().await;
    let recorded = proxy.recorded();
    assert!(recorded.len() == 2 && recorded.iter().all(|said| said.len() > 120));
    let exchanged = world.paris.key_exchanges();
    for round in 0..100 {
        let mut io = world.mallory.connect().await;
        io.write_all(&recorded[round % 2]).await.unwrap();
        closed(io).await;
        let reason = refused(&mut events).await;
        // The ticket of the lane was used.
        assert!(
            reason.contains(["does not fit this connection", "does not know this lane"][round % 2]),
            "{reason}"
        );
    }
    assert_eq!(world.paris.key_exchanges(), exchanged);
    link.stands().await;
    drop(link);
    world.unharmed_by_mallory().await;
}

/// Nobody goes because a crowd takes its time: only because of the crowd.
fn patient() -> NodeConfig {
    NodeConfig { handshake_timeout: Duration::from_secs(100), ..config() }
}

/// A connection from this host that has said who it means, and what its first message would be.
async fn greeted(mallory: &Mallory, host: [u8; 4]) -> (TcpStream, Vec<u8>) {
    let mut io = mallory.connect_from(host).await.unwrap();
    let preambles = preambles(&mut io, &mallory.key(), Purpose::Link).await;
    (io, preambles)
}

/// Goes on from there to the end of the handshake.
async fn finishes(mallory: &Mallory, (mut io, preambles): (TcpStream, Vec<u8>)) {
    let (message, waiting) = LinkInitiator::new(&mallory.identity, mallory.target, &preambles)
        .unwrap()
        .start(&offer())
        .unwrap();
    io.write_all(&mallory.first(&preambles, message)).await.unwrap();
    waiting.finish(&handshake_message(&mut io).await).unwrap();
}

#[tokio::test]
async fn a_crowd_from_one_host_throws_out_nobody_else() {
    let world = World::with(2, patient()).await;
    let mallory = &world.mallory;
    let early = greeted(mallory, [127, 0, 0, 3]).await;
    // Has said nothing at all, and is as good as any other.
    let mut silent_yet = mallory.connect_from([127, 0, 0, 4]).await.unwrap();
    let mut crowd = Vec::new();
    for number in 0..4 * config().half_open {
        // Some that know the key, some that do not.
        crowd.push(match number % 3 {
            0 => mallory.connect_from([127, 0, 0, 2]).await.unwrap(),
            _ => greeted(mallory, [127, 0, 0, 2]).await.0,
        });
    }
    assert!(
        world.paris.held().await.half_open <= config().half_open / 4 + 2,
        "a quarter is the share of one host"
    );
    finishes(mallory, early).await;
    let key = mallory.key();
    let preamble = Preamble::new(Purpose::Link);
    let reply = super::peer::reply_to(&mut silent_yet, &key, &preamble).await;
    finishes(mallory, (silent_yet, estafette::wire::prologue(&preamble, &reply).to_vec())).await;
    drop(crowd);
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn strangers_from_everywhere_do_not_throw_out_who_knows_the_key() {
    let world = World::with(3, patient()).await;
    let mallory = &world.mallory;
    let honest = greeted(mallory, [127, 0, 0, 3]).await;
    let mut crowd = Vec::new();
    for number in 0..3 * config().half_open {
        crowd.push(
            mallory
                .connect_from([127, 1, (number / 200) as u8, 1 + (number % 200) as u8])
                .await
                .unwrap(),
        );
    }
    // The last one has been let in, so all before it have.
    let half_open = within(async {
        loop {
            let mut last = mallory.connect_from([127, 2, 0, 1]).await.unwrap();
            if super::peer::try_greet(&mut last, &mallory.key()).await {
                break world.paris.held().await.half_open;
            }
        }
    });
    assert!(half_open.await <= config().half_open);
    finishes(mallory, honest).await;
    drop(crowd);
    world.unharmed_by_mallory().await;
}

/// TCP, whose accepted connections can be made to hold up the thread that takes them.
#[derive(Debug)]
struct Slow(Arc<Hold>);

#[derive(Debug, Default)]
struct Hold(Mutex<Option<(Sender<()>, Receiver<()>)>>);

#[derive(Debug)]
struct SlowListener(Box<dyn Listener>, Arc<Hold>);

#[derive(Debug)]
struct SlowConnection(Box<dyn Connection>, Arc<Hold>);

impl Transport for Slow {
    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Tcp.dial(address)
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        let hold = Arc::clone(&self.0);
        let listening = async move {
            Tcp.listen(address)
                .await
                .map(|listener| Box::new(SlowListener(listener, hold)) as Box<dyn Listener>)
        };
        listening.boxed()
    }
}

impl Listener for SlowListener {
    fn address(&self) -> String {
        self.0.address()
    }

    fn accept<'a>(&'a mut self) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        async {
            self.0
                .accept()
                .await
                .map(|io| Box::new(SlowConnection(io, Arc::clone(&self.1))) as Box<dyn Connection>)
        }
        .boxed()
    }
}

impl Connection for SlowConnection {
    fn remote(&self) -> String {
        self.0.remote()
    }

    fn attach(self: Box<Self>) -> io::Result<Box<dyn Io>> {
        let held = self.1.0.lock().unwrap().take();
        if let Some((entered, release)) = held {
            entered.send(()).unwrap();
            release.recv().unwrap();
        }
        self.0.attach()
    }
}

#[tokio::test]
async fn links_go_on_while_the_thread_of_the_door_is_busy() {
    let hold = Arc::<Hold>::default();
    let stages = standard().transport(Slow(Arc::clone(&hold)));
    let world = World::with_stages(4, config(), stages).await;
    let mut link = world.mallory.link().await;
    let ((entered, has_entered), (release, released)) = (channel(), channel());
    *hold.0.lock().unwrap() = Some((entered, released));
    let kept_waiting = world.mallory.connect().await;
    tokio::task::spawn_blocking(move || has_entered.recv().unwrap()).await.unwrap();
    // The link's thread answers for the link, and for its session.
    link.stands().await;
    let (_, _) = link.lane_ticket(0).await;
    link.say(&Control::LaneWanted).await;
    link.stands().await;
    release.send(()).unwrap();
    drop(kept_waiting);
    drop(link);
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn a_scanner_hears_nothing_whatever_it_begins_with() {
    let world = World::new(5).await;
    let mut events = world.paris.events();
    let exchanged = world.paris.key_exchanges();
    // As long as a preamble and longer: what stands where its MAC would is read.
    let request = b"GET / HTTP/1.1\r\nHost: scanner.example\r\nUser-Agent: scanner/1.0\r\nAccept: */*\r\n\r\n";
    let of_another =
        Preamble::new(Purpose::Link).encode(&KnockKey::of(Identity::generate().peer()));
    let mut without_mac = Preamble::new(Purpose::Link).encode(&world.mallory.key());
    without_mac[PREAMBLE_LENGTH - KNOCK_LENGTH..].fill(0);
    let long = [&request[..], &of_another, &without_mac, &[0; 4096]];
    let short = [
        &b"SSH-2.0-OpenSSH_9.9\r\n"[..],
        b"EHLO scanner\r\n",
        &[0x16, 3, 1],
        b"ESTF\x01\0\x01\0",
        b"",
    ];
    for said in long.into_iter().chain(short) {
        let mut io = world.mallory.connect().await;
        io.write_all(said).await.unwrap();
        // Half closed, as a scanner does that waits for a banner.
        io.shutdown().await.unwrap();
        silent(io).await;
        refused(&mut events).await;
    }
    let mut patient = world.mallory.connect().await;
    patient.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    let mut said = Vec::new();
    let _ = within(patient.read_to_end(&mut said)).await;
    assert!(said.is_empty(), "its time is up, and it is told nothing of that");
    assert_eq!(world.paris.key_exchanges(), exchanged);
    world.unharmed().await;
}
