//! Faults that pass: a delivery that met one is tried again, with the reason kept, until it is
//! there.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use estafette::delivery::{Failure, FailureKind};
use estafette::node::{Change, EventStream, MemoryStore, OutboxState, Store};
use estafette::pipeline::{Inbox, Offer, Refusal, Sink};
use estafette::{Node, TransferHandle, TransferNews};
use estafette_actors::sink::FileSink;

use super::endings::{At, Still};
use super::harness::{World, config, copy_of, entry, send, within};

/// Writes nothing as long as its disk is full.
#[derive(Debug, Default)]
struct Disk {
    records: MemoryStore,
    full: AtomicBool,
    broken: AtomicBool,
}

impl Store for Disk {
    fn load(&self, table: &str) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.records.load(table)
    }

    fn put(&self, table: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::Error::new(ErrorKind::StorageFull, "the disk is full"));
        }
        self.records.put(table, key, value)
    }

    fn remove(&self, table: &str, key: &[u8]) -> io::Result<()> {
        self.records.remove(table, key)
    }

    fn failure(&self) -> Option<String> {
        self.broken.load(Ordering::SeqCst).then(|| "the disk has lost a write".into())
    }

    fn write(&self, changes: Vec<Change>) -> io::Result<()> {
        if self.full.load(Ordering::SeqCst) {
            return Err(io::Error::new(ErrorKind::StorageFull, "the disk is full"));
        }
        self.records.write(changes)
    }
}

/// Returns the failure of the next try that fails.
async fn deferred(events: &mut EventStream) -> Failure {
    loop {
        match events.next_news().await.unwrap() {
            TransferNews::Deferred { failure } => return failure,
            TransferNews::Failed { failure } => panic!("it was given up: {failure}"),
            _ => {}
        }
    }
}

async fn arrives_after_all(lyon: &Node, transfer: &TransferHandle) {
    let entry = entry(lyon, transfer.id()).await.unwrap();
    assert!(entry.state == OutboxState::Stored && entry.last_failure.is_some(), "{entry:?}");
    lyon.outbox().retry(transfer.id()).await.unwrap();
    transfer.delivered().await.unwrap();
}

