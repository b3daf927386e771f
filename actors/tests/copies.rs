//! Copies by themselves: what comes out is what went in, while they are made and afterwards, and
//! nothing else does.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use estafette::Identity;
use estafette::delivery::{Content, TransferId};
use estafette::node::{Copied, Copies, CopyOrder, Copying, CopyingError};
use estafette::pipeline::{Source, SourceError, SourceReport};
use estafette::testing::Random;
use estafette::wire::Suite;
use estafette::wire::copy::{CopyHeader, PIECE_OVERHEAD};
use estafette_actors::copy::{CopySource, FileCopies};
use estafette_actors::source::{BytesSource, ReaderSource};
use estafette_actors::standard;
use futures_util::future::BoxFuture;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;

const PIECE: usize = 256 << 10;
const LENGTHS: [usize; 9] =
    [0, 1, 4095, PIECE - 1, PIECE, PIECE + 1, 4 * PIECE, 5 * PIECE + 17, 12 * PIECE - 40];

struct Scene {
    folder: TempDir,
    us: Identity,
}

impl Scene {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), us: Identity::generate() }
    }

    fn file(&self) -> PathBuf {
        self.folder.path().join("it.copy")
    }

    fn begin(&self, source: impl Source, twin: Option<Box<dyn Source>>) -> Copying {
        self.begin_with(Suite::XSALSA20_POLY1305, source, twin).unwrap()
    }

    fn begin_with(
        &self,
        suite: Suite,
        source: impl Source,
        twin: Option<Box<dyn Source>>,
    ) -> Result<Copying, CopyingError> {
        let (content, file) = (source.content(), self.file());
        FileCopies.copy(CopyOrder {
            source: Box::new(source),
            twin,
            content,
            identity: self.us.clone(),
            transfer: TransferId::random(),
            suite,
            file,
        })
    }

    async fn copy(&self, bytes: &[u8]) -> Copied {
        self.begin(source(bytes), None).done.await.unwrap()
    }

    fn open(&self) -> Result<Box<dyn Source>, SourceError> {
        FileCopies.open(&self.file(), &self.us)
    }

    fn left(&self) -> usize {
        fs::read_dir(self.folder.path()).unwrap().count()
    }
}

fn source(bytes: &[u8]) -> BytesSource {
    BytesSource::new("letter", bytes.to_vec()).unwrap()
}

fn noise(length: usize) -> Vec<u8> {
    Random::seeded(3).bytes(length)
}

fn on_a_node<T>(future: impl Future<Output = T>) -> T {
    actix::System::new().block_on(async {
        tokio::time::timeout(std::time::Duration::from_secs(180), future).await.expect("it hangs")
    })
}

/// Reads to the end, so many bytes at a time.
async fn read(source: &mut dyn Source, step: usize) -> Result<Vec<u8>, SourceError> {
    let (mut all, mut buffer) = (Vec::new(), vec![0; step]);
    loop {
        match source.read(&mut buffer).await? {
            0 => break,
            count => all.extend(&buffer[..count]),
        }
    }
    source.finish().map(|_| all)
}

/// Gives some bytes, and then fails.
#[derive(Debug)]
struct Failing(BytesSource);

impl Source for Failing {
    fn content(&self) -> Content {
        self.0.content()
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        self.0.read(buffer)
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        Err(SourceError::Changed { what: "letter".into(), how: "by somebody".into() })
    }
}

#[test]
fn what_was_copied_is_read_in_steps_of_any_length_as_often_as_one_likes() {
    on_a_node(async {
        let scene = Scene::new();
        for length in LENGTHS {
            let bytes = noise(length);
            let copied = scene.copy(&bytes).await;
            assert_eq!(
                (copied.length, copied.bytes),
                (length as u64, fs::metadata(scene.file()).unwrap().len())
            );
            let mut copy = scene.open().unwrap();
            assert_eq!(copy.content(), source(&bytes).content().with_length(Some(length as u64)));
            for step in [PIECE, 4096 + 1, PIECE + 1] {
                assert!(
                    read(&mut *copy, step).await.unwrap() == bytes,
                    "{length} bytes in steps of {step}"
                );
                assert!(copy.rewind().unwrap());
            }
            assert_eq!(scene.left(), 1);
        }
    });
}

