//! A copy that comes in parts, over days and restarts, each durable before the next one begins.
//!
//! ```text
//! ID.parts/00000000000000000000     a copy of the content from this byte on
//! ID.parts/00000000000067108864     the next one
//! ID.parts/end                      how many bytes there are, in decimal: all is here
//! ID.parts/note                     what its writer has to know about it
//! ```
//! Invariant: a part that has its name is whole and synced, so what is here is what is durable, and
//! a process that dies takes nothing with it but the part that it was writing. The header of a part
//! says in its sealed `length` where it begins, so that none takes the place of another.

use std::fs::{self, DirBuilder, File};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use estafette::wire::copy::{COPY_PREAMBLE, CopyHeader, PIECE_OVERHEAD};
use tokio::sync::watch;

use super::copying::{PIECE, Pieces};
use super::source::Grown;
use crate::new_file::{NewFile, sync_folder};
use crate::seal::SuiteCipher;

/// The most parts of one copy.
pub(super) const PARTS_MOST: usize = 16_384;
/// The file that says that all parts are here.
const END: &str = "end";
/// The file for who writes it.
const NOTE: &str = "note";
/// The longest note, in bytes.
const NOTE_MOST: u64 = 64 << 10;

/// A folder of parts. All of its functions block.
#[derive(Clone, Debug)]
pub struct Parts {
    folder: PathBuf,
}

/// A part that is being written. Dropping it leaves nothing of it.
pub struct Part {
    pieces: Pieces,
    plain: Vec<u8>,
    index: u64,
}

impl Parts {
    /// Bytes of content in each sealed piece of a part, for [`CopyHeader::seal`].
    pub const PIECE: u32 = PIECE;
    /// The most parts of one copy.
    pub const MOST: usize = PARTS_MOST;

    /// Makes the folder, with a note; durable when this returns.
    ///
    /// # Errors
    /// There is something of that name, or the disk fails.
    pub fn create(folder: &Path, note: &[u8]) -> io::Result<Self> {
        DirBuilder::new().mode(0o700).create(folder)?;
        let parts = Self { folder: folder.to_owned() };
        parts.write_note(note)?;
        let parent = folder.parent().filter(|parent| !parent.as_os_str().is_empty());
        sync_folder(parent.unwrap_or(Path::new(".")))?;
        Ok(parts)
    }

    /// The parts in a folder that was made before.
    ///
    /// # Errors
    /// There is none, or one without a note: it was being made, or removed.
    pub fn open(folder: &Path) -> io::Result<Self> {
        fs::metadata(folder.join(NOTE))?;
        Ok(Self { folder: folder.to_owned() })
    }

    /// The note.
    ///
    /// # Errors
    /// It can't be read, or is longer than a note.
    pub fn note(&self) -> io::Result<Vec<u8>> {
        read_small(&self.folder.join(NOTE), NOTE_MOST)
    }

    /// Puts another note in its place, durably.
    ///
    /// # Errors
    /// The disk fails; the former note is there then.
    pub fn write_note(&self, note: &[u8]) -> io::Result<()> {
        self.write_file(NOTE, note)
    }

    /// Bytes of content that are durable here, and in how many parts.
    ///
    /// # Errors
    /// The disk fails, or a part is missing, or damaged so that its length can't be told.
    pub fn length(&self) -> io::Result<(u64, usize)> {
        let starts = starts(&self.folder)?;
        let Some(&last) = starts.last() else { return Ok((0, 0)) };
        Ok((last + length_of(&self.folder.join(name_of(last)))?, starts.len()))
    }

    /// The number of parts with fewer than `block` bytes, but for the last part.
    ///
    /// # Errors
    /// The disk fails.
    pub fn small(&self, block: u64) -> io::Result<usize> {
        let starts = starts(&self.folder)?;
        Ok(starts.windows(2).filter(|at| at[1] - at[0] < block).count())
    }

    /// The length of the content, once it was said that all of it is here.
    ///
    /// # Errors
    /// The disk fails.
    pub fn end(&self) -> io::Result<Option<u64>> {
        end(&self.folder)
    }

    /// Begins the part from `start` on, which is what [`length`](Self::length) says; its header is
    /// one of [`PIECE`](Self::PIECE), with `start` as the length of its content.
    ///
    /// # Errors
    /// The disk fails, or its suite is not here.
    pub fn begin(&self, start: u64, header: CopyHeader) -> io::Result<Part> {
        let cipher = SuiteCipher::of(header.scope().suite).map_err(io::Error::other)?;
        let file = NewFile::create(&self.folder.join(name_of(start)))?;
        // Nobody reads it while it grows.
        let grown = watch::channel(Grown::default()).0;
        let plain = Vec::with_capacity(header.piece_size());
        Ok(Part { pieces: Pieces::begin(file, header, cipher, &grown)?, plain, index: 0 })
    }

