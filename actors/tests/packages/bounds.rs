//! However large the content, few chunks of it are held.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use actix::{Actor, Addr, AsyncContext, Context, Handler, Message, Recipient};
use bytes::Bytes;
use estafette::node::{OpenedInbox, PackOrder};
use estafette::pipeline::{
    Chunk, Committed, Outlet, Parcel, Pipeline, Placement, Sink, SinkError, Summary, Transform,
    TransformError,
};
use futures_util::future::BoxFuture;

use super::harness::{Scene, noise, registry, run, source};

/// Turns of the thread in which everything that can move has moved.
const TURNS: usize = 2000;
const CHUNK: usize = 64 << 10;

/// Holds chunks until nothing more comes, and notes the most it held.
struct Dam {
    outlet: Outlet<Chunk>,
    held: Vec<Chunk>,
    most: Arc<AtomicUsize>,
    open: bool,
}

#[derive(Message)]
#[rtype(result = "()")]
struct Open;

impl Actor for Dam {
    type Context = Context<Self>;
}

async fn turns() {
    for _ in 0..TURNS {
        tokio::task::yield_now().await;
    }
}

impl Handler<Chunk> for Dam {
    type Result = ();

    fn handle(&mut self, chunk: Chunk, ctx: &mut Context<Self>) {
        if self.open {
            return self.outlet.send(chunk);
        }
        if self.held.is_empty() {
            let dam: Addr<Self> = ctx.address();
            actix::spawn(async move {
                turns().await;
                dam.send(Open).await.unwrap();
            });
        }
        self.held.push(chunk);
        self.most.fetch_max(self.held.len(), Ordering::Relaxed);
    }
}

impl Handler<Open> for Dam {
    type Result = ();

    fn handle(&mut self, _: Open, _: &mut Context<Self>) {
        self.open = true;
        self.held.drain(..).for_each(|chunk| self.outlet.send(chunk));
    }
}

#[test]
fn a_slow_stage_makes_the_source_wait() {
    let most = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&most);
    let dam = Pipeline::new().then_actor("dam", move |outlet| -> Recipient<Chunk> {
        Dam { outlet, held: vec![], most: Arc::clone(&counted), open: false }.start().recipient()
    });
    let scene = Scene::with(registry().coder("dam", dam, Pipeline::new()));
    run(async {
        let order = scene.order("package", source(&noise(200 * CHUNK)));
        scene
            .try_pack(PackOrder { coders: vec!["dam".into()], chunk_size: CHUNK as u32, ..order })
            .await
            .unwrap();
    });
    // 2 MiB of credit are 32 chunks.
    assert_eq!(most.load(Ordering::Relaxed), 32);
}

/// Counts what passes, at the receiving end.
struct Count(Arc<AtomicUsize>);

impl Transform for Count {
    type In = Chunk;
    type Out = Chunk;

    fn apply(&mut self, chunk: &Chunk) -> Result<Chunk, TransformError> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Ok(Chunk::from_parts(chunk.custody().clone(), chunk.content().clone()))
    }
}

/// Takes its time for each write, and notes how many chunks have passed the stages and were not
/// written.
#[derive(Debug)]
struct Slow {
    passed: Arc<AtomicUsize>,
    written: usize,
    most: Arc<AtomicUsize>,
}

impl Sink for Slow {
    fn placement(&self) -> Placement {
        Placement::InOrder
    }

    fn write<'a>(&'a mut self, _: u64, _: &'a Bytes) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            if self.written < 5 {
                turns().await;
            }
            self.most
                .fetch_max(self.passed.load(Ordering::Relaxed) - self.written, Ordering::Relaxed);
            self.written += 1;
            Ok(())
        })
    }

    fn commit<'a>(&'a mut self, _: &'a Summary) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(std::future::ready(Ok(Committed::default())))
    }

    fn abort(&mut self, _: &str) {}
}

#[test]
fn a_slow_sink_makes_the_file_wait() {
    let [passed, most] = [(); 2].map(|()| Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&passed);
    let count = Pipeline::new().then("count", move || Count(Arc::clone(&counted)));
    let scene = Scene::with(registry().coder("count", Pipeline::new(), count));
    run(async {
        let order = scene.order("package", source(&noise(200 * CHUNK)));
        scene
            .try_pack(PackOrder { coders: vec!["count".into()], chunk_size: CHUNK as u32, ..order })
            .await
            .unwrap();
        let sink = Slow { passed: Arc::clone(&passed), written: 0, most: Arc::clone(&most) };
        let order = scene.unpack_order(
            "package",
            Box::new(|_| Ok(OpenedInbox { sink: Box::new(sink), journalled: false })),
        );
        let window = 16 * CHUNK;
        scene.packages().unpack(estafette::node::UnpackOrder { window, ..order }).await.unwrap();
    });
    assert_eq!(passed.load(Ordering::Relaxed), 200);
    // Half of the window: each chunk is held sealed and opened for a while.
    assert_eq!(most.load(Ordering::Relaxed), 8);
}
