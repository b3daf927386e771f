//! A copy as content: read when it is whole, or while it grows.
//!
//! Invariant: nothing of a piece is given out before its tag agreed, and no end before the copy has
//! its last piece.

use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use estafette::delivery::{Content, ContentKind, EpochKey};
use estafette::pipeline::{Source, SourceError, SourceReport};
use estafette::wire::Identity;
use estafette::wire::copy::{COPY_PREAMBLE, CopyError, CopyHeader, PIECE_OVERHEAD};
use estafette::wire::envelope::EnvelopeError;
use futures_util::future::BoxFuture;
use tokio::sync::watch;

use crate::seal::SuiteCipher;
use crate::tree::printable;

/// The progress of a copy, for who reads it meanwhile.
#[derive(Debug, Default)]
pub(super) struct Grown {
    /// The file to read it from.
    pub(super) file: Option<Arc<File>>,
    /// Pieces that can be read in the file.
    pub(super) pieces: u64,
    /// The report of the source, or the reason why the copy came to nothing.
    pub(super) ended: Option<Result<SourceReport, String>>,
}

/// Reads a copy, for the node that made it.
pub struct CopySource {
    path: PathBuf,
    header: CopyHeader,
    cipher: SuiteCipher,
    content: Content,
    /// Set while the copy may not be whole yet.
    growing: Option<watch::Receiver<Grown>>,
    file: Option<Arc<File>>,
    keys: PieceKeys,
    /// The piece that is due, and where it begins.
    next: u64,
    offset: u64,
    ended: bool,
    record: Vec<u8>,
    /// Opened and not yet given out, from `given` on: what did not fit where it was asked for.
    rest: Vec<u8>,
    given: usize,
}

/// The key that was used last: pieces come in a row.
#[derive(Debug, Default)]
pub(super) struct PieceKeys(Option<(u64, EpochKey)>);

impl PieceKeys {
    pub(super) fn of(&mut self, header: &CopyHeader, index: u64) -> &EpochKey {
        let epoch = EpochKey::epoch(index);
        if self.0.as_ref().is_none_or(|(known, _)| *known != epoch) {
            self.0 = None;
        }
        &self.0.get_or_insert_with(|| (epoch, header.key().epoch_key(&header.scope(), index))).1
    }
}

impl CopySource {
    /// Opens the copy `file`, which is whole, with the key of the node that made it.
    pub fn open(file: impl AsRef<Path>, identity: &Identity) -> Result<Self, SourceError> {
        let path = std::path::absolute(&file).map_err(|error| failed(file.as_ref(), error))?;
        // A fifo would be waited for.
        let metadata = std::fs::metadata(&path).map_err(|error| failed(&path, error))?;
        if !metadata.is_file() {
            return Err(SourceError::Unsuitable {
                what: name(&path),
                why: "it is no regular file".into(),
            });
        }
        let file = File::open(&path).map_err(|error| failed(&path, error))?;
        let header = read_header(&path, &file, identity)?;
        let cipher = SuiteCipher::of(header.scope().suite)
            .map_err(|why| SourceError::Unsuitable { what: name(&path), why })?;
        let (pieces, record) = (
            metadata.len().saturating_sub(header.as_bytes().len() as u64),
            PIECE_OVERHEAD + header.piece_size(),
        );
        let length = pieces.saturating_sub((pieces / record as u64 + 1) * PIECE_OVERHEAD as u64);
        let content = header.content().clone();
        let told = content.length.or(Some(length));
        let content = content.with_length(told);
        Ok(Self { file: Some(Arc::new(file)), content, ..Self::of(path, header, cipher, None) })
    }

    /// The header in front of it.
    pub(super) const fn header(&self) -> &CopyHeader {
        &self.header
    }

    /// The copy that will be at `path`, as it grows.
    pub(super) fn following(
        path: PathBuf,
        header: CopyHeader,
        cipher: SuiteCipher,
        growing: watch::Receiver<Grown>,
    ) -> Self {
        Self::of(path, header, cipher, Some(growing))
    }

