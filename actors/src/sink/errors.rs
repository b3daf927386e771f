//! Errors that several sinks have.

use estafette::pipeline::SinkError;

/// A sink that is used when it has come to its end.
pub(super) fn closed() -> SinkError {
    SinkError::Gone("the delivery was committed or given up before".into())
}
