//! The file of a copy, written past the system's cache where that can be done, while more is
//! gathered.
//!
//! Nobody is likely to read a copy soon, so it should push nothing else out of memory, and what is
//! on the disk already need not be waited for in the end. Such a write lasts as long as the disk
//! takes: it has a thread of its own, but for content that ends before the first write. Invariant:
//! what is told to be in the file can be read there.

use std::io::{self, ErrorKind};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::JoinHandle;

use crate::new_file::NewFile;

/// The unit of writes past the cache, which begin and end at it: the blocks of about any disk.
const BLOCK: usize = 4 << 10;
/// Bytes that are written together.
const TOGETHER: usize = 1 << 20;
/// Buffers: one that is filled, one that is written, one that waits between.
const BUFFERS: usize = 3;
/// The room of the first buffer, which is as large as the others when that is not enough: most
/// texts fit, and there may be thousands of them.
const FIRST: usize = 16 << 10;

/// Gathers what is written until it fills blocks, and has them written.
pub(super) struct Writer {
    gathered: Buffer,
    /// The most bytes that are pushed at a time.
    most: usize,
    /// Until the first buffer is full.
    disk: Option<Disk>,
    /// `None` before, and when there is no more.
    full: Option<SyncSender<Buffer>>,
    empty: Receiver<Buffer>,
    /// The other end, until the thread has it.
    back: Option<Sender<Buffer>>,
    /// Buffers that are, or were, handed on.
    buffers: usize,
    /// Gives the file back when all is written.
    writing: Option<JoinHandle<io::Result<NewFile>>>,
}

/// Bytes from where a block may begin in memory.
#[derive(Debug)]
struct Buffer {
    bytes: Vec<u8>,
    start: usize,
    length: usize,
}

impl Buffer {
    fn new(room: usize) -> Self {
        let bytes = vec![0; BLOCK + room];
        let start = bytes.as_ptr().addr().wrapping_neg() % BLOCK;
        Self { bytes, start, length: 0 }
    }

    /// Room for what has been filled, and so much more.
    fn has_room(&self, length: usize) -> bool {
        self.bytes.len() >= self.start + self.length + length
    }

    fn filled(&self) -> &[u8] {
        &self.bytes[self.start..][..self.length]
    }
}

impl Writer {
    /// Writes to `file`; at most `most` bytes are pushed at a time. `written` hears how many are in
    /// the file.
    pub(super) fn new(
        file: NewFile,
        most: usize,
        written: impl FnMut(u64) + Send + 'static,
    ) -> Self {
        let direct = file.pass_cache(true).is_ok();
        let disk = Disk { file, direct, written: Box::new(written), total: 0 };
        let (back, empty) = channel();
        Self {
            gathered: Buffer::new(FIRST),
            most,
            disk: Some(disk),
            full: None,
            empty,
            back: Some(back),
            buffers: 1,
            writing: None,
        }
    }

    /// The room for the next bytes.
    pub(super) fn room(&mut self, length: usize) -> &mut [u8] {
        if !self.gathered.has_room(length) {
            let mut larger = Buffer::new(TOGETHER + self.most.max(length));
            let filled = self.gathered.filled();
            larger.bytes[larger.start..][..filled.len()].copy_from_slice(filled);
            larger.length = filled.len();
            self.gathered = larger;
        }
        &mut self.gathered.bytes[self.gathered.start + self.gathered.length..][..length]
    }

    /// So many bytes were put into the room. An error may be one of an earlier write.
    pub(super) fn push(&mut self, length: usize) -> io::Result<()> {
        self.gathered.length += length;
        if self.gathered.length < TOGETHER {
            return Ok(());
        }
        let Some(mut next) = self.next() else { return Err(self.why_ended()) };
        let whole = self.gathered.length / BLOCK * BLOCK;
        let left = self.gathered.length - whole;
        next.length = left;
        let start = next.start;
        next.bytes[start..start + left].copy_from_slice(&self.gathered.filled()[whole..]);
        self.gathered.length = whole;
        let full = std::mem::replace(&mut self.gathered, next);
        self.hand(full)
    }

    /// Writes all that is left; the file, to be published.
    pub(super) fn finish(mut self) -> io::Result<NewFile> {
        let last = std::mem::replace(
            &mut self.gathered,
            Buffer { bytes: Vec::new(), start: 0, length: 0 },
        );
        if let Some(mut disk) = self.disk.take() {
            disk.write_buffer(&last)?;
            return Ok(disk.file);
        }
        if last.length > 0 {
            self.hand(last)?;
        }
        self.full = None;
        self.end()
    }

    /// An empty buffer; `None` where the thread that would give one back has ended.
    fn next(&mut self) -> Option<Buffer> {
        if self.buffers < BUFFERS {
            self.buffers += 1;
            return Some(Buffer::new(TOGETHER + self.most));
        }
        self.empty.recv().ok()
    }

