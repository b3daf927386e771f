//! To whom a request goes: the parts of its path, and what its headers say of it.

use std::time::Duration;

use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequestParts, Path, Query};
use axum::http::StatusCode;
use axum::http::header::{HeaderMap, HeaderValue};
use axum::http::request::Parts;
use estafette::RemoteError;
use estafette::remote::JsonRemote;
use serde::Deserialize;

use super::Seat;
use super::problem::Problem;
use crate::access::Reached;
use crate::room::Held;
use crate::tokens::{Pass, Refusal};
use crate::trace::trace;

/// The longest that somebody may wait for an answer.
pub(crate) const WAIT_MOST: Duration = Duration::from_secs(300);

/// The longest wait for room for one more call with streams, where there is a link.
const ROOM_WITHIN: Duration = Duration::from_secs(1);

/// An actor of another node, for one type of message.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) remote: JsonRemote,
    pub(crate) reached: Reached,
    /// The time that the client wants to wait.
    pub(crate) wait: Option<Duration>,
}

#[derive(Debug, Deserialize)]
struct Asked {
    #[serde(default = "first")]
    version: u32,
}

const fn first() -> u32 {
    1
}

impl FromRequestParts<Seat> for Target {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, seat: &Seat) -> Result<Self, Problem> {
        let path: Result<Path<(String, String, String)>, PathRejection> =
            Path::from_request_parts(parts, seat).await;
        let Path((peer, name, message)) =
            path.map_err(|error| bad(format!("the path can't be read: {}", error.body_text())))?;
        let query: Result<Query<Asked>, QueryRejection> =
            Query::from_request_parts(parts, seat).await;
        let Query(Asked { version }) = query
            .map_err(|error| bad(format!("the query can't be read: {}", error.body_text())))?;
        let pass = parts.extensions.get::<Pass>().ok_or(Refusal::Missing)?;
        let reached = seat.access.reach(pass, &peer, &name)?;
        let remote = seat.access.node().remote_json(&reached.address(), &message, version)?;
        let mut remote = remote.on_behalf_of(&pass.name);
        if let Some(trace) = trace(&parts.headers) {
            remote = remote.traced(trace);
        }
        Ok(Self { remote, reached, wait: wait(&parts.headers) })
    }
}

/// Begins a call with streams, of which a peer takes so many at a time, and so many of one token;
/// with it, its place among those of the token.
pub(crate) async fn with_room<T>(
    seat: &Seat,
    pass: &Pass,
    reached: &Reached,
    begin: impl Future<Output = Result<T, RemoteError>>,
) -> Result<(T, Held), Problem> {
    let full = |text: String| {
        Problem::new(StatusCode::TOO_MANY_REQUESTS, "full", text)
            .again_after(Duration::from_secs(1))
    };
    let place = seat.shared.call(reached.peer, &pass.name).ok_or_else(|| {
        let (token, peer) = (&pass.name, &reached.peer_name);
        full(format!("the token {token:?} has as many calls with streams at {peer} as one may"))
    })?;
    let mut watch = seat.access.node().watch(&reached.peer.to_string())?;
    let too_long = async {
        // How long a link is waited for, the call itself knows.
        watch.up().await;
        tokio::time::sleep(ROOM_WITHIN).await;
    };
    tokio::select! {
        biased;
        begun = begin => Ok((begun?, place)),
        () = too_long => {
            let text =
                format!("{} has as many calls with streams under way as it may", reached.peer_name);
            Err(full(text))
        }
    }
}

pub(crate) fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(StatusCode::BAD_REQUEST, "bad-request", detail)
}

/// The one value of a header.
pub(crate) fn one<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a str>, Problem> {
    let mut given = headers.get_all(name).iter();
    let Some(first) = given.next() else { return Ok(None) };
    match (first.to_str(), given.next()) {
        (Ok(text), None) => Ok(Some(text.trim())),
        _ => Err(bad(format!("{name} is one visible text"))),
    }
}

/// The time that a client wants to wait: `Prefer: wait=30`, in seconds. What is no number is passed
/// over, as preferences are.
pub(crate) fn wait(headers: &HeaderMap) -> Option<Duration> {
    let lines = headers.get_all("prefer").iter().filter_map(|line| line.to_str().ok());
    let preferences = lines.flat_map(|line| line.split(','));
    let seconds = preferences
        .filter_map(|preference| preference.split(';').next()?.trim().split_once('='))
        .find(|(name, _)| name.trim().eq_ignore_ascii_case("wait"))
        .and_then(|(_, value)| value.trim().trim_matches('"').parse().ok())?;
    Some(Duration::from_secs(seconds).min(WAIT_MOST))
}

/// The header that tells a client of the wait that was granted.
pub(crate) fn applied(wait: Duration) -> Option<HeaderValue> {
    HeaderValue::from_str(&format!("wait={}", wait.as_secs())).ok()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    #[test]
    fn a_wait_is_found_among_preferences() {
        let wait_of = |lines: &[&str]| {
            let mut headers = HeaderMap::new();
            for line in lines {
                headers.append("prefer", line.parse().unwrap());
            }
            wait(&headers).map(|wait| wait.as_secs())
        };
        assert_eq!(wait_of(&["wait=30"]), Some(30));
        assert_eq!(wait_of(&["respond-async, Wait = \"7\" ; x=y"]), Some(7));
        assert_eq!(wait_of(&["return=minimal", "wait=0"]), Some(0));
        assert_eq!(wait_of(&["wait=999999999999"]), Some(WAIT_MOST.as_secs()));
        for none in
            ["", "wait", "wait=", "wait=-1", "wait=1.5", "await=3", "wait=18446744073709551616"]
        {
            assert_eq!(wait_of(&[none]), None, "{none}");
        }
    }
}
