//! `Arrivals`, `Receive` and `Processed` of `estafette.v1`: what arrived in inboxes of the node.
//!
//! Invariant: as by HTTP, with which it shares room: only a token with the right `read:INBOX` learns
//! whether there is anything, and only one with `done:INBOX` besides changes anything.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use estafette::node::Processed as IsProcessed;
use estafette::remote::{Handled, RemoteError, RemoteErrorKind};
use estafette::{Node, TransferId};
use futures_util::future::pending;
use futures_util::stream::{StreamExt, once, unfold};
use http_body::Body as _;
use prost::Message;
use tonic::{Code, Status};

use super::call::{Requests, only_answer};
use super::contents::{no_page, page};
use super::ending::{Answers, until, within};
use super::naming::Naming;
use super::own::{
    Arrival, ArrivalsRequest, ArrivalsResponse, ProcessedRequest, ProcessedResponse,
    ReceiveRequest, ReceiveResponse,
};
use super::payload::read;
use super::status::{self, not_handled};
use crate::inbox::{self, Arrived, ContentError, NotOne, Taking};

/// Lists what arrived, the newest first.
pub(super) async fn arrivals(naming: Naming, mut requests: Requests) -> Result<Answers, Status> {
    let asked: ArrivalsRequest = read(&requests.only(naming.deadline).await?)?;
    may_read(&naming, &asked.inbox)?;
    let most = page(asked.page_size)?;
    let behind = match &*asked.page_token {
        "" => None,
        token => Some(inbox::place_of(token).ok_or_else(no_page)?),
    };
    let node = naming.access.node();
    // One more says whether there are others.
    let mut found = inbox::page(node, &asked.inbox, behind, most + 1, |arrival| {
        asked.processed.is_none_or(|wanted| wanted != inbox::is_open(arrival))
    });
    let has_more = found.len() > most;
    found.truncate(most);
    let last = found.last().filter(|_| has_more);
    let next_page_token = last.map_or_else(String::new, |last| inbox::cursor(last.place()));
    let arrivals = found.iter().map(|found| shown(node, found)).collect();
    let answer = ArrivalsResponse { arrivals, next_page_token };
    only_answer(answer.encode_to_vec().into(), &naming.meter)
}

/// Gives the content of one, in pieces.
pub(super) async fn receive(naming: Naming, mut requests: Requests) -> Result<Answers, Status> {
    let asked: ReceiveRequest = read(&requests.only(naming.deadline).await?)?;
    let found = found(&naming, &asked.inbox, &asked.id, &asked.from)?;
    let (shared, pass) = (&naming.shared, &naming.pass);
    let opening = shared.contents.open(&found.arrival, || shared.compared.take(&pass.name, 1));
    // Who comes again finds done what goes on meanwhile.
    let content = within(naming.deadline, opening).await?.map_err(|error| not_given(&error))?;
    let length = content.length();
    if asked.offset > length {
        let text = format!("the content has {length} bytes, and none of them is in this part");
        return Err(not_handled(Code::OutOfRange, "NO_SUCH_PART", &text));
    }
    let left = length - asked.offset;
    let count = if asked.count == 0 { left } else { asked.count.min(left) };
    let place = shared.readers.take(&pass.name, 1);
    let place = Arc::new(place.ok_or_else(busy)?);
    naming.meter.keep(Arc::clone(&place));
    let part = (asked.offset, asked.offset + count);
    let tokens = naming.access.tokens().clone();
    let taking = Taking::new(content, part, place, tokens, pass.clone());
    let head = ReceiveResponse {
        arrival: Some(shown(naming.access.node(), &found)),
        content: Bytes::new(),
    };
    let head = once(async move { Ok(head.encode_to_vec().into()) });
    let answers = head.chain(unfold(Some(taking), next_piece)).boxed();
    // It sees itself whether its token is one.
    Ok(until(answers, naming.deadline, Box::pin(pending())))
}

