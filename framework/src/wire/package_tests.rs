use data_encoding::HEXLOWER;
use proptest::prelude::*;

use super::*;
use crate::delivery::{Attributes, ContentKind, ContentName};
use crate::pipeline::Transfer;
use crate::wire::FLAG_LAST;

fn sender() -> Identity {
    Identity::from_secret([1; 32])
}

fn receiver() -> Identity {
    Identity::from_secret([2; 32])
}

fn label() -> PackageLabel {
    PackageLabel {
        sender: sender().peer(),
        receiver: receiver().peer(),
        transfer: TransferId::from_bytes([3; 24]),
        created: 9,
        expires: 10,
        chunk_size: 1 << 18,
        suite: Suite::XSALSA20_POLY1305,
        stages: vec!["rot13".to_owned()],
    }
}

fn letter() -> Letter {
    let content = Content::new(ContentKind::Bytes, ContentName::new("big.tar").unwrap(), Some(8));
    let letter =
        Letter::new(&TransferKey::from_bytes([5; 32]), Suite(1), "backups".into(), content);
    Letter { version: Some([11; 32]), token: Some([12; 32].into()), ..letter }
}

fn header() -> PackageHeader {
    PackageHeader::seal(&sender(), label(), &letter()).unwrap()
}

/// The header with a label that `change` has been at, and a checksum that agrees: what a carrier
/// could make of it.
fn relabelled(change: impl FnOnce(&mut PackageLabel)) -> PackageHeader {
    let PackageHeader { mut label, envelope, .. } = header();
    change(&mut label);
    let body = codec::encode(&(&label, ByteBuf::from(envelope))).unwrap();
    let mut bytes = [&beginning(PLAIN)[..], &(body.len() as u32).to_le_bytes(), &body].concat();
    bytes.extend(checksum(HEADER_CONTEXT, &[&bytes]));
    PackageHeader::decode(&bytes).unwrap()
}

fn frame(index: u64, flags: u8, body: &[u8]) -> Vec<u8> {
    let header = FrameHeader {
        len: body.len() as u32,
        kind: FrameKind::Chunk,
        flags,
        stream: STREAM,
        index,
    };
    let frame = [&header.encode()[..], body].concat();
    let sum = Frames::new(&label()).checksum(&frame);
    [&frame[..], &sum].concat()
}

#[test]
fn the_numbers_are_those_of_the_pipeline() {
    assert_eq!((OVERHEAD, STREAM), (Transfer::OVERHEAD, Transfer::BARE_STREAM));
    let sizes = crate::node::NodeConfig::CHUNK_LEAST..=crate::node::NodeConfig::CHUNK_MOST;
    assert_eq!(CHUNK_SIZES, sizes);
}

#[test]
fn the_bytes_of_a_label_and_of_a_letter_are_held() {
    let peers =
        [sender().peer(), receiver().peer()].map(|peer| HEXLOWER.encode(peer.as_bytes())).concat();
    let (transfer, times) = ("03".repeat(24), "0900000000000000 0a00000000000000");
    let rest = "00000400 0100 0100000000000000 0500000000000000 726f743133";
    let golden = format!("{peers} {transfer} {times} {rest}").replace(' ', "");
    assert_eq!(HEXLOWER.encode(&codec::encode(&label()).unwrap()), golden);

    let commit = HEXLOWER.encode(&TransferKey::from_bytes([5; 32]).commitment(Suite(1)));
    let inbox = "0700000000000000 6261636b757073";
    let content = "00000000 0700000000000000 6269672e746172 01 0800000000000000";
    let rest = format!("01 {} 01 {}", "0b".repeat(32), "0c".repeat(32));
    let golden = format!("{} {commit} {inbox} {content} {rest}", "05".repeat(32)).replace(' ', "");
    assert_eq!(HEXLOWER.encode(&codec::encode(&letter()).unwrap()), golden);
}

#[test]
fn the_bytes_of_a_header_are_held() {
    let bytes = HEXLOWER.decode(GOLDEN_HEADER.as_bytes()).unwrap();
    assert_eq!(bytes.len(), header().as_bytes().len());
    let read = PackageHeader::decode(&bytes).unwrap();
    assert_eq!((read.label(), read.open(&receiver())), (&label(), Ok(letter())));
    assert_eq!(HEXLOWER.encode(&read.identity()[..8]), GOLDEN_IDENTITY);
}