    /// Says that all parts are here, durably.
    ///
    /// # Errors
    /// The disk fails.
    pub fn finish(&self) -> io::Result<()> {
        let (length, _) = self.length()?;
        self.write_file(END, length.to_string().as_bytes())
    }

    /// Removes all of it.
    ///
    /// # Errors
    /// The disk fails.
    pub fn remove(&self) -> io::Result<()> {
        // Without it, it is being removed, whatever comes between.
        match fs::remove_file(self.folder.join(NOTE)) {
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        match fs::remove_dir_all(&self.folder) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    fn write_file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = NewFile::create(&self.folder.join(name))?;
        file.write(bytes)?;
        file.publish().map(drop)
    }
}

impl Part {
    /// Seals more content. An error may be one of an earlier write.
    ///
    /// # Errors
    /// The disk fails.
    pub fn push(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let size = self.pieces.header.piece_size();
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(size - self.plain.len()));
            self.plain.extend_from_slice(now);
            bytes = later;
            if self.plain.len() == size {
                self.put()?;
            }
        }
        Ok(())
    }

    /// Bytes of content in it.
    pub fn length(&self) -> u64 {
        self.pieces.length + self.plain.len() as u64
    }

    /// Makes it durable under its name.
    ///
    /// # Errors
    /// The disk fails: nothing of it is there then.
    pub fn finish(mut self) -> io::Result<()> {
        // The last piece is one with fewer bytes than others, or none.
        self.put()?;
        self.pieces.writer.finish()?.publish().map(drop)
    }

    fn put(&mut self) -> io::Result<()> {
        self.pieces.put(self.index, &self.plain)?;
        self.index += 1;
        self.plain.clear();
        Ok(())
    }
}

impl std::fmt::Debug for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Part").field("length", &self.length()).finish_non_exhaustive()
    }
}

pub(super) fn name_of(start: u64) -> String {
    format!("{start:020}")
}

/// The beginnings of the parts in a folder, in order.
pub(super) fn starts(folder: &Path) -> io::Result<Vec<u64>> {
    let mut starts = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        let name = name.to_str().filter(|name| name.len() == 20);
        if let Some(start) = name.and_then(|name| name.parse().ok()) {
            starts.push(start);
        }
        if starts.len() > PARTS_MOST {
            return Err(io::Error::other(format!("there are more than {PARTS_MOST} parts")));
        }
    }
    starts.sort_unstable();
    Ok(starts)
}

/// The length of the content whose parts are in a folder, once all are there.
pub(super) fn end(folder: &Path) -> io::Result<Option<u64>> {
    match read_small(&folder.join(END), 20) {
        Ok(text) => {
            let length = std::str::from_utf8(&text).ok().and_then(|text| text.parse().ok());
            length.map(Some).ok_or_else(|| damaged("its end is no number"))
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Bytes of content in a part, by the length of its file.
fn length_of(path: &Path) -> io::Result<u64> {
    let mut file = File::open(path)?;
    // The preamble, the id of the transfer, the size of pieces.
    let mut front = [0; COPY_PREAMBLE + 24 + 4];
    file.read_exact(&mut front)?;
    let no_part = |error: &dyn std::fmt::Display| damaged(&format!("{}: {error}", path.display()));
    let preamble = front.first_chunk().ok_or_else(|| no_part(&"too short"))?;
    let header = CopyHeader::length(preamble).map_err(|error| no_part(&error))? as u64;
    let size = front.last_chunk().map_or(0, |size| u32::from_le_bytes(*size));
    let record = u64::from(size) + PIECE_OVERHEAD as u64;
    let pieces = file.metadata()?.len().checked_sub(header).ok_or_else(|| no_part(&"too short"))?;
    let overhead = (pieces / record + 1) * PIECE_OVERHEAD as u64;
    pieces.checked_sub(overhead).ok_or_else(|| no_part(&"too short"))
}

fn read_small(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(most + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > most {
        return Err(damaged(&format!("{} has more than {most} bytes", path.display())));
    }
    Ok(bytes)
}

fn damaged(why: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, format!("a copy in parts is damaged: {why}"))
}
