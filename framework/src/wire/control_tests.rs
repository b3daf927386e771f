use proptest::prelude::*;

use super::*;
use crate::delivery::{Attributes, Content, ContentKind, ContentName, TransferId};
use crate::wire::{FailureKind, PLAINTEXT_LIMIT, Suite};

/// Bytes written as pieces: what stands for what can be seen.
macro_rules! bytes {
    ($($piece:expr),* $(,)?) => { [$(&$piece[..]),*].concat() };
}

fn u32s(value: u32) -> [u8; 4] {
    value.to_le_bytes()
}

fn u64s(value: u64) -> [u8; 8] {
    value.to_le_bytes()
}

fn text(text: &str) -> Vec<u8> {
    bytes![u64s(text.len() as u64), text.as_bytes()]
}

fn opening() -> Opening {
    Opening {
        stream: 2,
        transfer: TransferId::from_bytes([3; 24]),
        attempt: 4,
        key: SecretBytes::new([5; 32]),
        commit: [6; 32],
        inbox: "backups".to_owned(),
        content: Content::new(
            ContentKind::File { mode: 0o644, mtime: -7 },
            ContentName::new("big.tar").unwrap(),
            Some(8),
        ),
        chunk_size: 1 << 18,
        suite: Suite::XSALSA20_POLY1305,
        stages: vec!["snappy".to_owned()],
        version: Some([11; 32]),
        created: 9,
        expires: 10,
        remaining: 11,
    }
}

fn golden_opening() -> Vec<u8> {
    bytes![
        u64s(2),
        [3; 24],
        u32s(4),
        [5; 32],
        [6; 32],
        text("backups"),
        u32s(1),
        u32s(0o644),
        (-7_i64).to_le_bytes(),
        text("big.tar"),
        [1],
        u64s(8),
        u32s(1 << 18),
        [1, 0],
        u64s(1),
        text("snappy"),
        [1],
        [11; 32],
        u64s(9),
        u64s(10),
        u64s(11),
    ]
}

fn failure() -> Failure {
    Failure::new(FailureKind::Integrity, "bad tag").at_index(5)
}

fn golden_failure() -> Vec<u8> {
    bytes![u32s(2), text("bad tag"), [0], [1], u64s(5)]
}

