//! `POST /v1/download/{peer}/{name}/{type}`: a message, and a stream of answers: one a line, or
//! server-sent events.
//!
//! Invariant: an answer is taken from the actor when the client has room for it, and a stream that
//! broke off is never one that has ended: its last line is the problem, and its body is broken off.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use estafette::remote::{Handled, JsonDownload};
use futures_util::stream::{self, Stream, StreamExt};

use super::Seat;
use super::body::Json;
use super::deliver::{ALIVE, applied, wants_events};
use super::problem::Problem;
use super::target::{Target, with_room};
use crate::ending::{Until, until};
use crate::room::Held;
use crate::status::HANDLED;
use crate::tokens::{Pass, Tokens};

/// The longest that the status waits for a first answer: what is wrong from the start is in it.
const FIRST: Duration = Duration::from_secs(1);

/// The time that the last words of a stream have until it is broken off.
const FLUSH: Duration = Duration::from_millis(50);

type Item = Result<String, Problem>;
type Items = Pin<Box<dyn Stream<Item = Item> + Send>>;

/// Asks, and gives the answers as they come. A client that goes away cancels the call.
pub(crate) async fn download(
    State(seat): State<Seat>,
    Extension(pass): Extension<Pass>,
    target: Target,
    headers: HeaderMap,
    Json { text, .. }: Json,
) -> Result<Response, Problem> {
    if headers.contains_key("last-event-id") {
        let text = "answers of a download have no ids, and can't be gone on with: the actor is not \
                    asked again for what it has said; ask it for what is missing, in its own words";
        return Err(Problem::new(StatusCode::CONFLICT, "not-resumable", text));
    }
    let place = seat.stream(&pass)?;
    let remote = match target.wait {
        Some(wait) => target.remote.within(wait),
        None => target.remote,
    };
    let begins = remote.download(&text);
    let (answers, call) = with_room(&seat, &pass, &target.reached, begins).await?;
    let (items, place) = (begun(answers).await?, [place, call]);
    let items = while_admitted(items, place, seat.access.tokens().clone(), pass);
    let mut response = if wants_events(&headers) {
        let events = Sse::new(events(items));
        let kept = events.keep_alive(KeepAlive::new().interval(ALIVE));
        ([("x-accel-buffering", "no")], kept).into_response()
    } else {
        let kind = [(header::CONTENT_TYPE, "application/jsonl")];
        (kind, Body::from_stream(lines(items))).into_response()
    };
    let own = response.headers_mut();
    own.insert(HANDLED, header::HeaderValue::from_static(Handled::Unknown.as_str()));
    applied(own, target.wait);
    Ok(response)
}

/// The answers, if the first thing that comes is not an error.
async fn begun(answers: JsonDownload) -> Result<Items, Problem> {
    let mut answers = answers.map(|answer| answer.map_err(Problem::from));
    match tokio::time::timeout(FIRST, answers.next()).await {
        Err(_) => Ok(Box::pin(answers)),
        Ok(None) => Ok(Box::pin(stream::empty())),
        Ok(Some(first)) => Ok(Box::pin(stream::iter([Ok(first?)]).chain(answers))),
    }
}

/// The answers, for as long as the token is one: then their call is cancelled, though its client
/// takes none of them.
fn while_admitted(items: Items, place: [Held; 2], tokens: Tokens, pass: Pass) -> Until<Items> {
    let ended = async move {
        // The actor may have done what it was asked for.
        Err(Problem::from(tokens.ended(&pass).await).handled(Handled::Unknown))
    };
    let held = items.map(move |item| {
        let _kept = &place;
        item
    });
    until(Box::pin(held), ended)
}

fn lines(items: impl Stream<Item = Item> + Unpin) -> impl Stream<Item = Result<Bytes, io::Error>> {
    stream::unfold(Some((items, None)), async |open| {
        let (mut items, broken) = open?;
        if let Some(error) = broken {
            // What was said before is written meanwhile.
            tokio::time::sleep(FLUSH).await;
            return Some((Err(error), None));
        }
        match items.next().await? {
            Ok(json) => Some((Ok(line(&json)), Some((items, None)))),
            Err(problem) => {
                let last = line(&problem.body().to_string());
                let broken = io::Error::other("the call has failed");
                Some((Ok(last), Some((items, Some(broken)))))
            }
        }
    })
}

fn line(json: &str) -> Bytes {
    let mut line = one_line(json);
    line.push('\n');
    line.into()
}

/// The answers, and behind them `end` or `error`: without one of these, the stream broke off.
fn events(
    items: impl Stream<Item = Item> + Unpin,
) -> impl Stream<Item = Result<Event, Infallible>> {
    stream::unfold(Some(items), async |open| {
        let mut items = open?;
        let (event, open) = match items.next().await {
            Some(Ok(json)) => {
                let answer = Event::default().event("answer").data(one_line(&json));
                (answer, Some(items))
            }
            Some(Err(problem)) => {
                (Event::default().event("error").data(problem.body().to_string()), None)
            }
            None => (Event::default().event("end").data("{}"), None),
        };
        Some((Ok(event), open))
    })
}

/// JSON has line breaks between its parts alone, where a blank does as well.
fn one_line(json: &str) -> String {
    json.replace(['\n', '\r'], " ")
}
