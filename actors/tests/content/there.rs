//! Deliveries that a folder recognises as made before: what is there untouched, or has the same
//! bytes, and nothing else.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use estafette::delivery::ContentKind;
use estafette::pipeline::{Committed, Inbox, Offer, Resumed, Summary};
use estafette_actors::sink::{FileSink, Folder, OnConflict};
use estafette_actors::source::{BytesSource, TreeSource};
use tempfile::{TempDir, tempdir};

use super::durable::Delivery;
use super::harness::{block_on, content, deliver, offer, read_all};

/// A folder with one delivery in it, and the offer of the same once more.
struct Again {
    place: TempDir,
    inbox: Folder,
    committed: Committed,
    offer: Offer,
}

impl Again {
    fn file() -> Self {
        let bytes = b"content that is long enough to be told apart".to_vec();
        Self::of(ContentKind::Bytes, &bytes, |inbox| {
            deliver(&mut BytesSource::new("content", bytes.clone()).unwrap(), inbox).unwrap().0
        })
    }

    fn tree() -> Self {
        let from = tempdir().unwrap();
        let root = from.path().join("content");
        fs::create_dir_all(root.join("in/ner")).unwrap();
        fs::write(root.join("in/ner/file"), "of the tree").unwrap();
        fs::write(root.join("another"), "of the tree").unwrap();
        let source = || TreeSource::new(vec![root.clone()]).unwrap();
        let bytes = block_on(read_all(&mut source(), 1000)).unwrap();
        Self::of(ContentKind::Tree, &bytes, |inbox| deliver(&mut source(), inbox).unwrap().0)
    }

    fn of(kind: ContentKind, bytes: &[u8], deliver: impl Fn(&Folder) -> Committed) -> Self {
        // A file system whose clock stood at a hundredth of a second tells nothing: once more.
        loop {
            let place = tempdir().unwrap();
            let inbox = FileSink::into_dir(place.path()).on_conflict(OnConflict::Rename);
            let committed = deliver(&inbox);
            let version = Some(*blake3::hash(bytes).as_bytes());
            let content = content(kind.clone(), "content", Some(bytes.len() as u64));
            let offer = Offer { memo: committed.memo.clone(), version, ..offer(content) };
            let again = Self { place, inbox, committed, offer };
            if kind == ContentKind::Bytes || again.is_there().is_some() {
                return again;
            }
        }
    }

    fn path(&self) -> PathBuf {
        self.place.path().join("content")
    }

    /// Returns what it is said to be, if it is said to be there.
    fn is_there(&self) -> Option<(Summary, Committed)> {
        self.answer(self.offer.clone())
    }

    fn answer(&self, offer: Offer) -> Option<(Summary, Committed)> {
        let mut sink = self.inbox.open(&offer).unwrap();
        let there = match sink.resumed() {
            Resumed::AlreadyThere(summary, committed) => Some((summary, committed)),
            _ => None,
        };
        if there.is_some() {
            // It takes nothing: all is there.
            block_on(sink.write(0, &Bytes::from_static(b"x"))).unwrap_err();
            block_on(sink.commit(&Summary { length: 1, digest: [0; 32] })).unwrap_err();
        }
        sink.abort("it was asked for");
        there
    }

    /// The same offer, of one that may have what is there read again.
    fn verifying(&self) -> Offer {
        Offer { journal: Some(Delivery::of(Vec::new()).journal()), ..self.offer.clone() }
    }
}