/// Each message with its bytes, in the order of their numbers.
fn golden() -> Vec<(Control, Vec<u8>)> {
    let ranges = || Ranges::new(vec![(0, 3), (4, 5)]).unwrap();
    let golden_ranges = bytes![u64s(2), u64s(0), u64s(3), u64s(4), u64s(5)];
    let receipt = Receipt {
        digest: [1; 32],
        length: 2,
        place: "in/big.tar".to_owned(),
        files: 1,
        mac: [3; 32],
    };
    vec![
        (
            Control::Hello {
                name: "paris".to_owned(),
                token: Some(SecretBytes::new([7; 32])),
                inbox: Some("in".to_owned()),
            },
            bytes![u32s(0), text("paris"), [1], [7; 32], [1], text("in")],
        ),
        (Control::Welcome { name: "lyon".to_owned() }, bytes![u32s(1), text("lyon")]),
        (
            Control::Refuse { reason: RefuseReason::Other("no".to_owned()) },
            bytes![u32s(2), u32s(7), text("no")],
        ),
        (Control::Ping { nonce: 1 }, bytes![u32s(3), u64s(1)]),
        (Control::Pong { nonce: 2 }, bytes![u32s(4), u64s(2)]),
        (Control::LaneRequest { lane: 3 }, bytes![u32s(5), [3, 0]]),
        (Control::LaneWanted, bytes![u32s(6)]),
        (
            Control::LaneTicket { lane: 3, id: [4; 16], secret: SecretBytes::new([5; 32]) },
            bytes![u32s(7), [3, 0], [4; 16], [5; 32]],
        ),
        (Control::Open(Box::new(opening())), bytes![u32s(8), golden_opening()]),
        (
            Control::Accept { stream: 2, limit: 64, received: ranges(), trailer: true },
            bytes![u32s(9), u64s(2), u64s(64), golden_ranges, [1]],
        ),
        (
            Control::Reject { stream: 2, failure: failure() },
            bytes![u32s(10), u64s(2), golden_failure()],
        ),
        (Control::Grant { stream: 2, limit: 128 }, bytes![u32s(11), u64s(2), u64s(128)]),
        (
            Control::Received { stream: 2, indices: ranges() },
            bytes![u32s(12), u64s(2), golden_ranges],
        ),
        (
            Control::Lost { stream: 2, index: 5, failure: Some(failure()) },
            bytes![u32s(13), u64s(2), u64s(5), [1], golden_failure()],
        ),
        (
            Control::Delivered { stream: 2, receipt: receipt.clone(), enclosed: None },
            bytes![u32s(14), u64s(2), [1; 32], u64s(2), text("in/big.tar"), u64s(1), [3; 32], [0]],
        ),
        (Control::Done { stream: 2 }, bytes![u32s(15), u64s(2)]),
        (
            Control::Fail { stream: 2, failure: failure() },
            bytes![u32s(16), u64s(2), golden_failure()],
        ),
        (Control::Pause { stream: 2 }, bytes![u32s(17), u64s(2)]),
        (Control::Unpause { stream: 2 }, bytes![u32s(18), u64s(2)]),
        (Control::Goodbye { reason: "bye".to_owned() }, bytes![u32s(19), text("bye")]),
        (
            Control::Processed { transfer: TransferId::from_bytes([6; 24]), mac: [9; 32] },
            bytes![u32s(20), [6; 24], [9; 32]],
        ),
        (
            Control::Passed {
                transfer: TransferId::from_bytes([6; 24]),
                word: Word::Delivered(receipt),
            },
            bytes![
                u32s(21),
                [6; 24],
                u32s(0),
                [1; 32],
                u64s(2),
                text("in/big.tar"),
                u64s(1),
                [3; 32]
            ],
        ),
        (
            Control::Heard { transfer: TransferId::from_bytes([6; 24]), what: WordKind::Failed },
            bytes![u32s(22), [6; 24], u32s(2)],
        ),
        (
            Control::Messages {
                transfer: TransferId::from_bytes([6; 24]),
                key: SecretBytes::new([5; 32]),
                commitment: [8; 32],
            },
            bytes![u32s(23), [6; 24], [5; 32], [8; 32]],
        ),
        (Control::Unknown { stream: 2 }, bytes![u32s(24), u64s(2)]),
        (Control::Waiting { stream: 2, running: 3 }, bytes![u32s(25), u64s(2), u32s(3)]),
        (Control::Process { incarnation: [4; 16] }, bytes![u32s(26), [4; 16]]),
        (
            Control::Remarks { stream: 2, lines: vec!["no".to_owned()] },
            bytes![u32s(27), u64s(2), u64s(1), text("no")],
        ),
    ]
}

#[test]
fn the_bytes_of_every_word_of_a_relay_are_held() {
    let receipt =
        Receipt { digest: [1; 32], length: 2, place: String::new(), files: 1, mac: [3; 32] };
    let passed = |word| Control::Passed { transfer: TransferId::from_bytes([6; 24]), word };
    let golden_receipt = bytes![[1; 32], u64s(2), text(""), u64s(1), [3; 32]];
    for (word, bytes) in [
        (
            Word::Processed { receipt, mac: [9; 32] },
            bytes![u32s(21), [6; 24], u32s(1), golden_receipt, [9; 32]],
        ),
        (Word::Failed(failure()), bytes![u32s(21), [6; 24], u32s(2), golden_failure()]),
        (Word::Lapsed(failure()), bytes![u32s(21), [6; 24], u32s(3), golden_failure()]),
    ] {
        assert_eq!(passed(word.clone()).encode().unwrap(), bytes, "{word:?}");
        assert_eq!(Control::decode(&bytes).unwrap(), passed(word));
    }
}

#[test]
fn who_does_not_know_that_a_time_is_over_hears_that_it_failed() {
    let lapsed = || Word::Lapsed(failure());
    assert_eq!(lapsed().understood(FEATURE_LAPSED), lapsed());
    assert_eq!(lapsed().understood(!FEATURE_LAPSED), Word::Failed(failure()));
    assert_eq!(lapsed().kind(), WordKind::Failed);
}

#[test]
fn the_bytes_of_every_message_are_held() {
    for (number, (message, bytes)) in golden().into_iter().enumerate() {
        assert_eq!(bytes[..4], u32s(number as u32), "{message:?}");
        assert_eq!(message.encode().unwrap(), bytes, "{message:?}");
        assert_eq!(Control::decode(&bytes).unwrap(), message);
    }
    let beyond = u32s(golden().len() as u32);
    assert!(matches!(Control::decode(&beyond), Err(CodecError::Malformed { .. })));
}

