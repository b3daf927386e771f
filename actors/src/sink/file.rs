//! Writes one delivery to one file.

use std::fs::File;
use std::os::unix::fs::MetadataExt;

use bytes::Bytes;
use estafette::delivery::{Attributes, Content, ContentKind, ContentName};
use estafette::pipeline::{
    Committed, Offer, Placement, Progress, Refusal, Resumed, Sink, SinkError, Summary,
};
use futures_util::future::BoxFuture;
use rustix::fs::Mode;

use super::attributes::set_attributes;
use super::errors::closed;
use super::home::{Home, Temporary};
use super::limits::{Limits, Meter, write_error};
use super::merging;
use super::on_conflict::OnConflict;
use super::partial::Partial;
use super::policy::Policy;
use super::publish::{discard, publish};
use super::remarks::{self, Remarks};
use super::resume::Found;
use super::sparse;
use super::there;
use crate::tree::printable;

/// Writes a file, in whatever order its bytes come, and makes it visible when it is complete.
#[derive(Debug)]
pub struct FileSink {
    home: Home,
    name: ContentName,
    kind: ContentKind,
    attributes: Attributes,
    /// The remarks of its sender: what was left behind of it.
    said: Vec<String>,
    on_conflict: OnConflict,
    policy: Policy,
    meter: Meter,
    part: Option<Part>,
    /// The end of what was written, be it in a hole.
    end: u64,
    resumed: Resumed,
}

#[derive(Debug)]
enum Part {
    /// Gone with its process.
    Passing { name: String, file: File },
    /// A later process can go on with it.
    Kept(Box<Partial>),
}

impl Part {
    fn file(&self) -> &File {
        match self {
            Self::Passing { file, .. } => file,
            Self::Kept(partial) => partial.file(),
        }
    }

    /// The name it has, now that it is complete.
    fn complete(&self, home: &Home) -> std::io::Result<String> {
        match self {
            Self::Passing { name, .. } => Ok(name.clone()),
            Self::Kept(partial) => home.complete(partial.name()),
        }
    }
}

impl FileSink {
    pub(super) fn create(
        home: Home,
        offer: &Offer,
        on_conflict: OnConflict,
        rules: (Limits, Policy),
    ) -> Result<Self, Refusal> {
        let (name, file) = home
            .create_file(offer.transfer, Temporary::Part, Self::mode(&offer.content.kind))
            .map_err(|error| {
                Refusal::because(format!("the receiver can't write to {}", home.place(b"")), &error)
            })?;
        Ok(Self::new(
            home,
            offer,
            on_conflict,
            rules,
            Some(Part::Passing { name, file }),
            Resumed::Nothing,
        ))
    }

    /// One that goes on with what was found.
    pub(super) fn found(
        home: Home,
        offer: &Offer,
        on_conflict: OnConflict,
        rules: (Limits, Policy),
        found: Found,
    ) -> Self {
        let (part, resumed) = match found {
            Found::Partial(partial, resumed) => (Some(Part::Kept(partial)), *resumed),
            Found::Committed(summary, committed) => (None, Resumed::Committed(summary, committed)),
        };
        Self::new(home, offer, on_conflict, rules, part, resumed)
    }

    fn new(
        home: Home,
        offer: &Offer,
        on_conflict: OnConflict,
        (limits, policy): (Limits, Policy),
        part: Option<Part>,
        resumed: Resumed,
    ) -> Self {
        let Content { name, kind, attributes, remarks: said, .. } = offer.content.clone();
        let end = if let Resumed::Chunks(progress) = &resumed { progress.length } else { 0 };
        let meter = Meter::new(limits);
        Self { home, name, kind, attributes, said, on_conflict, policy, meter, part, end, resumed }
    }

