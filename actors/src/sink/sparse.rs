//! Writes bytes to a file, and leaves runs of zeros as holes.
//!
//! Invariant: where something is left out the file has nothing yet, so it reads as the zeros that
//! were to be written. A file that ends in a hole gets its length by [`extend`].

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use super::remarks::is_passable;

/// The unit that most file systems hand out. Runs are cut where these begin, counted from the
/// beginning of the file.
const BLOCK: usize = 4096;
static ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Writes `bytes` at `offset`, blocks of zeros left out.
pub(super) fn write_at(file: &File, offset: u64, bytes: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while written < bytes.len() {
        let (zeros, data) = runs(offset + written as u64, &bytes[written..]);
        let (from, to) = (written + zeros, written + zeros + data);
        if data > 0 {
            file.write_all_at(&bytes[from..to], offset + from as u64)?;
        }
        written = to;
    }
    Ok(())
}

/// Bytes that a file takes on its disk, without the rest of its last block.
pub(super) fn taken(file: &File) -> io::Result<u64> {
    let there = file.metadata()?;
    Ok(there.len().min(there.blocks().saturating_mul(512)))
}

/// Gives a file that ends before `length` this length.
pub(super) fn extend(file: &File, length: u64) -> io::Result<()> {
    let there = file.metadata()?.len();
    if there >= length {
        return Ok(());
    }
    match file.set_len(length) {
        // Not every file system makes a file longer without being given the bytes.
        Err(error) if is_passable(&error) && error.kind() != io::ErrorKind::FileTooLarge => {
            fill(file, there, length)
        }
        extended => extended,
    }
}

fn fill(file: &File, from: u64, to: u64) -> io::Result<()> {
    let mut at = from;
    while at < to {
        let count = (to - at).min(BLOCK as u64);
        file.write_all_at(&ZEROS[..count as usize], at)?;
        at += count;
    }
    Ok(())
}

/// The number of bytes at the front that are blocks of zeros, and of those behind that are others.
fn runs(offset: u64, bytes: &[u8]) -> (usize, usize) {
    // To where the next block of the file begins.
    let mut end = bytes.len().min(BLOCK - (offset % BLOCK as u64) as usize);
    let (mut start, mut zeros) = (0, 0);
    while start < bytes.len() {
        let block = &bytes[start..end];
        match (block == &ZEROS[..block.len()], zeros == start) {
            (true, true) => zeros = end,
            (true, false) => break,
            (false, _) => {}
        }
        (start, end) = (end, bytes.len().min(end + BLOCK));
    }
    (zeros, start - zeros)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn runs_are_cut_at_the_blocks_of_the_file() {
        let bytes = [vec![0; BLOCK], vec![1; BLOCK], vec![0; 10]].concat();
        assert_eq!(runs(0, &bytes), (BLOCK, BLOCK));
        assert_eq!(runs(0, &bytes[BLOCK..]), (0, BLOCK));
        assert_eq!(runs(2 * BLOCK as u64, &bytes[2 * BLOCK..]), (10, 0));
        // A block of the file that is not all zeros is written whole.
        assert_eq!(
            runs(1, &bytes),
            (BLOCK - 1, BLOCK + 1 + 10),
            "the last ten lie in the block that the ones end in"
        );
    }

    #[test]
    fn zeros_take_no_room() {
        let file = tempfile::tempfile().unwrap();
        write_at(&file, 0, &vec![0; 4 << 20]).unwrap();
        write_at(&file, 4 << 20, &[1; 100]).unwrap();
        write_at(&file, (4 << 20) + 100, &vec![0; 1 << 20]).unwrap();
        extend(&file, (5 << 20) + 100).unwrap();
        let there = file.metadata().unwrap();
        assert_eq!(there.len(), (5 << 20) + 100);
        assert!(there.blocks() * 512 < 1 << 20, "{} blocks", there.blocks());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn a_file_reads_as_what_was_written(pieces in proptest::collection::vec((any::<bool>(), 1..20_000_usize), 1..12)) {
            let file = tempfile::tempfile().unwrap();
            let mut all = Vec::new();
            for (zeros, length) in pieces {
                let piece: Vec<u8> = (0..length).map(|at| if zeros { 0 } else { (at % 251) as u8 }).collect();
                write_at(&file, all.len() as u64, &piece).unwrap();
                all.extend(piece);
            }
            extend(&file, all.len() as u64).unwrap();
            let mut read = vec![0; all.len()];
            file.read_exact_at(&mut read, 0).unwrap();
            prop_assert_eq!(file.metadata().unwrap().len(), all.len() as u64);
            prop_assert!(read == all);
        }
    }
}
