//! `PUT /v1/send/{peer}/{inbox}/{file}`: content for an inbox, which the node keeps sealed until it
//! is there; and `GET /v1/transfers/{id}`: what has become of it.
//!
//! Invariant: what is answered 202 is whole, sealed and durable in the node's spool. A body that
//! breaks off leaves nothing.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Request, StatusCode};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bytes::{Buf, Bytes};
use estafette::node::{OutboxEntry, OutboxState, SendError};
use estafette::remote::Handled;
use estafette::{Destination, Node, RemoteErrorKind, SendOptions, TransferId};
use estafette_actors::source::ReaderSource;
use futures_util::stream::{self, Stream, StreamExt};
use serde_json::{Value, json};
use tokio::io::{AsyncRead, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use tokio::time::Instant;

use super::Seat;
use super::deliver::{ALIVE, applied, given_key, wants_events};
use super::problem::Problem;
use super::sent::{self, Found};
use super::target;
use crate::tokens::Pass;

/// The longest wait, all together, for each [`LEAST`] bytes of content: who sends a byte a second
/// keeps no place.
const SENDS_WITHIN: Duration = Duration::from_secs(60);
const LEAST: usize = 64 << 10;
/// Parts of a body that wait to be sealed.
pub(crate) const PARTS: usize = 2;

/// Takes content. A client that goes away before its end leaves nothing; behind it, nothing stops.
pub(crate) async fn send(
    State(seat): State<Seat>,
    Extension(pass): Extension<Pass>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    request: Request<Body>,
) -> Result<Response, Problem> {
    let Path((peer, inbox, file)) = path.map_err(|error| target::bad(error.body_text()))?;
    let reached = seat.access.reach(&pass, &peer, &inbox)?;
    let headers = request.headers();
    if headers.contains_key(header::CONTENT_RANGE) {
        return Err(target::bad("a part of content is not taken: send all of it"));
    }
    let wait = target::wait(headers);
    let length = headers.get(header::CONTENT_LENGTH);
    let length: Option<u64> = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let (id, _sending) = match given_key(headers)? {
        None => (sent::fresh(&pass), None),
        Some(key) => {
            let (node, path) = (seat.access.node(), [&*reached.peer.to_string(), &inbox, &file]);
            let found = seat.sent.find(node, &pass, &key, path).await;
            match found.map_err(|error| unsent(&error.into()))? {
                Found::New(id, sending) => (id, Some(sending)),
                Found::Sending => return Err(sending_now(&key)),
                Found::Stored(id, entry) => return again(&seat, id, &entry, length, wait).await,
            }
        }
    };
    let place = seat.upload(&pass)?;
    let (parts, fed) = mpsc::channel(PARTS);
    let source = ReaderSource::new(&file, Fed { parts: fed, rest: Bytes::new(), ended: false })
        .map_err(|error| target::bad(format!("the name of the content: {error}")))?;
    let source = match length {
        Some(length) => source.expect_length(length),
        None => source,
    };
    let options = SendOptions { copy: true, id: Some(id), ..SendOptions::default() };
    let to = Destination::Peer(reached.peer, inbox.clone());
    let sent = seat.access.node().send_with(to, source, options);
    let (fault, sent) = tokio::join!(feed(request.into_body(), parts, |_| Ok(())), sent);
    drop(place);
    let handle = match (sent, fault) {
        (Ok(handle), _) => handle,
        // That the copy failed follows from it.
        (Err(_), Some(fault)) => return Err(fault),
        (Err(error), None) => return Err(unsent(&error)),
    };
    if let Some(wait) = wait {
        // Its entry tells how it went.
        let _ = tokio::time::timeout(wait, handle.delivered()).await;
    }
    accepted(&seat, id, wait).await
}

/// Tells again what was stored by this key before, and reads nothing.
async fn again(
    seat: &Seat,
    id: TransferId,
    entry: &OutboxEntry,
    length: Option<u64>,
    wait: Option<Duration>,
) -> Result<Response, Problem> {
    if let (Some(length), Some(stored)) = (length, entry.length)
        && length != stored
    {
        let text = format!(
            "this Idempotency-Key is that of content of {stored} bytes, and this has {length}: \
             send other content by another key"
        );
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, "conflict", text));
    }
    if let Some(wait) = wait
        && let Ok(handle) = seat.access.node().outbox().transfer(id).await
    {
        // Its entry tells how it went.
        let _ = tokio::time::timeout(wait, handle.delivered()).await;
    }
    accepted(seat, id, wait).await
}

fn sending_now(key: &str) -> Problem {
    let text = format!(
        "the content of Idempotency-Key {key:?} is being sent at this moment, by another request: \
         whether it will be stored is not known yet"
    );
    Problem::new(StatusCode::CONFLICT, "in-progress", text).handled(Handled::Unknown)
}

