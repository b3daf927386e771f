//! Sources other than files.

use std::pin::Pin;
use std::task::{Context, Poll};

use estafette::pipeline::Source;
use estafette_actors::source::{
    BytesSource, FileSource, Filter, Filtered, ReaderSource, TreeSource,
};
use tokio::io::{AsyncRead, ReadBuf};

use crate::harness::{block_on, read_all};

/// Gives its bytes one at a time.
struct Trickle(std::vec::IntoIter<u8>);

impl AsyncRead for Trickle {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if let Some(byte) = self.0.next() {
            buffer.put_slice(&[byte]);
        }
        Poll::Ready(Ok(()))
    }
}

/// Doubles line breaks and holds each line back until it is whole.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Filter for Lines {
    fn push(&mut self, input: &[u8], output: &mut Vec<u8>) {
        for &byte in input {
            self.0.push(byte);
            if byte == b'\n' {
                output.append(&mut self.0);
                output.push(b'\n');
            }
        }
    }

    fn finish(&mut self, output: &mut Vec<u8>) {
        output.append(&mut self.0);
    }

    fn reset(&mut self) {
        self.0.clear();
    }
}

#[test]
fn short_reads_are_no_end() {
    let mut source = ReaderSource::new("pipe", Trickle(b"byte by byte".to_vec().into_iter()))
        .unwrap()
        .expect_length(12);
    assert_eq!(source.content().length, Some(12));
    assert_eq!(block_on(read_all(&mut source, 100)).unwrap(), b"byte by byte");
    assert!(!source.rewind().unwrap(), "a pipe can't be read twice");
}

#[test]
fn a_filter_sees_the_stream_and_starts_anew_with_it() {
    let mut source =
        Filtered::new(BytesSource::new("poem", "one\ntwo\nthree").unwrap(), Lines::default());
    assert_eq!(source.content().length, None);
    for size in [1, 3, 100] {
        assert_eq!(block_on(read_all(&mut source, size)).unwrap(), b"one\n\ntwo\n\nthree");
        source.finish().unwrap();
        assert!(source.rewind().unwrap());
    }
    let mut reader = Filtered::new(
        ReaderSource::new("poem", Trickle(b"a\nb".to_vec().into_iter())).unwrap(),
        Lines::default(),
    );
    assert_eq!(block_on(read_all(&mut reader, 10)).unwrap(), b"a\n\nb");
}

#[test]
fn a_name_with_a_slash_is_refused_with_the_name() {
    let error = BytesSource::new("../x", "").unwrap_err();
    assert!(error.to_string().contains("../x"), "{error}");
}

#[test]
fn the_same_bytes_are_the_same_version() {
    let version = |bytes: &'static str| BytesSource::new("note", bytes).unwrap().version();
    assert!(version("one").is_some());
    assert_eq!(version("one"), version("one"));
    assert_ne!(version("one"), version("two"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_file_that_does_not_say_how_long_it_is_is_no_empty_one() {
    let path = std::path::Path::new("/proc/version");
    let mut file = FileSource::open(path).unwrap();
    let error = block_on(read_all(&mut file, 100)).unwrap_err().to_string();
    assert!(error.contains("/proc/version can't be sent") && error.contains("`cat`"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("empty"), "").unwrap();
    let mut tree = TreeSource::new(vec![path.into(), folder.path().join("empty")]).unwrap();
    block_on(read_all(&mut tree, 100)).unwrap();
    let report = tree.finish().unwrap();
    assert_eq!((report.files, report.skipped_total, report.failures), (1, 1, 1));
    assert!(report.remarks[0].starts_with("version was left out: the system says"), "{report:?}");
}
