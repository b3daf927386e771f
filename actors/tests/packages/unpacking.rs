//! The receiver decides before a byte, the sink has the last word, and nothing is left of what
//! failed.

use std::sync::{Arc, Mutex};

use bytes::Bytes;
use estafette::node::{OpenInbox, OpenedInbox, UnpackOrder};
use estafette::pipeline::{
    Codec, Committed, Placement, Progress, Refusal, Resumed, Sink, SinkError, Summary,
};
use estafette::{Failure, FailureKind, NodeConfig};
use futures_util::future::BoxFuture;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::harness::{CHUNK, CREATED, EXPIRES, Scene, refused, run, source, text};

#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    Wrote(u64),
    Committed,
    Aborted(String),
    Suspended,
}

/// The state of a sink that outlives it.
#[derive(Debug, Default)]
struct Disk {
    bytes: Vec<u8>,
    progress: Progress,
    committed: Option<(Summary, Committed)>,
}

/// A sink that tells what happens to it.
#[derive(Debug)]
struct Told {
    disk: Arc<Mutex<Disk>>,
    resumed: Resumed,
    events: UnboundedSender<Event>,
    /// Fails at the write with this number.
    fail_at: Option<u64>,
    /// Waits at the write with this number.
    wait_at: Option<(u64, oneshot::Receiver<()>)>,
    refuse_commit: bool,
    writes: u64,
}

impl Told {
    fn new() -> (Self, UnboundedReceiver<Event>) {
        let (events, told) = unbounded_channel();
        let disk = Arc::<Mutex<Disk>>::default();
        (
            Self {
                disk,
                resumed: Resumed::Nothing,
                events,
                fail_at: None,
                wait_at: None,
                refuse_commit: false,
                writes: 0,
            },
            told,
        )
    }

    fn say(&self, event: Event) {
        // A test that has heard enough is gone.
        let _ = self.events.send(event);
    }
}

impl Sink for Told {
    fn placement(&self) -> Placement {
        Placement::InOrder
    }

    fn write<'a>(
        &'a mut self,
        offset: u64,
        bytes: &'a Bytes,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.say(Event::Wrote(offset));
            let number = self.writes;
            self.writes += 1;
            if self.fail_at == Some(number) {
                return Err(SinkError::Write {
                    what: "the tape".into(),
                    error: std::io::ErrorKind::StorageFull.into(),
                });
            }
            if let Some((_, waited)) = self.wait_at.take_if(|(at, _)| *at == number) {
                waited.await.unwrap();
            }
            let mut disk = self.disk.lock().unwrap();
            assert_eq!(disk.bytes.len() as u64, offset);
            disk.bytes.extend_from_slice(bytes);
            Ok(())
        })
    }

    fn commit<'a>(
        &'a mut self,
        summary: &'a Summary,
    ) -> BoxFuture<'a, Result<Committed, SinkError>> {
        if self.refuse_commit {
            return Box::pin(std::future::ready(Err(SinkError::Refused(Refusal::new(
                "it exists",
            )))));
        }
        self.say(Event::Committed);
        let committed = Committed { place: "there".into(), files: 1, ..Committed::default() };
        self.disk.lock().unwrap().committed = Some((*summary, committed.clone()));
        Box::pin(std::future::ready(Ok(committed)))
    }

    fn abort(&mut self, reason: &str) {
        self.say(Event::Aborted(reason.to_owned()));
    }

    fn resumed(&self) -> Resumed {
        self.resumed.clone()
    }

    fn checkpoint<'a>(
        &'a mut self,
        progress: &'a Progress,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        self.disk.lock().unwrap().progress = progress.clone();
        Box::pin(std::future::ready(Ok(())))
    }

    fn suspend(&mut self, _: &str) {
        self.say(Event::Suspended);
    }
}

fn gives(sink: Told, journalled: bool) -> OpenInbox {
    Box::new(move |_| Ok(OpenedInbox { sink: Box::new(sink), journalled }))
}

fn never() -> OpenInbox {
    Box::new(|_| panic!("the inbox must not be asked"))
}