    fn of(
        path: PathBuf,
        header: CopyHeader,
        cipher: SuiteCipher,
        growing: Option<watch::Receiver<Grown>>,
    ) -> Self {
        let (content, offset) = (header.content().clone(), header.as_bytes().len() as u64);
        let (keys, record, rest) = Default::default();
        Self {
            path,
            header,
            cipher,
            content,
            growing,
            file: None,
            keys,
            next: 0,
            offset,
            ended: false,
            record,
            rest,
            given: 0,
        }
    }

    async fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, SourceError> {
        if self.given < self.rest.len() {
            let count = (self.rest.len() - self.given).min(buffer.len());
            buffer[..count].copy_from_slice(&self.rest[self.given..][..count]);
            self.given += count;
            return Ok(count);
        }
        if self.ended {
            return Ok(0);
        }
        self.wait().await?;
        let length = self.read_piece()?;
        if buffer.len() >= length {
            self.open_piece(&mut buffer[..length])?;
            return Ok(length);
        }
        let mut rest = std::mem::take(&mut self.rest);
        rest.resize(length, 0);
        let opened = self.open_piece(&mut rest);
        (self.rest, self.given) = (rest, 0);
        opened?;
        Box::pin(self.fill(buffer)).await
    }

    /// Waits until the next piece is in the file.
    async fn wait(&mut self) -> Result<(), SourceError> {
        let Some(growing) = &mut self.growing else { return Ok(()) };
        let next = self.next;
        let here = growing
            .wait_for(|grown| grown.pieces > next || matches!(grown.ended, Some(Err(_))))
            .await;
        let failed = match here {
            Ok(grown) if grown.pieces > next => {
                self.file.clone_from(&grown.file);
                return Ok(());
            }
            Ok(grown) => grown.ended.clone().and_then(Result::err),
            Err(_) => None,
        };
        Err(nothing(&self.content, failed))
    }

    /// Waits until the copy has its last piece.
    pub(super) async fn whole(&mut self) -> Result<(), SourceError> {
        let Some(growing) = &mut self.growing else { return Ok(()) };
        let failed = match growing.wait_for(|grown| grown.ended.is_some()).await {
            Ok(grown) => grown.ended.clone().and_then(Result::err),
            Err(_) => Some("whoever made it stopped".into()),
        };
        failed.map_or(Ok(()), |why| Err(nothing(&self.content, Some(why))))
    }

    /// Reads the record of the next piece; how many bytes of content it has.
    fn read_piece(&mut self) -> Result<usize, SourceError> {
        let size = self.header.piece_size();
        let file = self.file.as_ref().ok_or_else(|| nothing(&self.content, None))?;
        // No more than there is, and a byte to see that nothing follows.
        let there = file.metadata().map_err(|error| failed(&self.path, error))?.len();
        let left = usize::try_from(there.saturating_sub(self.offset)).unwrap_or(usize::MAX);
        self.record.resize((PIECE_OVERHEAD + size).min(left.saturating_add(1)), 0);
        let read = read_at(file, &mut self.record, self.offset)
            .map_err(|error| failed(&self.path, error))?;
        let length =
            self.record.first_chunk().map_or(0, |length| u32::from_le_bytes(*length) as usize);
        if read < PIECE_OVERHEAD || length > size || read < PIECE_OVERHEAD + length {
            return Err(
                self.damaged(format!("it ends within piece {}, or says so wrongly", self.next))
            );
        }
        if length < size && read > PIECE_OVERHEAD + length {
            return Err(self.damaged("something follows its last piece".into()));
        }
        Ok(length)
    }

