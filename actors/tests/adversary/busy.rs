//! A peer that talks without end to a node whose workers are busy: what it says waits in the
//! socket.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use estafette::pipeline::{Chunk, Pipeline, Transform, TransformError};
use estafette::wire::{Control, Ranges};
use estafette::{Failure, FailureKind, SendOptions};
use estafette_actors::standard;
use tokio::io::AsyncWriteExt;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};

use super::peer::Link;
use super::receivers::Receiving;
use super::world::{CHUNK, World, config, within};

/// More than the sockets between two processes hold: who has taken so much has put it somewhere
/// else.
const MOST: usize = 48 << 20;
/// The socket is full when it takes nothing for so long. On a slow machine it may be taken for full
/// too early, never too late.
const FULL: Duration = Duration::from_secs(1);

/// Keeps a worker busy until it is opened.
#[derive(Debug, Default)]
struct Barrier {
    open: Mutex<bool>,
    opened: Condvar,
}

impl Barrier {
    fn open(&self) {
        *self.open.lock().unwrap() = true;
        self.opened.notify_all();
    }

    fn pass(&self) {
        let open = self.open.lock().unwrap();
        drop(self.opened.wait_while(open, |open| !*open).unwrap());
    }
}

/// A stage that takes its time.
struct Slow(Arc<Barrier>, UnboundedSender<()>);

impl Transform for Slow {
    type In = Chunk;
    type Out = Chunk;

    fn apply(&mut self, chunk: &Chunk) -> Result<Chunk, TransformError> {
        // Only the first one is waited for.
        let _ = self.1.send(());
        self.0.pass();
        Ok(chunk.with_bytes(chunk.bytes()))
    }
}

/// Says it again and again until nothing more is taken, and what of it was not.
async fn flood(link: &mut Link, control: &Control) -> Vec<u8> {
    let mut taken = 0;
    loop {
        let frame = link.channel.sealer.seal_control(control).unwrap();
        let mut rest = &frame[..];
        while !rest.is_empty() {
            match tokio::time::timeout(FULL, link.channel.io.write(rest)).await {
                Ok(written) => {
                    let written = written.unwrap();
                    (taken, rest) = (taken + written, &rest[written..]);
                }
                Err(_) => return rest.to_vec(),
            }
            assert!(
                taken < MOST,
                "{taken} bytes were taken of a peer whose words nobody had time to hear"
            );
        }
    }
}

async fn waits_in_the_socket(seed: u64, control: impl FnOnce(u64) -> Control) {
    let barrier = Arc::<Barrier>::default();
    let (enters, mut entered) = unbounded_channel();
    let gate = Arc::clone(&barrier);
    let slow = Pipeline::new().then("slow", move || Slow(Arc::clone(&gate), enters.clone()));
    let stages = standard().coder("slow", slow, Pipeline::new());
    let world = World::with_stages(seed, config(), stages).await;
    let options = SendOptions { stages: vec!["slow".into()], ..SendOptions::default() };
    let mut receiving = Receiving::begin_in(world, &vec![7; 3 * CHUNK], options).await;
    receiving.accept(100).await;
    within(entered.recv()).await.unwrap();
    let control = control(receiving.opening.stream);
    let rest = flood(&mut receiving.link, &control).await;
    barrier.open();
    receiving.link.channel.say_bytes(&rest).await;
    receiving.link.stands().await;
    receiving.unharmed().await;
}

#[tokio::test]
async fn acknowledgements_wait_in_the_socket_while_the_lanes_are_busy() {
    let indices =
        Ranges::new((0..1000).map(|number| (1000 + 2 * number, 1001 + 2 * number)).collect())
            .unwrap();
    waits_in_the_socket(1, |stream| Control::Received { stream, indices }).await;
}

#[tokio::test]
async fn chunks_that_are_asked_for_again_wait_in_the_socket_while_the_lanes_are_busy() {
    let failure = Failure::new(FailureKind::Integrity, "again ".repeat(160));
    waits_in_the_socket(2, |stream| Control::Lost { stream, index: 0, failure: Some(failure) })
        .await;
}
