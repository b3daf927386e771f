//! The documentation against what is.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use estafette::RemoteErrorKind;
use estafette_doors::Status;

/// All kinds, as the documentation of messages lists them.
const KINDS: [RemoteErrorKind; 21] = {
    use RemoteErrorKind as K;
    [
        K::UnknownPeer,
        K::Unreachable,
        K::LinkLost,
        K::Unsupported,
        K::NoSuchName,
        K::NoSuchMessage,
        K::VersionMismatch,
        K::Forbidden,
        K::Full,
        K::Died,
        K::Restarting,
        K::Undecodable,
        K::BadReply,
        K::Unencodable,
        K::Deadline,
        K::Cancelled,
        K::ShuttingDown,
        K::Storage,
        K::Expired,
        K::Conflict,
        K::Other,
    ]
};

const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../framework/docs/doors.md");

const GRPC: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

#[test]
fn the_table_of_the_documentation_is_the_table() {
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    let rows: Vec<Vec<&str>> = document
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(|line| line.split('|').map(str::trim).collect())
        .filter(|row: &Vec<&str>| row.len() == 7)
        .collect();
    for kind in KINDS {
        let status = Status::of(kind);
        let retry = status.retry.map_or("no".to_owned(), |wait| format!("{} s", wait.as_secs()));
        let (kind, http) = (format!("`{kind:?}`"), status.http.to_string());
        let grpc = format!("{} {}", status.grpc, GRPC[usize::from(status.grpc)]);
        let own: Vec<&str> = vec![&kind, &http, &grpc, status.handled.as_str(), &retry];
        let told = rows.iter().find(|row| row[1] == kind);
        assert_eq!(told.map(|row| &row[1..6]), Some(&own[..]), "{kind}");
    }
}
