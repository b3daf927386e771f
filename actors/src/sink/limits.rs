//! Limits on what a folder takes, and on how much of the disk it fills.

use estafette::delivery::Content;
use estafette::pipeline::{Refusal, SinkError};

use super::home::Home;

/// Limits of one delivery.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) max_bytes: u64,
    pub(super) max_files: u64,
    /// Bytes that stay free; `None` stands for [`KEPT_FREE`], or less on a small file system.
    pub(super) keep_free: Option<u64>,
}

impl Default for Limits {
    fn default() -> Self {
        Self { max_bytes: u64::MAX, max_files: 10_000_000, keep_free: None }
    }
}

/// Bytes that stay free on a file system of 1.25 GiB or more; of a smaller one it is a twentieth.
pub(super) const KEPT_FREE: u64 = 64 << 20;
const SHARE: u64 = 20;

impl Limits {
    /// Decides by what a sender claims, before the first byte.
    pub(super) fn check_claim(&self, claimed: &Content, home: &Home) -> Result<(), Refusal> {
        self.check_claim_kept(claimed, 1, 0, home)
    }

    /// Like [`Limits::check_claim`], for a delivery that takes its room `times` over, of which
    /// `held` bytes are taken here.
    pub(super) fn check_claim_kept(
        &self,
        claimed: &Content,
        times: u64,
        held: u64,
        home: &Home,
    ) -> Result<(), Refusal> {
        self.check_length(claimed.length.unwrap_or(0))?;
        let room = claimed.room().unwrap_or(0);
        let claimed = match claimed.length {
            Some(length) if room < length && !home.keeps_holes() => length,
            _ => room,
        };
        let why = if times == 1 { "" } else { ": it is there twice while it is unpacked" };
        self.check_room_for(claimed.saturating_mul(times).saturating_sub(held), why, home)
    }

    /// Refuses so many bytes more if there is no room for them.
    pub(super) fn check_room(&self, bytes: u64, home: &Home) -> Result<(), Refusal> {
        self.check_room_for(bytes, "", home)
    }

    fn check_room_for(&self, bytes: u64, why: &str, home: &Home) -> Result<(), Refusal> {
        let available = home.available().map_err(|error| {
            Refusal::because(format!("free space of {} is unknown", home.place(b"")), &error)
        })?;
        let keep_free = self.kept_free(home);
        match bytes.checked_add(keep_free) {
            Some(needed) if needed <= available => Ok(()),
            _ => Err(Refusal::for_now(format!(
                "the delivery needs {bytes} bytes{why}, and {} has {available} left; {keep_free} \
                 are kept free: free some space there and send again",
                home.place(b"")
            ))),
        }
    }

    /// Bytes of the file system that stay free.
    fn kept_free(&self, home: &Home) -> u64 {
        self.keep_free
            .unwrap_or_else(|| home.size().map_or(KEPT_FREE, |size| KEPT_FREE.min(size / SHARE)))
    }

    /// Decides about copies that a sender did not send as such: all of them, of which `more` bytes
    /// come next.
    pub(super) fn check_copies(&self, all: u64, more: u64, home: &Home) -> Result<(), Refusal> {
        self.check_length(all)?;
        self.check_room(more, home)
    }

    fn check_length(&self, length: u64) -> Result<(), Refusal> {
        if length <= self.max_bytes {
            return Ok(());
        }
        Err(Refusal::new(format!(
            "the delivery has {length} bytes or more, and the receiver takes {} at most",
            self.max_bytes
        )))
    }

    /// Decides by the number of files and folders there are so far.
    pub(super) fn check_files(&self, files: u64) -> Result<(), Refusal> {
        if files <= self.max_files {
            return Ok(());
        }
        Err(Refusal::new(format!(
            "the delivery has more than the {} files and folders that the receiver takes",
            self.max_files
        )))
    }
}

/// Watches what one delivery really writes.
#[derive(Debug)]
pub(super) struct Meter {
    limits: Limits,
    unchecked: u64,
}

/// The number of bytes that are written between two looks at the free space. The kept space may be
/// passed by so much for each delivery under way.
const LOOK_EVERY: u64 = 8 << 20;

impl Meter {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, unchecked: 0 }
    }

    /// Refuses `length` bytes at `offset` if they may not be written. Before the free space is
    /// looked at, `extend` gives what was written its length: holes take room where the file system
    /// keeps none.
    pub(super) fn admit(
        &mut self,
        offset: u64,
        length: u64,
        home: &Home,
        extend: impl FnOnce() -> std::io::Result<()>,
    ) -> Result<(), SinkError> {
        let end = offset.saturating_add(length);
        self.limits.check_length(end).map_err(SinkError::Refused)?;
        self.unchecked = self.unchecked.saturating_add(length);
        if self.unchecked < LOOK_EVERY {
            return Ok(());
        }
        self.unchecked = 0;
        extend().map_err(|error| write_error(home, home.place(b""), length, error))?;
        let available =
            home.available().map_err(|error| SinkError::Write { what: home.place(b""), error })?;
        let keep_free = self.limits.kept_free(home);
        if available >= keep_free.saturating_add(length) {
            return Ok(());
        }
        let reason = format!(
            "{} has {available} bytes left; {keep_free} are kept free: free some space there and \
             send again",
            home.place(b"")
        );
        Err(SinkError::Refused(Refusal::for_now(reason)))
    }
}

/// The error of writing `needed` bytes to `place`, with the figures when the disk is full.
pub(super) fn write_error(
    home: &Home,
    place: String,
    needed: u64,
    error: std::io::Error,
) -> SinkError {
    use std::io::ErrorKind::{QuotaExceeded, StorageFull};
    let error = match error.downcast::<Refusal>() {
        Ok(refusal) => return SinkError::Refused(refusal),
        Err(error) => error,
    };
    let why = match error.kind() {
        // Where there are none (exFAT), a full disk has none left, either.
        StorageFull if home.lacks_inodes() && home.available().is_ok_and(|left| left > 0) => {
            let text = "the file system holds no more files: all of its inodes are in use; remove \
                        some files there and send again";
            return SinkError::Write {
                what: place,
                error: std::io::Error::new(error.kind(), text),
            };
        }
        StorageFull => "the disk is full",
        QuotaExceeded => "the quota is used up",
        _ => return SinkError::Write { what: place, error },
    };
    let left =
        home.available().map_or_else(|_| "an unknown number of".into(), |bytes| bytes.to_string());
    let text = format!(
        "{why}: {needed} bytes were to be written, {left} bytes are free; free some space there \
         and send again"
    );
    SinkError::Write { what: place, error: std::io::Error::new(error.kind(), text) }
}

#[cfg(test)]
mod tests {
    use std::io::{Error, ErrorKind};

    use super::*;

    #[test]
    fn a_full_disk_is_told_with_place_and_figures() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path(), Default::default()).unwrap();
        let text =
            write_error(&home, home.place(b"movie"), 4096, Error::from(ErrorKind::StorageFull))
                .to_string();
        assert!(
            text.contains("movie")
                && text.contains("the disk is full: 4096 bytes were to be written"),
            "{text}"
        );
    }

    #[test]
    fn kept_space_is_looked_at_while_bytes_come() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path(), Default::default()).unwrap();
        let mut meter = Meter::new(Limits { keep_free: Some(u64::MAX), ..Limits::default() });
        assert!(meter.admit(0, LOOK_EVERY - 1, &home, || Ok(())).is_ok());
        assert!(
            meter
                .admit(LOOK_EVERY - 1, 1, &home, || Ok(()))
                .unwrap_err()
                .to_string()
                .contains("are kept free")
        );
    }
}
