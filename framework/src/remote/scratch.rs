//! The buffer of a thread in which values are written first.

use std::cell::RefCell;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::wire::codec::{CodecError, encode_message};

thread_local! {
    /// Messages are written here first: a type's `Serialize` must not run while the exchange is locked.
    static SCRATCH: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The most that is kept of a scratch buffer.
const SCRATCH_KEPT: usize = 64 << 10;

/// Writes a value, and gives the bytes to `then`. Most that goes well is told in registers: what is
/// in memory is slow to move.
pub(super) fn written<V: Serialize + DeserializeOwned, T>(
    value: &V,
    then: impl FnOnce(&[u8]) -> T,
) -> Result<T, Box<CodecError>> {
    SCRATCH.with(|kept| {
        let (mut kept, mut another) = (kept.try_borrow_mut().ok(), Vec::new());
        // `value` may send a message while it is written.
        let scratch = kept.as_deref_mut().unwrap_or(&mut another);
        scratch.clear();
        let outcome = match encode_message(value, scratch) {
            Ok(()) => Ok(then(scratch)),
            Err(error) => Err(Box::new(error)),
        };
        if scratch.capacity() > SCRATCH_KEPT {
            *scratch = Vec::new();
        }
        outcome
    })
}