#[test]
fn the_checksums_are_held() {
    assert_eq!(
        HEXLOWER.encode(&frame(5, FLAG_LAST, b"box")),
        "030000000201000001000000000000000500000000000000626f78".to_owned() + GOLDEN_CHECKSUM
    );
}

#[test]
fn the_receiver_learns_what_the_sender_wrote() {
    let read = PackageHeader::decode(header().as_bytes()).unwrap();
    assert_eq!((read.label(), read.open(&receiver())), (&label(), Ok(letter())));
}

#[test]
fn nobody_else_opens_it_not_even_its_sender() {
    let (us, other) = (sender().peer(), Identity::generate());
    assert_eq!(
        header().open(&sender()),
        Err(PackageError::OtherReceiver { receiver: receiver().peer(), us })
    );
    assert!(header().open(&other).is_err());
    let readdressed = relabelled(|label| label.receiver = other.peer());
    assert_eq!(readdressed.open(&other), Err(EnvelopeError::NotAuthentic.into()));
    let returned = relabelled(|label| label.receiver = sender().peer());
    assert_eq!(returned.open(&sender()), Err(EnvelopeError::NotAuthentic.into()));
}

#[test]
fn nothing_on_the_label_can_be_changed_by_who_carries_it() {
    let changes: [fn(&mut PackageLabel); 8] = [
        |label| label.sender = PeerId::from_bytes([9; 32]),
        |label| label.transfer = TransferId::from_bytes([4; 24]),
        |label| label.created += 1,
        |label| label.expires += 1,
        |label| label.chunk_size *= 2,
        |label| label.suite = Suite(2),
        |label| label.stages.clear(),
        |label| label.stages[0].push('x'),
    ];
    for change in changes {
        assert_eq!(relabelled(change).open(&receiver()), Err(EnvelopeError::NotAuthentic.into()));
    }
    assert!(relabelled(|_| {}).open(&receiver()).is_ok());
}

#[test]
fn an_envelope_by_another_than_the_label_says_is_refused() {
    let mallory = Identity::generate();
    let letter = codec::encode(&letter()).unwrap();
    let envelope =
        envelope::seal(&mallory, receiver().peer(), &prologue(PLAIN, &label()).unwrap(), &letter)
            .unwrap();
    let forged = PackageHeader { envelope, ..header() };
    let expected = PackageError::OtherSender { label: sender().peer(), envelope: mallory.peer() };
    assert_eq!(forged.open(&receiver()), Err(expected));
    assert!(PackageHeader::seal(&mallory, label(), &self::letter()).is_err());
}

#[test]
fn a_key_that_was_not_committed_to_is_refused() {
    let header =
        PackageHeader::seal(&sender(), label(), &Letter { commit: [0; 32], ..letter() }).unwrap();
    assert_eq!(header.open(&receiver()), Err(PackageError::Commitment));
}

