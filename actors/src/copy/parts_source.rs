//! A copy in parts as content: one part behind the other.
//!
//! Invariant: there is an end only where all parts were, each where its sealed header says.

use std::path::{Path, PathBuf};

use estafette::delivery::{Content, TransferId};
use estafette::pipeline::{Source, SourceError, SourceReport};
use estafette::wire::Identity;
use futures_util::future::BoxFuture;

use super::parts::{end, name_of, starts};
use super::source::CopySource;

const VERSION_CONTEXT: &str = "estafette 2026-11 v1 copy in parts";

/// Reads a copy in [`Parts`](super::Parts), for the node that made it.
#[derive(Debug)]
pub struct PartsSource {
    folder: PathBuf,
    identity: Identity,
    starts: Vec<u64>,
    transfer: TransferId,
    content: Content,
    length: u64,
    version: [u8; 32],
    /// The part that is read, and which is next.
    part: Option<CopySource>,
    next: usize,
    /// Bytes that were given.
    given: u64,
}

impl PartsSource {
    /// Opens the copy whose parts are in `folder`, all of them, with the key of the node that made
    /// it. Blocks.
    ///
    /// # Errors
    /// It is not whole, or a part is damaged.
    pub fn open(folder: impl AsRef<Path>, identity: &Identity) -> Result<Self, SourceError> {
        let folder = folder.as_ref();
        let failed = |error| SourceError::Read { what: name(folder), error };
        let starts = starts(folder).map_err(failed)?;
        let Some(length) = end(folder).map_err(failed)?.filter(|_| !starts.is_empty()) else {
            let why = "not all of its parts are there".into();
            return Err(SourceError::Unsuitable { what: name(folder), why });
        };
        let first = CopySource::open(folder.join(name_of(0)), identity)?;
        let header = first.header();
        let transfer = header.scope().transfer;
        let content = header.content().clone().with_length(Some(length));
        let told = [&header.identity()[..], &length.to_le_bytes()].concat();
        let version = blake3::derive_key(VERSION_CONTEXT, &told);
        let (part, next, given) = Default::default();
        let (folder, identity) = (folder.to_owned(), identity.clone());
        Ok(Self { folder, identity, starts, transfer, content, length, version, part, next, given })
    }

    async fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        loop {
            if let Some(part) = &mut self.part {
                let read = part.read(buffer).await?;
                self.given += read as u64;
                if read > 0 || buffer.is_empty() {
                    return Ok(read);
                }
                self.part = None;
            }
            let Some(&start) = self.starts.get(self.next) else {
                return if self.given == self.length { Ok(0) } else { Err(self.missing()) };
            };
            let part = CopySource::open(self.folder.join(name_of(start)), &self.identity)?;
            let header = part.header();
            let is_next = header.content().length == Some(start)
                && header.scope().transfer == self.transfer
                && start == self.given;
            if !is_next {
                return Err(self.missing());
            }
            (self.part, self.next) = (Some(part), self.next + 1);
        }
    }

    fn missing(&self) -> SourceError {
        let how = "the part that begins there is missing, or another one is in its place".into();
        SourceError::Damaged { what: name(&self.folder), offset: self.given, how }
    }
}

impl Source for PartsSource {
    fn content(&self) -> Content {
        self.content.clone()
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        Box::pin(self.fill(buffer))
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        Ok(SourceReport::default())
    }

    fn version(&self) -> Option<[u8; 32]> {
        Some(self.version)
    }

    fn rewind(&mut self) -> Result<bool, SourceError> {
        (self.part, self.next, self.given) = (None, 0, 0);
        Ok(true)
    }
}

