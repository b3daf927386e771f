//! A check that a file still has the bytes that were written to it.

use std::fs::File;
use std::os::unix::fs::FileExt;

use estafette::delivery::{DigestFold, Subtree};

/// The reason why a file is of no use any more.
#[derive(Debug, thiserror::Error)]
pub(super) enum Damage {
    #[error("it has {there} bytes, and {noted} were written")]
    Short { there: u64, noted: u64 },
    #[error("its bytes are not those that were written")]
    Altered,
    #[error("it can't be read: {0}")]
    Unreadable(#[from] std::io::Error),
}

/// Reads the first `length` bytes from the disk, gives their digest when it is as `expected`, and
/// cuts off what lies behind them.
pub(super) fn verify(
    file: &File,
    chunk_size: u32,
    length: u64,
    expected: impl Fn(&DigestFold) -> bool,
) -> Result<DigestFold, Damage> {
    let there = file.metadata()?.len();
    if there < length {
        return Err(Damage::Short { there, noted: length });
    }
    let size = u64::from(chunk_size);
    let (mut fold, mut buffer) = (DigestFold::default(), vec![0; chunk_size as usize]);
    for index in 0..length.div_ceil(size) {
        let start = index * size;
        // No more than a chunk, which is in memory already.
        let chunk = &mut buffer[..(length - start).min(size) as usize];
        file.read_exact_at(chunk, start)?;
        fold.insert(index, Subtree::of(index, chunk_size, chunk));
    }
    if !expected(&fold) {
        return Err(Damage::Altered);
    }
    file.set_len(length)?;
    Ok(fold)
}
