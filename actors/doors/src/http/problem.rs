//! Errors, as RFC 9457 has them: `application/problem+json`.

use std::time::Duration;

use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderName, StatusCode};
use axum::response::{IntoResponse, Response};
use estafette::RemoteError;
use estafette::remote::Handled;
use serde_json::{Value, json};

use crate::status::{self, HANDLED, Status};
use crate::tokens::Refusal;

/// The beginning of each type of problem.
pub(crate) const KIND: &str = "urn:estafette:problem:";

/// A problem.
#[derive(Clone, Debug)]
pub(crate) struct Problem {
    status: StatusCode,
    kind: &'static str,
    detail: String,
    handled: Handled,
    retry: Option<Duration>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    /// One that was found before anything was sent.
    pub(crate) fn new(status: StatusCode, kind: &'static str, detail: impl Into<String>) -> Self {
        Self {
            status,
            kind,
            detail: detail.into(),
            handled: Handled::No,
            retry: None,
            headers: Vec::new(),
        }
    }

    /// One of a message that was to be stored.
    pub(crate) fn of_storing(error: &RemoteError) -> Self {
        Self::of(error, Status::of_storing(error.kind))
    }

    fn of(error: &RemoteError, Status { http, handled, retry, .. }: Status) -> Self {
        Self {
            status: super::status(http),
            kind: status::name(error.kind),
            detail: error.to_string(),
            handled,
            retry,
            headers: Vec::new(),
        }
    }

    pub(crate) fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn again_after(mut self, wait: Duration) -> Self {
        self.retry = Some(wait);
        self
    }

    /// Says whether its message was handled, where it was sent.
    pub(crate) fn handled(mut self, handled: Handled) -> Self {
        self.handled = handled;
        self
    }

    /// The description of what is wrong, for a person.
    pub(crate) fn detail(&self) -> &str {
        &self.detail
    }

    /// The problem as JSON, for its client.
    pub(crate) fn body(&self) -> Value {
        json!({
            "type": format!("{KIND}{}", self.kind),
            "title": self.kind.replace('-', " "),
            "status": self.status.as_u16(),
            "detail": self.detail,
            "handled": self.handled.as_str(),
        })
    }

    /// There is as much of it as may be.
    pub(crate) fn busy(what: &str) -> Self {
        let text =
            format!("as many {what} are open as may be, of this token or of all: try again later");
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "busy", text)
            .again_after(Duration::from_secs(10))
    }

    pub(crate) fn nothing_here() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "no-such-path",
            "nothing is here: POST /v1/ask/PEER/NAME/TYPE asks an actor, and tell, deliver and \
             download do as they say, /openapi.json tells all; a slash within a name is written \
             %2F",
        )
    }

    /// Without `Allow`, which whoever knows the methods adds.
    pub(crate) fn method() -> Self {
        let text = "not by this method: the header Allow says by which";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method", text)
    }
}

impl From<RemoteError> for Problem {
    fn from(error: RemoteError) -> Self {
        Self::of(&error, Status::of(error.kind))
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let unauthorized = |kind, detail: &str, challenge| {
            Self::new(StatusCode::UNAUTHORIZED, kind, detail)
                .with(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge))
        };
        match refusal {
            Refusal::Missing => unauthorized(
                "no-token",
                "a token is wanted: Authorization: Bearer TOKEN; `estafette token add` makes one",
                "Bearer realm=\"estafette\"",
            ),
            Refusal::Unknown => unauthorized(
                "unknown-token",
                "this is no token of this node, or not any more",
                "Bearer realm=\"estafette\", error=\"invalid_token\"",
            ),
            Refusal::Unnamed => unauthorized(
                "unknown-token",
                "no token has a name of this certificate, or not any more: `estafette token add` \
                 with such a name makes one",
                "Bearer realm=\"estafette\"",
            ),
            Refusal::Expired => unauthorized(
                "expired-token",
                "the time of this token is over: `estafette token add` makes another one",
                "Bearer realm=\"estafette\", error=\"invalid_token\"",
            ),
            Refusal::TooOften(wait) => {
                let text = "this token was used more often than it may be";
                Self::new(StatusCode::TOO_MANY_REQUESTS, "rate", text).again_after(wait)
            }
            Refusal::Unreadable => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "tokens-unreadable",
                "nobody is let in until this node can read its tokens again: its log says why",
            )
            .again_after(Duration::from_secs(10)),
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = self.body();
        let Self { status, handled, retry, headers, .. } = self;
        let content = (header::CONTENT_TYPE, "application/problem+json");
        let mut response =
            (status, [content], [(HANDLED, handled.as_str())], body.to_string()).into_response();
        let own = response.headers_mut();
        if let Some(wait) = retry {
            // Whole seconds, and never too early.
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            own.insert(header::RETRY_AFTER, seconds.max(1).into());
        }
        own.extend(headers);
        response
    }
}
