//! Errors, as a client of gRPC is told of them: a code, a text, whether the message was handled,
//! and details.

use std::time::Duration;

use estafette::remote::{ActorError, ErrorDetail, Handled, RemoteError, RemoteErrorKind};
use prost::Message;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::{HANDLED, Refusal};

/// The trailer that says when a client may try again, in milliseconds: gRPC's own.
const PUSHBACK: &str = "grpc-retry-pushback-ms";
/// The wait that it says.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// The status of an error.
pub(super) fn of(error: &RemoteError) -> Status {
    told(error, crate::Status::of(error.kind))
}

/// The status of an error of a message that was to be stored.
pub(super) fn of_storing(error: &RemoteError) -> Status {
    told(error, crate::Status::of_storing(error.kind))
}

fn told(error: &RemoteError, status: crate::Status) -> Status {
    let crate::Status { grpc, handled, retry, .. } = status;
    let code = Code::from_i32(grpc.into());
    failed(code, handled, &reason(error.kind), &error.to_string(), retry)
}

/// The kind of an error, as gRPC writes reasons: `NO_SUCH_NAME`.
pub(super) fn reason(kind: RemoteErrorKind) -> String {
    crate::status::name(kind).to_ascii_uppercase().replace('-', "_")
}

/// The status of who is not let in.
pub(super) fn refused(refusal: Refusal) -> Status {
    let unauthenticated = |text| not_handled(Code::Unauthenticated, "UNAUTHENTICATED", text);
    match refusal {
        Refusal::Missing => {
            unauthenticated("a token is wanted, as metadata: authorization: Bearer TOKEN")
        }
        Refusal::Unknown => unauthenticated("this is no token of this node, or not any more"),
        Refusal::Unnamed => {
            unauthenticated("no token has a name of this certificate, or not any more")
        }
        Refusal::Expired => unauthenticated("the time of this token is over"),
        Refusal::TooOften(wait) => {
            let (code, text) =
                (Code::ResourceExhausted, "this token was used more often than it may be");
            failed(code, Handled::No, "TOO_OFTEN", text, Some(wait))
        }
        Refusal::Unreadable => {
            let text = "nobody is let in until this node can read its tokens again: its log says \
                        why";
            not_handled(Code::Unavailable, "TOKENS_UNREADABLE", text)
        }
    }
}

/// Nothing was sent to an actor.
pub(super) fn not_handled(code: Code, reason: &str, text: &str) -> Status {
    failed(code, Handled::No, reason, text, None)
}

/// An actor has handled it, and its answer can't be told.
pub(super) fn handled(code: Code, reason: &str, text: &str) -> Status {
    failed(code, Handled::Yes, reason, text, None)
}

/// An actor's own error: its code, as much of its text as a client is told, and its details, if they
/// are not too many; then ours.
pub(super) fn own(error: &ActorError) -> Status {
    let number = i32::try_from(error.code).ok();
    // What is an error can't end as what went well.
    let code = number.map(Code::from_i32).filter(|code| *code != Code::Ok).unwrap_or(Code::Unknown);
    let text: String = error.message.chars().take(TEXT_MOST).collect();
    let status = handled(code, "OTHER", &text);
    // Each has the lengths of all three in front, and what kind of field each is.
    let length = |detail: &ErrorDetail| detail.type_url.len() + detail.value.len() + 16;
    let all: usize = error.details.iter().map(length).sum();
    let room = STATUS_MOST.saturating_sub(told_length(&status));
    if error.details.is_empty() || all > DETAILS_MOST || in_base64(all) > room {
        return status;
    }
    let text = status.message();
    let theirs = error.details.iter().map(|ErrorDetail { type_url, value }| Any {
        type_url: type_url.clone(),
        value: value.clone(),
    });
    // What is repeated goes on where bytes of the same type follow.
    let mut details = status.details().to_vec();
    details.extend(Details { details: theirs.collect() }.encode_to_vec());
    let metadata = status.metadata().clone();
    Status::with_details_and_metadata(code, text, details.into(), metadata)
}

/// Of a `google.rpc.Status` the details alone.
#[derive(Clone, PartialEq, Eq, Message)]
struct Details {
    #[prost(message, repeated, tag = "3")]
    details: Vec<Any>,
}

