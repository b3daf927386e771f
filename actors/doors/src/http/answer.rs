//! Bodies of answers, which count until their clients have taken them.
//!
//! Invariant: by HTTP/2 a client may keep an answer from being written for as long as it likes. So
//! an answer is written in pieces that count until they are on the wire, and the rest of it is let
//! go when its time is over, even though nobody asks for it: then its body is broken off.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::{StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use estafette::remote::Handled;
use http_body::{Frame, SizeHint};
use tokio::task::AbortHandle;

use super::problem::Problem;
use crate::room::{Held, Room};

/// A client has this long for an answer, and a second more for each [`LEAST`] bytes of it.
const WITHIN: Duration = Duration::from_secs(60);
const LEAST: usize = 64 << 10;
/// An answer is written in such pieces.
const PIECE: usize = 16 << 10;
/// Besides its bytes, an answer counts as so many.
const OWN: usize = 1 << 10;

/// An answer of JSON; a problem, if too many wait for their clients.
pub(crate) fn json(
    room: &Arc<Room>,
    token: &str,
    version: Version,
    text: String,
    handled: Handled,
) -> Result<Response, Problem> {
    let Some(held) = room.take(token, text.len() + OWN) else {
        let text = "as many answers as may be wait for clients to take them, of this token or of \
                    all: the message was sent, and its answer is lost";
        let status = StatusCode::BAD_GATEWAY;
        return Err(Problem::new(status, "answers-untaken", text).handled(handled));
    };
    // A short one is taken at once by HTTP/1, and is no body any more.
    let waits = version > Version::HTTP_11 || text.len() > PIECE;
    let body = Body::new(Answer::new(text.into(), held, waits));
    Ok(([(header::CONTENT_TYPE, "application/json")], body).into_response())
}

/// The rest of an answer, and its room; `None` when its time is over.
type Left = Option<(Bytes, Held)>;

#[derive(Debug)]
struct Answer {
    left: Arc<Mutex<Left>>,
    timer: Option<AbortHandle>,
}

/// Bytes that count until they are dropped.
struct Counted(Bytes, #[allow(dead_code, reason = "it is dropped with them")] Held);

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Answer {
    fn new(bytes: Bytes, held: Held, waits: bool) -> Self {
        let within = WITHIN + Duration::from_secs((bytes.len() / LEAST) as u64);
        let left = Arc::new(Mutex::new(Some((bytes, held))));
        let timer = waits.then(|| {
            let own = Arc::clone(&left);
            let timer = tokio::spawn(async move {
                tokio::time::sleep(within).await;
                lock(&own).take();
            });
            timer.abort_handle()
        });
        Self { left, timer }
    }
}

fn lock(left: &Mutex<Left>) -> MutexGuard<'_, Left> {
    left.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Answer {
    fn drop(&mut self) {
        if let Some(timer) = &self.timer {
            timer.abort();
        }
        lock(&self.left).take();
    }
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(match &mut *lock(&self.left) {
            None => Some(Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the client did not take its answer in time",
            ))),
            Some((bytes, _)) if bytes.is_empty() => None,
            Some((bytes, held)) => {
                let piece = bytes.split_to(bytes.len().min(PIECE));
                let counts = held.part(piece.len());
                Some(Ok(Frame::data(Bytes::from_owner(Counted(piece, counts)))))
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        lock(&self.left).as_ref().is_some_and(|(bytes, _)| bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        let left = lock(&self.left);
        SizeHint::with_exact(left.as_ref().map_or(0, |(bytes, _)| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use axum::body::to_bytes;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_that_nobody_takes_are_bounded_and_let_go_when_their_time_is_over() {
        let room = Room::of(4 << 20);
        let text = "x".repeat(900 << 10);
        let first = json(&room, "one", Version::HTTP_2, text.clone(), Handled::Yes).unwrap();
        let refused = json(&room, "one", Version::HTTP_2, text.clone(), Handled::Yes)
            .unwrap_err()
            .into_response();
        assert_eq!(refused.status(), StatusCode::BAD_GATEWAY);
        assert_eq!(refused.headers()["estafette-handled"], "yes");
        let other = json(&room, "two", Version::HTTP_2, text.clone(), Handled::Yes).unwrap();
        assert_eq!(to_bytes(other.into_body(), usize::MAX).await.unwrap(), text);
        // Nobody asks for a piece of it.
        tokio::time::sleep(Duration::from_secs(200)).await;
        assert!(room.take("one", 1 << 20).is_some(), "its room is free");
        assert!(to_bytes(first.into_body(), usize::MAX).await.is_err(), "it is no whole answer");
    }

    #[tokio::test]
    async fn a_piece_counts_until_it_is_on_the_wire() {
        let room = Room::of(4 << 20);
        let response =
            json(&room, "one", Version::HTTP_2, "x".repeat(1 << 20).split_off(OWN), Handled::Yes);
        let mut stream = response.unwrap().into_body().into_data_stream();
        let piece = futures_util::StreamExt::next(&mut stream).await.unwrap().unwrap();
        drop(stream);
        assert_eq!(piece.len(), PIECE);
        assert!(room.take("one", (1 << 20) - PIECE + 1).is_none());
        drop(piece);
        assert!(room.take("one", 1 << 20).is_some());
    }
}
