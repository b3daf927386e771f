//! A process that may make no more threads: that is said, or passes, and nothing panics or hangs.
//!
//! The limit is one of a user who is not the superuser, and of all of its processes: the test runs
//! in a program of its own.

#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

#[path = "outbox/harness.rs"]
#[allow(dead_code, unreachable_pub, reason = "other tests need the rest of it")]
mod harness;

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix::{Actor, Context, Handler};
use estafette::delivery::FailureKind;
use estafette::metrics::Metrics;
use estafette::node::{OutboxState, SendError, StartError, blocking};
use estafette::pipeline::{Chunk, Inbox, Offer, Outlet, Pipeline, Refusal, Sink};
use estafette::{Node, TransferNews};
use estafette_actors::chunk::Digest;
use estafette_actors::sink::{MemoryInbox, MemorySink};
use estafette_actors::source::FileSource;
use estafette_actors::standard;
use rustix::process::{Resource, Rlimit, getrlimit, getuid, setrlimit};

use harness::{World, entry, within};

/// Set for the program that has no threads left.
const INSIDE: &str = "ESTAFETTE_NO_THREADS";
/// Any but the superuser's.
const NOBODY: u32 = 65_534;

fn allow(processes: Option<u64>) {
    let maximum = getrlimit(Resource::Nproc).maximum;
    setrlimit(Resource::Nproc, Rlimit { current: processes.or(maximum), maximum }).unwrap();
}

/// Refuses for the moment, until it is told otherwise.
#[derive(Debug)]
struct Hesitant(MemoryInbox, Arc<AtomicBool>);

struct Nowhere;

impl Actor for Nowhere {
    type Context = Context<Self>;
}

impl Handler<Chunk> for Nowhere {
    type Result = ();

    fn handle(&mut self, _: Chunk, _: &mut Context<Self>) {}
}

fn a_pipeline_and_what_blocks_say_so() {
    actix::System::new().block_on(async {
        let digest = || Pipeline::new().then("digest", Digest::default).parallel(2);
        let nowhere = Outlet::to(Nowhere.start().recipient());
        allow(Some(0));
        let error = digest().start(&Metrics::default(), nowhere.clone()).await.unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock, "{error}");
        let error = blocking(|| ()).await.unwrap_err();
        assert!(error.to_string().contains("the system gives no thread"), "{error}");
        allow(None);
        blocking(|| ()).await.unwrap();
        assert_eq!(digest().start(&Metrics::default(), nowhere).await.unwrap().inlets().count(), 2);
    });
}

async fn inside() {
    let (world, takes) = (World::new(), Arc::<AtomicBool>::default());
    let (sink, mut arrived) = MemorySink::channel(1 << 20, 1);
    let (lyon, paris) = (world.lyon().await, world.paris().await);
    paris.receive("later", Hesitant(sink, Arc::clone(&takes))).unwrap();
    let file = world.path("letter");
    std::fs::write(&file, "of whom nobody knows").unwrap();
    let mut events = lyon.events();
    let transfer = lyon.send("paris/later", FileSource::open(&file).unwrap()).await.unwrap();
    while !matches!(events.next_news().await.unwrap(), TransferNews::Deferred { .. }) {}

    allow(Some(0));
    assert!(matches!(Node::builder().stages(standard()).start().await, Err(StartError::Thread(_))));
    let error = lyon.send("paris/later", FileSource::open(&file).unwrap()).await.unwrap_err();
    assert!(matches!(error, SendError::Thread(_)), "{error}");
    // Of what is not there nothing is noted: that takes no thread.
    assert!(!paris.processed(lyon.peer(), transfer.id()).await.unwrap());
    takes.store(true, Ordering::SeqCst);
    lyon.outbox().retry(transfer.id()).await.unwrap();
    let failure = loop {
        match events.next_news().await.unwrap() {
            // A try that was under way may have been refused yet.
            TransferNews::Deferred { failure } if failure.message.contains("thread") => {
                break failure;
            }
            TransferNews::Failed { failure } => panic!("it was given up: {failure}"),
            _ => {}
        }
    };
    assert_eq!(failure.kind, FailureKind::Busy, "{failure}");
    assert_eq!(entry(&lyon, transfer.id()).await.unwrap().state, OutboxState::Stored);

    allow(None);
    lyon.outbox().retry(transfer.id()).await.unwrap();
    transfer.delivered().await.unwrap();
    assert_eq!(arrived.recv().await.unwrap().bytes, "of whom nobody knows");
    lyon.shutdown().await;
    paris.shutdown().await;
}

impl Inbox for Hesitant {
    fn open(&self, offer: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        if self.1.load(Ordering::SeqCst) {
            self.0.open(offer)
        } else {
            Err(Refusal::for_now("not now"))
        }
    }
}

#[test]
fn a_process_without_threads_says_so_or_waits_and_goes_on_when_it_has_some() {
    if std::env::var_os(INSIDE).is_some() {
        a_pipeline_and_what_blocks_say_so();
        return tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
            .block_on(within(inside()));
    }
    // Where anybody may run it.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(&program);
    command
        .args(["--nocapture", "--test-threads=1"])
        .env(INSIDE, "1")
        .current_dir("/")
        .stdin(Stdio::null());
    if getuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success() && !said.contains("panicked"), "{}: {said}", output.status);
}
