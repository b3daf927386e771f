//! `Send`, `Follow` and `Outbox` of `estafette.v1`: content for inboxes of other nodes, and what
//! has become of it.
//!
//! Invariant: as of `PUT` by HTTP, with which it shares room and keys: what is answered is whole,
//! sealed and durable. Requests that break off leave nothing.

use bytes::Bytes;
use estafette::node::{OutboxEntry, OutboxError, OutboxState, SendError};
use estafette::remote::{Handled, RemoteError, RemoteErrorKind};
use estafette::{Destination, Node, SendOptions, TransferId};
use estafette_actors::source::ReaderSource;
use futures_util::stream::{StreamExt, iter, once};
use prost::Message;
use tokio::sync::mpsc;
use tonic::{Code, Status};

use super::call::{Requests, only_answer, too_late};
use super::deadline::Deadline;
use super::ending::{Answers, in_time};
use super::messages::State;
use super::method::actor;
use super::naming::Naming;
use super::own::{
    FollowRequest, Followed, OutboxRequest, OutboxResponse, Parcel, SendRequest, Transfer,
};
use super::payload::read;
use super::status::{self, not_handled};
use crate::content::{Fed, KEY_MOST, Pace};
use crate::room::Held;
use crate::sent::{self, Found};
use crate::states::{self, Step, why};

/// The most bytes of a part of content.
const PART_MOST: usize = 1 << 20;
/// Contents of one list, unless it is said otherwise, and at most.
pub(super) const PAGE: u32 = 100;
pub(super) const PAGE_MOST: u32 = 1_000;

fn wrong(reason: &str, text: &str) -> Status {
    not_handled(Code::InvalidArgument, reason, text)
}

/// Takes content, and tells what becomes of it.
pub(super) async fn send(naming: Naming, mut requests: Requests) -> Result<Answers, Status> {
    let deadline = naming.deadline;
    let SendRequest { parcel, content } = read(&requests.first(deadline).await?)?;
    let none = || wrong("TARGET", "the first request has no parcel: which inbox is it for?");
    let parcel = parcel.ok_or_else(none)?;
    let (peer, inbox) = actor(&parcel.inbox).map_err(|text| wrong("TARGET", &text))?;
    let (node, pass) = (naming.access.node(), &naming.pass);
    let failed = |error: RemoteError| status::of(&error);
    let reached = naming.access.reach(pass, peer, inbox).map_err(failed)?;
    // Before anything is stored: who hears that there is no room sends it again.
    let stream = stream(&naming)?;
    let (id, sending) = match key(&parcel)? {
        None => (sent::fresh(pass), None),
        Some(key) => {
            let path = [&*reached.peer.to_string(), inbox, &parcel.name];
            let found = naming.shared.sent.find(node, pass, key, path).await;
            match found.map_err(|error| unsent(&error.into()))? {
                Found::New(id, sending) => (id, Some(sending)),
                Found::Sending => return Err(sending_now(key)),
                Found::Stored(id, entry) => {
                    is_same(&parcel, &entry)?;
                    return Ok(follow_from(&naming, (id, 0), stream));
                }
            }
        }
    };
    let place = naming.shared.uploads.take(&pass.name, 1);
    let place = place.ok_or_else(|| {
        status::full("as many contents are being sent as may be, of this token or of all")
    })?;
    let (parts, fed) = Fed::of(1);
    let source = ReaderSource::new(&parcel.name, fed)
        .map_err(|error| wrong("NAME", &format!("the name of the content: {error}")))?;
    let source = match parcel.length {
        Some(length) => source.expect_length(length),
        None => source,
    };
    let options = SendOptions { copy: true, id: Some(id), ..SendOptions::default() };
    let to = Destination::Peer(reached.peer, inbox.to_owned());
    let node = node.clone();
    // What is being stored keeps its place and its key, also when its client goes away.
    let stored = tokio::spawn(async move {
        let stored = node.send_with(to, source, options).await;
        drop((place, sending));
        stored
    });
    // Once all has come, it is told whether it is stored, however late that is.
    let fault = tokio::select! {
        biased;
        fault = feed(&mut requests, (content, parcel.length), parts) => fault,
        () = Deadline::passed(deadline) => Some(too_late()),
    };
    match (stored.await.map_err(not_known)?, fault) {
        (Ok(_), _) => {
            let mut told = told_from(&naming, (id, 0), stream);
            let first = told.next().await;
            Ok(iter(first).chain(in_time(told, &naming)).boxed())
        }
        // That the copy failed follows from it.
        (Err(_), Some(fault)) => Err(fault),
        (Err(error), None) => Err(unsent(&error)),
    }
}

