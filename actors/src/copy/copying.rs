//! Content into a copy.
//!
//! Invariant: the last piece is written only when the source has said that all it gave belongs
//! together, so nobody who reads the copy as it grows gets to the end of content that changed
//! meanwhile.

use std::io;
use std::sync::Arc;

use estafette::node::{Copied, CopyOrder, Copying, CopyingError};
use estafette::pipeline::{Source, SourceReport};
use estafette::wire::copy::{CopyHeader, PIECE_OVERHEAD};
use tokio::sync::watch;

use super::source::{CopySource, Grown, PieceKeys};
use super::twin::TwinSource;
use super::writer::Writer;
use crate::new_file::NewFile;
use crate::seal::SuiteCipher;
use crate::source::fill;
use crate::thread::{self, Gone};

/// Bytes of content in each piece: those of a chunk, unless a delivery says otherwise, so that one
/// becomes the other in place.
pub(super) const PIECE: u32 = 256 << 10;

pub(super) fn copy(mut order: CopyOrder) -> Result<Copying, CopyingError> {
    let header = CopyHeader::seal(
        &order.identity,
        order.transfer,
        order.suite,
        PIECE,
        order.content.clone(),
    )?;
    let cipher = SuiteCipher::of(order.suite).map_err(CopyingError::Suite)?;
    let (grown, growing) = watch::channel(Grown::default());
    let copy = CopySource::following(order.file.clone(), header.clone(), cipher, growing);
    let source: Box<dyn Source> = match order.twin.take() {
        Some(twin) => Box::new(TwinSource::new(twin, copy)),
        None => Box::new(copy),
    };
    let file = order.file.clone();
    let work = move |_thread, gone| async move {
        let copied = work(order, (&header, cipher), &grown, gone).await;
        if let Err(error) = &copied {
            let text = error.to_string();
            grown.send_modify(|grown| grown.ended = Some(Err(text)));
        }
        copied
    };
    let done = Box::pin(async move {
        let place = file.clone();
        let undo = move |copied: Result<Copied, CopyingError>| {
            copied.map_or((), |_| thread::remove(&place))
        };
        match thread::run(work, undo).await {
            Ok(done) => done.unwrap_or(Err(CopyingError::Stopped)),
            Err(error) => Err(CopyingError::Write { file, error }),
        }
    });
    Ok(Copying { source, done })
}

async fn work(
    mut order: CopyOrder,
    (header, cipher): (&CopyHeader, SuiteCipher),
    grown: &watch::Sender<Grown>,
    mut gone: Gone,
) -> Result<Copied, CopyingError> {
    let target = order.file.clone();
    let failed = |error| CopyingError::Write { file: target.clone(), error };
    let file = NewFile::create(&order.file).map_err(failed)?;
    let reader = Arc::new(file.reader().map_err(failed)?);
    grown.send_modify(|grown| grown.file = Some(reader));
    let mut pieces = Pieces::begin(file, header.clone(), cipher, grown).map_err(failed)?;
    let report = tokio::select! {
        biased;
        _ = &mut gone => return Err(CopyingError::Stopped),
        report = pieces.copy(order.source.as_mut(), failed) => report?,
    };
    let Pieces { writer, length, .. } = pieces;
    let file = writer.finish().map_err(failed)?;
    grown.send_modify(|grown| (grown.pieces, grown.ended) = (u64::MAX, Some(Ok(report.clone()))));
    let bytes = file.publish().map_err(failed)?;
    Ok(Copied { bytes, length, report })
}

/// Content on its way into the file.
pub(super) struct Pieces {
    pub(super) header: CopyHeader,
    cipher: SuiteCipher,
    pub(super) writer: Writer,
    keys: PieceKeys,
    /// Bytes of content.
    pub(super) length: u64,
}

impl Pieces {
    pub(super) fn begin(
        file: NewFile,
        header: CopyHeader,
        cipher: SuiteCipher,
        grown: &watch::Sender<Grown>,
    ) -> io::Result<Self> {
        // Those before the last are all of one length.
        let (front, piece, telling) = (
            header.as_bytes().len() as u64,
            (PIECE_OVERHEAD + header.piece_size()) as u64,
            grown.clone(),
        );
        let tell = move |written: u64| {
            let pieces = written.saturating_sub(front) / piece;
            telling
                .send_if_modified(|grown| std::mem::replace(&mut grown.pieces, pieces) != pieces);
        };
        let mut writer = Writer::new(
            file,
            (PIECE_OVERHEAD + header.piece_size()).max(header.as_bytes().len()),
            tell,
        );
        writer.room(header.as_bytes().len()).copy_from_slice(header.as_bytes());
        writer.push(header.as_bytes().len())?;
        Ok(Self { header, cipher, writer, keys: PieceKeys::default(), length: 0 })
    }

    async fn copy(
        &mut self,
        source: &mut dyn Source,
        failed: impl Fn(io::Error) -> CopyingError,
    ) -> Result<SourceReport, CopyingError> {
        // As much as it is said to have, and room to see that it has no more.
        let piece = self.header.piece_size();
        let said = source.content().length.and_then(|length| usize::try_from(length).ok());
        let mut plain = vec![0; said.map_or(piece, |said| piece.min(said.saturating_add(1)))];
        for index in 0.. {
            let mut length = fill(source, &mut plain).await?;
            if length == plain.len() && length < piece {
                plain.resize(piece, 0);
                length += fill(source, &mut plain[length..]).await?;
            }
            let report = if length < plain.len() { Some(source.finish()?) } else { None };
            self.put(index, &plain[..length]).map_err(&failed)?;
            if let Some(report) = report {
                return Ok(report);
            }
            // Whether anybody still waits for it is looked at in between.
            tokio::task::yield_now().await;
        }
        unreachable!("content of 2^64 pieces")
    }

    /// Seals a piece to where it is written from.
    pub(super) fn put(&mut self, index: u64, plain: &[u8]) -> io::Result<()> {
        let (epoch, last) =
            (self.keys.of(&self.header, index), plain.len() < self.header.piece_size());
        let (front, sealed) =
            self.writer.room(PIECE_OVERHEAD + plain.len()).split_at_mut(PIECE_OVERHEAD);
        let tag = self.cipher.seal((epoch, index, last), plain, sealed);
        front[..4].copy_from_slice(&(plain.len() as u32).to_le_bytes());
        front[4..].copy_from_slice(&tag);
        self.length += plain.len() as u64;
        self.writer.push(PIECE_OVERHEAD + plain.len())
    }
}