async fn accepted(
    seat: &Seat,
    id: TransferId,
    wait: Option<Duration>,
) -> Result<Response, Problem> {
    let entry = seat.access.node().outbox().entry(id).await.map_err(|error| {
        Problem::new(super::status(507), "storage", format!("it was stored, and then: {error}"))
            .handled(Handled::Unknown)
    })?;
    let is_over =
        matches!(entry.state, OutboxState::Delivered { .. } | OutboxState::Processed { .. });
    let status = if is_over { StatusCode::OK } else { StatusCode::ACCEPTED };
    let mut response = (status, told(id, &entry)).into_response();
    let own = response.headers_mut();
    if let Ok(place) = HeaderValue::from_str(&format!("/v1/transfers/{id}")) {
        own.insert(header::LOCATION, place);
    }
    applied(own, wait);
    Ok(response)
}

/// Tells what has become of content: at once, or when it is over.
pub(crate) async fn transfer(
    State(seat): State<Seat>,
    Extension(pass): Extension<Pass>,
    id: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(id) = id.map_err(|error| target::bad(error.body_text()))?;
    let node = seat.access.node();
    let none = || {
        let text = "no transfer that this token may see has this id, or its time is over";
        Problem::new(StatusCode::NOT_FOUND, "no-such-transfer", text)
    };
    let id: TransferId = id.parse().map_err(|_| none())?;
    if !sent::is_of(id, &pass) {
        return Err(none());
    }
    let mut entry = node.outbox().entry(id).await.map_err(|_| none())?;
    let peer = entry.peer.to_string();
    if entry.relayed_for.is_some() || seat.access.reach(&pass, &peer, &entry.inbox).is_err() {
        return Err(none());
    }
    if wants_events(&headers) {
        let place = seat.stream()?;
        let after = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
        let tokens = seat.access.tokens().clone();
        let ended = async move { tokens.ended(&pass).await };
        let events = events(node.clone(), id, after.unwrap_or(0), place);
        let kept = Sse::new(events.take_until(Box::pin(ended)));
        let kept = kept.keep_alive(KeepAlive::new().interval(ALIVE));
        return Ok(([("x-accel-buffering", "no")], kept).into_response());
    }
    let wait = target::wait(&headers);
    if let Some(wait) = wait
        && let Ok(handle) = node.outbox().transfer(id).await
    {
        // Its entry tells how it went.
        let _ = tokio::time::timeout(wait, handle.delivered()).await;
        entry = node.outbox().entry(id).await.map_err(|_| none())?;
    }
    let mut response = told(id, &entry);
    applied(response.headers_mut(), wait);
    Ok(response)
}

fn told(id: TransferId, entry: &OutboxEntry) -> Response {
    let content = (header::CONTENT_TYPE, "application/json");
    ([content], shown(id, entry).to_string()).into_response()
}

/// Each state that comes behind `after`, in which `delivered` is never left out, up to the last one.
/// What was dead may go on after all: a client that heard of that hears all but `stored`.
fn events(
    node: Node,
    id: TransferId,
    after: u64,
    place: OwnedSemaphorePermit,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold((node, after, place), move |(node, after, place)| async move {
        let mut entry = node.outbox().entry(id).await.ok()?;
        let is_dead = matches!(entry.state, OutboxState::Dead { .. });
        let after = if after == DEAD && !is_dead { 1 } else { after };
        if after > 0 && step(&entry.state).0 <= after {
            let handle = node.outbox().transfer(id).await.ok()?;
            // What is wrong is in its state; one that is no further has been given up.
            let _ = match after {
                DELIVERED => handle.processed().await,
                before if before < DELIVERED => handle.delivered().await,
                _ => return None,
            };
            entry = node.outbox().entry(id).await.ok()?;
        }
        let (number, name) = match (after, step(&entry.state)) {
            (0, (DEAD, _)) => (DEAD, "dead"),
            (0, _) => (1, "stored"),
            (before, (OVER, "processed")) if before < DELIVERED => (DELIVERED, "delivered"),
            (before, (number, _)) if number <= before => return None,
            (_, next) => next,
        };
        let data = shown_as(id, &entry, name).to_string();
        let event = Event::default().event(name).id(number.to_string()).data(data);
        Some((Ok(event), (node, number, place)))
    })
}

/// The numbers of these states.
const DELIVERED: u64 = 3;
const OVER: u64 = 4;
/// It is no end for ever: whoever sent it may try it again, and a relay may prove that it arrived.
const DEAD: u64 = 5;

/// The number and the name of a state: a later one has a greater number.
const fn step(state: &OutboxState) -> (u64, &'static str) {
    match state {
        OutboxState::Relayed { .. } => (2, "relayed"),
        OutboxState::Delivered { .. } => (DELIVERED, "delivered"),
        OutboxState::Processed { .. } => (OVER, "processed"),
        OutboxState::Dead { .. } => (DEAD, "dead"),
        _ => (1, "stored"),
    }
}

