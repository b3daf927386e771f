//! A stream that only this process can read, for whichever process sends it: in pieces, by a pipe,
//! with a mark at its end.
//!
//! A pipe ends when the process that writes into it is killed, as it does when all is written. So
//! what is told by it is: a piece (its length, `u32` little-endian, and its bytes) again and again,
//! then [`WHOLE`]; or [`FAILED`] and, to the end of the pipe, why. Invariant: what ended in another
//! way is an error to its reader, and never whole.

use std::io::{self, ErrorKind, Read, Write};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, ReadBuf};

/// The most bytes of a piece.
const MOST: usize = 64 << 10;
/// The most bytes of a reason.
const REASON_MOST: usize = 1024;
/// In place of a length: all is there.
const WHOLE: u32 = 0;
/// In place of a length: the reason why there is no more.
const FAILED: u32 = u32::MAX;

/// Writes all that there is to read, or why not all of it could be read.
///
/// # Errors
/// Nobody takes it.
pub(crate) fn write(mut from: impl Read, mut into: impl Write) -> io::Result<()> {
    let mut piece = vec![0; 4 + MOST];
    loop {
        match from.read(&mut piece[4..]) {
            Ok(0) => return into.write_all(&WHOLE.to_le_bytes()),
            Ok(count) => {
                piece[..4].copy_from_slice(&(count as u32).to_le_bytes());
                into.write_all(&piece[..4 + count])?;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                into.write_all(&FAILED.to_le_bytes())?;
                return into.write_all(error.to_string().as_bytes());
            }
        }
    }
}

/// The content of pieces that are read one after the other.
pub(crate) struct Pieces<R> {
    from: R,
    /// The length of the next one, as far as it is read.
    head: Vec<u8>,
    state: State,
}

enum State {
    Head,
    /// So many bytes of a piece are still to come.
    Piece(usize),
    Whole,
    Failed(Vec<u8>),
}

impl<R: AsyncRead + Unpin> Pieces<R> {
    pub(crate) fn new(from: R) -> Self {
        Self { from, head: Vec::with_capacity(4), state: State::Head }
    }

    /// Reads so many bytes at most; none where nobody writes any more.
    fn poll_some<'a>(
        &mut self,
        context: &mut Context<'_>,
        into: &'a mut [u8],
    ) -> Poll<io::Result<&'a [u8]>> {
        let mut some = ReadBuf::new(into);
        ready!(Pin::new(&mut self.from).poll_read(context, &mut some))?;
        let count = some.filled().len();
        Poll::Ready(Ok(&into[..count]))
    }

    /// Reads on, up to bytes of the content or its end.
    fn poll_head(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut buffer = [0; 4];
        loop {
            let wanted = match &self.state {
                State::Head => 4 - self.head.len(),
                State::Failed(_) => 4,
                State::Piece(_) | State::Whole => return Poll::Ready(Ok(())),
            };
            let some = ready!(self.poll_some(context, &mut buffer[..wanted]))?;
            match &mut self.state {
                State::Failed(why) if some.is_empty() || why.len() >= REASON_MOST => {
                    return Poll::Ready(Err(io::Error::other(String::from_utf8_lossy(why))));
                }
                State::Failed(why) => why.extend(some),
                _ if some.is_empty() => return Poll::Ready(Err(cut_off())),
                _ => self.head.extend(some),
            }
            if let (State::Head, Ok(head)) = (&self.state, self.head.as_slice().try_into()) {
                self.head.clear();
                self.state = match u32::from_le_bytes(head) {
                    WHOLE => State::Whole,
                    FAILED => State::Failed(Vec::new()),
                    length if length as usize <= MOST => State::Piece(length as usize),
                    _ => return Poll::Ready(Err(cut_off())),
                };
            }
        }
    }
}

fn cut_off() -> io::Error {
    let text = "the process that read it has ended before it was whole";
    io::Error::new(ErrorKind::UnexpectedEof, text)
}

impl<R: AsyncRead + Unpin> AsyncRead for Pieces<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        ready!(self.poll_head(context))?;
        let State::Piece(left) = self.state else { return Poll::Ready(Ok(())) };
        let most = left.min(into.remaining());
        if most == 0 {
            return Poll::Ready(Ok(()));
        }
        let count = ready!(self.poll_some(context, into.initialize_unfilled_to(most)))?.len();
        if count == 0 {
            return Poll::Ready(Err(cut_off()));
        }
        into.advance(count);
        self.state = if count == left { State::Head } else { State::Piece(left - count) };
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use tokio::io::AsyncReadExt;

    use super::*;

    /// Content that can't be read to its end.
    struct Broken;

    impl Read for Broken {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }

    async fn read(written: &[u8]) -> io::Result<Vec<u8>> {
        let mut read = Vec::new();
        Pieces::new(written).read_to_end(&mut read).await.map(|_| read)
    }

    #[tokio::test]
    async fn what_is_written_to_its_end_is_whole_and_nothing_else_is() {
        let content: Vec<u8> = (0..2 * MOST + 17).map(|at| (at / 7) as u8).collect();
        let (mut written, mut empty) = (Vec::new(), Vec::new());
        write(&*content, &mut written).unwrap();
        write(io::empty(), &mut empty).unwrap();
        assert!(read(&written).await.unwrap() == content);
        assert!(read(&empty).await.unwrap().is_empty());
        // Wherever its writer is killed, the last byte but one included.
        for end in
            (0..8).chain([4 + MOST, 5 + MOST, 8 + MOST]).chain(written.len() - 5..written.len())
        {
            let error = read(&written[..end]).await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{end}: {error}");
        }
        let error = read(&(MOST as u32 + 1).to_le_bytes()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::UnexpectedEof, "{error}");
    }

    #[tokio::test]
    async fn an_error_of_reading_comes_with_its_reason() {
        let mut written = Vec::new();
        write(Read::chain(&b"begun"[..], Broken), &mut written).unwrap();
        let error = read(&written).await.unwrap_err();
        assert_eq!(error.to_string(), "the disk is gone");
        written.resize(written.len() + 4 * REASON_MOST, b'!');
        let error = read(&written).await.unwrap_err();
        assert!(error.to_string().len() <= REASON_MOST + 4, "{}", error.to_string().len());
    }
}
