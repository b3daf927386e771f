//! Tests that an error while a package is made leaves no file behind, and says what went wrong.

use std::fs;
use std::io;

use actix::{Actor, Context, Handler, Recipient};
use estafette::FailureKind;
use estafette::delivery::Content;
use estafette::node::{PackError, PackOrder};
use estafette::pipeline::{
    Chunk, Outlet, Parcel, Pipeline, Source, SourceError, SourceReport, Transform, TransformError,
};
use futures_util::future::BoxFuture;
use tokio::sync::oneshot;

use super::harness::{CHUNK, Scene, ends, registry, run, source, text};

/// Hands every second chunk on before the first.
pub(crate) fn swap(outlet: Outlet<Chunk>) -> Recipient<Chunk> {
    Swap { outlet, held: None }.start().recipient()
}

struct Swap {
    outlet: Outlet<Chunk>,
    held: Option<Chunk>,
}

impl Actor for Swap {
    type Context = Context<Self>;
}

impl Handler<Chunk> for Swap {
    type Result = ();

    fn handle(&mut self, chunk: Chunk, _: &mut Context<Self>) {
        match self.held.take() {
            None if !chunk.custody().is_trailer() => self.held = Some(chunk),
            held => {
                [Some(chunk), held].into_iter().flatten().for_each(|chunk| self.outlet.send(chunk))
            }
        }
    }
}

/// The end of a source, behind its bytes.
#[derive(Debug)]
enum End {
    Changed,
    Broken,
    Panic,
    Never(Option<oneshot::Sender<()>>),
}

#[derive(Debug)]
struct Bad {
    content: Content,
    chunks: usize,
    end: End,
    /// Dropped last, when all that packing has held is gone.
    _alive: Option<oneshot::Sender<()>>,
}

impl Bad {
    fn new(chunks: usize, end: End) -> Self {
        Self { content: source(b"").content(), chunks, end, _alive: None }
    }
}

impl Source for Bad {
    fn content(&self) -> Content {
        self.content.clone()
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        if self.chunks > 0 {
            self.chunks -= 1;
            buffer.fill(7);
            return Box::pin(std::future::ready(Ok(buffer.len())));
        }
        match &mut self.end {
            End::Changed => Box::pin(std::future::ready(Ok(0))),
            End::Broken => Box::pin(std::future::ready(Err(SourceError::Read {
                what: "tape".into(),
                error: io::ErrorKind::Other.into(),
            }))),
            End::Panic => panic!("on purpose"),
            End::Never(reached) => {
                reached.take().unwrap().send(()).unwrap();
                Box::pin(std::future::pending())
            }
        }
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        Err(SourceError::Changed { what: "log".into(), how: "it grew".into() })
    }
}

async fn fails(scene: &Scene, order: PackOrder) -> PackError {
    let error = scene.try_pack(order).await.unwrap_err();
    assert_eq!(scene.files(), 0, "nothing is left of {error}");
    error
}

#[test]
fn a_source_that_changed_fails_or_panics_makes_no_package() {
    let scene = Scene::new();
    run(async {
        for chunks in [0, 1, 5, 100] {
            let error = fails(&scene, scene.order("package", Bad::new(chunks, End::Changed))).await;
            assert!(matches!(error, PackError::Source(SourceError::Changed { .. })), "{error}");
            let error = fails(&scene, scene.order("package", Bad::new(chunks, End::Broken))).await;
            assert!(error.to_string().contains("tape"), "{error}");
            let error = fails(&scene, scene.order("package", Bad::new(chunks, End::Panic))).await;
            assert!(matches!(error, PackError::Stopped), "{error}");
        }
    });
}

#[test]
fn an_order_that_can_t_be_a_package_says_why() {
    let scene = Scene::new();
    run(async {
        let order = || scene.order("package", source(&text(5000)));
        let error = fails(&scene, PackOrder { chunk_size: 1000, ..order() }).await;
        assert!(error.to_string().contains("1000"), "{error}");
        let error = fails(&scene, PackOrder { inbox: "x".repeat(129), ..order() }).await;
        assert!(error.to_string().contains("129"), "{error}");
        let error = fails(&scene, PackOrder { coders: vec!["zstd".into()], ..order() }).await;
        assert!(error.to_string().contains("zstd"), "{error}");
        let error =
            fails(&scene, PackOrder { file: scene.file("missing/package"), ..order() }).await;
        assert!(
            matches!(&error, PackError::Write { file, .. } if file.ends_with("missing/package")),
            "{error}"
        );
        let bare = estafette::node::Stages::default();
        assert!(matches!(
            fails(&scene, PackOrder { stages: bare, ..order() }).await,
            PackError::Registry(_)
        ));
    });
}

