//! `POST /v1/deliver/{peer}/{name}/{type}`: a message that is stored, and delivered once, even to a
//! node that is away; and `GET /v1/deliveries/{key}`: what has become of it.
//!
//! Invariant: the key of a delivery is its id, together with the name of the token: whoever sends
//! it again, after whatever befell client, door or node, means the same message.

use std::convert::Infallible;
use std::time::Duration;

use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use estafette::remote::{Delivery, Handled, LetterKey, LetterState};
use estafette::{RemoteError, RemoteErrorKind};
use futures_util::{Stream, StreamExt, stream};
use serde_json::{Value, json};

use super::Seat;
use super::body::Json;
use super::problem::Problem;
use super::target::{self, Target};
use crate::content::KEY_MOST;
use crate::ending::until;
use crate::room::Held;
use crate::states::unplaced;
use crate::status::{self, HANDLED, Status};
use crate::tokens::Pass;

/// The longest silence of a stream: what lies between does not take it for dead.
pub(crate) const ALIVE: Duration = Duration::from_secs(15);

/// Stores a message. The client may go away: what is stored goes on.
pub(crate) async fn deliver(
    Extension(pass): Extension<Pass>,
    target: Target,
    headers: HeaderMap,
    Json { text, .. }: Json,
) -> Result<Response, Problem> {
    let key = match given_key(&headers)? {
        Some(key) => key,
        None => random_key()?,
    };
    store(&pass, &target, &key, &text).await
}

/// Stores a message by its key, and tells what has become of it by now.
pub(crate) async fn store(
    pass: &Pass,
    target: &Target,
    key: &str,
    text: &str,
) -> Result<Response, Problem> {
    let delivery = target.remote.deliver_once(scoped(pass, key), text).await;
    let delivery = delivery.map_err(|error| Problem::of_storing(&error))?;
    let state = match target.wait {
        Some(wait) => over_within(&delivery, wait).await,
        None => delivery.state(),
    };
    let status = match &state {
        LetterState::Processed => StatusCode::OK,
        // It will not be delivered: whoever looks at the status alone sees so.
        LetterState::Dead(why) => super::status(Status::dead(why.kind)),
        _ => StatusCode::ACCEPTED,
    };
    let mut response = (status, told(&delivery, key, &state)).into_response();
    let own = response.headers_mut();
    let location = format!("/v1/deliveries/{}", escaped(key));
    if let Ok(location) = HeaderValue::from_str(&location) {
        own.insert(header::LOCATION, location);
    }
    applied(own, target.wait);
    Ok(response)
}

/// Tells what has become of a delivery: at once, when it is over, or as a stream.
pub(crate) async fn delivery(
    State(seat): State<Seat>,
    Extension(pass): Extension<Pass>,
    key: Result<Path<String>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let Path(key) = key.map_err(|error| target::bad(error.body_text()))?;
    let found = seat.access.node().letters().keyed(&scoped(&pass, &key));
    let delivery = found.ok_or_else(|| {
        let text = format!(
            "no delivery of the token {:?} has the key {key:?}: none was stored, or its time is \
             over",
            pass.name
        );
        Problem::new(StatusCode::NOT_FOUND, "no-such-delivery", text)
    })?;
    if wants_events(&headers) {
        let after = last_heard(&headers);
        if after >= LAST {
            return Ok(nothing_more());
        }
        let events = events(delivery, key, after, seat.stream(&pass)?);
        return Ok(told_as_events(&seat, pass, events));
    }
    let wait = target::wait(&headers);
    let state = match wait {
        Some(wait) => over_within(&delivery, wait).await,
        None => delivery.state(),
    };
    let mut response = told(&delivery, &key, &state);
    applied(response.headers_mut(), wait);
    Ok(response)
}

/// The number of the last event that a client has heard; 0 if it has heard none.
pub(crate) fn last_heard(headers: &HeaderMap) -> u64 {
    let given = headers.get("last-event-id").and_then(|id| id.to_str().ok()?.parse().ok());
    given.unwrap_or(0)
}

/// The answer to who has heard the last state: by it, a client that reads events knows that it need
/// not come again.
pub(crate) fn nothing_more() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// States as events, for as long as the token is one. Where there will be no last one, `error` says
/// why, with a problem: it has no id, so that who comes again goes on behind the last state.
pub(crate) fn told_as_events(
    seat: &Seat,
    pass: Pass,
    states: impl Stream<Item = Result<Event, RemoteError>> + Send + 'static,
) -> Response {
    let tokens = seat.access.tokens().clone();
    let ended =
        async move { Err(Problem::from(tokens.ended(&pass).await).handled(Handled::Unknown)) };
    let states = states.map(|next| next.map_err(Problem::from));
    let events = until(Box::pin(states), ended).map(|next| {
        Ok::<_, Infallible>(next.unwrap_or_else(|problem| {
            Event::default().event("error").data(problem.body().to_string())
        }))
    });
    let kept = Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE));
    ([("x-accel-buffering", "no")], kept).into_response()
}