#[test]
fn a_flipped_bit_or_a_missing_byte_of_a_header_is_noticed() {
    let good = header().as_bytes().to_vec();
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(PackageHeader::decode(&bad).is_err(), "bit {bit}");
    }
    for length in 0..good.len() {
        assert!(PackageHeader::decode(&good[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn what_a_letter_tells_makes_its_version() {
    let told = letter().content.with_data(Some(1));
    let with = |content: &Content| {
        let letter = Letter { content: content.clone(), ..letter() };
        let header = PackageHeader::seal(&sender(), label(), &letter).unwrap();
        let again = PackageHeader::decode(header.as_bytes()).unwrap();
        (again.as_bytes()[8], again.open(&receiver()).unwrap().content)
    };
    assert_eq!(with(&letter().content), (1, letter().content));
    assert_eq!(with(&told), (2, told.clone()));
    let length = Attributes::BYTES_LIMIT / Attributes::COUNT_LIMIT - 6;
    let most = vec![(b"user.a".to_vec(), vec![0; length]); Attributes::COUNT_LIMIT];
    let name = ContentName::new(vec![b'n'; 255]).unwrap();
    let told = Content { name, ..told.with_attributes(Attributes::new(most).unwrap()) };
    assert_eq!(with(&told), (2, told.clone()));
    let told = told.with_remarks(vec!["r".repeat(512); Content::REMARKS]);
    let stages = vec!["s".repeat(64); 8];
    let label = PackageLabel { stages, ..label() };
    let most = Letter {
        inbox: "i".repeat(128),
        content: told.clone(),
        version: Some([1; 32]),
        token: Some(SecretBytes::new([2; 32])),
        ..letter()
    };
    let full = PackageHeader::seal(&sender(), label, &most).unwrap();
    assert_eq!(full.open(&receiver()).unwrap().content, told, "all of it together fits");
    assert_eq!(with(&told), (3, told));
    // The version is vouched for.
    let mut other = header().as_bytes().to_vec();
    other[8] = 2;
    let end = other.len() - CHECKSUM_LENGTH;
    let sum = checksum(HEADER_CONTEXT, &[&other[..end]]);
    other[end..].copy_from_slice(&sum);
    assert!(PackageHeader::decode(&other).unwrap().open(&receiver()).is_err());
}

#[test]
fn other_files_other_versions_and_great_claims_are_named() {
    let preamble = *header().as_bytes().first_chunk::<PACKAGE_PREAMBLE>().unwrap();
    let changed = |at: usize, bytes: &[u8]| {
        let mut changed = preamble;
        changed[at..at + bytes.len()].copy_from_slice(bytes);
        PackageHeader::length(&changed)
    };
    assert_eq!(changed(0, b"%PDF-1.7"), Err(PackageError::NotAPackage));
    assert_eq!(changed(8, &[4]), Err(PackageError::UnknownVersion { found: 4 }));
    assert_eq!(changed(10, &[1]), Err(PackageError::HeaderChecksum));
    assert_eq!(
        changed(12, &[0xff; 4]),
        Err(PackageError::HeaderLength { given: u32::MAX as usize })
    );
    assert_eq!(changed(0, b""), Ok(header().as_bytes().len()));
}

#[test]
fn sizes_that_would_make_a_reader_hold_much_are_refused() {
    for chunk_size in [0, 1, 1023, 1536, 8 << 20, u32::MAX] {
        let label = PackageLabel { chunk_size, ..label() };
        assert_eq!(
            PackageHeader::seal(&sender(), label, &letter()),
            Err(PackageError::ChunkSize { given: chunk_size })
        );
    }
    let long = PackageLabel { stages: vec!["x".repeat(65)], ..label() };
    assert!(matches!(
        PackageHeader::seal(&sender(), long, &letter()),
        Err(PackageError::Malformed(_))
    ));
    // Stages of a user's may make chunks longer.
    for (stages, most) in [(vec![], 1 << 18), (label().stages, (1 << 18) + growth_limit(1 << 18))] {
        let frames = Frames::new(&PackageLabel { stages, ..label() });
        let length = |len| {
            frames.length(
                &FrameHeader { len, kind: FrameKind::Chunk, flags: 0, stream: STREAM, index: 0 }
                    .encode(),
            )
        };
        assert!(length(most + OVERHEAD).is_ok());
        assert!(matches!(
            length(most + OVERHEAD + 1),
            Err(PackageError::Frame { index: 0, error: FrameError::TooLong { .. } })
        ));
    }
}

#[test]
fn frames_are_taken_in_their_order_up_to_the_last() {
    let mut frames = Frames::new(&label());
    assert_eq!(frames.take(&frame(0, 0, b"a")).unwrap().len(), HEADER_LENGTH + 1);
    assert!(
        matches!(frames.take(&frame(0, 0, b"a")), Err(PackageError::OtherFrame { index: 1, .. })),
        "a copy"
    );
    assert!(
        matches!(frames.take(&frame(2, 0, b"c")), Err(PackageError::OtherFrame { index: 1, .. })),
        "a hole"
    );
    assert!(!frames.is_ended());
    frames.take(&frame(1, FLAG_LAST, b"end")).unwrap();
    assert!(frames.is_ended());
    assert_eq!(frames.next(), 2);
    assert_eq!(frames.take(&frame(2, 0, b"c")), Err(PackageError::BehindTheEnd));
}

#[test]
fn a_frame_of_another_package_a_flipped_bit_and_a_cut_are_noticed() {
    let good = frame(0, 0, b"body");
    let other = Frames::new(&PackageLabel { transfer: TransferId::from_bytes([4; 24]), ..label() });
    assert_eq!(other.clone().take(&good), Err(PackageError::FrameChecksum { index: 0 }));
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(Frames::new(&label()).take(&bad).is_err(), "bit {bit}");
    }
    for length in 0..good.len() {
        assert!(Frames::new(&label()).take(&good[..length]).is_err(), "{length} bytes");
    }
}

#[test]
fn what_is_appended_is_taken_and_nothing_else_is_appended() {
    let (mut writing, mut reading) = (Frames::new(&label()), Frames::new(&label()));
    for (index, flags) in [(0, 0), (1, 0), (2, FLAG_LAST)] {
        let record = frame(index, flags, b"box");
        let bare = &record[..record.len() - CHECKSUM_LENGTH];
        assert!(writing.append(&bare[..bare.len() - 1]).is_err());
        let sum = writing.append(bare).unwrap();
        assert_eq!(reading.take(&[bare, &sum].concat()), Ok(bare));
        assert!(writing.append(bare).is_err(), "a copy");
    }
    assert!(writing.is_ended() && reading.is_ended());
}

#[test]
fn a_key_that_was_committed_to_for_another_suite_is_refused() {
    let label = PackageLabel { suite: Suite(2), ..label() };
    let header = PackageHeader::seal(&sender(), label, &letter()).unwrap();
    assert_eq!(header.open(&receiver()), Err(PackageError::Commitment));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(transfer: [u8; 24], times: (u64, u64), power in 10u32..23, suite: u16, stages in prop::collection::vec("[a-z]{0,64}", 0..8), inbox in "\\PC{0,30}", length: Option<u64>, version: Option<[u8; 32]>, token: Option<[u8; 32]>) {
        let label = PackageLabel {
            transfer: TransferId::from_bytes(transfer), created: times.0, expires: times.1, chunk_size: 1 << power, suite: Suite(suite), stages, ..label()
        };
        let content = letter().content.with_length(length);
        let commit = TransferKey::from_bytes([5; 32]).commitment(label.suite);
        let letter = Letter { inbox, content, version, commit, token: token.map(SecretBytes::new), ..letter() };
        let header = PackageHeader::seal(&sender(), label.clone(), &letter).unwrap();
        let read = PackageHeader::decode(header.as_bytes()).unwrap();
        prop_assert_eq!(&read, &header);
        prop_assert_eq!(read.label(), &label);
        prop_assert_eq!(read.open(&receiver()), Ok(letter));
    }

    #[test]
    fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let framed = [&beginning(PLAIN)[..], &(bytes.len() as u32).to_le_bytes(), &bytes].concat();
        let summed = [&framed[..], &checksum(HEADER_CONTEXT, &[&framed])].concat();
        prop_assert!(PackageHeader::decode(&summed).is_err());
        prop_assert!(Frames::new(&label()).take(&bytes).is_err());
    }
}

const GOLDEN_HEADER: &str = "\
    6573746166706b670100000098010000a4e09292b651c278b9772c569f5fa9bb13d906b46ab68c9df9dc2b4409f8a209ce8d3ad1ccb633ec\
    7b70c17814a5c76ecd029685050d344745ba05870e587d590303030303030303030303030303030303030303030303030900000000000000\
    0a0000000000000000000400010001000000000000000500000000000000726f7431330d01000000000000e25dff79d591b5201bc9b60b3e\
    5820cef2788ca85b5dbabd4183beee986b502a99c8f8d392d0eebd0c4b8dd221134fa76d2224b588be7d5075b26e3d4d0be94dfa25ffce0c\
    f7c2bbc2259a8063b4cdb4102ccf1a5de1160eabf8ff9320ab7b6dfa48070884bd8da6ad06bb65d857d6aee1d2e88ee9c2057d6da45c438a\
    b9d95fdfc517bd1c550e53826358cb0bc39a4a214b3530b5ca17b967def58c2bfb365fc566b6c3eb5b7fee4e539e95259308c0b99a78d4d5\
    bc2811ca184eae210479ba780ff060b0c23aae6f8e0b3c700cfd0f30f21fe239f178f56351db007802ef7ca6b75587b5fa392f37ea461518\
    b6cf399737d59739ecc50ed4f2eed276992a2671668715b5a31acc6ecdb43881bbb769bc4422e27d";
const GOLDEN_IDENTITY: &str = "0403990b2fa11186";
const GOLDEN_CHECKSUM: &str = "8d3d1429504050ff";
