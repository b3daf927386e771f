//! The responding side of links and lanes, on the thread of the door.
//!
//! Invariants: who does not know this node's key is told nothing, and nothing is computed for it or
//! for a copy of what somebody said before. Nothing takes effect before the initiator's first
//! transport frame has verified.

use std::sync::Arc;

use actix::{Message, Recipient};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::blocking::blocking;
use super::events::NodeEvent;
use super::half_open::{Source, Standing};
use super::invitation::{LaneInvitation, LaneReady};
use super::ledger::Work;
use super::link::{NewLink, offer, protocol, receive_control, receive_handshake, send_handshake};
use super::link_failure::LinkFailure;
use super::shared::NodeShared;
use super::transport::{Connection, Io};
use super::trust::TrustError;
use crate::wire::{
    Answer, Control, KnockKey, LaneResponder, LaneResponderReady, LinkResponder, PREAMBLE_LENGTH,
    PeerId, Preamble, PreambleReply, Purpose, RefuseReason, SecretBytes, choose, lane_prologue,
    negotiate, printable, prologue,
};

/// The refusal of a peer that has proved this node's own key.
const OWN_KEY: &str = "it has the same key as this node, and so is the same node: a key that was \
                       copied to another machine is of no use there, make a new one";

/// A peer has proved who it is and may come in.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct LinkAccepted(pub(crate) Box<NewLink>);

/// Takes one incoming connection to where it belongs.
pub(super) async fn serve(
    shared: Arc<NodeShared>,
    accepted: Recipient<LinkAccepted>,
    connection: Box<dyn Connection>,
    origin: (Source, Standing),
) {
    let remote = connection.remote();
    let timeout = shared.config.handshake_timeout;
    let served =
        tokio::time::timeout(timeout, identify(&shared, &accepted, connection, &origin)).await;
    match served.unwrap_or(Err(LinkFailure::Timeout(timeout))) {
        Ok(()) => {}
        // Told with its name already.
        Err(LinkFailure::Refused(reason)) => tracing::info!(remote, %reason, "a peer was refused"),
        Err(failure) => {
            tracing::info!(remote, %failure, "a connection came to nothing");
            shared.emit(NodeEvent::Refused { who: remote, reason: failure.to_string() });
        }
    }
}

async fn identify(
    shared: &Arc<NodeShared>,
    accepted: &Recipient<LinkAccepted>,
    connection: Box<dyn Connection>,
    origin: &(Source, Standing),
) -> Result<(), LinkFailure> {
    let remote = connection.remote();
    let mut io = connection.attach()?;
    let mut bytes = [0; PREAMBLE_LENGTH];
    io.read_exact(&mut bytes).await?;
    let key = KnockKey::of(shared.peer());
    let preamble = Preamble::decode(&bytes, &key).map_err(protocol)?;
    origin.1.known();
    let mut reply = negotiate(&preamble);
    let invitation = match preamble.purpose {
        Purpose::Link => None,
        Purpose::Lane(id) => shared
            .lane_tickets
            .remove(&id)
            .map(|(_, invitation)| invitation)
            .filter(LaneInvitation::is_fresh),
    };
    if matches!(preamble.purpose, Purpose::Lane(_))
        && invitation.is_none()
        && matches!(reply.answer, Answer::Chosen(_))
    {
        reply = PreambleReply { answer: Answer::UnknownLane, ..reply };
    }
    io.write_all(&reply.encode()).await?;
    reply.outcome(&preamble).map_err(protocol)?;
    let prologue = prologue(&preamble, &reply);
    let first = receive_handshake(&mut io).await?;
    let first = key.open(&prologue, &first).map_err(protocol)?;
    match invitation {
        Some(invitation) => accept_lane(shared, io, invitation, (&prologue, first), origin).await,
        None => accept_link(shared, accepted, io, (&prologue, first), origin, remote).await,
    }
}

/// Exchanges keys, in this source's turn.
async fn compute<T>(
    shared: &NodeShared,
    (source, standing): &(Source, Standing),
    work: impl FnOnce() -> T,
) -> T {
    standing.queued();
    let done = shared.turns.compute(source, work).await;
    standing.known();
    done
}