/// A `google.protobuf.Any`.
#[derive(Clone, PartialEq, Eq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    value: Vec<u8>,
}

/// The most characters of an error's own text.
pub(super) const TEXT_MOST: usize = 512;
/// The most bytes of its details.
const DETAILS_MOST: usize = 4 << 10;
/// The most bytes of a text and all details as they are told: clients take 8 KiB of headers, of
/// which the others need some.
const STATUS_MOST: usize = 7 << 10;
/// Those of them that our own details may need, besides the text.
const OURS_MOST: usize = 512;

/// The bytes of a text and its details as they are told: the text as a header in which a byte may
/// become three, and once more among the details, which are in base64.
fn told_length(status: &Status) -> usize {
    let text: usize = status.message().chars().map(escaped).sum();
    text + in_base64(status.details().len())
}

/// The most bytes of a character in a header.
fn escaped(one: char) -> usize {
    if one.is_ascii_alphanumeric() { 1 } else { 3 * one.len_utf8() }
}

fn in_base64(bytes: usize) -> usize {
    bytes.div_ceil(3) * 4
}

/// The part of a text for which there is room.
fn cut(text: &str) -> &str {
    let mut room = STATUS_MOST - OURS_MOST;
    let end = text.char_indices().find(|(_, one)| {
        let needed = escaped(*one) + in_base64(one.len_utf8());
        let fits = needed <= room;
        room = room.saturating_sub(needed);
        !fits
    });
    end.and_then(|(end, _)| text.get(..end)).unwrap_or(text)
}

/// More calls are under way than may.
pub(super) fn full(text: &str) -> Status {
    let text = format!("{text}: try again later");
    failed(Code::ResourceExhausted, Handled::No, "FULL", &text, Some(AGAIN_AFTER))
}

/// Too many answers wait for clients that do not take them.
pub(super) fn untaken() -> Status {
    let text = "it was handled, but too many answers wait here for their clients: ask for less at a \
                time";
    handled(Code::ResourceExhausted, "FULL", text)
}

/// The client has not said all that it wanted to.
pub(super) fn broke_off(handled: Handled) -> Status {
    failed(Code::Cancelled, handled, "CANCELLED", "the request broke off", None)
}

/// The status of a request in which `tonic` finds a fault.
pub(super) fn of_request(wrong: &Status, handled: Handled) -> Status {
    let reason = match wrong.code() {
        Code::OutOfRange | Code::ResourceExhausted => "FULL",
        Code::Cancelled => "CANCELLED",
        _ => "UNDECODABLE",
    };
    // Too long is not out of range: clients know it as exhausted.
    let code = match wrong.code() {
        Code::OutOfRange => Code::ResourceExhausted,
        code => code,
    };
    failed(code, handled, reason, wrong.message(), None)
}

/// The status of a faulty request of which an actor may have handled a part.
pub(super) fn after(wrong: &Status, handled: Handled) -> Status {
    let reason = wrong.get_details_error_info().map(|info| info.reason).unwrap_or_default();
    failed(wrong.code(), handled, &reason, wrong.message(), None)
}

/// The status of what went well, with its trailer.
pub(super) fn success() -> Status {
    Status::with_metadata(Code::Ok, "", trailers(Handled::Yes))
}

fn trailers(handled: Handled) -> MetadataMap {
    let mut trailers = MetadataMap::new();
    trailers.insert(HANDLED, MetadataValue::from_static(handled.as_str()));
    trailers
}

