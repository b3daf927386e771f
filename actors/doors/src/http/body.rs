//! Bodies of requests: read whole, within a limit of bytes and of time.

use std::time::Duration;

use axum::body::Body;
use axum::extract::{FromRequest, Request};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap, HeaderValue};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use serde::de::IgnoredAny;

use super::problem::Problem;

/// The most bytes of a message, as everywhere.
pub(crate) const MESSAGE_MOST: usize = 16 << 20;
/// How long a client may take for a message.
const WITHIN: Duration = Duration::from_secs(60);

/// A message as JSON: the body of a request, whole.
#[derive(Debug)]
pub(crate) struct Json(pub(crate) String);

impl<S: Sync> FromRequest<S> for Json {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        is_json(request.headers())?;
        let bytes = whole(request, MESSAGE_MOST).await?;
        let text = String::from_utf8(bytes.into()).map_err(|error| no_json(&error))?;
        // Its fields are for its receiver to judge.
        serde_json::from_str::<IgnoredAny>(&text).map_err(|error| no_json(&error))?;
        Ok(Self(text))
    }
}

fn no_json(error: &impl std::fmt::Display) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "no-json", format!("the body is no JSON: {error}"))
}

/// Refuses what says that it is something else than JSON, or that it is compressed.
fn is_json(headers: &HeaderMap) -> Result<(), Problem> {
    let unsupported = |detail: String| {
        let accepted = HeaderValue::from_static("application/json");
        Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", detail)
            .with(header::HeaderName::from_static("accept-post"), accepted)
    };
    if let Some(encoding) = headers.get(header::CONTENT_ENCODING)
        && !encoding.as_bytes().eq_ignore_ascii_case(b"identity")
    {
        return Err(unsupported(format!("a body that is compressed ({encoding:?}) is not taken")));
    }
    let mut given = headers.get_all(header::CONTENT_TYPE).iter();
    let kind = given.next().and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"));
    if is_json && given.next().is_none() {
        return Ok(());
    }
    Err(unsupported(format!(
        "a message is JSON, and says so, Content-Type: application/json; this is {kind:?}"
    )))
}

/// All of a body.
pub(crate) async fn whole(request: Request, most: usize) -> Result<Bytes, Problem> {
    let too_large = || {
        Problem::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "too-large",
            format!("the body has more than the {most} bytes that a message may have"),
        )
    };
    let told = request.headers().get(header::CONTENT_LENGTH);
    let told = told.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if told.is_some_and(|length| length > most as u64) {
        return Err(too_large());
    }
    let read = read(request.into_body(), most);
    match tokio::time::timeout(WITHIN, read).await {
        Ok(Ok(Some(bytes))) => Ok(bytes),
        Ok(Ok(None)) => Err(too_large()),
        Ok(Err(error)) => Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "broken-body",
            format!("the body broke off, or is none of HTTP: {error}"),
        )),
        Err(_) => Err(Problem::new(
            StatusCode::REQUEST_TIMEOUT,
            "slow-body",
            format!("the body did not come within {} s", WITHIN.as_secs()),
        )
        .with(header::CONNECTION, HeaderValue::from_static("close"))),
    }
}

/// `None` for one that is too long.
async fn read(body: Body, most: usize) -> Result<Option<Bytes>, axum::Error> {
    let mut stream = body.into_data_stream();
    let mut all = BytesMut::new();
    while let Some(bytes) = stream.next().await {
        let bytes = bytes?;
        if all.len() + bytes.len() > most {
            return Ok(None);
        }
        all.extend_from_slice(&bytes);
    }
    Ok(Some(all.freeze()))
}
