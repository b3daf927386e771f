use proptest::prelude::*;

use super::*;
use crate::wire::{
    Answer, HEADER_LENGTH, Preamble, PreambleReply, Purpose, Suite, choose, prologue,
};

fn offer() -> Offer {
    Offer { suites: vec![Suite::XSALSA20_POLY1305], features: 0, max_frame: 1 << 20, lanes: 2 }
}

fn choice() -> Choice {
    choose(&offer(), &offer()).unwrap()
}

/// The same at each call, as at both ends of one connection.
fn preambles() -> [u8; 72] {
    let preamble = Preamble { nonce: [3; 16], ..Preamble::new(Purpose::Link) };
    prologue(&preamble, &PreambleReply { nonce: [4; 16], ..PreambleReply::new(Answer::Chosen(1)) })
}

/// Paris dials Lyon.
fn identities() -> (Identity, Identity) {
    (Identity::from_secret([1; 32]), Identity::from_secret([2; 32]))
}

fn initiator(identity: &Identity, remote: PeerId) -> (Vec<u8>, LinkInitiatorWaiting) {
    LinkInitiator::new(identity, remote, &preambles()).unwrap().start(&offer()).unwrap()
}

fn responder(identity: &Identity) -> LinkResponder {
    LinkResponder::new(identity, &preambles()).unwrap()
}

#[test]
fn both_sides_know_each_other_agree_and_can_talk() {
    let (paris, lyon) = identities();
    let (first, waiting) = initiator(&paris, lyon.peer());
    let (peer, offered, ready) = responder(&lyon).read(&first).unwrap();
    assert_eq!((peer, offered), (paris.peer(), offer()));
    let (second, mut at_lyon) = ready.finish(&choice()).unwrap();
    let (chosen, mut at_paris) = waiting.finish(&second).unwrap();
    assert_eq!(chosen, choice());
    assert_eq!((at_paris.peer, at_lyon.peer), (lyon.peer(), paris.peer()));
    assert_eq!(at_paris.hash, at_lyon.hash);
    let frame = at_paris.sealer.seal(b"hello").unwrap();
    assert_eq!(at_lyon.opener.open(&frame[HEADER_LENGTH..]).unwrap(), b"hello");
    let frame = at_lyon.sealer.seal(b"welcome").unwrap();
    assert_eq!(at_paris.opener.open(&frame[HEADER_LENGTH..]).unwrap(), b"welcome");
}

#[test]
fn a_frame_returned_to_its_sender_is_refused() {
    let (paris, lyon) = identities();
    let (first, waiting) = initiator(&paris, lyon.peer());
    let (second, _) = responder(&lyon).read(&first).unwrap().2.finish(&choice()).unwrap();
    let mut at_paris = waiting.finish(&second).unwrap().1;
    let frame = at_paris.sealer.seal(b"hello").unwrap();
    assert!(at_paris.opener.open(&frame[HEADER_LENGTH..]).is_err());
}

#[test]
fn somebody_else_at_the_address_is_noticed() {
    let (paris, lyon) = identities();
    let (first, _) = initiator(&paris, lyon.peer());
    let error = responder(&Identity::from_secret([3; 32])).read(&first).unwrap_err();
    assert_eq!(error, HandshakeError::NotAuthentic { message: "request" });
    assert!(error.to_string().contains("check the peer's id"));
}

#[test]
fn preambles_that_were_changed_on_the_way_fail_the_handshake() {
    let (paris, lyon) = identities();
    for at in 0..72 {
        let mut changed = preambles();
        changed[at] ^= 1;
        let (first, _) = initiator(&paris, lyon.peer());
        let error = LinkResponder::new(&lyon, &changed).unwrap().read(&first).unwrap_err();
        assert_eq!(error, HandshakeError::NotAuthentic { message: "request" });
    }
}

#[test]
fn a_replayed_request_yields_a_link_its_replayer_cannot_use() {
    let (paris, lyon) = identities();
    let (first, waiting) = initiator(&paris, lyon.peer());
    let (second, _) = responder(&lyon).read(&first).unwrap().2.finish(&choice()).unwrap();
    let mut at_paris = waiting.finish(&second).unwrap().1;
    let hello = at_paris.sealer.seal(b"hello").unwrap();
    let (_, mut replayed) = responder(&lyon).read(&first).unwrap().2.finish(&choice()).unwrap();
    assert!(replayed.opener.open(&hello[HEADER_LENGTH..]).is_err());
}

