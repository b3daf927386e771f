//! `PUT /v1/send/{peer}/{inbox}/{file}`: content for an inbox, which the node keeps sealed until it
//! is there; and `GET /v1/transfers/{id}`: what has become of it.
//!
//! Invariant: what is answered 202 is whole, sealed and durable in the node's spool. A body that
//! breaks off leaves nothing.

use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Request, StatusCode};
use axum::response::sse::Event;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use estafette::node::{OutboxEntry, OutboxState, SendError};
use estafette::remote::Handled;
use estafette::{
    Destination, Failure, FailureKind, RemoteError, RemoteErrorKind, SendOptions, TransferId,
};
use estafette_actors::source::ReaderSource;
use futures_util::stream::StreamExt;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::checksum::Checksums;
use super::deliver::{applied, given_key, last_heard, nothing_more, told_as_events, wants_events};
use super::problem::Problem;
use super::{Seat, body, target};
use crate::content::{Fed, Pace};
use crate::sent::{self, Found};
use crate::states::{self, Step, why};
use crate::tokens::Pass;

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
    body::is_unpacked(headers)?;
    let is_first = is_first(headers)?;
    let mut checksums = Checksums::of_content(headers)?;
    let wait = target::wait(headers);
    let length = headers.get(header::CONTENT_LENGTH);
    let length: Option<u64> = length.and_then(|length| length.to_str().ok()?.parse().ok());
    let (id, sending) = match given_key(headers)? {
        None if is_first => return Err(unkeyed()),
        None => (sent::fresh(&pass), None),
        Some(key) => {
            let (node, path) = (seat.access.node(), [&*reached.peer.to_string(), &inbox, &file]);
            let found = seat.shared.sent.find(node, &pass, &key, path).await;
            match found.map_err(|error| unsent(&error.into()))? {
                Found::New(id, sending) => (id, Some(sending)),
                Found::Sending => return Err(sending_now(&key)),
                Found::Stored(id, _) if is_first => return Err(not_first(id)),
                Found::Stored(id, entry) => return again(&seat, id, &entry, length, wait).await,
            }
        }
    };
    let place = seat.upload(&pass)?;
    let (parts, fed) = Fed::of(PARTS);
    let source = ReaderSource::new(&file, fed)
        .map_err(|error| target::bad(format!("the name of the content: {error}")))?;
    let source = match length {
        Some(length) => source.expect_length(length),
        None => source,
    };
    let options = SendOptions { copy: true, id: Some(id), ..SendOptions::default() };
    let to = Destination::Peer(reached.peer, inbox.clone());
    let node = seat.access.node().clone();
    // What is being stored keeps its place and its key, also when its client goes away.
    let sent = tokio::spawn(async move {
        let sent = node.send_with(to, source, options).await;
        drop((place, sending));
        sent
    });
    let fault = feed(request.into_body(), parts, |part| checksums.admit(part)).await;
    let handle = match (sent.await.map_err(|error| not_known(&error))?, fault) {
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

/// Returns whether it is to be sent only if its key is new; there is nothing else that is known
/// here, and that a condition could be of.
fn is_first(headers: &HeaderMap) -> Result<bool, Problem> {
    if headers.contains_key(header::IF_MATCH) {
        let text = "nothing of the receiver's is known here, so that If-Match never holds";
        return Err(Problem::new(StatusCode::PRECONDITION_FAILED, "precondition", text));
    }
    Ok(target::one(headers, header::IF_NONE_MATCH.as_str())? == Some("*"))
}

fn unkeyed() -> Problem {
    target::bad(
        "If-None-Match: * is of an Idempotency-Key, and there is none: what the receiver has by \
         this name is not known here",
    )
}

fn not_first(id: TransferId) -> Problem {
    let text = format!(
        "content was stored by this Idempotency-Key before: /v1/transfers/{id} tells what has \
         become of it"
    );
    let problem = Problem::new(StatusCode::PRECONDITION_FAILED, "precondition", text);
    let problem = problem.handled(Handled::Unknown);
    match HeaderValue::from_str(&format!("/v1/transfers/{id}")) {
        Ok(place) => problem.with(header::LOCATION, place),
        Err(_) => problem,
    }
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
    let entry = states::entry(seat.access.node(), id).await.map_err(|error| {
        Problem::new(super::status(507), "storage", format!("it was stored, and then: {error}"))
            .handled(Handled::Unknown)
    })?;
    let status = match &entry.state {
        OutboxState::Delivered { .. } | OutboxState::Processed { .. } => StatusCode::OK,
        // It will not be delivered: whoever looks at the status alone sees so.
        OutboxState::Dead { failure, .. } => dead(failure.kind),
        _ => StatusCode::ACCEPTED,
    };
    let mut response = (status, told(id, &entry)).into_response();
    let own = response.headers_mut();
    if let Ok(place) = HeaderValue::from_str(&format!("/v1/transfers/{id}")) {
        own.insert(header::LOCATION, place);
    }
    applied(own, wait);
    Ok(response)
}

/// The status of content that nobody tries to deliver any more: none that clients retry.
const fn dead(why: FailureKind) -> StatusCode {
    match why {
        FailureKind::Refused | FailureKind::Cancelled => StatusCode::CONFLICT,
        FailureKind::Untrusted => StatusCode::FORBIDDEN,
        FailureKind::Expired => StatusCode::GONE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    }
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
        let text = "no transfer that this token may see has this id, or it is forgotten: its time \
                    is over, or somebody took it out of the outbox";
        Problem::new(StatusCode::NOT_FOUND, "no-such-transfer", text)
    };
    let known = |known: Result<OutboxEntry, RemoteError>| {
        known.map_err(|error| match error.kind {
            RemoteErrorKind::Expired => none(),
            _ => Problem::from(error),
        })
    };
    let id: TransferId = id.parse().map_err(|_| none())?;
    if !sent::is_of(id, &pass) {
        return Err(none());
    }
    let mut entry = known(states::entry(node, id).await)?;
    let peer = entry.peer.to_string();
    if entry.relayed_for.is_some() || seat.access.reach(&pass, &peer, &entry.inbox).is_err() {
        return Err(none());
    }
    if wants_events(&headers) {
        let after = last_heard(&headers);
        if states::is_over(&entry, after) {
            return Ok(nothing_more());
        }
        let place = seat.stream(&pass)?;
        let events = states::states(node.clone(), id, after).map(move |next| {
            let _kept = &place;
            next.map(|(step, entry)| {
                let data = shown_as(id, &entry, step).to_string();
                Event::default().event(step.name()).id((step as u64).to_string()).data(data)
            })
        });
        return Ok(told_as_events(&seat, pass, events));
    }
    let wait = target::wait(&headers);
    if let Some(wait) = wait
        && let Ok(handle) = node.outbox().transfer(id).await
    {
        // Its entry tells how it went.
        let _ = tokio::time::timeout(wait, handle.delivered()).await;
        entry = known(states::entry(node, id).await)?;
    }
    if let OutboxState::Dead { failure, .. } = &entry.state
        && node.outbox().withdrawn(id).await.is_ok_and(|entry| entry.is_some())
    {
        return Err(withdrawn(failure));
    }
    let mut response = told(id, &entry);
    applied(response.headers_mut(), wait);
    Ok(response)
}

