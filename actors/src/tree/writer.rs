//! Writes a tree stream.

use super::entry::{ATTRIBUTE, COUNTS, END, HEAD, REMARK, REMARK_BYTES, UNREAD_ENTRY, head};
use super::{Counts, Entry, FileStatus, MAGIC, TreePath, UNREAD, UNREAD_BYTES};

/// Encodes entries and keeps the counts that end a stream.
///
/// It is called in the order of the stream: `begin`, then each `entry` (after a file its content,
/// which goes past this, then `file_end`), then `end`. Order and nesting of the entries are their
/// maker's concern; [`TreeReader`](super::TreeReader) refuses what is not right.
#[derive(Clone, Debug, Default)]
pub struct TreeWriter {
    counts: Counts,
    /// Paths of what could not be read, their bytes, and whether it is said that there are more.
    unread: (usize, usize, bool),
}

impl TreeWriter {
    /// Bytes of a stream besides its entries.
    pub(crate) const FRAME: u64 = (MAGIC.len() + 1 + COUNTS) as u64;

    /// A writer at the start of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the start of a stream to `out`.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(MAGIC);
    }

    /// Appends an entry to `out`. After a file, its content and [`file_end`](Self::file_end) have
    /// to follow.
    pub fn entry(&mut self, entry: &Entry, out: &mut Vec<u8>) {
        entry.encode(out);
        match entry {
            Entry::Folder { .. } => self.counts.folders += 1,
            Entry::Link { .. } | Entry::OutwardLink { .. } => self.counts.links += 1,
            Entry::HardLink { .. } => self.counts.files += 1,
            Entry::Root { .. } | Entry::File { .. } => {}
        }
    }

    /// Appends an extended attribute of the root, folder or file that comes next.
    pub fn attribute(&mut self, name: &[u8], value: &[u8], out: &mut Vec<u8>) {
        head(ATTRIBUTE, 0, 0, value.len() as u64, name, out);
        out.extend_from_slice(value);
    }

    /// Appends a remark for a person, of which the first 512 bytes are kept.
    pub fn remark(&mut self, text: &str, out: &mut Vec<u8>) {
        let text = cut(text);
        head(REMARK, 0, 0, text.len() as u64, &[], out);
        out.extend_from_slice(text.as_bytes());
    }

    /// Bytes of a remark in a stream.
    pub(crate) fn remark_length(text: &str) -> u64 {
        (HEAD + cut(text).len()) as u64
    }

    /// Appends the path of something that is there and could not be read; an empty one where there
    /// are more. At most 1,024 of them, of 64 KiB in all: an empty one stands for those beyond that,
    /// and for what is no path in a tree. Behind an empty one nothing more need be said.
    pub fn unread(&mut self, path: &[u8], out: &mut Vec<u8>) {
        let (count, bytes, has_all) = &mut self.unread;
        if *has_all {
            return;
        }
        // One more may follow, which stands for all.
        let is_beyond = *count + 1 >= UNREAD || *bytes + path.len() > UNREAD_BYTES;
        let path = if is_beyond || TreePath::new(path.to_vec()).is_err() { &[][..] } else { path };
        *has_all = path.is_empty();
        (*count, *bytes) = (*count + 1, *bytes + path.len());
        head(UNREAD_ENTRY, 0, 0, 0, path, out);
    }

    /// Bytes of such a path in a stream.
    pub(crate) fn unread_length(path: &[u8]) -> u64 {
        (HEAD + path.len()) as u64
    }

    /// Appends the status of a file, after as many bytes as its entry told.
    pub fn file_end(&mut self, status: FileStatus, out: &mut Vec<u8>) {
        out.push(status.code());
        match status {
            FileStatus::Complete => self.counts.files += 1,
            _ => self.counts.skipped += 1,
        }
    }

    /// Counts something that never got an entry.
    pub fn skip(&mut self) {
        self.counts.skipped += 1;
    }

    /// Appends the end of the stream to `out`.
    pub fn end(&mut self, out: &mut Vec<u8>) {
        out.push(END);
        let Counts { folders, files, links, skipped } = self.counts;
        for count in [folders, files, links, skipped] {
            out.extend_from_slice(&count.to_le_bytes());
        }
    }

    /// Returns the counts of what was written so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=REMARK_BYTES.min(text.len())).rev().find(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::super::{Event, TreeError, TreePath, TreeReader};
    use super::*;

    fn path(text: &str) -> TreePath {
        TreePath::new(text).unwrap()
    }

    /// A stream with one of everything.
    fn sample() -> Vec<u8> {
        let (mut writer, mut out) = (TreeWriter::new(), Vec::new());
        writer.begin(&mut out);
        writer.entry(&Entry::Root { mode: 0o755, mtime: -1 }, &mut out);
        writer.entry(&Entry::Folder { path: path("a"), mode: 0o700, mtime: 1 }, &mut out);
        writer.entry(&Entry::File { path: path("a/b"), mode: 0o644, mtime: 2, size: 3 }, &mut out);
        out.extend_from_slice(b"xyz");
        writer.file_end(FileStatus::Complete, &mut out);
        writer.entry(&Entry::File { path: path("c"), mode: 0, mtime: 0, size: 0 }, &mut out);
        writer.file_end(FileStatus::Shrank, &mut out);
        writer.skip();
        writer.entry(&Entry::Link { path: path("l"), mtime: 4, target: b"a/b".to_vec() }, &mut out);
        writer.entry(&Entry::HardLink { path: path("m"), target: path("a/b") }, &mut out);
        writer.entry(
            &Entry::OutwardLink { path: path("o"), mtime: 5, target: b"/o".to_vec() },
            &mut out,
        );
        writer.remark("no", &mut out);
        writer.unread(b"q/r", &mut out);
        writer.unread(b"", &mut out);
        writer.attribute(b"user.x", b"y", &mut out);
        writer.entry(&Entry::Folder { path: path("z"), mode: 0o1700, mtime: 6 }, &mut out);
        writer.end(&mut out);
        out
    }

    #[test]
    fn the_bytes_of_version_1_stay_what_they_are() {
        let out = sample();
        assert_eq!(out[..25], b"estafette tree stream v1\n"[..]);
        let hex: String = out[25..].iter().map(|byte| format!("{byte:02x}")).collect();
        let expected = concat!(
            "01ed010000ffffffffffffffff00000000000000000000",
            "02c001000001000000000000000000000000000000010061",
            "03a4010000020000000000000003000000000000000300612f6278797a00",
            "030000000000000000000000000000000000000000010063",
            "02",
            "04000000000400000000000000030000000000000001006c612f62",
            "05000000000000000000000000030000000000000001006d612f62",
            "06000000000500000000000000020000000000000001006f2f6f",
            "08000000000000000000000000020000000000000000006e6f",
            "0900000000000000000000000000000000000000000300712f72",
            "0900000000000000000000000000000000000000000000",
            "0700000000000000000000000001000000000000000600757365722e7879",
            "02c00300000600000000000000000000000000000001007a",
            "000200000000000000020000000000000002000000000000000200000000000000",
        );
        assert_eq!(hex, expected);
    }

    #[test]
    fn whatever_is_said_to_be_unread_is_read_and_more_than_may_be_named_stands_for_all() {
        let read = |paths: &[Vec<u8>]| {
            let (mut writer, mut out) = (TreeWriter::new(), Vec::new());
            writer.begin(&mut out);
            paths.iter().for_each(|path| writer.unread(path, &mut out));
            writer.end(&mut out);
            let (mut reader, mut rest, mut unread) = (TreeReader::new(), &out[..], Vec::new());
            while let Some(event) = reader.next(&mut rest).unwrap() {
                if let Event::Unread(path) = event {
                    unread.push(path.map(|path| path.as_bytes().to_vec()));
                }
            }
            unread
        };
        let numbers: Vec<_> = (0..2000).map(|number| format!("{number}").into_bytes()).collect();
        let unread = read(&numbers);
        assert_eq!((unread.len(), unread.last()), (UNREAD, Some(&None)));
        let long: Vec<_> = (0..40)
            .map(|_| vec![b'x'; 200])
            .map(|name| [&name[..], b"/"].concat().repeat(15))
            .map(|mut path| {
                path.pop();
                path
            })
            .collect();
        let unread = read(&long);
        assert_eq!(unread.last(), Some(&None));
        assert!(unread.iter().flatten().map(Vec::len).sum::<usize>() <= UNREAD_BYTES);
        // What is no path, and what comes behind all.
        for path in [&b"../x"[..], b"/x", b"a//b", b""] {
            assert_eq!(
                read(&[b"a".to_vec(), path.to_vec(), b"b".to_vec()]),
                [Some(b"a".to_vec()), None]
            );
        }
    }

    #[test]
    fn what_is_written_is_read_in_pieces_of_any_size() {
        let stream = sample();
        for size in 1..=stream.len() {
            let (mut reader, mut content, mut ends, mut unread, mut entries) =
                (TreeReader::new(), Vec::new(), Vec::new(), Vec::new(), 0);
            for mut piece in stream.chunks(size) {
                while let Some(event) = reader.next(&mut piece).unwrap() {
                    match event {
                        Event::Entry(_) => entries += 1,
                        Event::Content(bytes) => content.extend_from_slice(bytes),
                        Event::FileEnd(status) => ends.push(status),
                        Event::Attribute { name, value } => {
                            assert_eq!((&*name, &*value), (&b"user.x"[..], &b"y"[..]))
                        }
                        Event::Remark(text) => assert_eq!(text, "no"),
                        Event::Unread(path) => unread.push(path),
                        Event::End(counts) => assert_eq!(reader.finish(), Ok(counts)),
                    }
                }
            }
            assert_eq!((entries, &content[..]), (8, &b"xyz"[..]));
            assert_eq!(ends, [FileStatus::Complete, FileStatus::Shrank]);
            assert_eq!(unread, [Some(path("q/r")), None]);
            assert_eq!(reader.finish(), Ok(Counts { folders: 2, files: 2, links: 2, skipped: 2 }));
        }
    }

    #[test]
    fn a_stream_is_whole_only_at_its_last_byte() {
        let stream = sample();
        for length in 0..stream.len() {
            let (mut reader, mut input) = (TreeReader::new(), &stream[..length]);
            while reader.next(&mut input).unwrap().is_some() {}
            assert_eq!(reader.finish(), Err(TreeError::Truncated));
        }
    }
}
