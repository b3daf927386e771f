//! Stages that panic, or die, on chunks that begin with [`POISON`].

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use actix::{Actor, Context, Handler, Recipient};
use estafette::node::StageRegistry;
use estafette::pipeline::{Chunk, Outlet, Parcel, Pipeline, Transform, TransformError};
use estafette_actors::standard;

pub(crate) const POISON: &[u8] = b"poison";

/// The state that all actors and transforms of a fragile stage share.
#[derive(Clone, Debug)]
pub(crate) struct Fuse {
    /// The number of times that it blows on each chunk.
    times: usize,
    blown: Arc<Mutex<HashMap<(String, u64), usize>>>,
    pub(crate) made: Arc<AtomicUsize>,
    /// Set once a transform was used again after it panicked.
    pub(crate) reused: Arc<AtomicBool>,
    /// The times when it blew, and when it was made.
    pub(crate) times_blown: Arc<Mutex<Vec<Instant>>>,
    pub(crate) times_made: Arc<Mutex<Vec<Instant>>>,
}

impl Fuse {
    /// Blows so often on each poisonous chunk.
    pub(crate) fn blows(times: usize) -> Self {
        Self {
            times,
            blown: Arc::default(),
            made: Arc::default(),
            reused: Arc::default(),
            times_blown: Arc::default(),
            times_made: Arc::default(),
        }
    }

    fn check(&self, chunk: &Chunk, broken: &mut bool) {
        self.reused.fetch_or(*broken, Ordering::SeqCst);
        if chunk.custody().is_trailer() || !chunk.bytes().starts_with(POISON) {
            return;
        }
        let key = (chunk.custody().transfer().scope.transfer.to_string(), chunk.custody().index());
        let blows = {
            let mut blown = self.blown.lock().unwrap();
            let times = blown.entry(key).or_default();
            *times += 1;
            *times <= self.times
        };
        if blows {
            *broken = true;
            self.times_blown.lock().unwrap().push(Instant::now());
            panic!("on purpose");
        }
    }

    fn make(&self) -> Self {
        self.made.fetch_add(1, Ordering::SeqCst);
        self.times_made.lock().unwrap().push(Instant::now());
        self.clone()
    }

    /// A stage whose transform panics.
    pub(crate) fn transform(&self, name: &str) -> Pipeline<Chunk, Chunk> {
        let fuse = self.clone();
        Pipeline::new().then(name.to_owned(), move || Panics { fuse: fuse.make(), broken: false })
    }

    /// A plain actor that dies.
    pub(crate) fn actor(&self, name: &str) -> Pipeline<Chunk, Chunk> {
        let fuse = self.clone();
        Pipeline::new().then_actor(name.to_owned(), move |outlet| fuse.start(outlet))
    }

    pub(crate) fn start(&self, outlet: Outlet<Chunk>) -> Recipient<Chunk> {
        Mortal { fuse: self.make(), outlet }.start().recipient()
    }
}

struct Panics {
    fuse: Fuse,
    broken: bool,
}

impl Transform for Panics {
    type In = Chunk;
    type Out = Chunk;

    fn apply(&mut self, chunk: &Chunk) -> Result<Chunk, TransformError> {
        self.fuse.check(chunk, &mut self.broken);
        Ok(chunk.with_bytes(chunk.bytes()))
    }
}

struct Mortal {
    fuse: Fuse,
    outlet: Outlet<Chunk>,
}

impl Actor for Mortal {
    type Context = Context<Self>;
}

impl Handler<Chunk> for Mortal {
    type Result = ();

    fn handle(&mut self, chunk: Chunk, _: &mut Context<Self>) {
        self.fuse.check(&chunk, &mut false);
        self.outlet.send(chunk);
    }
}

/// The standard stages and the coder `fragile`, whose steps are these.
pub(crate) fn with(
    forward: Pipeline<Chunk, Chunk>,
    inverse: Pipeline<Chunk, Chunk>,
) -> StageRegistry {
    standard().coder("fragile", forward, inverse)
}

/// The standard stages and a coder `fragile` that is not.
pub(crate) fn sound() -> StageRegistry {
    with(Pipeline::new(), Pipeline::new())
}
