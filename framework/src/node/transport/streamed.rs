//! A connection over any stream of bytes.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{Connection, Io};

/// A [`Connection`] over any stream of bytes: all that most transports need.
///
/// ```
/// use estafette::node::{Connection, Streamed};
///
/// let (here, there) = tokio::io::duplex(1024);
/// let connection: Box<dyn Connection> = Box::new(Streamed::new(here, "memory"));
/// assert_eq!(connection.remote(), "memory");
/// # drop(there);
/// ```
pub struct Streamed<T> {
    stream: T,
    remote: String,
    rebind: Option<fn(T) -> io::Result<T>>,
}

impl<T> Streamed<T> {
    /// A connection to `remote` ([`Connection::remote`]). The stream stays with the runtime that it
    /// was made on, which has to live as long as the connection.
    pub fn new(stream: T, remote: impl Into<String>) -> Self {
        Self { stream, remote: remote.into(), rebind: None }
    }

    /// Moves the stream to the runtime of each thread that takes the connection over, by `rebind`,
    /// which runs there. A socket that stays with the thread it was made on wakes that one, too,
    /// for each packet.
    #[must_use]
    pub fn rebinding(mut self, rebind: fn(T) -> io::Result<T>) -> Self {
        self.rebind = Some(rebind);
        self
    }
}

impl<T> fmt::Debug for Streamed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streamed").field("remote", &self.remote).finish_non_exhaustive()
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Connection for Streamed<T> {
    fn remote(&self) -> String {
        self.remote.clone()
    }

    fn attach(self: Box<Self>) -> io::Result<Box<dyn Io>> {
        match self.rebind {
            Some(rebind) => {
                Ok(Box::new(Self { stream: rebind(self.stream)?, remote: self.remote, ..*self }))
            }
            None => Ok(self),
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin + Send + 'static> Io for Streamed<T> {
    fn detach(self: Box<Self>) -> io::Result<Box<dyn Connection>> {
        Ok(self)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Streamed<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Streamed<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