/// The key of content, if it has one.
fn key(parcel: &Parcel) -> Result<Option<&str>, Status> {
    let key = &*parcel.key;
    let is_key = key.len() <= KEY_MOST && key.bytes().all(|byte| (b' '..=b'~').contains(&byte));
    if !is_key || key.trim() != key {
        let text = format!("a key is a text of 1 to {KEY_MOST} visible characters");
        return Err(wrong("KEY", &text));
    }
    Ok((!key.is_empty()).then_some(key))
}

/// Refuses what can't be the content that is stored by its key.
fn is_same(parcel: &Parcel, stored: &OutboxEntry) -> Result<(), Status> {
    match (parcel.length, stored.length) {
        (Some(length), Some(there)) if length != there => {
            let text = format!(
                "this key is that of content of {there} bytes, and this has {length}: send other \
                 content by another key"
            );
            Err(not_handled(Code::AlreadyExists, "CONFLICT", &text))
        }
        _ => Ok(()),
    }
}

fn sending_now(key: &str) -> Status {
    let text = format!(
        "the content of the key {key:?} is being sent at this moment, by another call: whether it \
         will be stored is not known yet"
    );
    status::after(&not_handled(Code::Aborted, "IN_PROGRESS", &text), Handled::Unknown)
}

pub(super) fn unsent(error: &SendError) -> Status {
    let kind = match error {
        SendError::Stopped => RemoteErrorKind::ShuttingDown,
        _ => RemoteErrorKind::Storage,
    };
    status::of(&RemoteError::new(kind, error.to_string()))
}

/// The words where storing broke down.
fn not_known(error: tokio::task::JoinError) -> Status {
    let text = format!("whether it is stored is not known: {error}");
    status::after(&not_handled(Code::Internal, "STORAGE", &text), Handled::Unknown)
}

/// Gives the parts of content to the node, as fast as that takes them; and what is wrong with them.
async fn feed(
    requests: &mut Requests,
    (first, length): (Bytes, Option<u64>),
    parts: mpsc::Sender<Option<Bytes>>,
) -> Option<Status> {
    let (mut part, mut come, mut pace) = (first, 0, Pace::new());
    let other = |come: u64| {
        let length = length.unwrap_or_default();
        let text = format!("the content has {come} bytes at least, and {length} were announced");
        wrong("LENGTH", &text)
    };
    loop {
        if part.len() > PART_MOST {
            let text = format!("a part has {} bytes, and {PART_MOST} are the most", part.len());
            return Some(wrong("PART", &text));
        }
        come += part.len() as u64;
        pace.came(part.len());
        if length.is_some_and(|length| come > length) {
            return Some(other(come));
        }
        if !part.is_empty() && parts.send(Some(part)).await.is_err() {
            // The node says why.
            return None;
        }
        part = match pace.next(requests.next()).await {
            None => return Some(not_handled(Code::DeadlineExceeded, "SLOW", &Pace::too_slow())),
            Some(Err(fault)) => return Some(fault),
            Some(Ok(None)) if length.is_some_and(|length| come != length) => {
                return Some(other(come));
            }
            Some(Ok(None)) => {
                // Nobody is told of an end who has gone.
                let _ = parts.send(None).await;
                return None;
            }
            Some(Ok(Some(request))) => match read::<SendRequest>(&request) {
                Ok(SendRequest { parcel: None, content }) => content,
                Ok(_) => return Some(wrong("TARGET", "the first request alone has a parcel")),
                Err(fault) => return Some(fault),
            },
        };
    }
}

/// Tells what becomes of content that this token sent.
pub(super) async fn follow(naming: Naming, mut requests: Requests) -> Result<Answers, Status> {
    let FollowRequest { id, after } = read(&requests.only(naming.deadline).await?)?;
    let none = || {
        let text = "no transfer that this token may see has this id, or it is forgotten: its time \
                    is over, or somebody took it out of the outbox";
        not_handled(Code::NotFound, "NO_SUCH_TRANSFER", text)
    };
    let id: TransferId = id.parse().map_err(|_| none())?;
    let node = naming.access.node();
    match states::entry(node, id).await {
        Ok(entry) if is_seen(&naming, id, &entry) => {}
        Err(error) if error.kind != RemoteErrorKind::Expired => return Err(status::of(&error)),
        _ => return Err(none()),
    }
    let after = match State::try_from(after) {
        Ok(State::Unspecified) => 0,
        Ok(State::Stored) => Step::Stored as u64,
        Ok(State::Relayed) => Step::Relayed as u64,
        Ok(State::Delivered) => Step::Delivered as u64,
        Ok(State::Processed) => Step::Processed as u64,
        Ok(State::Dead) => Step::Dead as u64,
        Err(_) => return Err(wrong("STATE", &format!("there is no state {after}"))),
    };
    let stream = stream(&naming)?;
    Ok(follow_from(&naming, (id, after), stream))
}

