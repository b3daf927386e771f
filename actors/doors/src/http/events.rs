//! `POST /v1/events/{peer}/{name}`: an event of CloudEvents 1.0, in binary or structured mode, whose
//! data is stored as a message of its type, and delivered once; or told.
//!
//! Invariant: source and id of an event are its key, for each receiver: whoever sends it again means
//! the same message.

use axum::Extension;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{FromRequest, Path, Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::{self, HeaderMap};
use axum::response::Response;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::Seat;
use super::body::{self, Json};
use super::deliver::store;
use super::problem::Problem;
use super::target::{self, Target};
use super::tell;
use crate::tokens::Pass;
use crate::trace::{trace, traced};

/// The type of content that is an event in structured mode.
const STRUCTURED: &str = "application/cloudevents+json";
/// The longest attribute, in bytes.
const ATTRIBUTE_MOST: usize = 2_048;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    #[serde(default = "first")]
    version: u32,
    #[serde(default)]
    way: Way,
}

const fn first() -> u32 {
    1
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Way {
    #[default]
    Deliver,
    Tell,
}

/// An event, as far as it is looked at.
struct Event {
    id: String,
    source: String,
    kind: String,
    traceparent: Option<String>,
    tracestate: Option<String>,
}

/// An event in structured mode. Nothing of it is copied before its length is known.
#[derive(Debug, Deserialize)]
struct Structured<'a> {
    #[serde(borrow)]
    specversion: &'a RawValue,
    id: &'a RawValue,
    source: &'a RawValue,
    #[serde(rename = "type")]
    kind: &'a RawValue,
    traceparent: Option<&'a RawValue>,
    tracestate: Option<&'a RawValue>,
    datacontenttype: Option<&'a RawValue>,
    data_base64: Option<IgnoredAny>,
    data: Option<&'a RawValue>,
}

/// Takes an event. The client may go away: what is stored goes on.
pub(super) async fn event(
    State(seat): State<Seat>,
    Extension(pass): Extension<Pass>,
    path: Result<Path<(String, String)>, PathRejection>,
    query: Result<Query<Asked>, QueryRejection>,
    request: Request,
) -> Result<Response, Problem> {
    let Path((peer, name)) = path.map_err(|error| target::bad(error.body_text()))?;
    let Query(Asked { version, way }) = query.map_err(|error| target::bad(error.body_text()))?;
    // Before anything of the body is read.
    let reached = seat.access.reach(&pass, &peer, &name)?;
    let headers = request.headers().clone();
    let body;
    let (event, data) = if is_structured(&headers)? {
        body = Json::from_request(request, &seat).await?;
        structured(&body.text)?
    } else {
        let event = binary(&headers)?;
        body = Json::or_null(request, &seat).await?;
        (event, &*body.text)
    };
    let remote = seat.access.node().remote_json(&reached.address(), &event.kind, version)?;
    let mut remote = remote.on_behalf_of(&pass.name);
    let state = event.tracestate.as_deref().into_iter();
    let own = event.traceparent.as_deref().and_then(|parent| traced(parent, state));
    if let Some(trace) = trace(&headers).or(own) {
        remote = remote.traced(trace);
    }
    let target = Target { remote, wait: target::wait(&headers), reached };
    match way {
        Way::Tell => tell::told(target, data).await,
        Way::Deliver => {
            let key = key(&target, &event);
            store(&pass, &target, &key, data).await
        }
    }
}

/// Returns whether the body is the event; its data, if not.
fn is_structured(headers: &HeaderMap) -> Result<bool, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or_default().trim();
    let is_event = kind.to_ascii_lowercase().starts_with("application/cloudevents");
    if is_event && !kind.eq_ignore_ascii_case(STRUCTURED) {
        let text =
            format!("an event in structured mode is {STRUCTURED}, one at a time; not {kind}");
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "content-type", text));
    }
    Ok(is_event)
}

