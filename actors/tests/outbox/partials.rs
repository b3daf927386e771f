//! Tests of the partial deliveries that a peer leaves: how many there may be, which go first, and
//! that they go when their time is over, or their peer's.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use estafette::pipeline::{Inbox, Journal, Offer, Refusal, Sink};
use estafette::{Node, NodeConfig, SendOptions, TransferNews};
use estafette_actors::sink::{FileSink, Folder};

use super::harness::{config, within};
use super::quota::{Coming, hears, patient_lyon, relay, until};
use super::three::{PARIS, World, content};

/// Partial files in paris' folder, with their sizes.
fn kept(world: &World) -> Vec<(PathBuf, u64)> {
    let files = std::fs::read_dir(world.folder.path().join("in")).unwrap();
    files
        .filter_map(|file| Some((file.as_ref().ok()?.path(), file.ok()?.metadata().ok()?.len())))
        .collect()
}

/// Paris, which takes files.
async fn paris_with(world: &World, config: NodeConfig) -> Node {
    let paris = world.node_with(PARIS, config).await;
    paris
        .receive("files", FileSink::into_dir(world.folder.path().join("in")).keep_free(0))
        .unwrap();
    paris
}

/// Lyon leaves one more partial file than there is.
async fn leave_partial(world: &World, paris: &Node) {
    let before: Vec<_> = kept(world).into_iter().map(|(path, _)| path).collect();
    let mut events = paris.events();
    let lyon = patient_lyon(world).await;
    let source = Coming::of(content(70_000), Some(90_000), true).plain();
    lyon.send_with(
        "paris/files",
        source,
        SendOptions { transient: true, ..SendOptions::default() },
    )
    .await
    .unwrap();
    until(|| kept(world).iter().any(|(path, bytes)| *bytes >= 64 << 10 && !before.contains(path)))
        .await;
    lyon.abort().await;
    hears(&mut events, |news| matches!(news, TransferNews::Failed { .. })).await;
}

