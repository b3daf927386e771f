//! Bodies of requests: read whole, within a limit of bytes and of time.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use bytes::{Bytes, BytesMut};
use estafette::remote::JsonRemote;
use futures_util::StreamExt;
use http_body::Body as _;

use super::Seat;
use super::problem::Problem;
use crate::room::{Held, Room};
use crate::tokens::{Pass, Refusal};

/// The most bytes of a message, as everywhere.
const MESSAGE_MOST: usize = 16 << 20;
/// Room for bodies is taken in such pieces.
const PIECE: usize = 64 << 10;
/// The longest that a client may take for a message.
const WITHIN: Duration = Duration::from_secs(60);

/// A message as JSON: the body of a request, whole.
#[derive(Debug)]
pub(crate) struct Json {
    pub(crate) text: String,
    /// Its part of what all bodies may hold.
    _held: Option<Held>,
}

impl FromRequest<Seat> for Json {
    type Rejection = Problem;

    async fn from_request(request: Request, seat: &Seat) -> Result<Self, Problem> {
        Self::read(request, seat, "").await
    }
}

impl Json {
    /// A body that may be empty, and stands for `null` then, whatever its type.
    pub(crate) async fn or_null(request: Request, seat: &Seat) -> Result<Self, Problem> {
        if request.body().is_end_stream() {
            return Ok(Self { text: "null".into(), _held: None });
        }
        Self::read(request, seat, "null").await
    }

    async fn read(request: Request, seat: &Seat, empty: &str) -> Result<Self, Problem> {
        says_json(request.headers())?;
        let pass = request.extensions().get::<Pass>().cloned().ok_or(Refusal::Missing)?;
        let (bytes, held) = whole(request, &seat.bodies, &pass).await?;
        let mut text = String::from_utf8(bytes.into()).map_err(|error| no_json(&error))?;
        if text.is_empty() {
            text.push_str(empty);
        }
        // Its fields are for its receiver to judge.
        JsonRemote::check(&text).map_err(|error| no_json(&error))?;
        Ok(Self { text, _held: held })
    }
}

/// Returns `true` if a type of content is JSON, or something that is written as JSON.
pub(crate) fn is_json(kind: &str) -> bool {
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn no_json(error: &impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "no-json", format!("the body is no message: {error}"))
}

/// Refuses a body that is compressed, of which nobody behind the door would know.
pub(super) fn is_unpacked(headers: &HeaderMap) -> Result<(), Problem> {
    let mut codings = headers.get_all(header::CONTENT_ENCODING).iter();
    let Some(coding) = codings.find(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
    else {
        return Ok(());
    };
    let text = format!("a body that is compressed (Content-Encoding: {coding:?}) is not taken");
    Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", text)
        .with(header::ACCEPT_ENCODING, HeaderValue::from_static("identity")))
}

/// Refuses what says that it is something else than JSON, or that it is compressed.
fn says_json(headers: &HeaderMap) -> Result<(), Problem> {
    let unsupported = |detail: String| {
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", detail)
            .with(ACCEPT_POST, JSON)
    };
    is_unpacked(headers).map_err(|problem| problem.with(ACCEPT_POST, JSON))?;
    let mut given = headers.get_all(header::CONTENT_TYPE).iter();
    let kind = given.next().and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    if is_json(kind) && given.next().is_none() {
        return Ok(());
    }
    Err(unsupported(format!(
        "a message is JSON, and says so, Content-Type: application/json; this is {kind:?}"
    )))
}

const ACCEPT_POST: HeaderName = HeaderName::from_static("accept-post");
const JSON: HeaderValue = HeaderValue::from_static("application/json");

/// All of a body.
async fn whole(
    request: Request,
    bodies: &Arc<Room>,
    pass: &Pass,
) -> Result<(Bytes, Option<Held>), Problem> {
    let told = request.headers().get(header::CONTENT_LENGTH);
    let told = told.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|length| length > MESSAGE_MOST as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(WITHIN, read(request.into_body(), bodies, pass)).await {
        Ok(read) => read,
        Err(_) => {
            let text = format!("the body did not come within {} s", WITHIN.as_secs());
            let close = HeaderValue::from_static("close");
            Err(Problem::new(StatusCode::REQUEST_TIMEOUT, "slow-body", text)
                .with(header::CONNECTION, close))
        }
    }
}

async fn read(
    body: Body,
    bodies: &Arc<Room>,
    pass: &Pass,
) -> Result<(Bytes, Option<Held>), Problem> {
    let mut stream = body.into_data_stream();
    let (mut all, mut held, mut room) = (BytesMut::new(), None::<Held>, 0);
    while let Some(bytes) = stream.next().await {
        let bytes = bytes.map_err(|error| {
            let text = format!("the body broke off, or is none of HTTP: {error}");
            Problem::new(StatusCode::BAD_REQUEST, "broken-body", text)
        })?;
        if all.len() + bytes.len() > MESSAGE_MOST {
            return Err(too_large());
        }
        let missing = (all.len() + bytes.len()).saturating_sub(room);
        if missing > 0 {
            let more = missing.div_ceil(PIECE) * PIECE;
            let has_room = match &mut held {
                Some(held) => held.more(more),
                None => {
                    held = bodies.take(&pass.name, more);
                    held.is_some()
                }
            };
            if !has_room {
                return Err(Problem::busy("bodies of requests"));
            }
            room += more;
        }
        all.extend_from_slice(&bytes);
    }
    Ok((all.freeze(), held))
}

fn too_large() -> Problem {
    let text = format!("the body has more than the {MESSAGE_MOST} bytes that a message may have");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", text)
}