/// The event of a body, and its data; without any, they are null.
fn structured(text: &str) -> Result<(Event, &str), Problem> {
    let written: Structured<'_> =
        serde_json::from_str(text).map_err(|error| no_event(&error.to_string()))?;
    let said = |name: &str, value: Option<&RawValue>| -> Result<Option<String>, Problem> {
        let Some(value) = value.map(RawValue::get) else { return Ok(None) };
        // Each byte may be written as six.
        let value = Some(value).filter(|value| value.len() <= 2 + 6 * ATTRIBUTE_MOST);
        let text = value.and_then(|value| serde_json::from_str(value).ok());
        let wrong = format!("its {name} is no text of at most {ATTRIBUTE_MOST} bytes");
        text.map(Some).ok_or_else(|| no_event(&wrong))
    };
    let must = |name, value| said(name, Some(value)).map(Option::unwrap_or_default);
    let event = Event {
        id: must("id", written.id)?,
        source: must("source", written.source)?,
        kind: must("type", written.kind)?,
        traceparent: said("traceparent", written.traceparent)?,
        tracestate: said("tracestate", written.tracestate)?,
    };
    let event = checked(event, &must("specversion", written.specversion)?)?;
    let kind = said("datacontenttype", written.datacontenttype)?;
    let is_json = kind.is_none_or(|kind| body::is_json(&kind));
    if written.data_base64.is_some() || !is_json {
        return Err(no_event("its data is no JSON, which actors take by this door"));
    }
    Ok((event, written.data.map_or("null", RawValue::get)))
}

fn binary(headers: &HeaderMap) -> Result<Event, Problem> {
    let said = |name: &str| -> Result<Option<String>, Problem> {
        let mut given = headers.get_all(name).iter();
        let Some(value) = given.next() else { return Ok(None) };
        let text = value.to_str().ok().filter(|_| given.next().is_none()).and_then(decoded);
        text.map(Some).ok_or_else(|| no_event(&format!("its header {name} can't be read")))
    };
    let must = |name: &str| {
        said(name)?.ok_or_else(|| {
            no_event(&format!("it has no header {name}, and is no {STRUCTURED} either"))
        })
    };
    let event = Event {
        id: must("ce-id")?,
        source: must("ce-source")?,
        kind: must("ce-type")?,
        traceparent: said("ce-traceparent")?,
        tracestate: said("ce-tracestate")?,
    };
    checked(event, &must("ce-specversion")?)
}

fn checked(event: Event, version: &str) -> Result<Event, Problem> {
    if version != "1.0" {
        return Err(no_event(&format!("its specversion is {version:?}, and 1.0 is taken")));
    }
    for (name, value) in [("id", &event.id), ("source", &event.source), ("type", &event.kind)] {
        if value.is_empty() || value.len() > ATTRIBUTE_MOST {
            return Err(no_event(&format!("its {name} has 1 to {ATTRIBUTE_MOST} bytes")));
        }
    }
    Ok(event)
}

fn no_event(why: &str) -> Problem {
    let text = format!("this is no event of CloudEvents 1.0 that can be taken: {why}");
    Problem::new(StatusCode::BAD_REQUEST, "no-event", text)
}

/// The key of an event to a receiver.
fn key(target: &Target, event: &Event) -> String {
    let mut hasher = blake3::Hasher::new_derive_key("estafette door: key of an event 1");
    let peer = target.reached.peer.to_string();
    for part in [&peer, &*target.reached.name, &event.source, &event.id] {
        hasher.update(&(part.len() as u64).to_be_bytes());
        hasher.update(part.as_bytes());
    }
    format!("event-{}", &hasher.finalize().to_hex()[..40])
}

/// A value of a header, as the binding of CloudEvents writes it: in quotes or not, `%` and two
/// digits for what a header can't have.
fn decoded(value: &str) -> Option<String> {
    let value = value.trim();
    let quoted = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"'));
    let mut plain = Vec::with_capacity(value.len());
    let mut bytes = quoted.unwrap_or(value).bytes();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            b'\\' if quoted.is_some() => bytes.next()?,
            b'%' => {
                let mut digit = || char::from(bytes.next()?).to_digit(16);
                u8::try_from(digit()? * 16 + digit()?).ok()?
            }
            other => other,
        });
    }
    String::from_utf8(plain).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_headers_are_read_as_the_binding_writes_them() {
        for (value, read) in [
            ("plain", Some("plain")),
            ("Euro%20%E2%82%AC%20%F0%9F%98%80", Some("Euro \u{20ac} \u{1f600}")),
            ("\"a \\\"b\\\" c\"", Some("a \"b\" c")),
            ("a\\b", Some("a\\b")),
            ("100%25", Some("100%")),
            ("100%", None),
            ("%2", None),
            ("%zz", None),
            ("%ff", None),
            ("\"a\\\"", None),
            ("", Some("")),
        ] {
            assert_eq!(decoded(value).as_deref(), read, "{value}");
        }
    }
}