#[test]
fn a_copy_is_read_as_it_grows_and_has_the_same_version_then_and_later() {
    on_a_node(async {
        let scene = Scene::new();
        for length in LENGTHS {
            let bytes = noise(length);
            let (mut to, from) = tokio::io::duplex(64 << 10);
            let Copying { source: mut growing, done } =
                scene.begin(ReaderSource::new("letter", from).unwrap(), None);
            let writing = async {
                to.write_all(&bytes).await.unwrap();
                drop(to);
            };
            let ((), copied, grown) = tokio::join!(writing, done, read(&mut *growing, 10_000));
            assert!(grown.unwrap() == bytes, "{length}");
            assert_eq!(copied.unwrap().length, length as u64);
            let copy = scene.open().unwrap();
            assert!(copy.version().is_some() && copy.version() == growing.version());
            assert_eq!(copy.content().length, Some(length as u64), "it is known by now");
            growing.rewind().unwrap();
            assert!(read(&mut *growing, PIECE).await.unwrap() == bytes);
        }
    });
}

#[test]
fn a_copy_that_comes_to_nothing_leaves_nothing_and_no_end_is_given_out() {
    on_a_node(async {
        let bytes = noise(3 * PIECE + 5);
        for twin in [None, Some(Box::new(source(&bytes)) as Box<dyn Source>)] {
            let scene = Scene::new();
            let Copying { source: mut growing, done } = scene.begin(Failing(source(&bytes)), twin);
            let (copied, grown) = tokio::join!(done, read(&mut *growing, PIECE));
            assert!(matches!(copied, Err(CopyingError::Source(SourceError::Changed { .. }))));
            let error = grown.unwrap_err().to_string();
            assert!(error.contains("letter") && error.contains("came to nothing"), "{error}");
            assert_eq!(scene.left(), 0);
        }
    });
}

#[test]
fn who_waits_no_more_stops_the_copy_and_who_reads_no_more_does_not() {
    on_a_node(async {
        let scene = Scene::new();
        let (_open, from) = tokio::io::duplex(64);
        let Copying { source: mut growing, done } =
            scene.begin(ReaderSource::new("letter", from).unwrap(), None);
        let mut done = Box::pin(done);
        assert!(futures_util::poll!(&mut done).is_pending());
        drop(done);
        assert!(growing.read(&mut [0]).await.is_err());
        assert_eq!(scene.left(), 0);
        let Copying { source: growing, done } = scene.begin(source(&noise(PIECE)), None);
        drop(growing);
        assert_eq!(done.await.unwrap().length, PIECE as u64);
    });
}

#[test]
fn a_twin_is_read_first_and_the_copy_from_then_on() {
    on_a_node(async {
        let scene = Scene::new();
        let bytes = noise(2 * PIECE + 5);
        let Copying { source: mut first, done } =
            scene.begin(source(&bytes), Some(Box::new(source(&bytes))));
        let (copied, read_first) = tokio::join!(done, read(&mut *first, PIECE));
        assert!(read_first.unwrap() == bytes && copied.is_ok());
        // One that changes later is not asked again.
        let Copying { source: mut first, done } =
            scene.begin(source(&bytes), Some(Box::new(Failing(source(&noise(PIECE))))));
        let (copied, read_first) = tokio::join!(done, read(&mut *first, PIECE));
        assert!(copied.is_ok() && matches!(read_first, Err(SourceError::Changed { .. })));
        assert!(first.rewind().unwrap() && first.version() == scene.open().unwrap().version());
        assert!(read(&mut *first, PIECE).await.unwrap() == bytes);
    });
}

