//! A receiver that is short of descriptors when a delivery ends leaves nothing of it: what can't be
//! removed then is removed when another delivery begins or ends, and is nothing that the next
//! process keeps.
//!
//! One test, in a program of its own: the limit is one of the process.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

#[path = "content/durable.rs"]
#[allow(dead_code, reason = "other tests need the rest of it")]
mod durable;
#[path = "content/harness.rs"]
#[allow(dead_code, reason = "other tests need the rest of it")]
mod harness;

use std::fs;
use std::path::Path;

use bytes::Bytes;
use estafette::delivery::ContentKind;
use estafette::node::Store;
use estafette::pipeline::{Inbox, Sink};
use estafette_actors::sink::{FileSink, Folder};
use estafette_actors::source::TreeSource;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tempfile::tempdir;

use durable::Delivery;
use harness::{block_on, content, names, offer, read_all};

/// The descriptors that the test needs besides.
const ENOUGH: u64 = 256;

fn allow(descriptors: u64) {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(descriptors), maximum }).unwrap();
}

/// The descriptor that would be opened next.
fn next_descriptor() -> u64 {
    use std::os::fd::AsRawFd;
    fs::File::open("/dev/null").unwrap().as_raw_fd() as u64
}

fn tree() -> Delivery {
    let from = tempdir().unwrap();
    fs::create_dir_all(from.path().join("a/b/c")).unwrap();
    fs::write(from.path().join("a/b/c/leaf"), vec![7; 3000]).unwrap();
    let mut source = TreeSource::new(vec![from.path().into()]).unwrap();
    Delivery::of_kind(ContentKind::Tree, block_on(read_all(&mut source, 4096)).unwrap())
}

/// Another delivery, which begins and ends.
fn another(inbox: &Folder) {
    let mut sink = inbox.open(&offer(content(ContentKind::Bytes, "another", Some(4)))).unwrap();
    block_on(sink.write(0, &Bytes::from_static(b"more"))).unwrap();
    sink.abort("it was only to begin and to end");
}

/// All that is left, and how the folders that are left are called at their end.
fn left(folder: &Path) -> Vec<String> {
    names(folder)
        .into_iter()
        .map(|name| name.rsplit_once('.').map_or(name.clone(), |(_, ending)| ending.to_owned()))
        .collect()
}

/// A tree that is staged as it comes, and given up half way.
fn staged(delivery: &Delivery, inbox: &Folder) -> Box<dyn Sink> {
    let mut sink = inbox.open(&offer(content(ContentKind::Tree, "content", None))).unwrap();
    block_on(sink.write(0, &Bytes::copy_from_slice(&delivery.bytes[..delivery.bytes.len() / 2])))
        .unwrap();
    sink
}

/// A tree that is kept as a stream, unpacked, and refused when it was to become visible.
fn unpacked(delivery: &Delivery, inbox: &Folder, folder: &Path) -> Box<dyn Sink> {
    let mut sink = delivery.open(inbox).unwrap();
    delivery.write(&mut *sink, 0..delivery.chunks()).unwrap();
    fs::write(folder.join("content"), "somebody else's").unwrap();
    block_on(sink.commit(&delivery.summary())).unwrap_err();
    fs::remove_file(folder.join("content")).unwrap();
    sink
}

#[test]
fn a_receiver_short_of_descriptors_leaves_nothing() {
    let (to, delivery) = (tempdir().unwrap(), tree());
    let inbox = FileSink::into_dir(to.path());
    inbox.prepare().unwrap();
    for kind in ["staged", "unpacked"] {
        for the_same_process in [true, false] {
            let mut sink = if kind == "staged" {
                staged(&delivery, &inbox)
            } else {
                unpacked(&delivery, &inbox, to.path())
            };
            allow(3);
            sink.abort("nobody wants it");
            drop(sink);
            allow(ENOUGH);
            assert_eq!(
                left(to.path()),
                ["tree"],
                "{kind}: what can't be removed is kept by nobody"
            );
            assert_eq!(delivery.spool.load("partial").unwrap(), [], "{kind}: it is over");
            if the_same_process {
                another(&inbox);
            } else {
                FileSink::into_dir(to.path()).prepare().unwrap();
            }
            assert_eq!(left(to.path()), [""; 0], "{kind}, {the_same_process}");
        }
    }
    // There are just as many that the folder is opened, and not what is made in it.
    for more in 0..6 {
        allow(next_descriptor() + more);
        let opened = inbox.open(&offer(content(ContentKind::Tree, "content", None)));
        allow(ENOUGH);
        drop(opened);
        assert_eq!(left(to.path()), [""; 0], "with {more} descriptors");
    }
    sends_all_or_fails();
    // The last one to end is followed by none: then by the end of the inbox.
    let mut sink = staged(&delivery, &inbox);
    allow(3);
    sink.abort("nobody wants it");
    drop(sink);
    allow(ENOUGH);
    drop(inbox);
    assert_eq!(left(to.path()), [""; 0]);
}

/// Checks that what a sender short of descriptors can't open is not left out of its tree: another
/// try sends all of it.
fn sends_all_or_fails() {
    let from = tempdir().unwrap();
    fs::create_dir_all(from.path().join("a/b/c")).unwrap();
    ["a/1", "a/b/2", "a/b/c/3"]
        .iter()
        .for_each(|name| fs::write(from.path().join(name), name).unwrap());
    // One that needs no descriptors.
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let read = || {
        let mut source =
            TreeSource::new(vec![from.path().into()]).map_err(|error| error.to_string())?;
        runtime.block_on(read_all(&mut source, 4096)).map_err(|error| error.to_string())
    };
    let (whole, mut failed) = (read().unwrap(), 0);
    for more in 0..8 {
        allow(next_descriptor() + more);
        let some = read();
        allow(ENOUGH);
        failed += usize::from(some.is_err());
        assert!(
            some.is_err() || some == Ok(whole.clone()),
            "with {more} descriptors something is left out"
        );
    }
    assert!((1..8).contains(&failed), "{failed}");
}