/// A place for one more stream of states.
fn stream(naming: &Naming) -> Result<Held, Status> {
    let place = naming.shared.streams.take(&naming.pass.name, 1);
    place.ok_or_else(|| status::full("as many streams are open as may be, of this token or of all"))
}

/// Each state that comes behind the one of this number.
fn follow_from(naming: &Naming, from: (TransferId, u64), place: Held) -> Answers {
    in_time(told_from(naming, from, place), naming)
}

/// The same, for as long as it takes.
fn told_from(naming: &Naming, (id, after): (TransferId, u64), place: Held) -> Answers {
    let node = naming.access.node().clone();
    let answers = states::states(node.clone(), id, after).map(move |next| {
        let _kept = &place;
        let (step, entry) = next.map_err(|error| status::of(&error))?;
        let told = Followed { transfer: Some(shown(&node, id, &entry, step)) };
        Ok(told.encode_to_vec().into())
    });
    answers.chain(once(async { Err(status::success()) })).boxed()
}

/// Returns whether content is this token's, and it leads there still.
fn is_seen(naming: &Naming, id: TransferId, entry: &OutboxEntry) -> bool {
    let peer = entry.peer.to_string();
    sent::is_of(id, &naming.pass)
        && entry.relayed_for.is_none()
        && naming.access.reach(&naming.pass, &peer, &entry.inbox).is_ok()
}

/// Lists contents that this token sent, the newest first.
pub(super) async fn outbox(naming: Naming, mut requests: Requests) -> Result<Answers, Status> {
    let OutboxRequest { page_size, page_token } = read(&requests.only(naming.deadline).await?)?;
    let most = page(page_size)?;
    let behind = match &*page_token {
        "" => None,
        token => Some(place_of(token).ok_or_else(no_page)?),
    };
    let place = naming.shared.listed.take(&naming.pass.name, 1);
    let place = place.ok_or_else(|| status::full("as many lists are made as may be"))?;
    let node = naming.access.node();
    let all = match node.outbox().list().await {
        Ok(all) => all,
        // A node without a spool has sent nothing.
        Err(OutboxError::None) => Vec::new(),
        Err(error) => return Err(unsent(&error.into())),
    };
    let mut own: Vec<_> =
        all.into_iter().filter(|(id, entry)| is_seen(&naming, *id, entry)).collect();
    own.sort_by_key(|(id, entry)| (std::cmp::Reverse(entry.created), *id));
    own.retain(|(id, entry)| {
        behind.is_none_or(|(at, last)| entry.created < at || (entry.created == at && *id > last))
    });
    let has_more = own.len() > most;
    own.truncate(most);
    let last = own.last().filter(|_| has_more);
    let next_page_token =
        last.map_or_else(String::new, |(id, entry)| format!("{}-{id}", entry.created));
    let shown =
        |(id, entry): &(TransferId, OutboxEntry)| shown(node, *id, entry, Step::of(&entry.state));
    let answer = OutboxResponse { transfers: own.iter().map(shown).collect(), next_page_token };
    drop(place);
    only_answer(answer.encode_to_vec().into(), &naming.meter)
}

/// The length of a page, as it was asked for.
pub(super) fn page(size: u32) -> Result<usize, Status> {
    let size = if size == 0 { PAGE } else { size };
    if size > PAGE_MOST {
        let text = format!("page_size is 1 to {PAGE_MOST}, not {size}");
        return Err(wrong("PAGE", &text));
    }
    Ok(size as usize)
}

pub(super) fn no_page() -> Status {
    wrong("PAGE", "page_token is what the answer before it said, or empty")
}

fn place_of(token: &str) -> Option<(u64, TransferId)> {
    let (at, id) = token.split_once('-')?;
    Some((at.parse().ok()?, id.parse().ok()?))
}

fn shown(node: &Node, id: TransferId, entry: &OutboxEntry, step: Step) -> Transfer {
    let state = match step {
        Step::Stored => State::Stored,
        Step::Relayed => State::Relayed,
        Step::Delivered => State::Delivered,
        Step::Processed => State::Processed,
        Step::Dead => State::Dead,
    };
    let receipt = match &entry.state {
        OutboxState::Delivered { receipt, .. } | OutboxState::Processed { receipt, .. }
            if step != Step::Stored =>
        {
            Some(receipt)
        }
        _ => None,
    };
    let peer = node.trust().peer(&entry.peer).map(|peer| peer.name);
    let peer = peer.unwrap_or_else(|| entry.peer.to_string());
    Transfer {
        id: id.to_string(),
        inbox: format!("{peer}/{}", entry.inbox),
        name: entry.name.clone(),
        state: state.into(),
        length: entry.length,
        blake3: receipt.map(|receipt| receipt.digest.to_vec()).unwrap_or_default(),
        why: why(entry).unwrap_or_default(),
    }
}