#[test]
fn rot_anywhere_is_noticed_before_anything_of_it_is_given_out() {
    on_a_node(async {
        let scene = Scene::new();
        let bytes = noise(2 * PIECE + 100);
        scene.copy(&bytes).await;
        let whole = fs::read(scene.file()).unwrap();
        let header = whole.len() - bytes.len() - 3 * PIECE_OVERHEAD;
        let (mut places, mut random) = ((0..400).collect::<Vec<_>>(), Random::seeded(1));
        places.extend((0..200).map(|_| random.below(whole.len() as u64) as usize));
        places.extend([whole.len() - 1, whole.len() - 100, whole.len() - 101, whole.len() - 120]);
        for place in places {
            let mut rotten = whole.clone();
            rotten[place] ^= 1 << random.below(8);
            fs::write(scene.file(), &rotten).unwrap();
            let mut given = Vec::new();
            let outcome = match scene.open() {
                Ok(mut copy) => loop {
                    let mut buffer = vec![0; 5000];
                    match copy.read(&mut buffer).await {
                        Ok(0) => break Ok(()),
                        Ok(count) => given.extend(&buffer[..count]),
                        Err(error) => break Err(error),
                    }
                },
                Err(error) => Err(error),
            };
            let error = outcome.expect_err("it was changed");
            // Of the header nobody can tell rot from another key.
            let fits = match error {
                SourceError::Damaged { .. } => true,
                SourceError::Unsuitable { .. } | SourceError::OtherKey { .. } => place < header,
                _ => false,
            };
            assert!(fits, "byte {place}: {error}");
            assert!(
                error.to_string().contains("it.copy") && bytes.starts_with(&given),
                "byte {place}: {error}"
            );
        }
        let cuts = [
            0,
            15,
            16,
            300,
            whole.len() - 1,
            whole.len() - 101,
            whole.len() - 120,
            whole.len() / 2,
        ];
        let others =
            cuts.map(|length| whole[..length].to_vec())
                .into_iter()
                .chain([[&whole[..], &[0]].concat()]);
        for other in others {
            fs::write(scene.file(), &other).unwrap();
            let outcome = match scene.open() {
                Ok(mut copy) => read(&mut *copy, PIECE).await.map(drop),
                Err(error) => Err(error),
            };
            assert!(matches!(outcome, Err(SourceError::Damaged { .. })), "{} bytes", other.len());
        }
    });
}

#[test]
fn nobody_else_reads_a_copy_and_its_content_is_nowhere_in_it() {
    on_a_node(async {
        let scene = Scene::new();
        scene.copy(&b"the secret content ".repeat(1000)).await;
        let file = fs::read(scene.file()).unwrap();
        let holds = |text: &[u8]| file.windows(text.len()).any(|window| window == text);
        assert!(!holds(b"secret") && !holds(b"letter"));
        let other = Identity::generate();
        let locked = CopySource::open(scene.file(), &other).unwrap_err();
        assert!(matches!(locked, SourceError::OtherKey { us, .. } if us == other.peer()));
        assert_eq!(fs::metadata(scene.file()).unwrap().permissions().mode() & 0o777, 0o600);
    });
}

#[test]
fn what_is_no_copy_is_said_to_be_none() {
    let scene = Scene::new();
    let missing = scene.open().unwrap_err();
    assert!(
        matches!(missing, SourceError::Read { ref error, .. } if error.kind() == io::ErrorKind::NotFound),
        "{missing}"
    );
    fs::write(scene.file(), [7; 100]).unwrap();
    assert!(matches!(scene.open(), Err(SourceError::Unsuitable { .. })));
    fs::remove_file(scene.file()).unwrap();
    fs::create_dir(scene.file()).unwrap();
    assert!(matches!(scene.open(), Err(SourceError::Unsuitable { .. })));
}

#[test]
fn a_copy_is_read_with_the_suite_that_it_names() {
    for suite in standard().stages().suites() {
        let scene = Scene::new();
        for length in [0, PIECE, 2 * PIECE + 17] {
            let bytes = noise(length);
            let read = on_a_node(async {
                let copying = scene.begin_with(suite, source(&bytes), None).unwrap();
                let mut growing = copying.source;
                let (copied, grown) =
                    futures_util::join!(copying.done, read(growing.as_mut(), 1 << 16));
                copied.unwrap();
                [grown.unwrap(), read(scene.open().unwrap().as_mut(), 1 << 16).await.unwrap()]
            });
            assert!(read.iter().all(|read| *read == bytes), "{suite}, {length} bytes");
        }
    }
}

#[test]
fn a_suite_that_is_not_here_is_named_to_whoever_would_copy_or_read_with_it() {
    let scene = Scene::new();
    let error = scene.begin_with(Suite(777), source(b"x"), None).err().unwrap().to_string();
    assert!(error.contains("suite 777") && error.contains("processor"), "{error}");
    let content = source(b"x").content();
    let header =
        CopyHeader::seal(&scene.us, TransferId::random(), Suite(777), 1 << 10, content).unwrap();
    fs::write(scene.file(), header.as_bytes()).unwrap();
    let error = scene.open().err().unwrap();
    assert!(matches!(error, SourceError::Unsuitable { .. }), "it is no damage: {error}");
    let error = error.to_string();
    assert!(error.contains("suite 777") && error.contains("processor"), "{error}");
}