fn said(events: &mut UnboundedReceiver<Event>) -> Vec<Event> {
    std::iter::from_fn(|| events.try_recv().ok()).collect()
}

async fn fails(scene: &Scene, order: UnpackOrder) -> Failure {
    scene.packages().unpack(order).await.unwrap_err()
}

#[test]
fn what_must_not_be_delivered_is_refused_before_the_inbox_is_asked() {
    let scene = Scene::new();
    run(async {
        scene.pack("package", &text(5000)).await;
        let order = || scene.unpack_order("package", never());
        assert_eq!(
            fails(&scene, UnpackOrder { now: EXPIRES + 1, ..order() }).await.kind,
            FailureKind::Expired
        );
        // Nobody would remember for so long that it was delivered.
        let long_before = EXPIRES - NodeConfig::EXPIRY_MOST.as_secs() - 301;
        let failure = fails(&scene, UnpackOrder { now: long_before, ..order() }).await;
        assert!(
            failure.kind == FailureKind::Busy && failure.message.contains("dated in the future"),
            "{failure}"
        );
        let ages = estafette::node::PackOrder {
            expires: CREATED + 31 * 24 * 3600,
            ..scene.order("ages", source(b"x"))
        };
        scene.try_pack(ages).await.unwrap();
        assert_eq!(
            fails(&scene, scene.unpack_order("ages", never())).await.kind,
            FailureKind::Refused
        );
        let failure = fails(&scene, UnpackOrder { window: 2 * CHUNK - 1, ..order() }).await;
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.message.contains("1024"), "{failure}");
        let flipped = estafette::node::PackOrder {
            coders: vec!["flip".into()],
            ..scene.order("flipped", source(b"x"))
        };
        scene.try_pack(flipped).await.unwrap();
        let order = UnpackOrder {
            stages: estafette_actors::standard().stages().clone(),
            ..scene.unpack_order("flipped", never())
        };
        let failure = fails(&scene, order).await;
        assert_eq!(failure.kind, FailureKind::Stage);
        assert!(failure.message.contains("flip"), "{failure}");
        // Nor without the codec that a label which names none stands for.
        let lesser = estafette_actors::standard().without_codec(Codec::SNAPPY);
        let failure = fails(
            &scene,
            UnpackOrder {
                stages: lesser.stages().clone(),
                ..scene.unpack_order("package", never())
            },
        )
        .await;
        assert_eq!(failure.kind, FailureKind::Stage);
        assert!(failure.message.contains("the codec \"snappy\" is not registered"), "{failure}");
        let failure = fails(&scene, scene.unpack_order("missing", never())).await;
        assert_eq!(failure.kind, FailureKind::Io);
        assert!(failure.message.contains("missing"), "{failure}");
    });
}

#[test]
fn an_inbox_that_refuses_or_panics_ends_it() {
    let scene = Scene::new();
    run(async {
        scene.pack("package", &text(5000)).await;
        let failure = fails(
            &scene,
            scene.unpack_order("package", Box::new(|_| Err(refused("not from you")))),
        )
        .await;
        assert_eq!(
            (failure.kind, failure.message.as_str()),
            (FailureKind::Refused, "not from you")
        );
        let failure = fails(&scene, scene.unpack_order("package", never())).await;
        assert_eq!(failure.kind, FailureKind::Stage, "{failure}");
    });
}

#[test]
fn a_sink_that_fails_is_told_to_leave_nothing_and_its_reason_is_told() {
    let scene = Scene::new();
    run(async {
        scene.pack("package", &text(40 * CHUNK)).await;
        for at in [0, 1, 17, 39] {
            let (sink, mut events) = Told::new();
            let sink = Told { fail_at: Some(at), ..sink };
            let failure = fails(&scene, scene.unpack_order("package", gives(sink, false))).await;
            assert_eq!(failure.kind, FailureKind::Io, "{failure}");
            assert!(failure.message.contains("the tape"), "{failure}");
            assert!(
                matches!(said(&mut events).last(), Some(Event::Aborted(reason)) if reason.contains("the tape"))
            );
        }
        let (sink, mut events) = Told::new();
        let failure = fails(
            &scene,
            scene.unpack_order("package", gives(Told { refuse_commit: true, ..sink }, false)),
        )
        .await;
        assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Refused, "it exists"));
        assert_eq!(said(&mut events).last(), Some(&Event::Aborted("it exists".into())));
    });
}