fn failed(
    code: Code,
    handled: Handled,
    reason: &str,
    text: &str,
    again: Option<Duration>,
) -> Status {
    let (mut trailers, text) = (trailers(handled), cut(text));
    let about = [("handled".to_owned(), handled.as_str().to_owned())];
    let mut details = ErrorDetails::with_error_info(reason, "estafette", about);
    if let Some(again) = again {
        details.set_retry_info(Some(again));
        let after = u64::try_from(again.as_millis()).unwrap_or(u64::MAX);
        trailers.insert(PUSHBACK, MetadataValue::from(after));
    }
    Status::with_error_details_and_metadata(code, text, details, trailers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_says_its_kind_and_whether_it_was_handled_twice() {
        let status = of(&RemoteError::new(RemoteErrorKind::NoSuchName, "nobody is called so"));
        assert_eq!((status.code(), status.message()), (Code::NotFound, "nobody is called so"));
        assert_eq!(status.metadata().get(HANDLED).map(|value| value.as_bytes()), Some(&b"no"[..]));
        let info = status.get_details_error_info();
        assert_eq!(info.as_ref().map(|info| &*info.reason), Some("NO_SUCH_NAME"));
        let handled = info.and_then(|info| info.metadata.get("handled").cloned());
        assert_eq!(handled.as_deref(), Some("no"));
        assert!(status.metadata().get(PUSHBACK).is_none(), "it will not be there the next time");
    }

    #[test]
    fn an_error_of_the_actors_own_has_its_code_and_details_beside_ours() {
        let bad = tonic_types::pb::BadRequest {
            field_violations: vec![tonic_types::pb::bad_request::FieldViolation {
                field: "name".into(),
                ..Default::default()
            }],
        };
        let url = "type.googleapis.com/google.rpc.BadRequest";
        let error = ActorError::invalid_argument("whom?").detail(url, bad.encode_to_vec());
        let status = own(&error);
        assert_eq!((status.code(), status.message()), (Code::InvalidArgument, "whom?"));
        assert_eq!(status.metadata().get(HANDLED).map(|value| value.as_bytes()), Some(&b"yes"[..]));
        let info = status.get_details_error_info().map(|info| info.reason);
        assert_eq!(info.as_deref(), Some("OTHER"));
        let fields = status.get_details_bad_request().map(|bad| bad.field_violations.len());
        assert_eq!(fields, Some(1));

        let many = own(&error.detail(url, vec![0; DETAILS_MOST]));
        assert!(many.get_details_bad_request().is_none() && many.details().len() < DETAILS_MOST);
        assert!(many.get_details_error_info().is_some());
        let long = own(&ActorError::internal("é".repeat(9_999)));
        assert_eq!(long.message().chars().count(), TEXT_MOST);
        let empty = vec![ErrorDetail { type_url: String::new(), value: Vec::new() }; 10_000];
        let mut empties = ActorError::internal("");
        empties.details = empty;
        assert!(own(&empties).details().len() < DETAILS_MOST);
        for code in [0, 17, u32::MAX] {
            assert_eq!(own(&ActorError::new(code, "")).code(), Code::Unknown);
        }
    }

    #[test]
    fn an_error_fits_in_the_headers_that_clients_take() {
        let told = |text: &str, details: usize| {
            let error = ActorError::internal(text.repeat(512)).detail("a/b", vec![0; details]);
            let (status, mut headers) = (own(&error), Default::default());
            assert!(status.add_header(&mut headers).is_ok());
            let all: usize =
                headers.iter().map(|(name, value)| name.as_str().len() + value.len()).sum();
            assert!(all <= 8 << 10, "{text}: {all} bytes");
            let has_theirs = Details::decode(status.details())
                .is_ok_and(|all| all.details.iter().any(|detail| detail.type_url == "a/b"));
            (status.message().chars().count(), has_theirs)
        };
        assert_eq!(told("a", 4000), (512, true));
        assert_eq!(told(" ", 3000), (512, true));
        for text in ["я", "語"] {
            assert_eq!(told(text, 4000), (512, false), "{text}");
        }
        assert_eq!(told("я", 1000), (512, true));
        let (shown, _) = told("\u{1f600}", 0);
        assert!((300..512).contains(&shown), "{shown}");
    }

    #[test]
    fn clients_that_retry_by_themselves_are_asked_to_only_where_nothing_was_handled() {
        let again = |kind| {
            let status = of(&RemoteError::new(kind, ""));
            (status.code(), status.metadata().get(PUSHBACK).is_some())
        };
        use RemoteErrorKind::{LinkLost, Restarting, ShuttingDown, Unreachable};
        assert_eq!(again(Unreachable), (Code::Unavailable, true));
        assert_eq!(again(Restarting), (Code::Unavailable, true));
        assert_eq!(again(LinkLost), (Code::Unknown, false));
        assert_eq!(again(ShuttingDown), (Code::Unknown, false));
    }
}