async fn next_piece(taking: Option<Taking>) -> Option<(Result<Bytes, Status>, Option<Taking>)> {
    let mut taking = taking?;
    let frame = poll_fn(|cx| Pin::new(&mut taking).poll_frame(cx)).await;
    Some(match frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default())) {
        Some(Ok(content)) => {
            let piece = ReceiveResponse { arrival: None, content };
            (Ok(piece.encode_to_vec().into()), Some(taking))
        }
        Some(Err(error)) if error.kind() == io::ErrorKind::TimedOut => {
            let slow = || not_handled(Code::DeadlineExceeded, "SLOW", &error.to_string());
            (Err(taking.ended().map_or_else(slow, status::refused)), None)
        }
        Some(Err(error)) => {
            let text = format!("the content broke off: {error}");
            (Err(not_handled(Code::DataLoss, "CONTENT_GONE", &text)), None)
        }
        None => (Err(status::success()), None),
    })
}

/// Notes that the application is done with one, which its sender hears of.
pub(super) async fn processed(naming: Naming, mut requests: Requests) -> Result<Answers, Status> {
    let asked: ProcessedRequest = read(&requests.only(naming.deadline).await?)?;
    may_read(&naming, &asked.inbox)?;
    if !naming.access.ends(&naming.pass, &asked.inbox) {
        return Err(forbidden(inbox::may_not_end(&naming.pass, &asked.inbox)));
    }
    let mut found = found(&naming, &asked.inbox, &asked.id, &asked.from)?;
    let node = naming.access.node();
    if inbox::is_open(&found.arrival) {
        let place = naming.shared.noted.take(&naming.pass.name, 1).ok_or_else(busy)?;
        let noted = within(naming.deadline, inbox::note(node, &found, place)).await;
        let noted = noted.map_err(|over| status::after(&over, Handled::Unknown))?;
        let noted = noted.map_err(|error| {
            let text = format!("it could not be noted that it is processed: {error}");
            let failed = RemoteError::new(RemoteErrorKind::Storage, text);
            status::after(&status::of(&failed), Handled::Unknown)
        })?;
        if !noted {
            return Err(no_such_arrival());
        }
        found.arrival.processed = IsProcessed::Unheard;
    }
    let answer = ProcessedResponse { arrival: Some(shown(node, &found)) };
    only_answer(answer.encode_to_vec().into(), &naming.meter)
}

/// The delivery that is meant, for who may read it.
fn found(naming: &Naming, inbox: &str, id: &str, from: &str) -> Result<Arrived, Status> {
    may_read(naming, inbox)?;
    let id: TransferId = id.parse().map_err(|_| no_such_arrival())?;
    let node = naming.access.node();
    let from = match from {
        "" => None,
        from => Some(inbox::sender(node, from).ok_or_else(no_such_arrival)?),
    };
    inbox::find(node, inbox, id, from).map_err(|error| match error {
        NotOne::None => no_such_arrival(),
        NotOne::Several => {
            let text = "several senders have used this id: say from whom, as the list does";
            not_handled(Code::FailedPrecondition, "SEVERAL_SENDERS", text)
        }
    })
}

fn may_read(naming: &Naming, inbox: &str) -> Result<(), Status> {
    let may = naming.access.reads(&naming.pass, inbox);
    if may { Ok(()) } else { Err(forbidden(inbox::may_not_read(&naming.pass, inbox))) }
}

fn forbidden(text: String) -> Status {
    status::of(&RemoteError::new(RemoteErrorKind::Forbidden, text))
}

fn busy() -> Status {
    status::full("as many contents are read as may be, by this token or by all")
}

fn no_such_arrival() -> Status {
    not_handled(Code::NotFound, "NO_SUCH_ARRIVAL", inbox::NO_SUCH_ARRIVAL)
}

fn not_given(error: &ContentError) -> Status {
    let (code, reason) = match error {
        ContentError::NoFile => (Code::NotFound, "NO_FILE"),
        ContentError::Gone | ContentError::Changed => (Code::NotFound, "CONTENT_GONE"),
        ContentError::Unreadable(_) => (Code::Internal, "UNREADABLE"),
        ContentError::Busy => return busy(),
    };
    not_handled(code, reason, &error.to_string())
}

fn shown(node: &Node, Arrived { peer, id, arrival }: &Arrived) -> Arrival {
    let name = node.trust().peer(peer).map(|peer| peer.name);
    Arrival {
        id: id.to_string(),
        peer: peer.to_string(),
        from: name.unwrap_or_else(|| peer.to_string()),
        name: arrival.name.clone(),
        length: arrival.receipt.length,
        blake3: arrival.receipt.digest.to_vec(),
        files: arrival.receipt.files,
        arrived: arrival.at,
        expires: arrival.expires,
        processed: !inbox::is_open(arrival),
    }
}