#[test]
fn every_reason_to_refuse_has_its_number_and_says_what_to_do() {
    use RefuseReason::*;
    for (number, reason) in
        [Untrusted, Revoked, TicketUnknown, TicketUsed, TicketExpired, Busy, ShuttingDown]
            .into_iter()
            .enumerate()
    {
        assert_eq!(codec::encode(&reason).unwrap(), u32s(number as u32));
        let shown = reason.to_string();
        assert!(
            shown.contains("ask") || shown.contains("try again") || shown.contains("check"),
            "{shown}"
        );
    }
    assert_eq!(codec::encode(&TooManyLinks).unwrap(), u32s(8), "after the one with words");
    assert_eq!(codec::encode(&TrustExpired).unwrap(), u32s(9));
    assert!(TooManyLinks.to_string().contains("check"));
    assert_eq!(Other("can't\u{7}".to_owned()).to_string(), r"can't\u{7}");
}

#[test]
fn a_message_cut_short_or_with_something_behind_it_is_refused() {
    for (message, mut bytes) in golden() {
        for length in 0..bytes.len() {
            assert!(Control::decode(&bytes[..length]).is_err(), "{message:?} cut at {length}");
        }
        bytes.push(0);
        assert!(
            matches!(Control::decode(&bytes), Err(CodecError::Trailing { left: 1, .. })),
            "{message:?}"
        );
    }
}

/// As many, of as many bytes, as a description has at most.
fn largest_attributes() -> Attributes {
    let length = Attributes::BYTES_LIMIT / Attributes::COUNT_LIMIT - 6;
    Attributes::new(vec![(b"user.a".to_vec(), vec![0; length]); Attributes::COUNT_LIMIT]).unwrap()
}

#[test]
fn the_largest_messages_fit_into_a_frame() {
    let long = "x".repeat(10_000);
    let ranges = Ranges::new((0..1024).map(|index| (2 * index, 2 * index + 1)).collect()).unwrap();
    let largest = Opening {
        inbox: "i".repeat(128),
        stages: vec!["s".repeat(64); 8],
        content: Content {
            name: ContentName::new(vec![b'n'; 255]).unwrap(),
            data: Some(1),
            attributes: largest_attributes(),
            ..opening().content
        },
        ..opening()
    };
    let receipt =
        Receipt { digest: [1; 32], length: 2, place: long.clone(), files: 1, mac: [3; 32] };
    for message in [
        Control::Accept { stream: 0, limit: 0, received: ranges, trailer: false },
        Control::Open(Box::new(largest)),
        Control::Delivered { stream: 0, receipt: receipt.clone(), enclosed: Some(receipt) },
        Control::Fail {
            stream: 0,
            failure: Failure::new(FailureKind::Stage, &long).in_stage(&long).at_index(1),
        },
        Control::Refuse { reason: RefuseReason::Other(long.clone()) },
        Control::Goodbye { reason: long.clone() },
        Control::Remarks { stream: 0, lines: vec![long.clone(); 100] },
    ] {
        let bytes = message.encode().unwrap();
        assert!(bytes.len() <= PLAINTEXT_LIMIT, "{} bytes", bytes.len());
        assert!(Control::decode(&bytes).is_ok(), "what is written can be read");
    }
}

#[test]
fn a_name_too_long_is_not_sent() {
    let message = Control::Welcome { name: "x".repeat(65) };
    assert!(matches!(message.encode(), Err(CodecError::Unwritable { .. })));
    let bytes = bytes![u32s(1), text(&"x".repeat(65))];
    assert!(matches!(Control::decode(&bytes), Err(CodecError::Malformed { .. })));
}

#[test]
fn secrets_do_not_reach_a_log() {
    for (message, _) in golden() {
        let shown = format!("{message:?}");
        assert!(!shown.contains("7, 7, 7") && !shown.contains("5, 5, 5"), "{shown}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn garbage_never_panics_and_what_decodes_encodes_to_the_same(number in 0_u32..28, garbage in prop::collection::vec(0_u8..3, 0..60)) {
        let bytes = bytes![u32s(number), garbage];
        if let Ok(message) = Control::decode(&bytes) {
            prop_assert_eq!(message.encode().unwrap(), bytes);
        }
    }

    #[test]
    fn a_changed_byte_never_panics(which: prop::sample::Index, at: prop::sample::Index, value: u8) {
        let (_, mut bytes) = golden().swap_remove(which.index(golden().len()));
        let position = at.index(bytes.len());
        bytes[position] = value;
        if let Ok(message) = Control::decode(&bytes) {
            prop_assert_eq!(message.encode().unwrap(), bytes);
        }
    }
}
