//! Steps of your own: a filter before the chunker, and after it a transform and a plain actix
//! actor, with their inverse.
//!
//! `cargo run -p estafette-examples --example custom_stage`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use actix::{Actor, Context, Handler};
use estafette::prelude::*;
use estafette_actors::source::{BytesSource, Filter, Filtered};
use estafette_actors::{sink::MemorySink, standard};

/// A filter changes the content: here it blanks out digits. The receiver gets, and verifies, what
/// it made.
#[derive(Debug)]
struct Redact;

impl Filter for Redact {
    fn push(&mut self, input: &[u8], output: &mut Vec<u8>) {
        output.extend(input.iter().map(|byte| if byte.is_ascii_digit() { b'#' } else { *byte }));
    }
    fn finish(&mut self, _: &mut Vec<u8>) {}
    fn reset(&mut self) {}
}

/// A transform makes one chunk of each, and has an inverse: this one is its own.
struct Mirror;

impl Transform for Mirror {
    type In = Chunk;
    type Out = Chunk;

    fn apply(&mut self, chunk: &Chunk) -> Result<Chunk, TransformError> {
        let mirrored: Vec<u8> = chunk.bytes().iter().rev().copied().collect();
        Ok(chunk.with_bytes(&mirrored))
    }
}

/// Any actix actor that handles chunks fits in; this one counts them, the trailer too.
struct Counter(Arc<AtomicU64>, Outlet<Chunk>);

impl Actor for Counter {
    type Context = Context<Self>;
}

impl Handler<Chunk> for Counter {
    type Result = ();
    fn handle(&mut self, chunk: Chunk, _: &mut Context<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
        self.1.send(chunk);
    }
}

/// The standard stages and, as "mirror", ours: what the sender does, and how the receiver undoes
/// it.
fn stages(count: &Arc<AtomicU64>) -> StageRegistry {
    let count = Arc::clone(count);
    let counter = Pipeline::new()
        .then_actor("counter", move |next| Counter(Arc::clone(&count), next).start().recipient());
    standard().coder(
        "mirror",
        counter.then("mirror", || Mirror),
        Pipeline::new().then("unmirror", || Mirror),
    )
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let count = Arc::default();
    let paris = Node::builder().listen("127.0.0.1:0").stages(stages(&count)).start().await?;
    let (inbox, mut deliveries) = MemorySink::channel(1 << 20, 1);
    paris.receive("logs", inbox)?;

    let lyon = Node::builder().stages(stages(&count)).start().await?;
    let log = Filtered::new(
        BytesSource::new("access.log", "card 4711 0815, pin 1234\n".repeat(1000))?,
        Redact,
    );
    let options = SendOptions {
        stages: vec!["mirror".into()],
        chunk_size: Some(1024),
        ..SendOptions::default()
    };
    lyon.send_with(paris.ticket("logs")?, log, options).await?.delivered().await?;

    let log = deliveries.recv().await.expect("it was delivered").bytes;
    let (line, count) = (str::from_utf8(&log[..24])?, count.load(Ordering::Relaxed));
    println!("Paris reads {line:?} …; {count} chunks were counted on their way");
    assert_eq!(log, "card #### ####, pin ####\n".repeat(1000));
    assert_eq!(count, 25 + 1);
    lyon.shutdown().await;
    paris.shutdown().await;
    Ok(())
}
