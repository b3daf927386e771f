//! First words: their bytes, and what is none.

use proptest::prelude::*;

use super::*;

fn key() -> KnockKey {
    KnockKey::of(crate::wire::PeerId::from_bytes([7; 32]))
}

fn speaking(min: u16, max: u16) -> Preamble {
    Preamble { versions: VersionRange::new(min, max).unwrap(), ..Preamble::new(Purpose::Link) }
}

/// The same bytes from somebody who knows the key.
fn vouched(content: &[u8]) -> [u8; PREAMBLE_LENGTH] {
    [content, &key().of_preamble(content)].concat().try_into().unwrap()
}

#[test]
fn the_bytes_are_held() {
    let preamble =
        |purpose| Preamble { nonce: *b"fedcba9876543210", ..Preamble::new(purpose) }.encode(&key());
    let link = b"ESTF\x01\0\x01\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0fedcba9876543210";
    assert_eq!(preamble(Purpose::Link), vouched(link));
    let lane = b"ESTF\x01\0\x01\0\x01\0\0\x000123456789abcdeffedcba9876543210";
    assert_eq!(preamble(Purpose::Lane(*b"0123456789abcdef")), vouched(lane));
    let reply = |answer| {
        PreambleReply { nonce: *b"0123456789abcdef", ..PreambleReply::new(answer) }.encode()
    };
    assert_eq!(reply(Answer::Chosen(1)), *b"ESTF\0\0\x01\0\x01\0\x01\x000123456789abcdef");
    assert_eq!(reply(Answer::VersionUnsupported), *b"ESTF\x01\0\x01\0\x01\0\0\x000123456789abcdef");
    assert_eq!(reply(Answer::Busy), *b"ESTF\x02\0\x01\0\x01\0\0\x000123456789abcdef");
    assert_eq!(reply(Answer::UnknownLane), *b"ESTF\x03\0\x01\0\x01\0\0\x000123456789abcdef");
}

#[test]
fn who_does_not_know_the_key_is_a_stranger_whatever_it_says() {
    let good = Preamble::new(Purpose::Link).encode(&key());
    for at in 0..PREAMBLE_LENGTH {
        let mut changed = good;
        changed[at] ^= 1;
        let found = *changed.first_chunk().unwrap();
        assert_eq!(Preamble::decode(&changed, &key()), Err(PreambleError::Stranger { found }));
    }
    let other = KnockKey::of(crate::wire::PeerId::from_bytes([8; 32]));
    assert_eq!(Preamble::decode(&good, &other), Err(PreambleError::Stranger { found: *MAGIC }));
}

#[test]
fn no_two_connections_begin_alike() {
    assert_ne!(Preamble::new(Purpose::Link), Preamble::new(Purpose::Link));
    assert_ne!(negotiate(&speaking(1, 1)), negotiate(&speaking(1, 1)));
}

#[test]
fn the_highest_common_version_is_chosen() {
    for (min, max) in [(0, 1), (1, 1), (1, 9)] {
        let theirs = speaking(min, max);
        let reply = negotiate(&theirs);
        assert_eq!(reply.answer, Answer::Chosen(1));
        assert_eq!((reply.accept(&theirs), reply.outcome(&theirs)), (Ok(1), Ok(1)));
    }
}

#[test]
fn a_version_mismatch_names_both_ranges_on_both_sides() {
    let theirs = speaking(7, 9);
    let reply = negotiate(&theirs);
    assert_eq!(reply.answer, Answer::VersionUnsupported);
    let initiator = reply.accept(&theirs).unwrap_err().to_string();
    assert_eq!(
        initiator,
        "no common version: this side speaks versions 7 to 9, the other version 1; update the \
         older one"
    );
    let responder = reply.outcome(&theirs).unwrap_err().to_string();
    assert_eq!(
        responder,
        "no common version: this side speaks version 1, the other versions 7 to 9; update the \
         older one"
    );
}

#[test]
fn a_choice_nobody_offered_is_refused() {
    let ours = Preamble::new(Purpose::Link);
    let reply = PreambleReply {
        versions: VersionRange::new(1, 5).unwrap(),
        ..PreambleReply::new(Answer::Chosen(2))
    };
    assert!(matches!(reply.accept(&ours), Err(PreambleError::ChosenOutside { chosen: 2, .. })));
    assert_eq!(PreambleReply::new(Answer::Busy).accept(&ours), Err(PreambleError::Busy));
    assert_eq!(
        PreambleReply::new(Answer::UnknownLane).accept(&ours),
        Err(PreambleError::UnknownLane)
    );
}

#[test]
fn each_wrong_field_has_its_error() {
    let good = Preamble::new(Purpose::Link).content();
    let with = |at: usize, value: u8| {
        let mut bytes = good;
        bytes[at] = value;
        Preamble::decode(&vouched(&bytes), &key()).unwrap_err()
    };
    assert_eq!(with(0, b'G'), PreambleError::Magic { found: *b"GSTF" });
    assert_eq!(with(4, 2), PreambleError::EmptyRange { min: 2, max: 1 });
    assert_eq!(with(8, 2), PreambleError::Purpose { found: 2 });
    assert_eq!((with(10, 1), with(27, 1)), (PreambleError::Reserved, PreambleError::Reserved));
    let reply = PreambleReply::new(Answer::Busy).encode();
    let with = |at: usize, value: u8| {
        let mut bytes = reply;
        bytes[at] = value;
        PreambleReply::decode(&bytes).unwrap_err()
    };
    assert_eq!(with(4, 4), PreambleError::Status { found: 4 });
    assert_eq!((with(5, 1), with(10, 1)), (PreambleError::Reserved, PreambleError::Reserved));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_decode_to_what_encodes_to_them(content: [u8; CONTENT_LENGTH], reply: [u8; REPLY_LENGTH], magic: bool) {
        let (mut content, mut reply) = (content, reply);
        if magic {
            content[..4].copy_from_slice(MAGIC);
            content[8..12].copy_from_slice(&[1, 0, 0, 0]);
            reply[..4].copy_from_slice(MAGIC);
            reply[4..6].fill(0);
        }
        let bytes = vouched(&content);
        if let Ok(preamble) = Preamble::decode(&bytes, &key()) {
            prop_assert_eq!(preamble.encode(&key()), bytes);
        }
        if let Ok(decoded) = PreambleReply::decode(&reply) {
            prop_assert_eq!(decoded.encode(), reply);
        }
    }
}

#[test]
fn what_answers_instead_of_a_node_is_shown_as_a_person_knows_it() {
    let error = |found: &[u8; 4]| PreambleError::Magic { found: *found }.to_string();
    assert!(error(b"HTTP").contains("it began with \"HTTP\";"), "{}", error(b"HTTP"));
    assert!(error(b"220 ").contains("it began with \"220 \";"), "{}", error(b"220 "));
    assert!(error(b"H\x1b[1").contains("it began with [48, 1b, 5b, 31];"), "{}", error(b"H\x1b[1"));
    let echoed = PreambleError::EmptyRange { min: 1, max: 0 }.to_string();
    assert!(echoed.contains("sends back what it is sent"), "{echoed}");
}