#[test]
fn an_answer_to_another_request_is_refused() {
    let (paris, lyon) = identities();
    let (first, _) = initiator(&paris, lyon.peer());
    let (_, waiting) = initiator(&paris, lyon.peer());
    let (second, _) = responder(&lyon).read(&first).unwrap().2.finish(&choice()).unwrap();
    assert_eq!(
        waiting.finish(&second).unwrap_err(),
        HandshakeError::NotAuthentic { message: "answer" }
    );
}

#[test]
fn a_choice_that_was_not_offered_is_not_even_sent() {
    let (paris, lyon) = identities();
    let (first, _) = initiator(&paris, lyon.peer());
    let ready = responder(&lyon).read(&first).unwrap().2;
    let error = ready.finish(&Choice { lanes: 3, ..choice() }).unwrap_err();
    assert_eq!(error, HandshakeError::ChoiceOutsideOffer { what: "lanes" });
}

#[test]
fn the_initiator_refuses_a_choice_it_did_not_offer() {
    let (paris, lyon) = identities();
    let (first, waiting) = initiator(&paris, lyon.peer());
    let mut ready = responder(&lyon).read(&first).unwrap().2;
    ready.offer.lanes = 9;
    let (second, _) = ready.finish(&Choice { lanes: 3, ..choice() }).unwrap();
    assert_eq!(
        waiting.finish(&second).unwrap_err(),
        HandshakeError::ChoiceOutsideOffer { what: "lanes" }
    );
}

#[test]
fn an_authentic_message_with_an_unreadable_content_says_so() {
    let (paris, lyon) = identities();
    let mut noise = LinkInitiator::new(&paris, lyon.peer(), &preambles()).unwrap().noise;
    let first = write(&mut noise, b"from the future").unwrap();
    assert!(matches!(
        responder(&lyon).read(&first),
        Err(HandshakeError::Payload { message: "request", .. })
    ));
}

#[test]
fn an_offer_too_long_for_a_message_is_an_error_of_this_side() {
    let (paris, lyon) = identities();
    let long = Offer { suites: vec![Suite(1); 500], ..offer() };
    let error =
        LinkInitiator::new(&paris, lyon.peer(), &preambles()).unwrap().start(&long).unwrap_err();
    assert_eq!(
        error,
        HandshakeError::Local { reason: "an offer of 1022 bytes is too long".to_owned() }
    );
}

#[test]
fn lengths_in_front_of_messages_are_held_and_limited() {
    assert_eq!(frame_handshake(b"abc").unwrap(), b"\x03\0abc");
    assert_eq!(handshake_length([0, 4]), Ok(1024));
    assert_eq!(handshake_length([1, 4]), Err(HandshakeError::Length { given: 1025, limit: 1024 }));
    assert_eq!(handshake_length([0, 0]), Err(HandshakeError::Length { given: 0, limit: 1024 }));
    for length in [0, 1025, 65_536, 65_537] {
        assert!(frame_handshake(&vec![0; length]).is_err());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_is_an_error(garbage in prop::collection::vec(any::<u8>(), 0..1100)) {
        let (paris, lyon) = identities();
        prop_assert!(responder(&lyon).read(&garbage).is_err());
        prop_assert!(initiator(&paris, lyon.peer()).1.finish(&garbage).is_err());
    }

    #[test]
    fn a_message_cut_short_or_changed_is_an_error(cut: prop::sample::Index, at: prop::sample::Index, bit in 0_u8..8) {
        let (paris, lyon) = identities();
        let (first, waiting) = initiator(&paris, lyon.peer());
        prop_assert!(responder(&lyon).read(&first[..cut.index(first.len())]).is_err());
        let mut changed = first.clone();
        let position = at.index(changed.len());
        changed[position] ^= 1_u8 << bit;
        // X25519 ignores the highest bit of a public key, but the handshake's hash does not.
        prop_assert!(responder(&lyon).read(&changed).is_err());
        let (second, _) = responder(&lyon).read(&first).unwrap().2.finish(&choice()).unwrap();
        prop_assert!(waiting.finish(&second[..cut.index(second.len())]).is_err());
        let (first, waiting) = initiator(&paris, lyon.peer());
        let (mut second, _) = responder(&lyon).read(&first).unwrap().2.finish(&choice()).unwrap();
        let position = at.index(second.len());
        second[position] ^= 1_u8 << bit;
        prop_assert!(waiting.finish(&second).is_err());
    }
}
