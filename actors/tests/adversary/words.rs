//! Tests of texts from mallory that a person reads: none of them may steer a terminal, turn what
//! stands behind it around, or hide.

use estafette::node::NodeEvent;
use estafette::wire::{Control, Failure, RefuseReason, is_visible};
use estafette::{FailureKind, Identity, SendOptions};

use super::peer::Mallory;
use super::receivers::Receiving;
use super::world::{World, config, event, failure, link_down, within};

/// Clears the screen, begins a line of its own, names a window, turns the direction, and hides.
const WORDS: &str = "bye\u{1b}[2J\u{1b}]0;x\u{7}\r\nerror: \u{9b}31m\u{202e}txt.\u{2066}\u{200f}\u{61c}\u{200b}\u{2028}\u{feff}\u{e0041}end";

#[track_caller]
fn is_tame(text: &str) {
    assert!(text.chars().all(is_visible), "{text:?}");
    assert!(text.contains("bye") && text.contains("end"), "{text:?} has lost what was said");
}

#[tokio::test]
async fn a_goodbye_shows_what_it_says_and_does_nothing() {
    let world = World::new(91).await;
    let mut events = world.paris.events();
    let mut link = world.mallory.link().await;
    event(&mut events, |event| matches!(event, NodeEvent::LinkUp { .. })).await;
    link.say(&Control::Goodbye { reason: WORDS.into() }).await;
    is_tame(&link_down(&mut events, world.mallory.id()).await);
    drop(link);
    world.unharmed().await;
}

#[tokio::test]
async fn a_stranger_s_name_shows_what_it_says_and_does_nothing() {
    let world = World::new(92).await;
    let mut events = world.paris.events();
    let stranger =
        Mallory::new(Identity::generate(), world.paris.peer(), world.mallory.address.clone());
    let mut link = stranger.handshake().await;
    link.say(&Control::Hello {
        name: WORDS.chars().take(60).collect::<String>() + "end",
        token: None,
        inbox: None,
    })
    .await;
    let refused = event(&mut events, |event| matches!(event, NodeEvent::Refused { .. })).await;
    let NodeEvent::Refused { who, reason } = refused else { unreachable!() };
    is_tame(&who);
    assert!(reason.chars().all(is_visible));
    drop(link);
    world.unharmed().await;
}

#[tokio::test]
async fn a_refusal_a_rejection_and_an_interruption_show_what_they_say_and_do_nothing() {
    let mut receiving = Receiving::begin(93, config(), b"content").await;
    let mut events = receiving.world.paris.events();
    receiving.link.say(&Control::Goodbye { reason: WORDS.into() }).await;
    let down = link_down(&mut events, receiving.world.mallory.id()).await;
    is_tame(&down);
    // It dials again, and is refused.
    let io = receiving.server.refuse(&RefuseReason::Other(WORDS.into())).await;
    let refused = within(failure(&receiving.transfer)).await;
    is_tame(&refused.to_string());
    drop(io);

    let mut receiving =
        Receiving::begin_in(World::new(94).await, b"content", SendOptions::default()).await;
    let stream = receiving.opening.stream;
    let why = Failure::new(FailureKind::Refused, WORDS).in_stage("zip\u{1b}[2J\u{202e}");
    receiving.link.say(&Control::Reject { stream, failure: why }).await;
    is_tame(&within(failure(&receiving.transfer)).await.to_string());
}
