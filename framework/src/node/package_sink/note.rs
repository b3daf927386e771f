//! The progress of a package, as it is noted.

use std::fs::File;
use std::io::{self, Read};

use crate::delivery::{DigestFold, Subtree};
use crate::pipeline::Progress;

/// `chunks u64 ‖ length u64 ‖ digest`.
pub(super) fn encode_note(progress: &Progress) -> Vec<u8> {
    [
        &progress.chunks.to_le_bytes()[..],
        &progress.length.to_le_bytes(),
        &progress.digest.to_bytes(),
    ]
    .concat()
}

pub(super) fn decode_note(note: &[u8]) -> Option<Progress> {
    let (chunks, rest) = note.split_first_chunk::<8>()?;
    let (length, digest) = rest.split_first_chunk::<8>()?;
    let digest = DigestFold::from_bytes(digest)?;
    Some(Progress {
        chunks: u64::from_le_bytes(*chunks),
        length: u64::from_le_bytes(*length),
        digest,
    })
}

/// Returns the noted progress, if the file still holds just that.
pub(super) fn verified(file: &File, noted: &Progress, chunk_size: u32) -> Option<Progress> {
    let (mut fold, mut reader) = (
        DigestFold::default(),
        io::BufReader::with_capacity(chunk_size as usize, file).take(noted.length),
    );
    let mut chunk = vec![0; chunk_size as usize];
    for index in 0..noted.chunks {
        let expected = (noted.length - (index * u64::from(chunk_size)).min(noted.length))
            .min(u64::from(chunk_size)) as usize;
        reader.read_exact(&mut chunk[..expected]).ok()?;
        fold.insert(index, Subtree::of(index, chunk_size, &chunk[..expected]));
    }
    let same = fold.to_bytes() == noted.digest.to_bytes();
    if !same {
        tracing::error!("a package that had arrived in part is not what it was: it begins anew");
    }
    same.then(|| noted.clone())
}