fn name(folder: &Path) -> String {
    format!("the copy {}", folder.display())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use estafette::delivery::{ContentKind, ContentName};
    use estafette::wire::Suite;
    use estafette::wire::copy::CopyHeader;

    use super::super::Parts;
    use super::*;

    const LENGTHS: [usize; 5] = [1, 256 << 10, (256 << 10) - 1, 1_000_000, 70_000];

    fn header(identity: &Identity, id: TransferId, start: u64) -> CopyHeader {
        let name = ContentName::new(*b"photo.raw").unwrap();
        let content = Content::new(ContentKind::Bytes, name, Some(start));
        let suite = Suite::XSALSA20_POLY1305;
        CopyHeader::seal(identity, id, suite, Parts::PIECE, content).unwrap()
    }

    /// A copy of these parts, and its content.
    fn made(folder: &Path, identity: &Identity, lengths: &[usize]) -> (Parts, Vec<u8>) {
        let (parts, id) = (Parts::create(folder, b"note").unwrap(), TransferId::random());
        let mut all = Vec::new();
        for (number, &length) in lengths.iter().enumerate() {
            let start = all.len() as u64;
            assert_eq!(parts.length().unwrap(), (start, number));
            let content: Vec<u8> = (0..length).map(|at| (at * 7 + number) as u8).collect();
            let mut part = parts.begin(start, header(identity, id, start)).unwrap();
            content.chunks(100_000).for_each(|some| part.push(some).unwrap());
            assert_eq!(part.length(), length as u64);
            part.finish().unwrap();
            all.extend(content);
        }
        (parts, all)
    }

    async fn read(source: &mut PartsSource) -> Result<Vec<u8>, SourceError> {
        let (mut all, mut buffer) = (Vec::new(), vec![0; 50_000]);
        loop {
            match source.read(&mut buffer).await? {
                0 => return Ok(all),
                read => all.extend_from_slice(&buffer[..read]),
            }
        }
    }

    #[tokio::test]
    async fn parts_are_read_as_one_content_and_again() {
        let (place, identity) = (tempfile::tempdir().unwrap(), Identity::generate());
        let folder = place.path().join("a.parts");
        let (parts, all) = made(&folder, &identity, &LENGTHS);
        let unfinished = PartsSource::open(&folder, &identity).unwrap_err();
        assert!(unfinished.to_string().contains("not all of its parts"), "{unfinished}");
        // What was being written when a process died is no part.
        std::fs::write(folder.join(format!("{}.new", name_of(all.len() as u64))), "x").unwrap();
        assert_eq!(parts.length().unwrap(), (all.len() as u64, LENGTHS.len()));
        assert_eq!(
            [1, 2, 256 << 10, 256 << 20].map(|block| parts.small(block).unwrap()),
            [0, 1, 2, 4]
        );
        parts.finish().unwrap();
        let mut source = PartsSource::open(&folder, &identity).unwrap();
        assert_eq!(source.content().length, Some(all.len() as u64));
        assert_eq!(read(&mut source).await.unwrap(), all);
        assert!(source.rewind().unwrap());
        assert_eq!(read(&mut source).await.unwrap(), all);
        let version = PartsSource::open(&folder, &identity).unwrap().version();
        assert_eq!(version, source.version());
        assert!(PartsSource::open(&folder, &Identity::generate()).is_err());
        assert!(!std::fs::read(folder.join(name_of(1))).unwrap().windows(64).any(|some| {
            let plain: Vec<u8> = (1000..1064).map(|at: usize| (at * 7 + 1) as u8).collect();
            some == plain
        }));
        parts.remove().unwrap();
        assert!(Parts::open(&folder).is_err() && !folder.exists());
    }

    #[tokio::test]
    async fn nothing_is_an_end_where_a_part_is_missing_damaged_or_in_the_place_of_another() {
        let identity = Identity::generate();
        type Fault = fn(&Path);
        let faults: [Fault; 5] = [
            |folder| std::fs::remove_file(folder.join(name_of(1000))).unwrap(),
            |folder| std::fs::remove_file(folder.join(name_of(2000))).unwrap(),
            |folder| {
                std::fs::rename(folder.join(name_of(2000)), folder.join(name_of(1000))).unwrap();
            },
            |folder| {
                let (a, b) = (folder.join(name_of(1000)), folder.join(name_of(2000)));
                let kept = std::fs::read(&a).unwrap();
                std::fs::rename(&b, &a).unwrap();
                std::fs::write(&b, kept).unwrap();
            },
            |folder| {
                let path = folder.join(name_of(2000));
                let mut bytes = std::fs::read(&path).unwrap();
                *bytes.last_mut().unwrap() ^= 1;
                std::fs::write(&path, bytes).unwrap();
            },
        ];
        for (number, fault) in faults.into_iter().enumerate() {
            let place = tempfile::tempdir().unwrap();
            let folder = place.path().join("a.parts");
            let (parts, _) = made(&folder, &identity, &[1000, 1000, 1000]);
            parts.finish().unwrap();
            fault(&folder);
            let mut source = PartsSource::open(&folder, &identity).unwrap();
            let error = read(&mut source).await.unwrap_err();
            assert!(matches!(error, SourceError::Damaged { .. }), "{number}: {error}");
        }
    }
}
