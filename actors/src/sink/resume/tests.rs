//! Partial files that are found again, and what may have become of them.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::SystemTime;

use estafette::delivery::{Content, ContentKind, ContentName, TransferId};
use estafette::node::{MemoryStore, Store};
use estafette::wire::PeerId;

use super::*;
use crate::sink::publish::Taking;

const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

/// A delivery whose receiver died when the rename was noted, and had not been made.
fn intended(
    home: &Home,
    offer: &Offer,
    journal: &Journal,
    is_tree: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let Ok(Found::Partial(mut partial, _)) =
        open(home, offer, journal, Mode::RUSR | Mode::WUSR, &|_| Ok(()))
    else {
        return Err("there is something already".into());
    };
    partial.file().write_all_at(b"letter", 0)?;
    let kept = if is_tree { partial.unpack_into(home)?.0 } else { partial.name().to_owned() };
    home.complete(&kept)?;
    let summary = Summary { length: 6, digest: *blake3::hash(b"letter").as_bytes() };
    Ok(partial.intend(home, b"content", Taking::AtOnce, &summary, Committed::default())?)
}

#[test]
fn a_clock_that_is_put_forward_makes_no_delivery_that_was_not_made() {
    for is_tree in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let content =
            Content::new(ContentKind::Bytes, ContentName::new("content").unwrap(), Some(6));
        let offer =
            Offer::new(PeerId::from_bytes([7; 32]), TransferId::from_bytes([1; 24]), content);
        let store: Arc<dyn Store> = Arc::<MemoryStore>::default();
        let journal = Journal::for_tests(store, b"lyon's", Some([1; 32]), 1024).unwrap();
        let home = || Home::open(folder.path(), Default::default()).unwrap();
        intended(&home(), &offer, &journal, is_tree).unwrap();
        home().sweep(SystemTime::now() + YEAR);
        match open(&home(), &offer, &journal, Mode::RUSR | Mode::WUSR, &|_| Ok(())) {
            Ok(Found::Partial(partial, resumed)) => {
                assert!(
                    is_tree || matches!(*resumed, Resumed::Chunks(Progress { length: 6, .. })),
                    "{resumed:?}"
                );
                partial.discard(&home());
            }
            other => panic!("nothing is there, and {other:?}"),
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0, "what was given up goes");
    }
}

#[test]
fn what_was_intended_and_never_made_goes_when_nobody_goes_on_with_it() {
    for is_made in [false, true] {
        let folder = tempfile::tempdir().unwrap();
        let content =
            Content::new(ContentKind::Bytes, ContentName::new("content").unwrap(), Some(6));
        let offer =
            Offer::new(PeerId::from_bytes([7; 32]), TransferId::from_bytes([1; 24]), content);
        let store: Arc<dyn Store> = Arc::<MemoryStore>::default();
        let journal =
            |version| Journal::for_tests(Arc::clone(&store), b"lyon's", version, 1024).unwrap();
        let home = Home::open(folder.path(), Default::default()).unwrap();
        intended(&home, &offer, &journal(Some([1; 32])), false).unwrap();
        let there = || {
            std::fs::read_dir(folder.path())
                .unwrap()
                .map(|entry| entry.unwrap().path())
                .collect::<Vec<_>>()
        };
        if is_made {
            std::fs::rename(&there()[0], folder.path().join("content")).unwrap();
        }
        assert!(!give_up(&home, &journal(None)), "nobody works on it");
        let left = if is_made { vec![folder.path().join("content")] } else { Vec::new() };
        assert_eq!((there(), journal(None).outdated().is_some()), (left, is_made));
    }
}

#[test]
fn what_was_about_to_appear_in_another_folder_is_not_taken_for_made() {
    let (folder, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let content = Content::new(ContentKind::Bytes, ContentName::new("content").unwrap(), Some(6));
    let offer = Offer::new(PeerId::from_bytes([7; 32]), TransferId::from_bytes([1; 24]), content);
    let store: Arc<dyn Store> = Arc::<MemoryStore>::default();
    let journal =
        |version| Journal::for_tests(Arc::clone(&store), b"lyon's", version, 1024).unwrap();
    let home = |folder: &tempfile::TempDir| Home::open(folder.path(), Default::default()).unwrap();
    intended(&home(&folder), &offer, &journal(Some([1; 32])), false).unwrap();
    let open_in = |folder, version| {
        open(&home(folder), &offer, &journal(version), Mode::RUSR | Mode::WUSR, &|_| Ok(()))
    };
    for version in [[1; 32], [2; 32]] {
        match open_in(&other, Some(version)) {
            Err(refusal) if refusal.passing && refusal.reason.contains("another folder") => {}
            end => panic!("nobody knows what is in the folder that it is in: {end:?}"),
        }
    }
    assert!(!give_up(&home(&other), &journal(None)));
    assert!(
        matches!(open_in(&folder, Some([1; 32])), Ok(Found::Partial(..))),
        "it goes on where it was"
    );
}