/// A key for who gives none.
fn random_key() -> Result<String, Problem> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| {
        let text = format!("the operating system gave no randomness for a key: {error}");
        Problem::new(StatusCode::SERVICE_UNAVAILABLE, "storage", text)
    })?;
    Ok(data_encoding::HEXLOWER.encode(&bytes))
}

/// The key that a client gives, if it does.
pub(crate) fn given_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut given = headers.get_all("idempotency-key").iter();
    let Some(first) = given.next() else { return Ok(None) };
    // A string of structured fields, as the draft has it, or what everybody writes.
    let text = first.to_str().unwrap_or_default().trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if text.is_empty() || text.len() > KEY_MOST || given.next().is_some() {
        let text = format!("Idempotency-Key is one text of 1 to {KEY_MOST} visible characters");
        return Err(target::bad(text));
    }
    // Clients take these out of any path, and could not ask for what they name.
    if text == "." || text == ".." {
        return Err(target::bad(format!(
            "Idempotency-Key is {text:?}, which is no part of a path"
        )));
    }
    Ok(Some(text.to_owned()))
}

/// The key of a client as the node knows it: nobody else's is the same.
fn scoped(pass: &Pass, key: &str) -> LetterKey {
    let mut hasher = blake3::Hasher::new_derive_key("estafette door: key of a delivery 1");
    hasher.update(&(pass.name.len() as u64).to_be_bytes());
    hasher.update(pass.name.as_bytes());
    hasher.update(key.as_bytes());
    *hasher.finalize().as_bytes()
}

/// Its state when it is over, or after so long.
async fn over_within(delivery: &Delivery, wait: Duration) -> LetterState {
    // Either way its state tells.
    let _ = tokio::time::timeout(wait, delivery.processed()).await;
    delivery.state()
}

fn told(delivery: &Delivery, key: &str, state: &LetterState) -> Response {
    let handled = match state {
        LetterState::Processed => Handled::Yes,
        LetterState::Dead(why) => Status::of(why.kind).handled,
        _ => Handled::Unknown,
    };
    let content = (header::CONTENT_TYPE, "application/json");
    let body = shown(delivery, key, state).to_string();
    ([content], [(HANDLED, handled.as_str())], body).into_response()
}

fn shown(delivery: &Delivery, key: &str, state: &LetterState) -> Value {
    let mut shown = json!({ "key": key, "id": delivery.id().to_string(), "state": step(state).1 });
    if let LetterState::Dead(why) = state {
        shown["why"] = json!({
            "type": format!("{}{}", super::problem::KIND, status::name(why.kind)),
            "detail": unplaced(&why.to_string()),
            "handled": Status::of(why.kind).handled.as_str(),
        });
    }
    shown
}

/// The number of a last state.
const LAST: u64 = 3;

/// The number and the name of a state: a later one has a greater number.
const fn step(state: &LetterState) -> (u64, &'static str) {
    match state {
        LetterState::Stored => (1, "stored"),
        LetterState::Delivered => (2, "delivered"),
        LetterState::Processed => (LAST, "processed"),
        _ => (LAST, "dead"),
    }
}

/// Each state that comes behind `after`, the last one at the end. One that is passed too quickly to
/// be seen is told all the same.
fn events(
    delivery: Delivery,
    key: String,
    after: u64,
    place: Held,
) -> impl Stream<Item = Result<Event, RemoteError>> {
    stream::unfold(Some((delivery, key, after, place)), async |open| {
        let (delivery, key, after, place) = open?;
        let now = match after {
            0 => delivery.state(),
            1 => {
                // What is wrong is in its state.
                let _ = delivery.delivered().await;
                delivery.state()
            }
            2 => {
                let _ = delivery.processed().await;
                delivery.state()
            }
            _ => return None,
        };
        let next = match (after, &now) {
            (0, state) if !matches!(state, LetterState::Dead(_)) => LetterState::Stored,
            (1, LetterState::Processed) => LetterState::Delivered,
            (1 | 2, LetterState::Stored | LetterState::Delivered) if after >= step(&now).0 => {
                let text = "this node has stopped: what is stored goes on when it is started";
                let stopped = RemoteError::new(RemoteErrorKind::ShuttingDown, text);
                return Some((Err(stopped), None));
            }
            _ => now,
        };
        let (number, name) = step(&next);
        let data = shown(&delivery, &key, &next).to_string();
        let event = Event::default().event(name).id(number.to_string()).data(data);
        Some((Ok(event), Some((delivery, key, number, place))))
    })
}

/// Returns `true` if a client reads server-sent events.
pub(crate) fn wants_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default().trim();
        kind.eq_ignore_ascii_case("text/event-stream")
    })
}

pub(crate) fn applied(headers: &mut HeaderMap, wait: Option<Duration>) {
    if let Some(applied) = wait.and_then(target::applied) {
        headers.insert(HeaderName::from_static("preference-applied"), applied);
    }
}

/// A text as a part of a path.
pub(crate) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped += &format!("%{byte:02X}");
        }
    }
    escaped
}