#[tokio::test]
async fn a_spool_without_room_at_the_receiver_kills_nothing_that_is_stored() {
    within(async {
        let (world, disk) = (World::new(), Arc::<Disk>::default());
        let (paris, lyon) = (
            world.paris_of(config(), Arc::clone(&disk) as Arc<dyn Store>).await,
            world.patient_lyon().await,
        );
        disk.full.store(true, Ordering::SeqCst);
        let mut events = lyon.events();
        let transfer = send(&lyon, "paris/files", &world.file("letter", 5000)).await;
        let failure = deferred(&mut events).await;
        assert!(failure.message.contains("full"), "{failure}");
        disk.full.store(false, Ordering::SeqCst);
        arrives_after_all(&lyon, &transfer).await;
        assert!(world.has_arrived("letter") && world.arrived() == 1);
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn a_receiver_whose_spool_has_failed_takes_nothing_and_is_tried_again() {
    within(async {
        let (world, disk) = (World::new(), Arc::<Disk>::default());
        let (paris, lyon) = (
            world.paris_of(config(), Arc::clone(&disk) as Arc<dyn Store>).await,
            world.patient_lyon().await,
        );
        disk.broken.store(true, Ordering::SeqCst);
        assert_eq!(paris.spool_failure().as_deref(), Some("the disk has lost a write"));
        let mut events = lyon.events();
        let transfer = send(&lyon, "paris/files", &world.file("letter", 5000)).await;
        let failure = deferred(&mut events).await;
        assert!(
            failure.kind == FailureKind::Busy && failure.message.contains("lost a write"),
            "{failure}"
        );
        assert_eq!(world.arrived(), 0, "not a byte of it was taken");
        disk.broken.store(false, Ordering::SeqCst);
        arrives_after_all(&lyon, &transfer).await;
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn a_folder_that_is_not_there_yet_kills_nothing_that_is_stored() {
    within(async {
        let world = World::new();
        let paris = world.paris().await;
        paris.receive("mount", FileSink::into_dir(world.path("disk/in"))).unwrap();
        let lyon = world.patient_lyon().await;
        let mut events = lyon.events();
        let transfer = send(&lyon, "paris/mount", &world.file("letter", 5000)).await;
        let failure = deferred(&mut events).await;
        assert!(failure.kind == FailureKind::Busy && failure.message.contains("disk"), "{failure}");
        std::fs::create_dir(world.path("disk")).unwrap();
        arrives_after_all(&lyon, &transfer).await;
        assert!(world.path("disk/in/letter").exists());
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

/// An inbox whose machine has an error of this number, the first time.
#[derive(Debug)]
struct Ailing {
    errors: Mutex<Vec<i32>>,
    asked: AtomicU32,
    folder: estafette_actors::sink::Folder,
}

impl Inbox for Ailing {
    fn open(&self, offer: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        match self.errors.lock().unwrap().pop() {
            Some(number) => Err(Refusal::because(
                "the folder can't be opened",
                &io::Error::from_raw_os_error(number),
            )),
            None => self.folder.open(offer),
        }
    }
}

fn ailing(folder: &Path, errors: &[i32]) -> Ailing {
    Ailing {
        errors: Mutex::new(errors.to_vec()),
        asked: AtomicU32::new(0),
        folder: FileSink::into_dir(folder),
    }
}

#[tokio::test]
async fn what_ails_the_receivers_machine_is_tried_again_and_what_is_wrong_with_the_delivery_is_not()
{
    use rustix::io::Errno;
    within(async {
        let world = World::new();
        let (paris, lyon) = (world.paris().await, world.patient_lyon().await);
        let passing =
            [Errno::IO, Errno::ACCESS, Errno::ROFS, Errno::MFILE, Errno::NOSPC, Errno::STALE];
        for (number, errno) in passing.into_iter().enumerate() {
            let inbox = format!("in{number}");
            paris.receive(&inbox, ailing(&world.path("in"), &[errno.raw_os_error()])).unwrap();
            let mut events = lyon.events();
            let transfer = send(&lyon, &format!("paris/{inbox}"), &world.file(&inbox, 500)).await;
            deferred(&mut events).await;
            arrives_after_all(&lyon, &transfer).await;
        }
        paris
            .receive("no", ailing(&world.path("in"), &[Errno::NAMETOOLONG.raw_os_error()]))
            .unwrap();
        let transfer = send(&lyon, "paris/no", &world.file("no", 500)).await;
        assert_eq!(transfer.delivered().await.unwrap_err().kind, FailureKind::Refused);
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn what_had_begun_to_come_waits_for_its_inbox_at_the_receivers_next_start() {
    within(async {
        let world = World::new();
        let (lyon, paris) = (world.patient_lyon().await, world.paris().await);
        let dies = Still::new(&world.path("in"), At::DeadBehindCommit);
        paris.receive("late", dies.clone()).unwrap();
        let transfer = send(&lyon, "paris/late", &world.file("letter", 50_000)).await;
        dies.reached().await;
        assert!(world.path("in/letter").exists());
        paris.abort().await;
        let mut events = lyon.events();
        let paris = world.paris().await;
        loop {
            let failure = deferred(&mut events).await;
            if failure.message.contains("inbox") {
                assert_eq!(failure.kind, FailureKind::Busy, "{failure}");
                break;
            }
        }
        paris.receive("late", FileSink::into_dir(world.path("in"))).unwrap();
        arrives_after_all(&lyon, &transfer).await;
        assert_eq!(super::endings::names(&world.path("in")), ["letter"]);
        // One that never came there is refused as it was.
        let other = send(&lyon, "paris/later", &world.file("other", 500)).await;
        let failure = other.delivered().await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Refused);
        assert!(failure.message.contains("no inbox \"later\""), "{failure}");
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn a_receiver_whose_clock_jumps_ten_years_between_two_lives_delivers_nothing_twice() {
    const YEAR: u64 = 365 * 24 * 3600;
    within(async {
        let world = World::new();
        let lyon = world.dormant_lyon().await;
        let transfer = send(&lyon, "paris/files", &world.file("letter", 5000)).await;
        lyon.shutdown().await;
        let records = copy_of(&world.lyon_spool, &["outbox"]);
        let (lyon, paris) = (world.lyon().await, world.paris().await);
        lyon.outbox().transfer(transfer.id()).await.unwrap().delivered().await.unwrap();
        lyon.shutdown().await;
        paris.shutdown().await;
        // As if the machine had been started anew since, and its clock were set to ten years later.
        let (key, mut scales) = world.paris_spool.load("clock").unwrap().remove(0);
        let wall = u64::from_le_bytes(scales[16..24].try_into().unwrap());
        scales[16..24].copy_from_slice(&(wall - 10 * YEAR).to_le_bytes());
        *scales.last_mut().unwrap() ^= 1;
        world.paris_spool.put("clock", &key, &scales).unwrap();
        std::fs::remove_file(world.path("in/letter")).unwrap();
        let (paris, lyon) = (world.paris().await, world.lyon_with(records).await);
        lyon.outbox().transfer(transfer.id()).await.unwrap().delivered().await.unwrap();
        assert_eq!(world.arrived(), 0, "it was delivered before");
        lyon.shutdown().await;
        paris.shutdown().await;
    })
    .await;
}
