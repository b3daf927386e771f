//! The file of a copy, written past the system's cache where that can be done.
//!
//! Nobody is likely to read a copy soon, so it should push nothing else out of memory, and what is on the disk already need
//! not be waited for in the end. Invariant: what is told to be in the file can be read there.

use std::io::{self, ErrorKind};

use crate::new_file::NewFile;

/// What writes past the cache begin and end at: the blocks of about any disk.
const BLOCK: usize = 4 << 10;
/// Bytes that are written together.
const TOGETHER: usize = 1 << 20;

/// Gathers what is written until it fills blocks.
#[derive(Debug)]
pub(super) struct Writer {
    file: NewFile,
    gathered: Vec<u8>,
    /// Where the first block begins in `gathered`.
    start: usize,
    /// Bytes gathered, and bytes in the file.
    length: usize,
    written: u64,
    direct: bool,
}

impl Writer {
    /// Writes to `file`, at most `most` bytes at a time.
    pub(super) fn new(file: NewFile, most: usize) -> Self {
        let gathered = vec![0; BLOCK + TOGETHER + most];
        let start = gathered.as_ptr().addr().wrapping_neg() % BLOCK;
        let direct = file.pass_cache(true).is_ok();
        Self { file, gathered, start, length: 0, written: 0, direct }
    }

    /// Where the next bytes go.
    pub(super) fn room(&mut self, length: usize) -> &mut [u8] {
        &mut self.gathered[self.start + self.length..][..length]
    }

    /// So many bytes were put into the room.
    pub(super) fn push(&mut self, length: usize) -> io::Result<()> {
        self.length += length;
        if self.length >= TOGETHER { self.write(self.length / BLOCK * BLOCK) } else { Ok(()) }
    }

    /// Bytes that are in the file.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Writes all that is left.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.write(self.length / BLOCK * BLOCK)?;
        if self.length > 0 {
            // Part of a block goes through the cache.
            self.stop_passing()?;
            self.write(self.length)?;
        }
        Ok(())
    }

    /// The file, to be published.
    pub(super) fn into_file(self) -> NewFile {
        self.file
    }

    fn write(&mut self, length: usize) -> io::Result<()> {
        let mut done = 0;
        while done < length {
            match self.file.write_through(&self.gathered[self.start + done..self.start + length]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // This disk has other blocks, or this file system no such writes.
                Err(error) if error.kind() == ErrorKind::InvalidInput && self.direct => self.stop_passing()?,
                Err(error) => return Err(error),
            }
        }
        self.gathered.copy_within(self.start + length..self.start + self.length, self.start);
        self.length -= length;
        self.written += length as u64;
        Ok(())
    }

    fn stop_passing(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.direct) { self.file.pass_cache(false) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    /// A folder on a disk, where there is one, and the system's own.
    fn folders() -> [tempfile::TempDir; 2] {
        [tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap(), tempfile::tempdir().unwrap()]
    }

    #[test]
    fn what_is_written_in_pieces_of_any_length_is_in_the_file_in_order() {
        for folder in folders() {
            let path = folder.path().join("copy");
            let (mut writer, mut expected) = (Writer::new(NewFile::create(&path).unwrap(), 300_000), Vec::new());
            for number in 0..40_usize {
                let length = number * 7919 % 300_001;
                let piece: Vec<u8> = (0..length).map(|i| (i * 31 + number) as u8).collect();
                writer.room(length).copy_from_slice(&piece);
                writer.push(length).unwrap();
                expected.extend(piece);
                let there = std::fs::read(path.with_extension("new")).unwrap();
                assert!(there.len() as u64 >= writer.written() && expected.starts_with(&there), "after {number}");
            }
            writer.flush().unwrap();
            assert_eq!(writer.written(), expected.len() as u64);
            assert_eq!(writer.into_file().publish().unwrap(), expected.len() as u64);
            assert!(std::fs::read(&path).unwrap() == expected);
        }
    }
}