fn shown(id: TransferId, entry: &OutboxEntry) -> Value {
    shown_as(id, entry, step(&entry.state).1)
}

fn shown_as(id: TransferId, entry: &OutboxEntry, state: &str) -> Value {
    let receipt = match &entry.state {
        OutboxState::Delivered { receipt, .. } | OutboxState::Processed { receipt, .. }
            if state != "stored" =>
        {
            let digest = data_encoding::HEXLOWER.encode(&receipt.digest);
            Some(json!({ "bytes": receipt.length, "blake3": digest }))
        }
        _ => None,
    };
    let why = match &entry.state {
        OutboxState::Dead { failure, .. } => Some(failure.to_string()),
        _ => entry.last_failure.as_ref().map(ToString::to_string),
    };
    json!({
        "id": id.to_string(),
        "name": entry.name,
        "bytes": entry.length,
        "state": state,
        "receipt": receipt,
        "why": why,
    })
}

pub(crate) fn unsent(error: &SendError) -> Problem {
    match error {
        SendError::NoCopies => {
            let text = format!("{error}: start it with a spool");
            Problem::new(super::status(507), "storage", text)
        }
        SendError::Stopped => {
            estafette::RemoteError::new(RemoteErrorKind::ShuttingDown, error.to_string()).into()
        }
        _ => Problem::new(super::status(507), "storage", error.to_string()),
    }
}

/// Gives the body to its reader, as fast as that takes it, and as far as it is admitted; and what
/// is wrong with it.
pub(crate) async fn feed(
    body: Body,
    parts: mpsc::Sender<Option<Bytes>>,
    mut admit: impl FnMut(usize) -> Result<(), Problem>,
) -> Option<Problem> {
    let mut stream = body.into_data_stream();
    let (mut left, mut come) = (SENDS_WITHIN, 0);
    loop {
        let began = Instant::now();
        match tokio::time::timeout(left, stream.next()).await {
            Ok(Some(Ok(part))) => {
                // What the node takes is no time of the client's.
                left = left.saturating_sub(began.elapsed());
                come += part.len();
                if let Err(problem) = admit(part.len()) {
                    return Some(problem);
                }
                if come >= LEAST {
                    (left, come) = (SENDS_WITHIN, 0);
                }
                if parts.send(Some(part)).await.is_err() {
                    // The node says why.
                    return None;
                }
            }
            Ok(None) => {
                // Nobody is told of an end who has gone.
                let _ = parts.send(None).await;
                return None;
            }
            Ok(Some(Err(error))) => {
                let text = format!("the content broke off: {error}");
                return Some(Problem::new(StatusCode::BAD_REQUEST, "broken-body", text));
            }
            Err(_) => {
                let text = format!(
                    "the content came too slowly, {LEAST} bytes in {} s are the least",
                    SENDS_WITHIN.as_secs()
                );
                return Some(Problem::new(StatusCode::REQUEST_TIMEOUT, "slow-body", text));
            }
        }
    }
}

/// A body as the node reads it. Only an end that was said is one.
#[derive(Debug)]
struct Fed {
    parts: mpsc::Receiver<Option<Bytes>>,
    rest: Bytes,
    ended: bool,
}

impl AsyncRead for Fed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.rest.is_empty() && !self.ended {
            match std::task::ready!(self.parts.poll_recv(cx)) {
                Some(Some(part)) => self.rest = part,
                Some(None) => self.ended = true,
                None => return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into())),
            }
        }
        let count = self.rest.len().min(buffer.remaining());
        buffer.put_slice(&self.rest[..count]);
        self.rest.advance(count);
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    /// A body of so many parts, with a wait before each; the problem, and what the node has read.
    async fn fed(wait: u64, length: usize, count: usize) -> (Option<Problem>, io::Result<usize>) {
        let parts = stream::iter(0..count).then(move |_| async move {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            Ok::<_, io::Error>(Bytes::from(vec![7; length]))
        });
        let (sender, parts_of_it) = mpsc::channel(PARTS);
        let mut reader = Fed { parts: parts_of_it, rest: Bytes::new(), ended: false };
        let mut all = Vec::new();
        let reads = tokio::io::AsyncReadExt::read_to_end(&mut reader, &mut all);
        tokio::join!(feed(Body::from_stream(parts), sender, |_| Ok(())), reads)
    }

    #[tokio::test(start_paused = true)]
    async fn content_that_comes_a_byte_a_second_is_no_content_and_slow_content_is() {
        let (problem, read) = fed(1, 1, 1 << 20).await;
        assert_eq!(problem.unwrap().into_response().status(), StatusCode::REQUEST_TIMEOUT);
        assert_eq!(read.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        let (problem, read) = fed(61, LEAST, 3).await;
        assert!(problem.is_some() && read.is_err());
        let (problem, read) = fed(59, LEAST, 30).await;
        assert!(problem.is_none());
        assert_eq!(read.unwrap(), 30 * LEAST);
    }
}
