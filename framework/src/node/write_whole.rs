//! Writing to a peer that may take nothing any more.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncWrite, AsyncWriteExt};

/// An end of writing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unwritten {
    #[error("the peer closed the connection")]
    Closed,
    #[error("{0}")]
    Io(#[from] io::Error),
    #[error("the peer took no byte for {0:?}")]
    Stalled(Duration),
}

/// Writes all of `bytes`; gives up when the peer takes none for too long, however slow the road is
/// otherwise.
pub(super) async fn write_whole(
    socket: &mut (impl AsyncWrite + Unpin),
    mut bytes: &[u8],
    stalled_after: Duration,
) -> Result<(), Unwritten> {
    while !bytes.is_empty() {
        let written = tokio::time::timeout(stalled_after, socket.write(bytes))
            .await
            .map_err(|_| Unwritten::Stalled(stalled_after))??;
        if written == 0 {
            return Err(Unwritten::Closed);
        }
        bytes = &bytes[written..];
    }
    Ok(())
}