    /// The mode of its temporary. A file with a mode of its own is nobody else's business before it
    /// has it; plain bytes get what the process gives new files.
    pub(super) fn mode(kind: &ContentKind) -> Mode {
        match kind {
            ContentKind::Bytes => Mode::from_raw_mode(0o666),
            _ => Mode::RUSR | Mode::WUSR,
        }
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        let Some(part) = &self.part else { return Err(closed()) };
        self.meter.admit(offset, bytes.len() as u64, &self.home, || {
            sparse::extend(part.file(), self.end)
        })?;
        self.end = self.end.max(offset.saturating_add(bytes.len() as u64));
        let written = sparse::write_at(part.file(), offset, bytes);
        written.map_err(|error| {
            write_error(
                &self.home,
                self.home.place(self.name.as_bytes()),
                bytes.len() as u64,
                error,
            )
        })
    }

    fn publish(&mut self, summary: &Summary) -> Result<Committed, SinkError> {
        let Some(part) = &self.part else { return Err(closed()) };
        let failed = |error| {
            write_error(&self.home, self.home.place(self.name.as_bytes()), summary.length, error)
        };
        sparse::extend(part.file(), self.end).map_err(failed)?;
        let written = part.file().metadata().map_err(failed)?;
        let length = written.len();
        if length != summary.length {
            let text = format!("{length} bytes were written of {}", summary.length);
            return Err(failed(std::io::Error::new(std::io::ErrorKind::InvalidData, text)));
        }
        let mut remarks = Remarks::default();
        let attributes = self.attributes.as_slice();
        self.policy
            .set(part.file(), attributes, self.name.as_bytes(), &mut remarks)
            .map_err(failed)?;
        if let ContentKind::File { mode, mtime } = self.kind {
            set_attributes(part.file(), mode, mtime, self.name.as_bytes(), false, &mut remarks)
                .map_err(failed)?;
        }
        self.said.iter().for_each(|line| remarks.said(printable(line.as_bytes())));
        // Before its sync, which makes this durable, too, on all file systems that people use.
        let temporary = part.complete(&self.home).map_err(failed)?;
        part.file().sync_all().map_err(failed)?;
        let committed = |name: &[u8]| Committed {
            files: 1,
            remarks: remarks.lines(),
            ..self.home.committed(name)
        };
        let turn = merging::turn(&self.home, self.on_conflict, self.name.as_bytes());
        let turn = turn.map_err(failed)?;
        let name = publish(
            &self.home,
            &temporary,
            self.name.as_bytes(),
            self.on_conflict,
            false,
            |name, taking| match part {
                Part::Passing { .. } => Ok(()),
                Part::Kept(partial) => {
                    partial.intend(&self.home, name, taking, summary, committed(name))
                }
            },
        )?;
        drop(turn);
        let mut committed = committed(&name);
        self.part = None;
        self.home
            .sync()
            .map_err(|error| SinkError::Write { what: committed.place.clone(), error })?;
        remarks::tell(&committed);
        there::remember(&mut committed, &self.home, &name, written.ino(), summary);
        Ok(committed)
    }

    fn give_up(&mut self) {
        match self.part.take() {
            Some(Part::Passing { name, .. }) => discard(&self.home, &name),
            Some(Part::Kept(partial)) => partial.discard(&self.home),
            None => {}
        }
    }

    /// Removes what no later attempt can go on with.
    fn leave(&mut self) {
        match self.part.take() {
            Some(Part::Passing { name, .. }) => discard(&self.home, &name),
            Some(Part::Kept(partial)) if partial.is_passing() => partial.discard(&self.home),
            Some(Part::Kept(partial)) => partial.leave(),
            None => {}
        }
    }
}

impl Sink for FileSink {
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
        self.give_up();
    }

    fn resumed(&self) -> Resumed {
        self.resumed.clone()
    }

    fn checkpoint<'a>(
        &'a mut self,
        progress: &'a Progress,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move {
            match &mut self.part {
                Some(Part::Kept(partial)) => partial.checkpoint(&self.home, progress),
                _ => Ok(()),
            }
        })
    }

    fn suspend(&mut self, _reason: &str) {
        self.leave();
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        self.leave();
    }
}
