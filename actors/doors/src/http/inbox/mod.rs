//! `GET /v1/inbox/{inbox}`: what arrived in an inbox of the node itself; `…/{id}`: the content of
//! one, or a part of it; `POST …/{id}/processed`: the application is done with it.
//!
//! Invariant: only a token with the right `read:INBOX` learns whether there is anything, and only one
//! with `done:INBOX` besides changes anything.

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, StatusCode, Version};
use axum::response::{IntoResponse, Response};
use data_encoding::HEXLOWER;
use estafette::TransferId;
use estafette::delivery::TransferIdError;
use estafette::node::Processed;
use estafette::remote::Handled;
use serde::Deserialize;
use serde_json::{Value, json};

use super::deliver::escaped;
use super::problem::Problem;
use super::{Seat, answer, target};
use crate::inbox::{self, Arrived, Asked, Conditions, ContentError, NotOne, Taking};
use crate::tokens::Pass;

/// Arrivals of one answer, unless it is said otherwise, and at most.
const LIMIT: usize = 100;
const LIMIT_MOST: usize = 1_000;

/// The query of a list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Listing {
    after: Option<String>,
    limit: Option<usize>,
    processed: Option<Done>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Done {
    Yes,
    No,
}

/// The sender whose delivery is meant, where several have used one id.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct From {
    from: Option<String>,
}

/// Lists what arrived, the newest first.
pub(super) async fn list(
    State(seat): State<Seat>,
    Extension(pass): Extension<Pass>,
    path: Result<Path<String>, PathRejection>,
    query: Result<Query<Listing>, QueryRejection>,
    version: Version,
) -> Result<Response, Problem> {
    let Path(inbox) = path.map_err(|error| target::bad(error.body_text()))?;
    may_read(&seat, &pass, &inbox)?;
    let Query(asked) = query.map_err(|error| target::bad(error.body_text()))?;
    let limit = asked.limit.unwrap_or(LIMIT);
    if !(1..=LIMIT_MOST).contains(&limit) {
        return Err(target::bad(format!("limit is 1 to {LIMIT_MOST}, not {limit}")));
    }
    let behind = asked.after.as_deref().map(place_of).transpose()?;
    let node = seat.access.node();
    // One more says whether there are others.
    let mut found = inbox::page(node, &inbox, behind, limit + 1, |arrival| {
        asked.processed.is_none_or(|wanted| (wanted == Done::No) == inbox::is_open(arrival))
    });
    let has_more = found.len() > limit;
    found.truncate(limit);
    let after = found.last().filter(|_| has_more).map(|last| inbox::cursor(last.place()));
    let arrivals: Vec<_> = found.iter().map(|found| shown(&seat, found)).collect();
    let text = json!({ "arrivals": arrivals, "after": after }).to_string();
    answer::json(&seat.answers, &pass.name, version, text, Handled::No)
}

/// Gives the content of one, as far as it is asked for.
pub(super) async fn content(
    State(seat): State<Seat>,
    Extension(pass): Extension<Pass>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<From>, QueryRejection>,
    method: Method,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let shared = &seat.shared;
    let Arrived { arrival, .. } = found(&seat, &pass, path, query)?;
    let opened = shared.contents.open(&arrival, || shared.compared.take(&pass.name, 1)).await;
    let content = opened.map_err(|error| not_given(&error))?;
    let tag = format!("\"{}\"", HEXLOWER.encode(&arrival.receipt.digest));
    let (matched, unmatched) = (listed(&headers, "if-match"), listed(&headers, "if-none-match"));
    let conditions = Conditions {
        if_match: matched.as_deref(),
        if_none_match: unmatched.as_deref(),
        if_range: headers.get("if-range").map(|_| only(&headers, "if-range").unwrap_or_default()),
        range: only(&headers, "range").filter(|_| method == Method::GET),
    };
    let length = content.length();
    let (status, from, to) = match inbox::asked(&conditions, &tag, length) {
        Asked::All => (StatusCode::OK, 0, length),
        Asked::Part(from, to) => (StatusCode::PARTIAL_CONTENT, from, to),
        Asked::Known => (StatusCode::NOT_MODIFIED, 0, 0),
        Asked::Another => {
            let text = format!("the content is {tag}, and If-Match wants another one");
            return Err(Problem::new(StatusCode::PRECONDITION_FAILED, "another-content", text));
        }
        Asked::NoSuchPart => {
            let text = format!("the content has {length} bytes, and none of them is in the range");
            let problem = Problem::new(StatusCode::RANGE_NOT_SATISFIABLE, "no-such-part", text);
            return Err(problem.with(header::CONTENT_RANGE, value(&format!("bytes */{length}"))));
        }
    };
    let body = if method == Method::HEAD || from == to {
        Body::empty()
    } else {
        let place = shared.readers.take(&pass.name, 1).ok_or_else(|| Problem::busy("contents"))?;
        let tokens = seat.access.tokens().clone();
        Body::new(Taking::new(content, (from, to), place, tokens, pass))
    };
    let mut response = (status, body).into_response();
    let own = response.headers_mut();
    own.insert(header::ETAG, value(&tag));
    own.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    own.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    if status != StatusCode::NOT_MODIFIED {
        described(own, &arrival.name, to - from);
    }
    if status == StatusCode::PARTIAL_CONTENT {
        own.insert(header::CONTENT_RANGE, value(&format!("bytes {from}-{}/{length}", to - 1)));
    }
    Ok(response)
}

