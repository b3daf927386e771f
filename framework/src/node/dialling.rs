//! Dialling a peer: all its addresses are tried side by side, and the first that proves to be the
//! peer becomes the link.
//!
//! Invariant: only a connection whose other end has proved the peer's key is greeted, and one at a
//! time. Whatever else is under way has no effect at the peer but a connection in its handshake.

mod tried;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use actix::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::half_open::Source;
use super::link::{NewLink, offer, protocol, receive_control, receive_handshake, send_handshake};
use super::link_failure::LinkFailure;
use super::race::{Progress, Race};
use super::shared::NodeShared;
use super::transport::{Connection, Io};
use crate::wire::{
    Choice, Control, ControlOpener, ControlSealer, Established, KnockKey, LaneInitiator,
    LinkInitiator, PeerId, Preamble, PreambleReply, Purpose, REPLY_LENGTH, RefuseReason,
    SecretBytes, lane_prologue, prologue,
};

pub(crate) use tried::Tried;

/// The longest time that a greeting without an answer holds up another way that has proved the
/// peer's key; it is taken up again when that fails.
const GREETED_ALONE: Duration = Duration::from_secs(3);

/// The hope that dialling again helps.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Hope {
    Some,
    Little,
    None,
}

/// A dial that came to nothing.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct DialFailed {
    pub(crate) message: String,
    pub(crate) refused: Option<RefuseReason>,
    pub(crate) hope: Hope,
}

/// A connection whose other end has proved to be the peer. Nothing has taken effect there yet.
struct Opened {
    io: Box<dyn Io>,
    choice: Choice,
    established: Established,
    /// Others wait for a while longer as long as it is here.
    _progress: Progress,
}

/// Links with a peer by whichever of its addresses answers first, on the thread of the door.
pub(crate) async fn dial_any(
    shared: &Arc<NodeShared>,
    peer: PeerId,
    addresses: &[String],
    token: Option<&SecretBytes>,
    tried: Tried,
) -> Result<NewLink, DialFailed> {
    let timeout = shared.config.handshake_timeout;
    let transport = &shared.transport;
    let mut race = Race::new(
        addresses,
        |way| {
            let (tried, name) = (&tried, way.clone());
            tried.begun(way.clone());
            in_time(timeout, async move {
                let found = transport.resolve(&name.at).await?;
                tried.looked_up(&name);
                Ok(found)
            })
        },
        |way, progress| {
            tried.begun(way.clone());
            let address = way.at.clone();
            Box::pin(in_time(timeout, async move { open(shared, peer, &address, progress).await }))
        },
    );
    let mut put_off = VecDeque::new();
    loop {
        let again = if race.has_reached() { None } else { put_off.pop_front() };
        let (way, greeted) = match again {
            Some((way, greeting)) => (way, Ok(greeting)),
            None => match race.next().await {
                Some((way, Ok(opened))) => {
                    let greeting =
                        in_time(timeout, greet(shared, peer, way.at.clone(), opened, token));
                    (way, Ok(Box::pin(greeting)))
                }
                Some((way, Err(failure))) => (way, Err(failure)),
                None => break,
            },
        };
        let greeted = match greeted {
            Ok(mut greeting) => match race.beside(&mut greeting, GREETED_ALONE).await {
                Some(greeted) => greeted,
                None => {
                    put_off.push_back((way, greeting));
                    continue;
                }
            },
            Err(failure) => Err(failure),
        };
        match greeted {
            Ok(link) => return Ok(link),
            Err(failure) => {
                tried.failed(way, failure);
                if tried.is_decided() {
                    break;
                }
            }
        }
    }
    drop((race, put_off));
    Err(tried.told(peer))
}

async fn in_time<T>(
    timeout: Duration,
    work: impl Future<Output = Result<T, LinkFailure>>,
) -> Result<T, LinkFailure> {
    tokio::time::timeout(timeout, work).await.unwrap_or(Err(LinkFailure::Timeout(timeout)))
}

