//! Keeps a tree as the stream it comes as, so that a later process can go on with it, and unpacks
//! it when it is complete.
//!
//! Invariant: until the stream is complete and verified nothing of it is unpacked. A folder that a
//! crash left half unpacked is noted, removed, and unpacked again from the stream, which goes only
//! when the folder is visible for good.

use std::os::unix::fs::FileExt;

use bytes::Bytes;
use estafette::delivery::ContentName;
use estafette::pipeline::{
    Committed, Offer, Placement, Progress, Resumed, Sink, SinkError, Summary,
};
use futures_util::future::BoxFuture;

use super::errors::closed;
use super::home::Home;
use super::limits::{Limits, Meter, write_error};
use super::merging;
use super::on_conflict::OnConflict;
use super::partial::Partial;
use super::policy::Policy;
use super::publish::{discard, publish};
use super::remarks;
use super::resume::Found;
use super::sparse;
use super::staging::Staging;
use super::there;
use super::unpacking::Unpacking;
use crate::tree::Counts;

/// Writes a tree stream, in whatever order its bytes come, and unpacks it when it is complete.
#[derive(Debug)]
pub(super) struct ResumableTree {
    home: Home,
    name: ContentName,
    on_conflict: OnConflict,
    limits: Limits,
    policy: Policy,
    meter: Meter,
    /// The end of what was written, be it in a hole.
    end: u64,
    stream: Option<Partial>,
    inspection: Option<Inspection>,
    resumed: Resumed,
}

/// Reads along behind the checkpoints, so that a tree which can't be taken is refused before all of
/// it has come.
#[derive(Debug)]
struct Inspection {
    unpacking: Unpacking,
    position: u64,
}

impl ResumableTree {
    /// One that goes on with what was found.
    pub(super) fn found(
        home: Home,
        offer: &Offer,
        on_conflict: OnConflict,
        limits: Limits,
        policy: Policy,
        found: Found,
    ) -> Self {
        let (stream, resumed) = match found {
            Found::Partial(partial, resumed) => (Some(*partial), *resumed),
            Found::Committed(summary, committed) => (None, Resumed::Committed(summary, committed)),
        };
        // What an earlier attempt took is not read a second time: it is checked again when it is
        // unpacked.
        let inspection = matches!(resumed, Resumed::Nothing)
            .then(|| Inspection { unpacking: Unpacking::new(limits), position: 0 });
        let name = offer.content.name.clone();
        let end = if let Resumed::Chunks(progress) = &resumed { progress.length } else { 0 };
        Self {
            home,
            name,
            on_conflict,
            limits,
            policy,
            meter: Meter::new(limits),
            end,
            stream,
            inspection,
            resumed,
        }
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        let Some(stream) = &self.stream else { return Err(closed()) };
        self.meter.admit(offset, bytes.len() as u64, &self.home, || {
            sparse::extend(stream.file(), self.end)
        })?;
        self.end = self.end.max(offset.saturating_add(bytes.len() as u64));
        let written = sparse::write_at(stream.file(), offset, bytes);
        written.map_err(|error| self.failed(bytes.len() as u64, error))
    }

    fn inspect(&mut self, progress: &Progress) -> Result<(), SinkError> {
        let (Some(stream), Some(Inspection { unpacking, position })) =
            (&self.stream, &mut self.inspection)
        else {
            return Ok(());
        };
        // It may end in a hole.
        let extended = sparse::extend(stream.file(), progress.length);
        extended.map_err(|error| {
            write_error(&self.home, self.home.place(self.name.as_bytes()), progress.length, error)
        })?;
        let start = std::mem::replace(position, progress.length);
        read(stream, start, progress.length, |bytes| unpacking.feed(bytes, |_| Ok(())))
            .unwrap_or_else(|error| Err(self.failed(progress.length, error)))
    }

