//! Leave to come in: replayed, guessed, used twice, used too late, taken back.

use std::time::Duration;

use estafette::node::{Destination, NodeEvent};
use estafette::testing::Faults;
use estafette::wire::{
    Answer, Control, LaneInitiator, Preamble, Purpose, REPLY_LENGTH, Ticket, lane_prologue,
};
use estafette::{FailureKind, Identity, TransferNews};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::forge::Forgery;
use super::peer::{closed, preambles, reply_to, silent};
use super::proxy::Proxy;
use super::world::{CHUNK, World, config, event, failure, news, node, refused, source, within};

/// The earliest end of the first control message: preamble, message 1 and a little more.
const INTO_THE_HELLO: u64 = 60 + 2 + 96 + 16 + 60;

#[tokio::test]
async fn a_replayed_handshake_changes_nothing() {
    let mut world = World::new(1).await;
    let ticket = world.paris.ticket("in").unwrap();
    // Whoever owns the road keeps the hello back, so that the ticket is still good when it is
    // replayed.
    let cut = |_: &_, _: &mut _| Faults { cut_there: Some(INTO_THE_HELLO), ..Faults::default() };
    let proxy = Proxy::start(&world.mallory.address, 1, cut).await;
    let nantes = node("nantes", &Identity::generate(), config()).start().await.unwrap();
    let by_proxy = Ticket::new(
        ticket.peer(),
        vec![proxy.address.clone()],
        "in".into(),
        ticket.token().clone(),
    )
    .unwrap();
    let mut events = world.paris.events();
    let sent = nantes.send(Destination::Ticket(by_proxy), source(b"x")).await.unwrap();
    refused(&mut events).await;
    nantes.abort().await;
    failure(&sent).await;
    let recorded = proxy.recorded().into_iter().next().unwrap();
    drop(proxy);
    for _ in 0..10 {
        let mut io = world.mallory.connect().await;
        io.write_all(&recorded).await.unwrap();
        let mut reply = [0; REPLY_LENGTH];
        within(io.read_exact(&mut reply)).await.unwrap();
        // Its nonce is another one.
        silent(io).await;
        // Others were refused before: the dials of nantes that ended early.
        let seen = event(&mut events, |event| match event {
            NodeEvent::Refused { reason, .. } => reason.contains("does not fit this connection"),
            NodeEvent::LinkUp { peer, .. } => *peer == nantes.peer(),
            _ => false,
        });
        let seen = seen.await;
        assert!(matches!(seen, NodeEvent::Refused { .. }), "{seen:?}");
    }
    assert!(world.paris.trust().peer(&nantes.peer()).is_none(), "nobody was let in");
    // The ticket is as good as new.
    let orleans = node("orleans", &Identity::generate(), config()).start().await.unwrap();
    let sent = orleans.send(Destination::Ticket(ticket), source(b"honest")).await.unwrap();
    within(sent.delivered()).await.unwrap();
    world.check(b"honest").await;
    orleans.shutdown().await;
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn a_replay_of_a_whole_link_is_not_let_in() {
    let mut world = World::new(2).await;
    let proxy = Proxy::clean(&world.mallory.address).await;
    let nantes = node("nantes", &Identity::generate(), config()).start().await.unwrap();
    let ticket = world.paris.ticket("in").unwrap();
    let by_proxy = Ticket::new(
        ticket.peer(),
        vec![proxy.address.clone()],
        "in".into(),
        ticket.token().clone(),
    )
    .unwrap();
    let sent = nantes.send(Destination::Ticket(by_proxy), source(b"once")).await.unwrap();
    within(sent.delivered()).await.unwrap();
    world.check(b"once").await;
    nantes.shutdown().await;
    let mut events = world.paris.events();
    // The link, and its lanes.
    for recorded in proxy.recorded() {
        let mut io = world.mallory.connect().await;
        // The node may close in the middle of it.
        let _ = io.write_all(&recorded).await;
        closed(io).await;
        let seen = event(&mut events, |event| {
            matches!(event, NodeEvent::Refused { .. } | NodeEvent::LinkUp { .. })
        })
        .await;
        assert!(matches!(seen, NodeEvent::Refused { .. }), "{seen:?}");
    }
    assert!(world.arrived.try_recv().is_err());
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn a_lane_ticket_is_good_once_and_for_nobody_who_guesses() {
    let world = World::new(3).await;
    let mut link = world.mallory.link().await;
    let (id, secret) = link.lane_ticket(0).await;
    let lane = world.mallory.dial_lane(&link, 0, id, &secret).await;
    for guess in [id, [0; 16], [7; 16]] {
        let mut io = world.mallory.connect().await;
        let reply =
            reply_to(&mut io, &world.mallory.key(), &Preamble::new(Purpose::Lane(guess))).await;
        assert_eq!(reply.answer, Answer::UnknownLane);
        closed(io).await;
    }
    // The first lane is not disturbed.
    let transfer = Forgery::new(&world.mallory);
    transfer.open(&mut link).await;
    let mut lane = lane;
    lane.send(&transfer.chunk(0, &[7; CHUNK])).await;
    lane.acknowledged(transfer.stream(), [0]).await;
    transfer.cancel(&mut link).await;
    // With the right id and another secret: used up, and good for nothing.
    let (id, _) = link.lane_ticket(1).await;
    let mut io = world.mallory.connect().await;
    let preambles = preambles(&mut io, &world.mallory.key(), Purpose::Lane(id)).await;
    let prologue = lane_prologue(&preambles, &link.hash, 1);
    let (message, _) = LaneInitiator::new(&[7; 32], &prologue).unwrap().start().unwrap();
    io.write_all(&world.mallory.first(&preambles, message)).await.unwrap();
    closed(io).await;
    let mut io = world.mallory.connect().await;
    assert_eq!(
        reply_to(&mut io, &world.mallory.key(), &Preamble::new(Purpose::Lane(id))).await.answer,
        Answer::UnknownLane
    );
    link.stands().await;
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn a_new_lane_ticket_takes_the_place_of_the_old_one_and_none_outlives_its_link() {
    let world = World::new(4).await;
    let mut link = world.mallory.link().await;
    let (old, _) = link.lane_ticket(0).await;
    let (new, _) = link.lane_ticket(0).await;
    let mut io = world.mallory.connect().await;
    assert_eq!(
        reply_to(&mut io, &world.mallory.key(), &Preamble::new(Purpose::Lane(old))).await.answer,
        Answer::UnknownLane
    );
    assert_eq!(world.paris.held().await.lane_tickets, 1);
    let mut events = world.paris.events();
    drop(link);
    super::world::link_down(&mut events, world.mallory.id()).await;
    let mut io = world.mallory.connect().await;
    assert_eq!(
        reply_to(&mut io, &world.mallory.key(), &Preamble::new(Purpose::Lane(new))).await.answer,
        Answer::UnknownLane
    );
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn a_lane_ticket_is_good_for_ten_seconds() {
    let world = World::new(5).await;
    let mut link = world.mallory.link().await;
    let (id, _) = link.lane_ticket(0).await;
    // Time itself is what is tested. The link stands meanwhile: pings are answered.
    let _ = tokio::time::timeout(Duration::from_millis(10_100), link.until(|_| None::<()>)).await;
    let mut io = world.mallory.connect().await;
    assert_eq!(
        reply_to(&mut io, &world.mallory.key(), &Preamble::new(Purpose::Lane(id))).await.answer,
        Answer::UnknownLane
    );
    link.stands().await;
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn a_peer_revoked_in_the_middle_of_a_transfer_is_out_at_once() {
    let world = World::new(6).await;
    let mut events = world.paris.events();
    let mut link = world.mallory.link().await;
    let transfer = Forgery::new(&world.mallory);
    let mut lane = transfer.begin(&world.mallory, &mut link).await;
    lane.send(&transfer.chunk(0, &[7; CHUNK])).await;
    lane.acknowledged(transfer.stream(), [0]).await;
    world.paris.trust().revoke(world.mallory.id()).unwrap();
    let failed = news(&mut events, |news| matches!(news, TransferNews::Failed { .. })).await;
    assert!(
        matches!(failed, TransferNews::Failed { failure } if failure.kind == FailureKind::Untrusted)
    );
    // What it sends on changes nothing; its connections close.
    let _ = lane.0.io.write_all(&transfer.chunk(1, &[8; CHUNK])).await;
    link.until(|control| matches!(control, Control::Refuse { .. }).then_some(())).await;
    link.closes().await;
    lane.closes().await;
    let mut again = world.mallory.handshake().await;
    again.say(&Control::Hello { name: "mallory".into(), token: None, inbox: None }).await;
    assert!(matches!(again.hear().await, Some(Control::Refuse { .. })));
    world.unharmed().await;
}