    fn hand(&mut self, full: Buffer) -> io::Result<()> {
        if let Some((disk, back)) = self.disk.take().zip(self.back.take()) {
            let (hand, to_write) = sync_channel(BUFFERS - 2);
            let thread = std::thread::Builder::new().name("estafette-copy".into());
            self.writing = Some(thread.spawn(move || disk.write_all(&to_write, &back))?);
            self.full = Some(hand);
        }
        let handed = self.full.as_ref().is_some_and(|channel| channel.send(full).is_ok());
        if handed { Ok(()) } else { Err(self.why_ended()) }
    }

    fn why_ended(&mut self) -> io::Error {
        self.end().err().unwrap_or_else(|| io::Error::other("the thread that writes ended early"))
    }

    fn end(&mut self) -> io::Result<NewFile> {
        let ended = self.writing.take().and_then(|writing| writing.join().ok());
        ended.unwrap_or_else(|| {
            Err(io::Error::other("the thread that writes panicked; see the log"))
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.full = None;
        if let Some(writing) = self.writing.take() {
            // The file is removed with it: nobody finds it once this is gone.
            drop(writing.join());
        }
    }
}

/// The part that the thread has.
struct Disk {
    file: NewFile,
    direct: bool,
    /// Hears how many bytes are in the file.
    written: Box<dyn FnMut(u64) + Send>,
    total: u64,
}

impl Disk {
    fn write_all(mut self, full: &Receiver<Buffer>, empty: &Sender<Buffer>) -> io::Result<NewFile> {
        for mut buffer in full {
            self.write_buffer(&buffer)?;
            buffer.length = 0;
            // Nobody needs it behind the last.
            let _ = empty.send(buffer);
        }
        Ok(self.file)
    }

    fn write_buffer(&mut self, buffer: &Buffer) -> io::Result<()> {
        let (bytes, whole) = (buffer.filled(), buffer.length / BLOCK * BLOCK);
        self.write(&bytes[..whole])?;
        if whole < bytes.len() {
            // Part of a block, the last, goes through the cache.
            self.stop_passing()?;
            self.write(&bytes[whole..])?;
        }
        self.total += bytes.len() as u64;
        (self.written)(self.total);
        Ok(())
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut done = 0;
        while done < bytes.len() {
            match self.file.write_through(&bytes[done..]) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // This disk has other blocks, or this file system no such writes.
                Err(error) if error.kind() == ErrorKind::InvalidInput && self.direct => {
                    self.stop_passing()?
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn stop_passing(&mut self) -> io::Result<()> {
        if std::mem::take(&mut self.direct) { self.file.pass_cache(false) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    /// A folder on a disk, where there is one, and the system's own.
    fn folders() -> [tempfile::TempDir; 2] {
        [tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap(), tempfile::tempdir().unwrap()]
    }

    #[test]
    fn what_is_written_in_pieces_of_any_length_is_in_the_file_in_order() {
        for folder in folders() {
            let path = folder.path().join("copy");
            let in_file = Arc::<AtomicU64>::default();
            let told = Arc::clone(&in_file);
            let mut writer = Writer::new(NewFile::create(&path).unwrap(), 300_000, move |bytes| {
                told.store(bytes, Ordering::Release)
            });
            let mut expected = Vec::new();
            for number in 0..40_usize {
                let length = number * 7919 % 300_001;
                let piece: Vec<u8> = (0..length).map(|i| (i * 31 + number) as u8).collect();
                writer.room(length).copy_from_slice(&piece);
                writer.push(length).unwrap();
                expected.extend(piece);
                let written = in_file.load(Ordering::Acquire);
                let there = std::fs::read(path.with_extension("new")).unwrap();
                assert!(
                    there.len() as u64 >= written && expected.starts_with(&there),
                    "after {number}"
                );
            }
            let file = writer.finish().unwrap();
            assert_eq!(in_file.load(Ordering::Acquire), expected.len() as u64);
            assert_eq!(file.publish().unwrap(), expected.len() as u64);
            assert!(std::fs::read(&path).unwrap() == expected);
        }
    }

    #[test]
    fn what_is_short_takes_little_room_and_no_thread() {
        for folder in folders() {
            let path = folder.path().join("copy");
            let mut writer = Writer::new(NewFile::create(&path).unwrap(), 300_000, |_| {});
            for _ in 0..3 {
                writer.room(5000).fill(7);
                writer.push(5000).unwrap();
            }
            assert_eq!(writer.gathered.bytes.len(), BLOCK + FIRST);
            assert!(writer.writing.is_none());
            assert_eq!(writer.finish().unwrap().publish().unwrap(), 15_000);
            assert!(std::fs::read(&path).unwrap() == [7; 15_000]);
        }
    }

    #[test]
    fn a_write_that_fails_is_an_error_of_a_later_push_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("copy");
        let file = NewFile::create(&path).unwrap();
        // Every write is refused: the file is open for reading only.
        let file = file.with_file(std::fs::File::open(path.with_extension("new")).unwrap());
        let mut writer = Writer::new(file, 300_000, |_| panic!("nothing was written"));
        let error = loop {
            writer.room(300_000).fill(7);
            if let Err(error) = writer.push(300_000) {
                break error;
            }
        };
        assert_eq!(error.raw_os_error(), Some(9), "{error}");
        drop(writer);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