/// Connects, and exchanges keys.
async fn open(
    shared: &Arc<NodeShared>,
    peer: PeerId,
    address: &str,
    progress: Progress,
) -> Result<Opened, LinkFailure> {
    let (key, turns) = (KnockKey::of(peer), &shared.turns);
    let mut io = shared.transport.dial(address).await?.attach()?;
    let prologue = exchange_preambles(&mut io, Purpose::Link, &key).await?;
    progress.answered();
    let begin = || LinkInitiator::new(&shared.identity, peer, &prologue)?.start(&offer(shared));
    let (message, waiting) = turns.compute(&Source::Own, begin).await.map_err(protocol)?;
    send_handshake(&mut io, &key.seal(&prologue, message)).await?;
    let answer = receive_handshake(&mut io).await.map_err(|error| {
        LinkFailure::Unanswered(format!(
            "the node there did not answer the handshake ({error}); is it the one whose key or \
             ticket was given?"
        ))
    })?;
    let (choice, established) =
        turns.compute(&Source::Own, || waiting.finish(&answer)).await.map_err(protocol)?;
    progress.answered();
    Ok(Opened { io, choice, established, _progress: progress })
}

/// Says hello: from here on it is a link for the peer, too.
async fn greet(
    shared: &Arc<NodeShared>,
    peer: PeerId,
    address: String,
    opened: Opened,
    token: Option<&SecretBytes>,
) -> Result<NewLink, LinkFailure> {
    let Opened { mut io, choice, established, _progress } = opened;
    let (mut sealer, mut opener, hash) = (established.sealer, established.opener, established.hash);
    let hello = Control::Hello { name: shared.name.clone(), token: token.cloned(), inbox: None };
    io.write_all(&sealer.seal_control(&hello).map_err(protocol)?).await?;
    let name = match receive_control(&mut io, &mut opener).await? {
        Control::Welcome { name } => Some(name),
        Control::Refuse { reason } => return Err(LinkFailure::Refused(reason)),
        other => return Err(protocol(format!("{} instead of a welcome", other.name()))),
    };
    let connection = io.detach()?;
    Ok(NewLink { peer, name, connection, sealer, opener, hash, choice, dialed: true, address })
}

async fn exchange_preambles(
    io: &mut Box<dyn Io>,
    purpose: Purpose,
    key: &KnockKey,
) -> Result<Vec<u8>, LinkFailure> {
    let preamble = Preamble::new(purpose);
    io.write_all(&preamble.encode(key)).await?;
    let mut reply = [0; REPLY_LENGTH];
    // A node says nothing to who means another one.
    io.read_exact(&mut reply).await.map_err(|error| {
        LinkFailure::Unanswered(format!(
            "the peer closed the connection at once ({error}); is it the one whose key or ticket \
             was given, and of a release as new as this?"
        ))
    })?;
    let reply = PreambleReply::decode(&reply).map_err(protocol)?;
    reply.accept(&preamble).map_err(protocol)?;
    Ok(prologue(&preamble, &reply).to_vec())
}

/// Dials a bulk lane that the peer has invited this node to.
pub(crate) async fn dial_lane(
    shared: &Arc<NodeShared>,
    (peer, address): (PeerId, &str),
    lane: u16,
    id: [u8; 16],
    secret: &[u8; 32],
    link_hash: &[u8; 32],
) -> Result<(Box<dyn Connection>, ControlSealer, ControlOpener), String> {
    let timeout = shared.config.handshake_timeout;
    let dialed = async {
        let (key, turns) = (KnockKey::of(peer), &shared.turns);
        let mut io = shared.transport.dial(address).await?.attach()?;
        let preambles = exchange_preambles(&mut io, Purpose::Lane(id), &key).await?;
        let prologue = lane_prologue(&preambles, link_hash, lane);
        let begin = || LaneInitiator::new(secret, &prologue).and_then(LaneInitiator::start);
        let (message, waiting) = turns.compute(&Source::Own, begin).await.map_err(protocol)?;
        send_handshake(&mut io, &key.seal(&preambles, message)).await?;
        let answer = receive_handshake(&mut io).await?;
        let established =
            turns.compute(&Source::Own, || waiting.finish(&answer)).await.map_err(protocol)?;
        Ok::<_, LinkFailure>((io.detach()?, established.sealer, established.opener))
    };
    let dialed =
        tokio::time::timeout(timeout, dialed).await.unwrap_or(Err(LinkFailure::Timeout(timeout)));
    dialed.map_err(|failure| failure.to_string())
}
