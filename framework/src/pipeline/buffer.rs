//! Buffers that are used again: fresh ones cost about a page fault per 4 KiB.
//!
//! Invariant: a pool keeps at most [`BufferPool::IDLE_LIMIT`] bytes that nobody uses.

use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use super::Prefix;

/// Room beyond a power of two, so that a chunk with its frame header, tag and prefix stays in the
/// chunk's own size class.
const SLACK: usize = 256;
const CLASSES: usize = 32;

/// Buffers from this length on begin where the content behind their prefix lies in the middle of a
/// page. Large memory elsewhere begins at the front of one: files in the page cache do, and what
/// allocators give. `rep movsb`, with which C libraries and kernels copy much at once, is five
/// times slower on some processors (Zen 3 and 4) when a target lies up to 31 bytes further into its
/// page than the source, which the 16 bytes of a prefix are enough for.
const PLACED: usize = 16 << 10;
const PAGE: usize = 4096;

/// A shared store of idle buffers, by size class. Cloning it shares it.
#[derive(Clone)]
pub struct BufferPool(Arc<Mutex<Idle>>);

struct Idle {
    classes: [Vec<Vec<u8>>; CLASSES],
    bytes: usize,
    limit: usize,
}

/// A buffer of one's own. Goes back to its pool when dropped.
pub struct Buffer {
    bytes: Vec<u8>,
    class: usize,
    start: usize,
    length: usize,
    pool: BufferPool,
}

impl BufferPool {
    /// Idle bytes a pool keeps by default.
    pub const IDLE_LIMIT: usize = 12 << 20;

    /// An empty pool that keeps at most `limit` idle bytes.
    pub fn new(limit: usize) -> Self {
        Self(Arc::new(Mutex::new(Idle { classes: Default::default(), bytes: 0, limit })))
    }

    /// A buffer of `length` bytes. What they hold is left over from an earlier use.
    pub fn take(&self, length: usize) -> Buffer {
        let class = class_of(length);
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let used = idle.classes[class].pop();
        if let Some(bytes) = &used {
            idle.bytes -= bytes.len();
        }
        drop(idle);
        let placed = 1 << class >= PLACED;
        let bytes =
            used.unwrap_or_else(|| vec![0; (1 << class) + SLACK + if placed { PAGE } else { 0 }]);
        let start = if placed { mid_page(&bytes) } else { 0 };
        Buffer { bytes, class, start, length, pool: self.clone() }
    }

    fn give_back(&self, bytes: Vec<u8>, class: usize) {
        let mut idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.bytes + bytes.len() <= idle.limit {
            idle.bytes += bytes.len();
            idle.classes[class].push(bytes);
        }
    }
}

impl Default for BufferPool {
    fn default() -> Self {
        Self::new(Self::IDLE_LIMIT)
    }
}

impl fmt::Debug for BufferPool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let idle = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("BufferPool").field("idle_bytes", &idle.bytes).finish_non_exhaustive()
    }
}

fn class_of(length: usize) -> usize {
    length.saturating_sub(SLACK).max(1).next_power_of_two().trailing_zeros() as usize
}

/// Returns how far into `bytes` a prefix must begin for the content behind it to lie in the middle
/// of a page.
fn mid_page(bytes: &[u8]) -> usize {
    let middle = PAGE / 2 - Prefix::LENGTH;
    (middle + PAGE - bytes.as_ptr().addr() % PAGE) % PAGE
}

impl Buffer {
    /// Shortens the buffer to `length` bytes.
    pub fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
    }

    /// Makes `range` of it shared and unchangeable; it goes back to the pool when the last of the
    /// `Bytes` is dropped.
    pub fn freeze(self, range: Range<usize>) -> Bytes {
        Bytes::from_owner(Frozen(self)).slice(range)
    }
}

impl Deref for Buffer {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.length]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.length]
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.pool.give_back(std::mem::take(&mut self.bytes), self.class);
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Buffer").field("length", &self.length).finish_non_exhaustive()
    }
}

struct Frozen(Buffer);

impl AsRef<[u8]> for Frozen {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_used_again() {
        let pool = BufferPool::default();
        let mut buffer = pool.take(1000);
        buffer[0] = 7;
        let address = buffer.as_ptr();
        let frozen = buffer.freeze(0..10);
        assert_eq!(frozen[0], 7);
        drop(frozen);
        assert_eq!(pool.take(900).as_ptr(), address);
    }

    #[test]
    fn idle_bytes_are_bounded() {
        let pool = BufferPool::new(10_000);
        let many: Vec<_> = (0..10).map(|_| pool.take(4096)).collect();
        drop(many);
        assert!(pool.0.lock().unwrap().bytes <= 10_000);
    }

    #[test]
    fn the_content_of_a_large_buffer_lies_in_the_middle_of_a_page() {
        let pool = BufferPool::default();
        for length in [PLACED, 100_000, (256 << 10) + Prefix::LENGTH, 1 << 20] {
            let buffer = pool.take(length);
            assert_eq!(buffer[Prefix::LENGTH..].as_ptr().addr() % PAGE, PAGE / 2);
            assert_eq!(buffer.freeze(0..length)[Prefix::LENGTH..].as_ptr().addr() % PAGE, PAGE / 2);
        }
    }

    #[test]
    fn every_length_fits_its_class() {
        let pool = BufferPool::default();
        for length in [
            0,
            1,
            255,
            256,
            257,
            4096,
            4096 + 256,
            4096 + 257,
            (1 << 20) + 56,
            (1 << 20) * 7 / 6 + 48,
        ] {
            assert_eq!(pool.take(length).len(), length);
        }
    }
}
