//! Writes one delivery to one file.

use std::fs::{File, Permissions};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use estafette::delivery::{ContentKind, ContentName};
use estafette::pipeline::{Committed, Offer, Placement, Refusal, Sink, SinkError, Summary};
use futures_util::future::BoxFuture;
use rustix::fs::Mode;

use super::folder::{Folder, OnConflict};
use super::home::Home;
use super::limits::{Limits, Meter, write_error};
use super::publish::publish;

/// Writes a file, in whatever order its bytes come, and makes it visible when it is complete.
#[derive(Debug)]
pub struct FileSink {
    home: Home,
    name: ContentName,
    kind: ContentKind,
    policy: OnConflict,
    meter: Meter,
    part: Option<Part>,
}

#[derive(Debug)]
struct Part {
    name: String,
    file: File,
}

impl FileSink {
    /// An inbox that puts deliveries, files and trees alike, into the folder at `path`.
    pub fn into_dir(path: impl AsRef<Path>) -> Folder {
        Folder::new(path.as_ref())
    }

    pub(super) fn create(home: Home, offer: &Offer, policy: OnConflict, limits: Limits) -> Result<Self, Refusal> {
        // A file with a mode of its own is nobody else's business before it has it; plain bytes get what the process gives new files.
        let mode = match offer.content.kind {
            ContentKind::Bytes => Mode::from_raw_mode(0o666),
            _ => Mode::RUSR | Mode::WUSR,
        };
        let (name, file) = home
            .create_part(offer.transfer, mode)
            .map_err(|error| Refusal::new(format!("the receiver can't write to {}: {error}", home.place(b""))))?;
        let (target, kind) = (offer.content.name.clone(), offer.content.kind.clone());
        Ok(Self { home, name: target, kind, policy, meter: Meter::new(limits), part: Some(Part { name, file }) })
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        let Some(part) = &self.part else { return Err(closed()) };
        self.meter.admit(offset, bytes.len() as u64, &self.home)?;
        let written = part.file.write_all_at(bytes, offset);
        written.map_err(|error| write_error(&self.home, self.home.place(self.name.as_bytes()), bytes.len() as u64, error))
    }

    fn publish(&mut self, summary: &Summary) -> Result<Committed, SinkError> {
        let Some(part) = &self.part else { return Err(closed()) };
        let failed = |error| write_error(&self.home, self.home.place(self.name.as_bytes()), summary.length, error);
        let length = part.file.metadata().map_err(failed)?.len();
        if length != summary.length {
            let text = format!("{length} bytes were written of {}", summary.length);
            return Err(failed(std::io::Error::new(std::io::ErrorKind::InvalidData, text)));
        }
        if let ContentKind::File { mode, mtime } = self.kind {
            set_attributes(&part.file, mode, mtime).map_err(failed)?;
        }
        part.file.sync_all().map_err(failed)?;
        let name = publish(&self.home, &part.name, self.name.as_bytes(), self.policy, false)?;
        self.part = None;
        let place = self.home.place(&name);
        self.home.sync().map_err(|error| SinkError::Write { what: place.clone(), error })?;
        Ok(Committed { place, files: 1, ..Committed::default() })
    }

    fn remove_part(&mut self) {
        if let Some(part) = self.part.take()
            && let Err(error) = self.home.remove(&part.name)
        {
            tracing::warn!(place = %self.home.place(part.name.as_bytes()), %error, "could not remove a temporary");
        }
    }
}

impl Sink for FileSink {
    fn placement(&self) -> Placement {
        Placement::Anywhere
    }

    fn write<'a>(&'a mut self, offset: u64, bytes: &'a Bytes) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(async move { self.write_at(offset, bytes) })
    }

    fn commit<'a>(&'a mut self, summary: &'a Summary) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(async move { self.publish(summary) })
    }

    fn abort(&mut self, _reason: &str) {
        self.remove_part();
    }
}

impl Drop for FileSink {
    fn drop(&mut self) {
        self.remove_part();
    }
}

/// Sets what a sender may set: permission bits without setuid, setgid and sticky, and the modification time.
pub(super) fn set_attributes(file: &File, mode: u32, mtime: i64) -> std::io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode & 0o777))?;
    file.set_modified(system_time(mtime))
}

fn system_time(nanoseconds: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
    if nanoseconds < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
}

pub(super) fn closed() -> SinkError {
    SinkError::Gone("the delivery was committed or given up before".into())
}
