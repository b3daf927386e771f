//! The beginning of a connection, by which HTTP/2 is told from HTTP/1.1.
//!
//! Invariant: what was read for that is read again, and with it what follows, in one piece: a head
//! that comes in two makes hyper hold twice the memory, for as long as its connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};

/// The bytes that a client begins with which speaks HTTP/2.
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// A connection of which a beginning was read.
#[derive(Debug)]
pub(crate) struct Begun<S> {
    socket: S,
    start: [u8; PREFACE.len()],
    /// The part of `start` that is to be read again.
    left: std::ops::Range<usize>,
}

impl<S: AsyncRead + Unpin> Begun<S> {
    /// Reads as much as tells whether its client speaks HTTP/2.
    pub(crate) async fn of(mut socket: S) -> io::Result<(bool, Self)> {
        let (mut start, mut length) = ([0; PREFACE.len()], 0);
        let is_http2 = loop {
            let read = socket.read(&mut start[length..]).await?;
            length += read;
            if read == 0 || start[..length] != PREFACE[..length] {
                break false;
            }
            if length == PREFACE.len() {
                break true;
            }
        };
        Ok((is_http2, Self { socket, start, left: 0..length }))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Begun<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { socket, start, left } = &mut *self;
        if left.start == left.end {
            return Pin::new(socket).poll_read(cx, buffer);
        }
        let count = left.len().min(buffer.remaining());
        buffer.put_slice(&start[left.start..left.start + count]);
        left.start += count;
        match Pin::new(socket).poll_read(cx, buffer) {
            // It is told when it is read the next time.
            Poll::Pending | Poll::Ready(Err(_)) => Poll::Ready(Ok(())),
            read => read,
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Begun<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.socket).poll_write_vectored(cx, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use tokio::io::AsyncWriteExt;

    use super::*;

    #[tokio::test]
    async fn http_2_is_told_and_what_was_read_is_read_again_together_with_the_rest() {
        let long = b"GET /a/path/that/is/longer HTTP/1.1\r\nHost: a\r\n\r\n";
        let half = b"PRI * HTTP/2.0\r\n\r\nSX\r\n\r\nand so on";
        let whole = [&PREFACE[..], b"and so on"].concat();
        let cases: [(&[u8], bool); 6] = [
            (long, false),
            (half, false),
            (&whole, true),
            (b"PR", false),
            (b"G", false),
            (b"", false),
        ];
        for (bytes, is_http2) in cases {
            let (mut client, socket) = tokio::io::duplex(1024);
            client.write_all(bytes).await.unwrap();
            drop(client);
            let (told, mut begun) = Begun::of(socket).await.unwrap();
            assert_eq!(told, is_http2, "{bytes:?}");
            let mut first = vec![0; 1024];
            let read = begun.read(&mut first).await.unwrap();
            assert_eq!(&first[..read], bytes, "in one piece");
            assert_eq!(begun.read(&mut first).await.unwrap(), 0);
        }
        // Byte by byte, and read into less room than there is.
        let (mut client, socket) = tokio::io::duplex(1);
        let writes = async {
            client.write_all(&whole).await.unwrap();
            drop(client);
        };
        let reads = async {
            let (told, mut begun) = Begun::of(socket).await.unwrap();
            assert!(told);
            let (mut small, mut all) = ([0; 7], Vec::new());
            loop {
                match begun.read(&mut small).await.unwrap() {
                    0 => break all,
                    read => all.extend_from_slice(&small[..read]),
                }
            }
        };
        let ((), all) = tokio::join!(writes, reads);
        assert_eq!(all, whole);
    }
}
