//! A view of a medium that can be written without changing it.
//!
//! redb has to write to open what was not closed. Where nothing may be written, because the disk is
//! full or has failed, or because somebody only wants to know how things are, it writes here.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use redb::{BackendError, StorageBackend};

use super::medium::Watched;

/// A medium under a layer of what was written since.
#[derive(Debug)]
pub(super) struct Overlay {
    below: Watched,
    layer: Mutex<Layer>,
}

#[derive(Debug)]
struct Layer {
    len: u64,
    /// Up to where the medium below shows through.
    shown: u64,
    /// Number of a block → its bytes.
    blocks: BTreeMap<u64, Box<[u8; BLOCK]>>,
}

impl Overlay {
    pub(super) fn new(below: Watched) -> io::Result<Self> {
        let len = below.len()?;
        Ok(Self { below, layer: Mutex::new(Layer { len, shown: len, blocks: BTreeMap::new() }) })
    }

    fn layer(&self) -> MutexGuard<'_, Layer> {
        self.layer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Calls `work` with each block that a range touches, where in it the range is, and which part
    /// of the range that is.
    fn pieces(
        offset: u64,
        len: usize,
        mut work: impl FnMut(u64, usize, std::ops::Range<usize>) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut done = 0;
        while done < len {
            let at = offset + done as u64;
            let within = (at % BLOCK as u64) as usize;
            let piece = (BLOCK - within).min(len - done);
            work(at / BLOCK as u64, within, done..done + piece)?;
            done += piece;
        }
        Ok(())
    }

    fn read_below(&self, shown: u64, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = shown.saturating_sub(offset).min(out.len() as u64) as usize;
        out[there..].fill(0);
        if there == 0 { Ok(()) } else { self.below.read(offset, &mut out[..there]) }
    }
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.layer().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let layer = self.layer();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > layer.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Self::pieces(offset, out.len(), |number, within, part| match layer.blocks.get(&number) {
            Some(block) => {
                out[part.clone()].copy_from_slice(&block[within..within + part.len()]);
                Ok(())
            }
            None => {
                self.read_below(layer.shown, number * BLOCK as u64 + within as u64, &mut out[part])
            }
        })
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut layer = self.layer();
        if len < layer.len {
            layer.shown = layer.shown.min(len);
            layer.blocks.split_off(&len.div_ceil(BLOCK as u64));
            if let Some(last) = layer.blocks.get_mut(&(len / BLOCK as u64)) {
                last[(len % BLOCK as u64) as usize..].fill(0);
            }
        }
        layer.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut layer = self.layer();
        let shown = layer.shown;
        Self::pieces(offset, data.len(), |number, within, part| {
            let block = match layer.blocks.entry(number) {
                Entry::Occupied(block) => block.into_mut(),
                Entry::Vacant(place) => {
                    let mut block = Box::new([0; BLOCK]);
                    self.read_below(shown, number * BLOCK as u64, &mut block[..])?;
                    place.insert(block)
                }
            };
            block[within..within + part.len()].copy_from_slice(&data[part]);
            Ok(())
        })?;
        layer.len = layer.len.max(offset + data.len() as u64);
        Ok(())
    }

    fn close(&self) -> io::Result<()> {
        self.below.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.below.try_lock_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.below.lock_range(start, end)
    }

    fn try_lock_shared_range(
        &self,
        start: Bound<u64>,
        end: Bound<u64>,
    ) -> Result<bool, BackendError> {
        self.below.try_lock_shared_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.below.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.below.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.below.query_lock_range(start, end)
    }
}

const BLOCK: usize = 4096;
