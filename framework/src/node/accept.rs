//! The responding side of links and lanes.
//!
//! Invariant: nothing takes effect before the initiator's first transport frame has verified, since the first handshake
//! message can be replayed.

use std::sync::Arc;

use actix::Addr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::events::NodeEvent;
use super::hub::{Hub, LinkAccepted};
use super::ledger::Work;
use super::link::{LinkFailure, NewLink, offer, protocol, receive_control, receive_handshake, send_handshake};
use super::session::signals::LaneReady;
use super::shared::{LaneInvitation, NodeShared};
use super::transport::{Connection, Io};
use crate::wire::{
    Answer, Control, LaneResponder, LinkResponder, PREAMBLE_LENGTH, PeerId, Preamble, PreambleReply, Purpose, RefuseReason, choose,
    lane_prologue, negotiate, prologue,
};

/// Takes one incoming connection to where it belongs.
pub(super) async fn serve(shared: Arc<NodeShared>, hub: Addr<Hub>, connection: Box<dyn Connection>) {
    let remote = connection.remote();
    let timeout = shared.config.handshake_timeout;
    let served = tokio::time::timeout(timeout, identify(&shared, &hub, connection)).await;
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

async fn identify(shared: &Arc<NodeShared>, hub: &Addr<Hub>, connection: Box<dyn Connection>) -> Result<(), LinkFailure> {
    let remote = connection.remote();
    let mut io = connection.attach()?;
    let mut bytes = [0; PREAMBLE_LENGTH];
    io.read_exact(&mut bytes).await?;
    let preamble = Preamble::decode(&bytes).map_err(protocol)?;
    let mut reply = negotiate(&preamble);
    let invitation = match preamble.purpose {
        Purpose::Link => None,
        Purpose::Lane(id) => shared.lane_tickets.remove(&id).map(|(_, invitation)| invitation).filter(LaneInvitation::is_fresh),
    };
    if matches!(preamble.purpose, Purpose::Lane(_)) && invitation.is_none() && matches!(reply.answer, Answer::Chosen(_)) {
        reply = PreambleReply { answer: Answer::UnknownLane, ..reply };
    }
    io.write_all(&reply.encode()).await?;
    reply.outcome(&preamble).map_err(protocol)?;
    let prologue = prologue(&preamble, &reply);
    match invitation {
        Some(invitation) => accept_lane(io, invitation, &prologue).await,
        None => accept_link(shared, hub, io, &prologue, remote).await,
    }
}

async fn accept_lane(mut io: Box<dyn Io>, invitation: LaneInvitation, preambles: &[u8]) -> Result<(), LinkFailure> {
    let LaneInvitation { session, epoch, lane, secret, link_hash, .. } = invitation;
    let responder = LaneResponder::new(&secret, &lane_prologue(preambles, &link_hash, lane)).map_err(protocol)?;
    let (answer, established) = responder.read(&receive_handshake(&mut io).await?).and_then(|ready| ready.finish()).map_err(protocol)?;
    send_handshake(&mut io, &answer).await?;
    let connection = io.detach()?;
    session.do_send(LaneReady { epoch, lane, connection, sealer: established.sealer, opener: established.opener });
    Ok(())
}

async fn accept_link(
    shared: &Arc<NodeShared>,
    hub: &Addr<Hub>,
    mut io: Box<dyn Io>,
    prologue: &[u8],
    remote: String,
) -> Result<(), LinkFailure> {
    let responder = LinkResponder::new(&shared.identity, prologue).map_err(protocol)?;
    let (peer, theirs, ready) = responder.read(&receive_handshake(&mut io).await?).map_err(protocol)?;
    let choice = choose(&offer(shared), &theirs).map_err(protocol)?;
    let (answer, established) = ready.finish(&choice).map_err(protocol)?;
    send_handshake(&mut io, &answer).await?;
    let (mut sealer, mut opener, hash) = (established.sealer, established.opener, established.hash);
    let Control::Hello { name, token, .. } = receive_control(&mut io, &mut opener).await? else {
        return Err(protocol("the first message of a link must be a hello"));
    };
    let admitted = admit(shared, peer, &name, token.map(|token| *token.expose())).await;
    // Whoever is there stays, where it is only the rate: two programs with one key would take the link from each other for ever.
    let in_time = |()| if is_in_time(shared, peer) { Ok(()) } else { Err(RefuseReason::TooManyLinks) };
    if let Err(reason) = admitted.and_then(in_time) {
        let refusal = Control::Refuse { reason: reason.clone() };
        io.write_all(&sealer.seal_control(&refusal).map_err(protocol)?).await?;
        io.shutdown().await?;
        shared.emit(NodeEvent::Refused { who: format!("{} ({})", name.escape_debug(), peer.short()), reason: reason.to_string() });
        return Err(LinkFailure::Refused(reason));
    }
    let welcome = Control::Welcome { name: shared.name.clone() };
    io.write_all(&sealer.seal_control(&welcome).map_err(protocol)?).await?;
    let link = NewLink { peer, name: Some(name), io, sealer, opener, hash, choice, dialed: false, address: remote };
    hub.do_send(LinkAccepted(Box::new(link)));
    Ok(())
}

/// Whether a peer may have one more link now. Strangers have no account.
fn is_in_time(shared: &NodeShared, peer: PeerId) -> bool {
    shared.ledger.account(peer).spend(Work::Links, 1, std::time::Instant::now())
}

async fn admit(shared: &Arc<NodeShared>, peer: PeerId, name: &str, token: Option<[u8; 32]>) -> Result<(), RefuseReason> {
    let (trust, name) = (shared.trust.clone(), name.to_owned());
    // The store may be read, and redeeming is made durable: not on the thread that carries the links.
    let redeemed = tokio::task::spawn_blocking(move || {
        trust.refresh().map_err(|error| RefuseReason::Other(error.to_string()))?;
        match token {
            Some(token) => trust.redeem(peer, &name, &token),
            None => Err(RefuseReason::Untrusted),
        }
    })
    .await;
    match redeemed.unwrap_or_else(|error| Err(RefuseReason::Other(error.to_string()))) {
        // An old ticket in the hand of a peer that is trusted anyway does no harm.
        Err(_) if shared.trust.peer(&peer).is_some() => Ok(()),
        other => other,
    }
}