/// Notes that the application is done with one, which its sender hears of.
pub(super) async fn processed(
    State(seat): State<Seat>,
    Extension(pass): Extension<Pass>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<From>, QueryRejection>,
) -> Result<Response, Problem> {
    if let Ok(Path((inbox, _))) = &path {
        may_read(&seat, &pass, inbox)?;
        may_end(&seat, &pass, inbox)?;
    }
    let mut found = found(&seat, &pass, path, query)?;
    if !inbox::is_open(&found.arrival) {
        return Ok(told(&seat, &found));
    }
    let place = seat.shared.noted.take(&pass.name, 1).ok_or_else(|| Problem::busy("arrivals"))?;
    let noted = inbox::note(seat.access.node(), &found, place).await;
    let noted = noted.map_err(|error| {
        let text = format!("it could not be noted that it is processed: {error}");
        Problem::new(super::status(507), "storage", text).handled(Handled::Unknown)
    })?;
    if !noted {
        return Err(no_such_arrival());
    }
    found.arrival.processed = Processed::Unheard;
    Ok(told(&seat, &found))
}

fn place_of(cursor: &str) -> Result<inbox::Place, Problem> {
    let none = || target::bad("after is what the list before it said, or is left out");
    inbox::place_of(cursor).ok_or_else(none)
}

fn told(seat: &Seat, found: &Arrived) -> Response {
    let content = (header::CONTENT_TYPE, "application/json");
    ([content], shown(seat, found).to_string()).into_response()
}

/// The value of a header that is a list, of all its lines.
fn listed(headers: &HeaderMap, name: &str) -> Option<String> {
    let lines = headers.get_all(name).iter().map(|line| line.to_str().unwrap_or_default());
    let lines: Vec<_> = lines.collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

/// The value of a header that has one line.
fn only<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut lines = headers.get_all(name).iter();
    lines.next().filter(|_| lines.next().is_none())?.to_str().ok()
}

/// The delivery that a path means, for who may read it.
fn found(
    seat: &Seat,
    pass: &Pass,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<From>, QueryRejection>,
) -> Result<Arrived, Problem> {
    let Path((inbox, id)) = path.map_err(|error| target::bad(error.body_text()))?;
    may_read(seat, pass, &inbox)?;
    let Query(From { from }) = query.map_err(|error| target::bad(error.body_text()))?;
    let id: TransferId = id.parse().map_err(|_: TransferIdError| no_such_arrival())?;
    let node = seat.access.node();
    let from = match from {
        Some(from) => Some(inbox::sender(node, &from).ok_or_else(no_such_arrival)?),
        None => None,
    };
    inbox::find(node, &inbox, id, from).map_err(|error| match error {
        NotOne::None => no_such_arrival(),
        NotOne::Several => {
            let text = "several senders have used this id: say ?from=PEER, as the list does";
            Problem::new(StatusCode::CONFLICT, "several-senders", text)
        }
    })
}

fn may_read(seat: &Seat, pass: &Pass, inbox: &str) -> Result<(), Problem> {
    if seat.access.reads(pass, inbox) {
        return Ok(());
    }
    let text = inbox::may_not_read(pass, inbox);
    Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", text))
}

fn may_end(seat: &Seat, pass: &Pass, inbox: &str) -> Result<(), Problem> {
    if seat.access.ends(pass, inbox) {
        return Ok(());
    }
    let text = inbox::may_not_end(pass, inbox);
    Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", text))
}

fn no_such_arrival() -> Problem {
    Problem::new(StatusCode::NOT_FOUND, "no-such-arrival", inbox::NO_SUCH_ARRIVAL)
}

fn not_given(error: &ContentError) -> Problem {
    let (status, kind) = match error {
        ContentError::NoFile => (StatusCode::NOT_FOUND, "no-file"),
        ContentError::Gone | ContentError::Changed => (StatusCode::GONE, "content-gone"),
        ContentError::Unreadable(_) => (StatusCode::INTERNAL_SERVER_ERROR, "unreadable"),
        ContentError::Busy => return Problem::busy("contents"),
    };
    Problem::new(status, kind, error.to_string())
}

fn shown(seat: &Seat, Arrived { peer, id, arrival }: &Arrived) -> Value {
    let peer_name = seat.access.node().trust().peer(peer).map(|peer| peer.name);
    json!({
        "id": id.to_string(),
        "from": peer_name.unwrap_or_else(|| peer.to_string()),
        "name": arrival.name,
        "bytes": arrival.receipt.length,
        "blake3": HEXLOWER.encode(&arrival.receipt.digest),
        "files": arrival.receipt.files,
        "arrived": arrival.at,
        "expires": arrival.expires,
        "processed": !inbox::is_open(arrival),
        "content": format!("/v1/inbox/{}/{id}?from={peer}", escaped(&arrival.inbox)),
    })
}

/// Describes the content: its length, and the name that a client may give it.
fn described(headers: &mut HeaderMap, name: &str, length: u64) {
    let plain: String = name
        .chars()
        .map(|one| match one {
            '"' | '\\' | '/' | '%' => '_',
            ' '..='~' => one,
            _ => '_',
        })
        .collect();
    let text = format!("attachment; filename=\"{plain}\"; filename*=UTF-8''{}", escaped(name));
    headers.insert(header::CONTENT_DISPOSITION, value(&text));
    headers.insert(header::CONTENT_LENGTH, length.into());
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/octet-stream"));
    let nosniff = HeaderValue::from_static("nosniff");
    headers.insert(HeaderName::from_static("x-content-type-options"), nosniff);
}

/// A text that is made of visible characters alone.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}