async fn accept_lane(
    shared: &NodeShared,
    mut io: Box<dyn Io>,
    invitation: LaneInvitation,
    (preambles, first): (&[u8], &[u8]),
    origin: &(Source, Standing),
) -> Result<(), LinkFailure> {
    let LaneInvitation { session, epoch, lane, secret, link_hash, .. } = invitation;
    let computed = compute(shared, origin, || {
        LaneResponder::new(secret.expose(), &lane_prologue(preambles, &link_hash, lane))?
            .read(first)
            .and_then(LaneResponderReady::finish)
    });
    let (answer, established) = computed.await.map_err(protocol)?;
    send_handshake(&mut io, &answer).await?;
    let connection = io.detach()?;
    session.do_send(LaneReady {
        epoch,
        lane,
        connection,
        sealer: established.sealer,
        opener: established.opener,
    });
    Ok(())
}

async fn accept_link(
    shared: &Arc<NodeShared>,
    accepted: &Recipient<LinkAccepted>,
    mut io: Box<dyn Io>,
    (prologue, first): (&[u8], &[u8]),
    origin: &(Source, Standing),
    remote: String,
) -> Result<(), LinkFailure> {
    let computed = compute(shared, origin, || {
        let (peer, theirs, ready) = LinkResponder::new(&shared.identity, prologue)?.read(first)?;
        let choice = choose(&offer(shared), &theirs)?;
        ready.finish(&choice).map(|(answer, established)| (peer, choice, answer, established))
    });
    let (peer, choice, answer, established) = computed.await.map_err(protocol)?;
    send_handshake(&mut io, &answer).await?;
    let (mut sealer, mut opener, hash) = (established.sealer, established.opener, established.hash);
    let Control::Hello { name, token, .. } = receive_control(&mut io, &mut opener).await? else {
        return Err(protocol("the first message of a link must be a hello"));
    };
    let admitted = match peer == shared.peer() {
        true => Err(RefuseReason::Other(OWN_KEY.into())),
        false => admit(shared, peer, &name, token).await,
    };
    // Whoever is there stays, where it is only the rate: two programs with one key would take the
    // link from each other for ever.
    let in_time =
        |()| if is_in_time(shared, peer) { Ok(()) } else { Err(RefuseReason::TooManyLinks) };
    if let Err(reason) = admitted.and_then(in_time) {
        let refusal = Control::Refuse { reason: reason.clone() };
        io.write_all(&sealer.seal_control(&refusal).map_err(protocol)?).await?;
        io.shutdown().await?;
        shared.emit(NodeEvent::Refused {
            who: format!("{} ({})", printable(&name), peer.short()),
            reason: reason.to_string(),
        });
        return Err(LinkFailure::Refused(reason));
    }
    let welcome = Control::Welcome { name: shared.name.clone() };
    io.write_all(&sealer.seal_control(&welcome).map_err(protocol)?).await?;
    let connection = io.detach()?;
    let link = NewLink {
        peer,
        name: Some(name),
        connection,
        sealer,
        opener,
        hash,
        choice,
        dialed: false,
        address: remote,
    };
    accepted.do_send(LinkAccepted(Box::new(link)));
    Ok(())
}

/// Returns `true` if a peer may have one more link now. Strangers have no account.
fn is_in_time(shared: &NodeShared, peer: PeerId) -> bool {
    shared.ledger.account(peer).spend(Work::Links, 1, std::time::Instant::now())
}

async fn admit(
    shared: &Arc<NodeShared>,
    peer: PeerId,
    name: &str,
    token: Option<SecretBytes>,
) -> Result<(), RefuseReason> {
    let (trust, name) = (shared.trust.clone(), name.to_owned());
    // The store may be read, and redeeming is made durable: not on the thread that carries the
    // links.
    let looked_up = blocking(move || {
        trust.refresh()?;
        Ok::<_, TrustError>(match token {
            Some(token) => trust.redeem(peer, &name, token.expose()),
            None => Err(RefuseReason::Untrusted),
        })
    })
    .await;
    // Whoever is not known to be trusted now is not let in: it may have been revoked. The peer may
    // come again.
    let unreadable =
        || RefuseReason::Other("it can't read now whom it trusts: try again later".into());
    let redeemed = looked_up.ok().and_then(Result::ok).ok_or_else(unreadable)?;
    match redeemed {
        // An old ticket in the hand of a peer that is trusted anyway does no harm.
        Err(_) if shared.trust.peer(&peer).is_some() => Ok(()),
        other => other,
    }
}
