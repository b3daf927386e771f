//! Appends the body of a request to an upload.
//!
//! Invariant: what comes with a checksum is kept whole, when that agrees, or not at all. Without
//! one, what has come is kept, however the request ends.

use std::io;
use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use estafette::delivery::{Content, ContentKind, ContentName};
use estafette::{Node, TransferId};
use estafette_actors::copy::{Part, Parts};
use futures_util::StreamExt;
use tokio::sync::mpsc;

use super::super::checksum::Checksums;
use super::super::problem::Problem;
use super::super::send::{self, PARTS};
use super::uploads::{Note, Turn, Uploads, storage};
use crate::content::Pace;

/// A part is cut off behind so many bytes, and is durable then, though its request goes on.
const PART: u64 = 64 << 20;

/// The end of an upload that a body is appended to.
pub(super) struct End {
    pub(super) node: Node,
    pub(super) id: TransferId,
    pub(super) parts: Parts,
    pub(super) note: Note,
    /// Bytes that are there.
    pub(super) offset: u64,
    /// The bytes that small parts take besides.
    pub(super) small: u64,
    pub(super) checksums: Checksums,
}

/// The reason why nothing, or not all, was written.
#[derive(Debug)]
enum Unwritten {
    Disk(io::Error),
    /// Other content than is meant.
    Other(Problem),
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

/// Appends a body: what is durable then, and what is wrong, if something is.
pub(super) async fn append(
    uploads: &Arc<Uploads>,
    turn: Turn,
    end: End,
    body: Body,
) -> (u64, Option<Problem>, Option<Turn>) {
    let (parts, fed) = mpsc::channel(PARTS);
    let (id, offset, length, small) = (end.id, end.offset, end.note.length, end.small);
    let mut come = offset;
    let admit = |part: Option<&[u8]>| {
        come += part.map_or(0, <[u8]>::len) as u64;
        match length {
            Some(length) if come > length => Err(too_long(length)),
            Some(_) => Ok(()),
            None => uploads.reserve(id, come, small),
        }
    };
    let stop = Arc::clone(&turn.stop);
    let after = end.parts.clone();
    let writing = tokio::task::spawn_blocking(move || {
        // Nobody else writes before this is durable, though nobody should wait for it any more.
        (end.write(fed), turn)
    });
    let fault = tokio::select! {
        fault = send::feed(body, parts, admit) => fault,
        () = stop.notified() => Some(stopped()),
    };
    let (fault, turn) = match writing.await {
        Ok((written, turn)) => {
            (written.err().map_or(fault.clone(), |why| why.told(fault)), Some(turn))
        }
        Err(error) => (Some(storage(&error)), None),
    };
    match super::uploads::on_disk(move || after.length()).await {
        Ok((length, _)) => (length, fault, turn),
        Err(problem) => (offset, Some(problem), turn),
    }
}

/// Reads a body that has nothing to bring, since all of the upload is there.
pub(super) async fn nothing(body: Body, checksums: Checksums, all: u64) -> Result<(), Problem> {
    let (mut parts, mut pace) = (body.into_data_stream(), Pace::new());
    loop {
        match pace.next(parts.next()).await {
            Some(Some(Ok(part))) if part.is_empty() => {}
            Some(Some(Ok(_))) => return Err(too_long(all)),
            Some(Some(Err(error))) => return Err(send::broken(&error)),
            Some(None) => return checksums.check(),
            None => return Err(send::slow()),
        }
    }
}

impl Unwritten {
    /// Returns what its client is told; `fault` is what was wrong with the request.
    fn told(self, fault: Option<Problem>) -> Option<Problem> {
        match self {
            Self::Other(why) => fault.or(Some(why)),
            Self::Disk(error) => Some(storage(&error)),
        }
    }
}

impl End {
    /// Writes what comes, until it ends or breaks off.
    fn write(mut self, mut fed: mpsc::Receiver<Option<Bytes>>) -> Result<(), Unwritten> {
        let (_, count) = self.parts.length()?;
        let (mut part, mut room): (Option<Part>, _) = (None, Parts::MOST - count);
        let is_whole = loop {
            let bytes = match fed.blocking_recv() {
                Some(Some(bytes)) if bytes.is_empty() => continue,
                Some(Some(bytes)) => bytes,
                Some(None) => break true,
                None => break false,
            };
            self.checksums.update(&bytes);
            let now = match &mut part {
                Some(part) => part,
                None if room == 0 => return Err(too_many().into()),
                none => {
                    room -= 1;
                    none.insert(self.begin()?)
                }
            };
            now.push(&bytes)?;
            // What has a checksum is one part: it is there, or is not.
            if self.checksums.is_empty() && now.length() >= PART {
                self.offset += now.length();
                part.take().map_or(Ok(()), Part::finish)?;
            }
        };
        if !self.checksums.is_empty() {
            let same = if is_whole { self.checksums.check() } else { Err(not_whole()) };
            same.map_err(Unwritten::Other)?;
        }
        Ok(part.map_or(Ok(()), Part::finish)?)
    }

    fn begin(&self) -> io::Result<Part> {
        let name = ContentName::new(self.note.name.clone()).map_err(io::Error::other)?;
        let content = Content::new(ContentKind::Bytes, name, Some(self.offset));
        let header = self.node.outbox().part_header(self.id, Parts::PIECE, content);
        self.parts.begin(self.offset, header.map_err(io::Error::other)?)
    }

    /// Writes a part without content, which stands for all where there is none.
    pub(super) fn write_empty(&self) -> io::Result<()> {
        self.begin()?.finish()
    }
}

fn not_whole() -> Problem {
    let text = "the part is not whole, and has a checksum: nothing of it is kept";
    Problem::new(StatusCode::BAD_REQUEST, "broken-body", text)
}

fn too_many() -> io::Error {
    let text = format!(
        "it came in {} requests, which is all it may: send larger parts, and begin anew",
        Parts::MOST
    );
    io::Error::other(text)
}

pub(super) fn too_long(length: u64) -> Problem {
    let text = format!("there is more of it than the {length} bytes that Upload-Length said");
    Problem::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", text)
}

fn stopped() -> Problem {
    let text = "another request of this token goes on with this upload";
    Problem::new(StatusCode::CONFLICT, "taken-over", text)
}
