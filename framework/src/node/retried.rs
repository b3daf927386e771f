//! Dead letters that the host of a node tries again.

use std::fmt;
use std::sync::Arc;

use crate::delivery::{Failure, TransferId};

/// Tells which ones; by default none.
#[derive(Clone, Default)]
pub(crate) struct Retried(Option<Arc<IsRetried>>);

type IsRetried = dyn Fn(TransferId, &Failure) -> bool + Send + Sync;

impl Retried {
    pub(crate) fn by(
        is_retried: impl Fn(TransferId, &Failure) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(is_retried)))
    }

    /// Returns `true` if a delivery that has failed so is tried again.
    pub(crate) fn has(&self, id: TransferId, failure: &Failure) -> bool {
        self.0.as_ref().is_some_and(|is_retried| is_retried(id, failure))
    }
}

impl fmt::Debug for Retried {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Retried")
    }
}
