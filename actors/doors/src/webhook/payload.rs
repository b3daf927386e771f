//! Payloads of webhooks: the message as JSON, or as an event of CloudEvents 1.0; and what is said
//! of it in headers.

use std::time::{Duration, UNIX_EPOCH};

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use bytes::Bytes;
use ring::hmac;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::record::{Head, Message};
use super::secret::signature;

/// The form in which messages are posted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Format {
    /// The JSON of the message.
    #[default]
    Json,
    /// The same, with the headers of CloudEvents 1.0 in binary mode.
    Binary,
    /// An event of CloudEvents 1.0 in structured mode, with the message as its data.
    Structured,
}

/// An event in structured mode.
#[derive(Serialize)]
struct Event<'a> {
    specversion: &'static str,
    id: &'a str,
    source: String,
    #[serde(rename = "type")]
    kind: &'a str,
    time: String,
    datacontenttype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    data: &'a RawValue,
}

/// The headers and the body of a POST that is made at `now`, in seconds since the Unix epoch.
///
/// # Errors
/// The message is none: it was JSON when it came.
pub(super) fn payload(
    message: &Message,
    format: Format,
    keys: &[hmac::Key],
    now: u64,
) -> Result<(HeaderMap, Bytes), String> {
    let Message { head, body } = message;
    let (mut headers, mut body) = (Headers::default(), body.clone());
    let traceparent = head.trace.as_ref().map(|(parent, _)| parent.as_str());
    match format {
        Format::Json => headers.put("content-type", "application/json"),
        Format::Binary => {
            headers.put("content-type", "application/json");
            headers.put("ce-specversion", "1.0");
            for (name, value) in [
                ("ce-id", head.id.as_str()),
                ("ce-source", &source(head)),
                ("ce-type", &head.message),
                ("ce-time", &time(head.created)),
            ] {
                headers.put(name, &encoded(value, b" \"%"));
            }
            if let Some(parent) = traceparent {
                headers.put("ce-traceparent", parent);
            }
        }
        Format::Structured => {
            headers.put("content-type", "application/cloudevents+json");
            let data: &RawValue =
                serde_json::from_slice(&body).map_err(|error| error.to_string())?;
            let event = Event {
                specversion: "1.0",
                id: &head.id,
                source: source(head),
                kind: &head.message,
                time: time(head.created),
                datacontenttype: "application/json",
                traceparent,
                data,
            };
            body = serde_json::to_vec(&event).map_err(|error| error.to_string())?.into();
        }
    }
    headers.put("estafette-from", &head.from);
    headers.put("estafette-name", &encoded(&head.name, b"%"));
    headers.put("estafette-type", &encoded(&head.message, b"%"));
    headers.put("estafette-version", &head.version.to_string());
    if let Some((parent, state)) = &head.trace {
        headers.put("traceparent", parent);
        if !state.is_empty() {
            headers.put("tracestate", state);
        }
    }
    headers.put("webhook-id", &head.id);
    headers.put("webhook-timestamp", &now.to_string());
    headers.put("webhook-signature", &signature(keys, &head.id, now, &body));
    Ok((headers.0, body))
}

/// The source of an event: the node that sent it, and the name that it was sent to.
fn source(head: &Head) -> String {
    format!("estafette:{}/{}", head.from, encoded(&head.name, b" \"%<>\\^`{|}?#[]"))
}

/// A time as RFC 3339 has it, in UTC.
fn time(seconds: u64) -> String {
    let time = UNIX_EPOCH + Duration::from_secs(seconds.min(LAST));
    let date = httpdate::fmt_http_date(time);
    // Such as: Sun, 06 Nov 1994 08:49:37 GMT.
    let [_, day, month, year, clock, _] = *date.split(' ').collect::<Vec<_>>() else {
        return date;
    };
    let months = "JanFebMarAprMayJunJulAugSepOctNovDec";
    let month = months.find(month).map_or(1, |at| at / 3 + 1);
    format!("{year}-{month:02}-{day}T{clock}Z")
}

/// The last second of the year 9999, after which dates have other texts.
const LAST: u64 = 253_402_300_799;

/// A text as visible ASCII, without these characters: percent-encoded as UTF-8.
fn encoded(text: &str, without: &[u8]) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if (byte.is_ascii_graphic() || byte == b' ') && !without.contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[derive(Default)]
struct Headers(HeaderMap);

impl Headers {
    /// Puts a header in, if it can be one.
    fn put(&mut self, name: &'static str, value: &str) {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.insert(HeaderName::from_static(name), value);
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    fn message() -> Message {
        let head = Head {
            id: "ab-7".into(),
            from: "node1".into(),
            name: "Bücher 1".into(),
            message: "shop.\"Örder\"".into(),
            version: 3,
            created: 784_111_777,
            trace: Some(("00-01-02-03".into(), String::new())),
        };
        Message { head, body: Bytes::from_static(br#"{"n": 18446744073709551615}"#) }
    }

    fn posted(format: Format) -> (HeaderMap, Bytes) {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]);
        payload(&message(), format, &[key], 1000).unwrap()
    }

    #[test]
    fn a_message_is_posted_as_it_is_with_its_type_beside_it() {
        let (headers, body) = posted(Format::Json);
        assert_eq!(body, message().body);
        for (name, value) in [
            ("content-type", "application/json"),
            ("estafette-from", "node1"),
            ("estafette-name", "B%C3%BCcher 1"),
            ("estafette-type", "shop.\"%C3%96rder\""),
            ("estafette-version", "3"),
            ("traceparent", "00-01-02-03"),
            ("webhook-id", "ab-7"),
            ("webhook-timestamp", "1000"),
        ] {
            assert_eq!(headers[name], value, "{name}");
        }
        assert!(!headers.contains_key("ce-id") && !headers.contains_key("tracestate"));
    }

    #[test]
    fn an_event_has_its_attributes_in_headers_or_around_its_data() {
        let (headers, body) = posted(Format::Binary);
        assert_eq!(
            (&body, &headers["content-type"]),
            (&message().body, &HeaderValue::from_static("application/json"))
        );
        for (name, value) in [
            ("ce-specversion", "1.0"),
            ("ce-id", "ab-7"),
            ("ce-source", "estafette:node1/B%25C3%25BCcher%25201"),
            ("ce-type", "shop.%22%C3%96rder%22"),
            ("ce-time", "1994-11-06T08:49:37Z"),
        ] {
            assert_eq!(headers[name], value, "{name}");
        }
        let (headers, body) = posted(Format::Structured);
        assert_eq!(headers["content-type"], "application/cloudevents+json");
        let event: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(event["source"], "estafette:node1/B%C3%BCcher%201");
        assert_eq!(
            (&event["type"], &event["time"]),
            (&"shop.\"Örder\"".into(), &"1994-11-06T08:49:37Z".into())
        );
        // A number that other readers would round is as it was.
        assert!(std::str::from_utf8(&body).unwrap().contains("18446744073709551615"));
    }

    #[test]
    fn times_have_no_end() {
        assert_eq!(time(0), "1970-01-01T00:00:00Z");
        assert_eq!(time(u64::MAX), "9999-12-31T23:59:59Z");
        assert_eq!(time(951_827_696), "2000-02-29T12:34:56Z");
    }
}