    /// Opens what was read into `plain`, which has just its length.
    fn open_piece(&mut self, plain: &mut [u8]) -> Result<(), SourceError> {
        let last = plain.len() < self.header.piece_size();
        let epoch = self.keys.of(&self.header, self.next);
        let (front, sealed) = self.record.split_at(PIECE_OVERHEAD);
        let tag = front.last_chunk().expect("a piece begins with length and tag");
        let at = (epoch, self.next, last);
        let opened = self.cipher.open(at, tag, &sealed[..plain.len()], plain);
        if opened.is_err() {
            return Err(self.damaged(format!("the tag of piece {} does not agree", self.next)));
        }
        self.next += 1;
        self.offset += (PIECE_OVERHEAD + plain.len()) as u64;
        self.ended = last;
        Ok(())
    }

    fn damaged(&self, how: String) -> SourceError {
        SourceError::Damaged { what: name(&self.path), offset: self.offset, how }
    }
}

impl Source for CopySource {
    fn content(&self) -> Content {
        self.content.clone()
    }

    fn read<'a>(&'a mut self, buffer: &'a mut [u8]) -> BoxFuture<'a, Result<usize, SourceError>> {
        Box::pin(self.fill(buffer))
    }

    fn finish(&mut self) -> Result<SourceReport, SourceError> {
        let said = self.growing.as_ref().and_then(|growing| growing.borrow().ended.clone());
        match said {
            Some(Ok(report)) => Ok(report),
            Some(Err(why)) => Err(nothing(&self.content, Some(why))),
            None => {
                let is_file = matches!(self.content.kind, ContentKind::File { .. });
                Ok(SourceReport { files: u64::from(is_file), ..SourceReport::default() })
            }
        }
    }

    fn version(&self) -> Option<[u8; 32]> {
        Some(self.header.identity())
    }

    fn rewind(&mut self) -> Result<bool, SourceError> {
        (self.next, self.offset, self.ended) = (0, self.header.as_bytes().len() as u64, false);
        self.rest.clear();
        self.given = 0;
        Ok(true)
    }
}

impl std::fmt::Debug for CopySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { path, header, next, ended, .. } = self;
        f.debug_struct("CopySource")
            .field("path", path)
            .field("header", header)
            .field("next", next)
            .field("ended", ended)
            .finish_non_exhaustive()
    }
}

fn read_header(path: &Path, file: &File, identity: &Identity) -> Result<CopyHeader, SourceError> {
    let unsound = |error: CopyError| match error {
        CopyError::NotACopy | CopyError::UnknownVersion { .. } | CopyError::OtherAuthor { .. } => {
            SourceError::Unsuitable { what: name(path), why: error.to_string() }
        }
        CopyError::Envelope(EnvelopeError::NotAuthentic) => {
            SourceError::OtherKey { what: name(path), us: identity.peer() }
        }
        error => SourceError::Damaged { what: name(path), offset: 0, how: error.to_string() },
    };
    let read = |buffer: &mut [u8]| match read_at(file, buffer, 0) {
        Ok(read) if read == buffer.len() => Ok(()),
        Ok(_) => Err(SourceError::Damaged {
            what: name(path),
            offset: 0,
            how: "it ends within its header".into(),
        }),
        Err(error) => Err(failed(path, error)),
    };
    let mut preamble = [0; COPY_PREAMBLE];
    read(&mut preamble)?;
    let mut bytes = vec![0; CopyHeader::length(&preamble).map_err(unsound)?];
    read(&mut bytes)?;
    CopyHeader::open(identity, &bytes).map_err(unsound)
}

/// Reads until `buffer` is full or the file ends.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The path for a person.
fn name(path: &Path) -> String {
    format!("the copy {}", printable(path.as_os_str().as_bytes()))
}

fn failed(path: &Path, error: io::Error) -> SourceError {
    SourceError::Read { what: name(path), error }
}

fn nothing(content: &Content, why: Option<String>) -> SourceError {
    let why = why.unwrap_or_else(|| "whoever made it stopped".into());
    SourceError::Unsuitable {
        what: content.name.to_string(),
        why: format!("its copy came to nothing: {why}"),
    }
}