/// Fails, panics, or makes chunks too long.
struct Faulty(&'static str);

impl Transform for Faulty {
    type In = Chunk;
    type Out = Chunk;

    fn apply(&mut self, chunk: &Chunk) -> Result<Chunk, TransformError> {
        match (self.0, chunk.custody().index()) {
            ("fail", 3) => Err(TransformError::new("the third is too much")),
            ("panic", 3) => panic!("on purpose"),
            ("grow", 3) => Ok(chunk.with_bytes(&super::harness::noise(2 * CHUNK))),
            _ => Ok(chunk.with_bytes(chunk.bytes())),
        }
    }
}

struct Dead;

impl Actor for Dead {
    type Context = Context<Self>;
}

impl Handler<Chunk> for Dead {
    type Result = ();

    fn handle(&mut self, _: Chunk, _: &mut Context<Self>) {}
}

#[test]
fn a_stage_that_fails_panics_or_swallows_a_chunk_is_named() {
    let registry = ["fail", "panic", "grow"].into_iter().fold(registry(), |registry, name| {
        registry.coder(name, Pipeline::new().then(name, move || Faulty(name)), Pipeline::new())
    });
    let swallow =
        Pipeline::new().then_actor("swallow", |_: Outlet<Chunk>| Dead.start().recipient());
    let scene = Scene::with(registry.coder("swallow", swallow, Pipeline::new()));
    run(async {
        let cases = [
            ("fail", "fail", "the third is too much"),
            ("panic", "panic", "panicked"),
            // What it does is noticed behind it.
            ("grow", "compress", "2048 bytes"),
            ("swallow", "swallow", "thrown away"),
        ];
        for (name, stage, word) in cases {
            let order = scene.order("package", source(&text(5000)));
            let error = fails(&scene, PackOrder { coders: vec![name.into()], ..order }).await;
            assert!(error.to_string().contains(word), "{name}: {error}");
            let PackError::Stage(failure) = error else { panic!("{name}: {error}") };
            assert_eq!((failure.kind, failure.stage.as_deref()), (FailureKind::Stage, Some(stage)));
        }
    });
}

#[test]
fn packing_that_nobody_waits_for_any_more_leaves_nothing() {
    let scene = Scene::new();
    run(async {
        let ((reached, is_reached), (alive, gone)) = (oneshot::channel(), oneshot::channel());
        let bad = Bad { _alive: Some(alive), ..Bad::new(100, End::Never(Some(reached))) };
        let packing = actix::spawn(scene.packages().pack(scene.order("package", bad)));
        is_reached.await.unwrap();
        assert_eq!(scene.files(), 1, "it is under way");
        packing.abort();
        assert!(gone.await.is_err());
        assert_eq!(scene.files(), 0);
    });
}

#[test]
fn what_a_process_that_died_has_left_does_no_harm() {
    let scene = Scene::new();
    run(async {
        scene.pack("package", &text(5000)).await;
        let whole = fs::read(scene.file("package")).unwrap();
        fs::remove_file(scene.file("package")).unwrap();
        // Death may come behind any write, and in the middle of one.
        for length in ends(&whole).into_iter().flat_map(|end| [end - 9, end - 1, end]).chain([0, 7])
        {
            fs::write(scene.file("package.new"), &whole[..length]).unwrap();
            assert!(
                scene.packages().open(&scene.file("package")).is_err(),
                "not yet there under its own name"
            );
            scene.pack("package", &text(6000)).await;
            assert_eq!(scene.files(), 1);
            assert!(scene.unpack("package").await.unwrap().1 == text(6000));
            fs::remove_file(scene.file("package")).unwrap();
        }
    });
}

#[test]
fn a_package_takes_the_place_of_an_older_one_when_it_is_whole() {
    let scene = Scene::new();
    run(async {
        scene.pack("package", b"old").await;
        let old = fs::read(scene.file("package")).unwrap();
        let error = scene.try_pack(scene.order("package", Bad::new(3, End::Changed))).await;
        assert!(
            error.is_err() && fs::read(scene.file("package")).unwrap() == old,
            "a failure leaves the old one"
        );
        scene.pack("package", b"new").await;
        assert_eq!(scene.unpack("package").await.unwrap().1, &b"new"[..]);
        assert_eq!(scene.files(), 1);
    });
}

#[test]
fn a_package_is_its_owners_to_read() {
    let scene = Scene::new();
    run(scene.pack("package", b"content"));
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &fs::metadata(scene.file("package")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
}