/// Puts the same bytes there anew, as another file.
fn exchange(path: &Path) {
    let new = path.with_extension("new");
    fs::copy(path, &new).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn a_file_that_nobody_touched_is_there_with_all_that_was_said_of_it() {
    let again = Again::file();
    let (summary, said) = again.answer(again.verifying()).unwrap();
    assert_eq!(Some(summary.digest), again.offer.version);
    let Committed { place, files, path, .. } = &again.committed;
    assert_eq!((&said.place, &said.files, &said.path), (place, files, path));
    // What is known by now is as good for the next time.
    let offer = Offer { memo: said.memo, ..again.verifying() };
    assert!(again.answer(offer).is_some());
}

#[test]
fn a_file_that_was_touched_is_read_if_that_may_be_and_its_bytes_tell() {
    let again = Again::file();
    exchange(&again.path());
    assert!(again.is_there().is_none(), "it was not read");
    let (_, said) = again.answer(again.verifying()).unwrap();
    // The memo of what it is now needs no reading.
    let known = Offer { memo: said.memo, ..again.offer.clone() };
    let tells = fs::metadata(again.path()).unwrap();
    if std::os::unix::fs::MetadataExt::ctime_nsec(&tells) % 10_000_000 != 0 {
        assert!(again.answer(known).is_some());
    }
    // Other bytes of the same length, and of another one.
    let bytes = fs::read(again.path()).unwrap();
    for other in [bytes.to_ascii_uppercase(), [&bytes[..], b"!"].concat(), Vec::new()] {
        fs::write(again.path(), other).unwrap();
        assert!(again.answer(again.verifying()).is_none());
    }
    fs::write(again.path(), bytes).unwrap();
    assert!(again.answer(again.verifying()).is_some());
}

#[test]
fn what_stands_in_its_place_is_not_it() {
    let again = Again::file();
    let elsewhere = again.place.path().join("elsewhere");
    fs::rename(again.path(), &elsewhere).unwrap();
    assert!(again.answer(again.verifying()).is_none(), "nothing is there");
    symlink(&elsewhere, again.path()).unwrap();
    assert!(again.answer(again.verifying()).is_none(), "a link to it is there");
    fs::remove_file(again.path()).unwrap();
    fs::create_dir(again.path()).unwrap();
    assert!(again.answer(again.verifying()).is_none(), "a folder is there");
}

#[test]
fn an_offer_of_something_else_is_not_it() {
    let again = Again::file();
    let offers = [
        Offer { version: Some([9; 32]), ..again.verifying() },
        Offer { version: None, ..again.verifying() },
        Offer { memo: None, ..again.verifying() },
        Offer { memo: Some(b"no memo".to_vec()), ..again.verifying() },
    ];
    for offer in offers {
        assert!(again.answer(offer).is_none());
    }
    let mut tree = again.verifying();
    tree.content.kind = ContentKind::Tree;
    assert!(again.answer(tree).is_none());
}

#[test]
fn a_folder_is_there_as_long_as_nothing_in_it_was_touched() {
    let touches: [fn(&Path); 6] = [
        |at| fs::write(at.join("in/ner/file"), "of the tree").unwrap(),
        |at| fs::write(at.join("in/ner/more"), "").unwrap(),
        |at| fs::remove_file(at.join("another")).unwrap(),
        |at| exchange(&at.join("another")),
        |at| fs::hard_link(at.join("another"), at.parent().unwrap().join("outside")).unwrap(),
        |at| {
            fs::rename(at, at.with_extension("away")).unwrap();
            fs::rename(at.with_extension("away"), at).unwrap();
        },
    ];
    for (number, touch) in touches.iter().enumerate() {
        let again = Again::tree();
        let (summary, said) = again.is_there().unwrap();
        assert_eq!(Some(summary.digest), again.offer.version);
        assert_eq!((said.files, &said.place), (2, &again.committed.place));
        // Within one tick of the clock a change can't be told from the delivery.
        let came = fs::metadata(again.path()).unwrap();
        loop {
            let probe = again.place.path().join("probe");
            fs::write(&probe, "").unwrap();
            let now = fs::metadata(probe).unwrap();
            if now.modified().unwrap() > came.modified().unwrap() && changed(&now) > changed(&came)
            {
                break;
            }
        }
        touch(&again.path());
        assert!(again.is_there().is_none(), "touch {number}");
        assert!(again.answer(again.verifying()).is_none(), "a folder is not read: {number}");
    }
}

fn changed(metadata: &fs::Metadata) -> (i64, i64) {
    use std::os::unix::fs::MetadataExt;
    (metadata.ctime(), metadata.ctime_nsec())
}