    fn publish(&mut self, summary: &Summary) -> Result<Committed, SinkError> {
        let Some(stream) = &self.stream else { return Err(closed()) };
        sparse::extend(stream.file(), self.end)
            .map_err(|error| self.failed(summary.length, error))?;
        let length =
            stream.file().metadata().map_err(|error| self.failed(summary.length, error))?.len();
        if length != summary.length {
            let text = format!("{length} bytes were written of {}", summary.length);
            return Err(self.failed(
                summary.length,
                std::io::Error::new(std::io::ErrorKind::InvalidData, text),
            ));
        }
        // What is a hole in it will be one in the files.
        let taken = sparse::taken(stream.file()).map_err(|error| self.failed(length, error))?;
        self.limits.check_room(taken, &self.home).map_err(SinkError::Refused)?;
        let mut staging = self.stage()?;
        let counts = self.unpack(&mut staging, length)?;
        let inode = staging.inode().map_err(|error| self.failed(length, error))?;
        let staged =
            self.home.complete(staging.name()).map_err(|error| self.failed(length, error))?;
        let kept = self.on_conflict.keeps(self.name.as_bytes(), staging.unread());
        let turn = merging::turn(&self.home, self.on_conflict, self.name.as_bytes())
            .map_err(|error| self.failed(length, error))?;
        staging.seal(&self.home, kept).map_err(|error| self.failed(length, error))?;
        let Some(stream) = &self.stream else { return Err(closed()) };
        // An intent says that the stream, too, is here to begin again with.
        stream.file().sync_all().map_err(|error| self.failed(length, error))?;
        let committed = |name: &[u8]| staging.committed(self.home.committed(name), counts);
        let name = publish(
            &self.home,
            &staged,
            self.name.as_bytes(),
            self.on_conflict,
            true,
            |name, taking| stream.intend(&self.home, name, taking, summary, committed(name)),
        )?;
        drop(turn);
        let mut committed = committed(&name);
        let stream = self.stream.take();
        // Before the sync: should the stream come back after a loss of power, then as what nobody
        // keeps.
        let passing =
            stream.as_ref().and_then(|stream| self.home.let_go(stream.name()).ok()).flatten();
        self.home
            .sync()
            .map_err(|error| SinkError::Write { what: committed.place.clone(), error })?;
        if let Some(stream) = &stream {
            discard(&self.home, passing.as_ref().map_or(stream.name(), |(name, _)| name));
        }
        remarks::tell(&committed);
        there::remember(&mut committed, &self.home, &name, inode, summary);
        Ok(committed)
    }

    /// Makes the folder to unpack into, and notes it.
    fn stage(&mut self) -> Result<Staging, SinkError> {
        let (name, root) = self.stream.as_mut().ok_or_else(closed)?.unpack_into(&self.home)?;
        Ok(Staging::new(name, root, self.limits, self.policy))
    }

    fn unpack(&self, staging: &mut Staging, length: u64) -> Result<Counts, SinkError> {
        let Some(stream) = &self.stream else { return Err(closed()) };
        let (mut unpacking, mut meter, mut position) =
            (Unpacking::new(self.limits), Meter::new(self.limits), 0);
        read(stream, 0, length, |bytes| {
            meter.admit(position, bytes.len() as u64, &self.home, || staging.extend())?;
            position += bytes.len() as u64;
            unpacking.feed(bytes, |event| {
                staging
                    .apply(event, &self.home)
                    .map_err(|failure| failure.explain(&self.home, self.name.as_bytes()))
            })
        })
        .unwrap_or_else(|error| Err(self.failed(length, error)))?;
        unpacking.finish()
    }

    fn failed(&self, needed: u64, error: std::io::Error) -> SinkError {
        write_error(&self.home, self.home.place(self.name.as_bytes()), needed, error)
    }
}

/// Gives `each` what the stream holds from `start` to `end`, until it fails.
fn read(
    stream: &Partial,
    start: u64,
    end: u64,
    mut each: impl FnMut(&[u8]) -> Result<(), SinkError>,
) -> std::io::Result<Result<(), SinkError>> {
    let mut buffer = vec![0; end.saturating_sub(start).min(PIECE) as usize];
    let mut position = start;
    while position < end {
        let piece = &mut buffer[..(end - position).min(PIECE) as usize];
        stream.file().read_exact_at(piece, position)?;
        position += piece.len() as u64;
        if let Err(error) = each(piece) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

/// The most bytes of a stream that are read at once.
const PIECE: u64 = 1 << 20;

impl Sink for ResumableTree {
    fn placement(&self) -> Placement {
        Placement::Anywhere
    }

    fn write<'a>(
        &'a mut self,
        offset: u64,
        bytes: &'a Bytes,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move { self.write_at(offset, bytes) })
    }

    fn commit<'a>(
        &'a mut self,
        summary: &'a Summary,
    ) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(async move { self.publish(summary) })
    }

    fn abort(&mut self, _reason: &str) {
        if let Some(stream) = self.stream.take() {
            stream.discard(&self.home);
        }
    }

    fn resumed(&self) -> Resumed {
        self.resumed.clone()
    }

    fn checkpoint<'a>(
        &'a mut self,
        progress: &'a Progress,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            self.inspect(progress)?;
            self.stream.as_mut().map_or(Ok(()), |stream| stream.checkpoint(&self.home, progress))
        })
    }

    fn suspend(&mut self, _reason: &str) {
        match self.stream.take() {
            Some(stream) if stream.is_passing() => stream.discard(&self.home),
            Some(stream) => stream.leave(),
            None => {}
        }
    }
}