/// The answer about content that was taken out of the outbox.
pub(crate) fn withdrawn(failure: &Failure) -> Problem {
    let (text, handled) = match failure.kind {
        FailureKind::Unknown => (&*failure.message, Handled::Unknown),
        _ => ("it was taken out of the outbox: it was not delivered, and will not be", Handled::No),
    };
    Problem::new(StatusCode::GONE, "taken-out", text).handled(handled)
}

fn told(id: TransferId, entry: &OutboxEntry) -> Response {
    let content = (header::CONTENT_TYPE, "application/json");
    ([content], shown(id, entry).to_string()).into_response()
}

fn shown(id: TransferId, entry: &OutboxEntry) -> Value {
    shown_as(id, entry, Step::of(&entry.state))
}

fn shown_as(id: TransferId, entry: &OutboxEntry, state: Step) -> Value {
    let receipt = match &entry.state {
        OutboxState::Delivered { receipt, .. } | OutboxState::Processed { receipt, .. }
            if state != Step::Stored =>
        {
            let digest = data_encoding::HEXLOWER.encode(&receipt.digest);
            Some(json!({ "bytes": receipt.length, "blake3": digest }))
        }
        _ => None,
    };
    json!({
        "id": id.to_string(),
        "name": entry.name,
        "bytes": entry.length,
        "state": state.name(),
        "receipt": receipt,
        "why": why(entry),
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

/// The words where storing broke down.
fn not_known(error: &tokio::task::JoinError) -> Problem {
    let text = format!("whether it is stored is not known: {error}");
    Problem::new(super::status(507), "storage", text).handled(Handled::Unknown)
}

/// Gives the body to its reader, as fast as that takes it, and as far as each part is admitted, and
/// its end (`None`); and what is wrong with it.
pub(crate) async fn feed(
    body: Body,
    parts: mpsc::Sender<Option<Bytes>>,
    mut admit: impl FnMut(Option<&[u8]>) -> Result<(), Problem>,
) -> Option<Problem> {
    let mut stream = body.into_data_stream();
    let mut pace = Pace::new();
    loop {
        match pace.next(stream.next()).await {
            Some(Some(Ok(part))) => {
                if let Err(problem) = admit(Some(&part)) {
                    return Some(problem);
                }
                pace.came(part.len());
                if parts.send(Some(part)).await.is_err() {
                    // The node says why.
                    return None;
                }
            }
            Some(None) => {
                if let Err(problem) = admit(None) {
                    return Some(problem);
                }
                // Nobody is told of an end who has gone.
                let _ = parts.send(None).await;
                return None;
            }
            Some(Some(Err(error))) => return Some(broken(&error)),
            None => return Some(slow()),
        }
    }
}

pub(crate) fn broken(error: &axum::Error) -> Problem {
    let text = format!("the content broke off: {error}");
    Problem::new(StatusCode::BAD_REQUEST, "broken-body", text)
}

pub(crate) fn slow() -> Problem {
    Problem::new(StatusCode::REQUEST_TIMEOUT, "slow-body", Pace::too_slow())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use std::io;

    use futures_util::stream;

    use super::*;
    use crate::content::LEAST;

    /// A body of so many parts, with a wait before each; the problem, and what the node has read.
    async fn fed(wait: u64, length: usize, count: usize) -> (Option<Problem>, io::Result<usize>) {
        let parts = stream::iter(0..count).then(move |_| async move {
            tokio::time::sleep(Duration::from_secs(wait)).await;
            Ok::<_, io::Error>(Bytes::from(vec![7; length]))
        });
        let (sender, mut reader) = Fed::of(PARTS);
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
