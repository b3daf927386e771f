//! The BLAKE3 of the content, folded from the hashes of its chunks.
//!
//! Chunk sizes are powers of two of at least 1 KiB, so every chunk is a whole subtree of BLAKE3's
//! tree (BLAKE3 paper, 2.4 and 5.1). Workers hash their chunks in any order; here the hashes are
//! put in order and folded to O(log n) of them. The result equals `b3sum` of the content.

use std::collections::BTreeMap;

use blake3::hazmat::{
    ChainingValue, HasherExt, Mode, merge_subtrees_non_root, merge_subtrees_root,
};

/// The hash of one chunk as a subtree of the content.
#[derive(Clone, Copy, Debug)]
pub struct Subtree {
    inner: ChainingValue,
    /// The chunk as if it were all of the content: made of chunk 0 only.
    root: Option<[u8; 32]>,
}

impl Subtree {
    /// Hashes the chunk `index` of content that is cut into chunks of `chunk_size` bytes. The chunk
    /// must not be empty.
    pub fn of(index: u64, chunk_size: u32, bytes: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new();
        hasher.set_input_offset(index * u64::from(chunk_size));
        hasher.update(bytes);
        let root = (index == 0).then(|| *blake3::hash(bytes).as_bytes());
        Self { inner: hasher.finalize_non_root(), root }
    }
}

/// Folds subtrees, which may come in any order, into the digest of the whole.
#[derive(Clone, Debug, Default)]
pub struct DigestFold {
    early: BTreeMap<u64, Subtree>,
    /// Roots of complete subtrees, largest first.
    stack: Vec<ChainingValue>,
    /// The newest in-order subtree: not yet folded, since the last one of all is folded
    /// differently.
    newest: Option<Subtree>,
    folded: u64,
}

impl DigestFold {
    /// Takes the hash of chunk `index`; a second one for the same index is ignored.
    pub fn insert(&mut self, index: u64, subtree: Subtree) {
        if index < self.in_order() {
            return;
        }
        self.early.entry(index).or_insert(subtree);
        while let Some(next) = self.early.remove(&self.in_order()) {
            self.fold_newest();
            self.newest = Some(next);
        }
    }

    /// Returns the number of hashes from chunk 0 on without a gap.
    pub fn in_order(&self) -> u64 {
        self.folded + u64::from(self.newest.is_some())
    }

    /// The digest of content that consists of the chunks so far; `None` while there are holes.
    pub fn finish(&self) -> Option<[u8; 32]> {
        if !self.early.is_empty() {
            return None;
        }
        let Some(newest) = self.newest else { return Some(*blake3::hash(b"").as_bytes()) };
        let Some((bottom, rest)) = self.stack.split_first() else { return newest.root };
        let right = rest
            .iter()
            .rev()
            .fold(newest.inner, |right, left| merge_subtrees_non_root(left, &right, Mode::Hash));
        Some(*merge_subtrees_root(bottom, &right, Mode::Hash).as_bytes())
    }

    /// The fold of the chunks that are in order, as bytes: `folded u64 ‖ newest ‖ its root ‖ stack
    /// …`, 32 bytes a hash, with zeros for what is not there.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = self.folded.to_le_bytes().to_vec();
        bytes.push(self.newest.map_or(0, |newest| 1 + u8::from(newest.root.is_some())));
        bytes.extend(self.newest.map_or([0; 32], |newest| newest.inner));
        bytes.extend(self.newest.and_then(|newest| newest.root).unwrap_or_default());
        self.stack.iter().for_each(|node| bytes.extend(node));
        bytes
    }

    /// Reads what [`DigestFold::to_bytes`] wrote; `None` if it can't have been that.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (folded, rest) = bytes.split_first_chunk::<8>()?;
        let (&[state], rest) = rest.split_first_chunk::<1>()?;
        let (inner, rest) = rest.split_first_chunk::<32>()?;
        let (root, rest) = rest.split_first_chunk::<32>()?;
        let (stack, left) = rest.as_chunks::<32>();
        let folded = u64::from_le_bytes(*folded);
        let is_one = left.is_empty() && state <= 2 && stack.len() == folded.count_ones() as usize;
        let newest =
            (state > 0).then(|| Subtree { inner: *inner, root: (state == 2).then_some(*root) });
        is_one.then(|| Self { early: BTreeMap::new(), stack: stack.to_vec(), newest, folded })
    }

    fn fold_newest(&mut self) {
        let Some(newest) = self.newest.take() else { return };
        let mut node = newest.inner;
        self.folded += 1;
        // Two complete subtrees of the same size make one: as often as the count can be halved.
        for _ in 0..self.folded.trailing_zeros() {
            let left = self.stack.pop().expect("a complete pair has its left half on the stack");
            node = merge_subtrees_non_root(&left, &node, Mode::Hash);
        }
        self.stack.push(node);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn digest(content: &[u8], chunk_size: u32, order: impl Iterator<Item = usize>) -> [u8; 32] {
        let chunks: Vec<_> = content.chunks(chunk_size as usize).collect();
        let mut fold = DigestFold::default();
        for i in order.filter(|&i| i < chunks.len()) {
            fold.insert(i as u64, Subtree::of(i as u64, chunk_size, chunks[i]));
        }
        assert_eq!(fold.in_order(), chunks.len() as u64);
        fold.finish().unwrap()
    }

    #[test]
    fn equals_b3sum_at_every_boundary() {
        let content: Vec<u8> = (0..40_000u32).map(|i| (i * 7 % 251) as u8).collect();
        for length in (0..40_000).step_by(1024).flat_map(|n: usize| [n.saturating_sub(1), n, n + 1])
        {
            for chunk_size in [1024, 2048, 8192] {
                let content = &content[..length.min(content.len())];
                assert_eq!(
                    digest(content, chunk_size, 0..100),
                    *blake3::hash(content).as_bytes(),
                    "{length} in {chunk_size}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn order_of_arrival_does_not_matter(length in 0usize..40_000, order in Just((0..40).collect::<Vec<usize>>()).prop_shuffle()) {
            let content: Vec<u8> = (0..length).map(|i| (i % 253) as u8).collect();
            prop_assert_eq!(digest(&content, 1024, order.into_iter()), *blake3::hash(&content).as_bytes());
        }
    }

    #[test]
    fn a_fold_goes_on_from_its_bytes() {
        let content: Vec<u8> = (0..20_000u32).map(|i| (i * 13 % 251) as u8).collect();
        for stop in 0..=20 {
            let mut fold = DigestFold::default();
            for (i, chunk) in content.chunks(1024).enumerate() {
                if i == stop {
                    fold = DigestFold::from_bytes(&fold.to_bytes()).unwrap();
                }
                fold.insert(i as u64, Subtree::of(i as u64, 1024, chunk));
            }
            let fold = DigestFold::from_bytes(&fold.to_bytes()).unwrap();
            assert_eq!(
                fold.finish(),
                Some(*blake3::hash(&content).as_bytes()),
                "stopped at {stop}"
            );
        }
        assert!(DigestFold::from_bytes(&[1; 73]).is_none());
    }

    #[test]
    fn a_hole_gives_no_digest() {
        let mut fold = DigestFold::default();
        fold.insert(1, Subtree::of(1, 1024, b"x"));
        assert_eq!(fold.finish(), None);
    }
}
