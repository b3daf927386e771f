//! The bytes of a file, holes without being read.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::io::Errno;

use super::FileVersion;

/// The most pieces between holes that are looked at to tell how much there is in them.
const RANGES: usize = 10_000;

/// The reason why a file that has other bytes than its length tells of is not sent.
pub(super) fn untold(length: u64) -> String {
    format!(
        "the system says that it has {length} bytes, and other ones are read, as with those in \
         /proc and /sys: send what they say as a stream, by `cat`"
    )
}

/// A file that is read from front to back.
#[derive(Debug)]
pub(super) struct FileContent {
    file: File,
    length: u64,
    position: u64,
    /// The next range that is no hole; `None` for a file without holes.
    data: Option<Range<u64>>,
}

impl FileContent {
    /// The content of `file`, which has this `metadata`.
    pub(super) fn new(file: File, metadata: &Metadata) -> Self {
        // Without fewer blocks than its length needs there is nothing to look for.
        let has_holes = metadata.blocks().saturating_mul(512) < metadata.len();
        Self { file, length: metadata.len(), position: 0, data: has_holes.then_some(0..0) }
    }

    /// The same file, from its start, and its version now.
    pub(super) fn again(self) -> io::Result<(Self, FileVersion)> {
        let metadata = self.file.metadata()?;
        let version = FileVersion::of(&metadata);
        Ok((Self::new(self.file, &metadata), version))
    }

    /// Bytes that are no holes, if there are holes that the file system tells of.
    pub(super) fn data_length(&self) -> Option<u64> {
        self.data.as_ref()?;
        let (mut at, mut data) = (0, 0_u64);
        for _ in 0..RANGES {
            let next = find_data(&self.file, at);
            if next.start >= self.length {
                return Some(data);
            }
            at = next.end.min(self.length);
            data += at - next.start;
            if at == self.length {
                return (data < self.length).then_some(data);
            }
        }
        // One that is in too many pieces to look at all of them.
        Some(data + (self.length - at))
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Returns `true` if the file system tells of it what it told then. What has other bytes than
    /// that says is none of its files, such as those in /proc.
    pub(super) fn is_still_of(&self, version: &FileVersion) -> bool {
        let there = self.file.metadata().map(|metadata| FileVersion::of(&metadata));
        there.is_ok_and(|there| there.length == version.length)
    }

    /// Returns `true` if it has bytes though its length is 0.
    pub(super) fn has_untold_bytes(&self) -> bool {
        self.length == 0 && matches!(self.file.read_at(&mut [0], 0), Ok(1..))
    }

    /// Reads until `buffer` is full or the file ends.
    pub(super) fn read_full(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// Puts the next bytes at the front of `buffer`; how many, 0 at the end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let limit =
            |end: u64| usize::try_from(end - self.position).unwrap_or(usize::MAX).min(buffer.len());
        let count = match self.data.clone() {
            Some(data) if self.position < self.length => {
                let data = if self.position < data.end {
                    data
                } else {
                    find_data(&self.file, self.position)
                };
                self.data = Some(data.clone());
                if self.position < data.start {
                    let count = limit(data.start.min(self.length));
                    buffer[..count].fill(0);
                    count
                } else {
                    let count = limit(data.end);
                    self.file.read_at(&mut buffer[..count], self.position)?
                }
            }
            _ => self.file.read_at(buffer, self.position)?,
        };
        self.position += count as u64;
        Ok(count)
    }
}

/// The next bytes of a file that are no hole.
fn find_data(file: &File, from: u64) -> Range<u64> {
    use rustix::fs::{SeekFrom, seek};
    match seek(file, SeekFrom::Data(from)) {
        Ok(start) => {
            let end = seek(file, SeekFrom::Hole(start)).unwrap_or(u64::MAX);
            start.max(from)..end.max(from + 1)
        }
        // None until the end.
        Err(Errno::NXIO) => u64::MAX..u64::MAX,
        // A file system that tells of no holes.
        Err(_) => from..u64::MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_with_holes_reads_as_it_is() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(3 << 20).unwrap();
        file.write_all_at(&[1; 5000], 1 << 20).unwrap();
        file.write_all_at(&[2; 10], 2 << 20).unwrap();
        let metadata = file.metadata().unwrap();
        let data = FileContent::new(file.try_clone().unwrap(), &metadata).data_length();
        // Whole blocks of the file system.
        assert!((5010..1 << 19).contains(&data.unwrap()), "{data:?}");
        let whole = tempfile::tempfile().unwrap();
        whole.write_all_at(&[1; 5000], 0).unwrap();
        let content = FileContent::new(whole.try_clone().unwrap(), &whole.metadata().unwrap());
        assert_eq!(content.data_length(), None);
        for size in [1000, 1 << 16, 4 << 20] {
            let mut content = FileContent::new(file.try_clone().unwrap(), &metadata);
            let (mut all, mut buffer) = (Vec::new(), vec![7; size]);
            loop {
                match content.read(&mut buffer).unwrap() {
                    0 => break,
                    count => all.extend_from_slice(&buffer[..count]),
                }
            }
            let mut expected = vec![0; 3 << 20];
            file.read_exact_at(&mut expected, 0).unwrap();
            assert!(all == expected, "in pieces of {size}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_has_bytes_and_no_length_is_known() {
        let of = |path: &str| {
            let file = File::open(path).unwrap();
            let metadata = file.metadata().unwrap();
            (FileContent::new(file, &metadata), FileVersion::of(&metadata))
        };
        let (content, version) = of("/proc/self/status");
        assert!(content.has_untold_bytes() && content.is_still_of(&version));
        let empty = tempfile::NamedTempFile::new().unwrap();
        let (content, version) = of(empty.path().to_str().unwrap());
        assert!(!content.has_untold_bytes() && content.is_still_of(&version));
        empty.as_file().set_len(1).unwrap();
        assert!(!content.is_still_of(&version));
    }

    #[test]
    fn holes_are_not_read() {
        let file = tempfile::tempfile().unwrap();
        file.set_len(1 << 40).unwrap();
        let mut content = FileContent::new(file.try_clone().unwrap(), &file.metadata().unwrap());
        assert_eq!(content.data_length(), Some(0));
        let mut buffer = [7; 4096];
        assert_eq!(content.read(&mut buffer).unwrap(), 4096);
        assert_eq!((content.data.clone(), buffer), (Some(u64::MAX..u64::MAX), [0; 4096]));
    }
}