#[tokio::test]
async fn a_peer_leaves_so_many_partial_files_and_none_once_it_is_revoked() {
    within(async {
        let world = World::new();
        let config = || NodeConfig { partials: 2, ..relay(1 << 20) };
        let mut node = paris_with(&world, config()).await;
        for round in 0..7 {
            leave_partial(&world, &node).await;
            let left = kept(&world);
            assert!(
                left.len() <= 3,
                "round {round}: two that were left, and the one that came: {left:?}"
            );
            if round == 3 {
                // What an earlier process left counts, too.
                node.abort().await;
                drop(node);
                node = paris_with(&world, config()).await;
            }
        }
        assert!(node.trust().revoke(world.identities[0].peer()).unwrap());
        until(|| kept(&world).is_empty()).await;
        node.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn a_partial_file_goes_when_its_delivery_has_expired_and_its_note_with_it() {
    within(async {
        let world = World::new();
        // As often as it looks for packages that it has waited for long enough.
        let paris = paris_with(
            &world,
            NodeConfig { package_patience: Duration::from_millis(20), ..config() },
        )
        .await;
        leave_partial(&world, &paris).await;
        let spool = &world.spools[PARIS];
        let notes = spool.load("partial").unwrap();
        assert_eq!(notes.len(), 1);
        for (key, mut note) in notes {
            // When it expires, by the time that has passed for certain.
            note[..8].copy_from_slice(&1_u64.to_le_bytes());
            spool.put("partial", &key, &note).unwrap();
        }
        until(|| kept(&world).is_empty()).await;
        until(|| spool.load("partial").unwrap().is_empty()).await;
        paris.shutdown().await;
    })
    .await;
}

/// The note about a file, by its key.
fn note_of(world: &World, file: &Path) -> (Vec<u8>, Vec<u8>) {
    let name = file.file_name().unwrap().as_encoded_bytes().to_owned();
    let notes = world.spools[PARIS].load("partial").unwrap();
    let is_of = |note: &[u8]| note.windows(name.len()).any(|part| part == name);
    notes.into_iter().find(|(_, note)| is_of(note)).expect("each file has a note")
}

/// Has a file expire then, by the time that has passed for certain.
fn expires(world: &World, file: &Path, at: u64) {
    let (key, mut note) = note_of(world, file);
    note[..8].copy_from_slice(&at.to_le_bytes());
    world.spools[PARIS].put("partial", &key, &note).unwrap();
}

/// Leaves one, and says which.
async fn leave_one(world: &World, paris: &Node) -> PathBuf {
    let before = kept(world);
    leave_partial(world, paris).await;
    let is_new = |(path, _): &(PathBuf, u64)| !before.iter().any(|(other, _)| other == path);
    kept(world).into_iter().find(is_new).unwrap().0
}

#[tokio::test]
async fn of_partial_files_those_go_that_have_expired_and_no_others() {
    within(async {
        let world = World::new();
        let patience = Duration::from_millis(20);
        let paris = paris_with(&world, NodeConfig { package_patience: patience, ..config() }).await;
        let files = [leave_one(&world, &paris).await, leave_one(&world, &paris).await];
        expires(&world, &files[0], 1);
        until(|| kept(&world).len() < 2).await;
        assert_eq!(kept(&world)[0].0, files[1]);
        until(|| world.spools[PARIS].load("partial").unwrap().len() < 2).await;
        note_of(&world, &files[1]);
        paris.shutdown().await;
    })
    .await;
}

#[tokio::test]
async fn of_those_that_an_earlier_process_left_the_first_to_expire_goes_first() {
    within(async {
        let world = World::new();
        let paris = paris_with(&world, relay(1 << 20)).await;
        let files = [leave_one(&world, &paris).await, leave_one(&world, &paris).await];
        paris.abort().await;
        drop(paris);
        // In either order of their keys.
        for (first, at) in [(1, 1 << 40), (0, 1 << 39)] {
            expires(&world, &files[first], at);
        }
        let paris = paris_with(&world, NodeConfig { partials: 1, ..relay(1 << 20) }).await;
        leave_partial(&world, &paris).await;
        assert!(!files[0].exists() && files[1].exists());
        paris.abort().await;
        drop(paris);
        let third = kept(&world).into_iter().find(|(path, _)| *path != files[1]).unwrap().0;
        expires(&world, &third, 1 << 39);
        let paris = paris_with(&world, NodeConfig { partials: 1, ..relay(1 << 20) }).await;
        leave_partial(&world, &paris).await;
        assert!(!third.exists() && files[1].exists());
        paris.shutdown().await;
    })
    .await;
}

/// A folder with whose partial files an attempt is said to be busy, for so many questions.
#[derive(Debug)]
struct Busy(Folder, Arc<AtomicUsize>);

impl Inbox for Busy {
    fn open(&self, offer: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        self.0.open(offer)
    }

    fn discard(&self, journal: &Journal) -> bool {
        let less = |left: usize| left.checked_sub(1);
        self.1.fetch_update(Ordering::SeqCst, Ordering::SeqCst, less).is_ok()
            || self.0.discard(journal)
    }
}

#[tokio::test]
async fn what_an_attempt_is_busy_with_is_asked_for_again_until_it_is_gone() {
    within(async {
        let (world, busy) = (World::new(), Arc::<AtomicUsize>::default());
        let paris = world.node_with(PARIS, relay(1 << 20)).await;
        let folder = FileSink::into_dir(world.folder.path().join("in")).keep_free(0);
        paris.receive("files", Busy(folder, Arc::clone(&busy))).unwrap();
        leave_partial(&world, &paris).await;
        busy.store(3, Ordering::SeqCst);
        assert!(paris.trust().revoke(world.identities[0].peer()).unwrap());
        until(|| kept(&world).is_empty()).await;
        assert_eq!(busy.load(Ordering::SeqCst), 0);
        paris.shutdown().await;
    })
    .await;
}