#[test]
fn damage_in_the_middle_makes_the_sink_leave_nothing() {
    let scene = Scene::new();
    run(async {
        scene.pack("package", &text(40 * CHUNK)).await;
        let mut bytes = std::fs::read(scene.file("package")).unwrap();
        let frame = super::harness::ends(&bytes)[30];
        bytes[frame + 50] ^= 1;
        for bytes in [bytes.clone(), super::harness::with_checksums(bytes)] {
            std::fs::write(scene.file("package"), bytes).unwrap();
            for journalled in [false, true] {
                let (sink, mut events) = Told::new();
                let failure =
                    fails(&scene, scene.unpack_order("package", gives(sink, journalled))).await;
                assert_eq!(failure.kind, FailureKind::Integrity, "{failure}");
                let events = said(&mut events);
                assert!(
                    matches!(events.last(), Some(Event::Aborted(_))),
                    "told before it was said: {events:?}"
                );
                assert!(!events.contains(&Event::Committed));
            }
        }
    });
}

/// Stops unpacking at the tenth of many writes; what the sink heard.
async fn interrupted(
    scene: &Scene,
    sink: Told,
    mut events: UnboundedReceiver<Event>,
    journalled: bool,
) -> Vec<Event> {
    let (go, waited) = oneshot::channel();
    let sink = Told { wait_at: Some((10, waited)), ..sink };
    let unpacking = actix::spawn(
        scene.packages().unpack(scene.unpack_order("package", gives(sink, journalled))),
    );
    let mut heard = Vec::new();
    while heard.len() <= 10 {
        heard.push(events.recv().await.unwrap());
    }
    unpacking.abort();
    assert!(unpacking.await.unwrap_err().is_cancelled());
    // A sink that waits in a write is left there: it may be gone by now.
    let _ = go.send(());
    while let Some(event) = events.recv().await {
        heard.push(event);
    }
    heard
}

#[test]
fn unpacking_that_nobody_waits_for_any_more_stops_and_goes_on_by_its_journal() {
    let scene = Scene::new();
    let content = text(300 * CHUNK + 5);
    run(async {
        let packed = scene.pack("package", &content).await;
        let (sink, events) = Told::new();
        let heard = interrupted(&scene, sink, events, false).await;
        assert!(matches!(heard.last(), Some(Event::Aborted(_))), "without a journal: {heard:?}");

        let (sink, events) = Told::new();
        let disk = Arc::clone(&sink.disk);
        let heard = interrupted(&scene, sink, events, true).await;
        assert_eq!(heard.last(), Some(&Event::Suspended), "{heard:?}");
        let progress = disk.lock().unwrap().progress.clone();
        assert!((10..300).contains(&progress.chunks), "{progress:?}");
        disk.lock().unwrap().bytes.truncate(progress.length as usize);

        let (sink, mut events) = Told::new();
        let sink =
            Told { disk: Arc::clone(&disk), resumed: Resumed::Chunks(progress.clone()), ..sink };
        let unpacked = scene
            .packages()
            .unpack(scene.unpack_order("package", gives(sink, true)))
            .await
            .unwrap();
        assert_eq!(
            events.recv().await,
            Some(Event::Wrote(progress.length)),
            "it goes on where it stood"
        );
        assert!(packed.recognises(&unpacked.receipt));
        assert!(disk.lock().unwrap().bytes == content);

        // And when only the word of it was lost.
        let (summary, committed) = disk.lock().unwrap().committed.clone().unwrap();
        let (sink, mut events) = Told::new();
        let sink = Told { resumed: Resumed::Committed(summary, committed), ..sink };
        let again = scene
            .packages()
            .unpack(scene.unpack_order("package", gives(sink, true)))
            .await
            .unwrap();
        assert_eq!(again.receipt, unpacked.receipt);
        assert_eq!(said(&mut events), []);
    });
}
