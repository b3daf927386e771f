//! Whatever happens to frames on their way, nothing but what was sealed comes out of the opener, at
//! its own place.

use std::sync::Arc;

use bytes::Bytes;
use estafette::delivery::{FailureKind, KeyScope, TransferId, TransferKey};
use estafette::pipeline::{
    ArrivalError, Codec, Compressed, Custody, Parcel, Prefix, Sealed, Transfer, Transform,
    TransformError,
};
use estafette::wire::{
    FLAG_LAST, FrameError, FrameHeader, FrameKind, HEADER_LENGTH, PeerId, Suite,
};
use estafette_actors::seal::{Opener, Sealer};
use proptest::prelude::*;

use super::harness::{end, end_of, scope};
use super::sealing::compressed;

fn frame(index: u64, body: &[u8]) -> Vec<u8> {
    Sealer::new().apply(&compressed(&end(1024), index, body)).unwrap().content().to_vec()
}

fn trailer_frame(index: u64) -> Vec<u8> {
    let prefix = Prefix { codec: Codec::TRAILER, raw_len: 48, index };
    let plain = Compressed::from_parts(
        Custody::trailer(&end(1024), index),
        [&prefix.encode()[..], &[0; 48]].concat().into(),
    );
    Sealer::new().apply(&plain).unwrap().content().to_vec()
}

/// Opens `frame` at the other end, `there`.
fn open_at(there: &Arc<Transfer>, frame: &[u8]) -> Result<Compressed, TransformError> {
    let arrived = Sealed::arrived(there, Bytes::copy_from_slice(frame))
        .map_err(|error| TransformError::new(error.to_string()))?;
    Opener::new().apply(&arrived.expect("the first of its index"))
}

fn open(frame: &[u8]) -> Result<Compressed, TransformError> {
    open_at(&end(1024), frame)
}

/// The header of `frame`, as `change` leaves it, before the same body.
fn with_header(frame: &[u8], change: impl FnOnce(&mut FrameHeader)) -> Vec<u8> {
    let mut header =
        FrameHeader::decode(frame.first_chunk::<HEADER_LENGTH>().unwrap(), 1 << 20).unwrap();
    change(&mut header);
    [&header.encode(), &frame[HEADER_LENGTH..]].concat()
}

fn asks_again(outcome: Result<Compressed, TransformError>) {
    let error = outcome.unwrap_err();
    assert_eq!(error.kind, FailureKind::Integrity, "{error}");
}

#[test]
fn every_flipped_bit_is_noticed() {
    let good = frame(5, b"body");
    assert!(open(&good).is_ok());
    for bit in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[bit / 8] ^= 1 << (bit % 8);
        assert!(open(&bad).is_err(), "bit {bit}");
    }
}

#[test]
fn a_frame_that_was_cut_short_does_not_open() {
    let good = frame(5, b"a body of some length");
    for length in 0..good.len() {
        let shorter = &good[..length];
        if length < HEADER_LENGTH {
            assert_eq!(
                Sealed::arrived(&end(1024), Bytes::copy_from_slice(shorter)).unwrap_err(),
                ArrivalError::NotWhole { given: length, wanted: 24 }
            );
            continue;
        }
        assert!(open(shorter).unwrap_err().message.contains("no whole frame"));
        asks_again(open(&with_header(shorter, |header| {
            header.len = (length - HEADER_LENGTH) as u32
        })));
    }
    let longer = [&good[..], b"x"].concat();
    asks_again(open(&with_header(&longer, |header| header.len += 1)));
}

#[test]
fn a_chunk_in_the_place_of_another_does_not_open() {
    let (first, second) = (frame(0, b"first"), frame(1, b"second"));
    asks_again(open(&with_header(&first, |header| header.index = 1)));
    asks_again(open(&with_header(&second, |header| header.index = 0)));
    // The same place in the next epoch has another key.
    asks_again(open(&with_header(&first, |header| header.index = 1 << 20)));
}

#[test]
fn parts_of_two_frames_do_not_open_together() {
    let (first, second) = (frame(0, b"first."), frame(1, b"second"));
    for at in HEADER_LENGTH + 1..first.len() {
        asks_again(open(&[&first[..at], &second[at..]].concat()));
    }
}

#[test]
fn the_end_cannot_be_moved() {
    let (chunk, trailer) = (frame(2, &[0; 48]), trailer_frame(2));
    assert!(open(&trailer).is_ok());
    asks_again(open(&with_header(&chunk, |header| header.flags = FLAG_LAST)));
    asks_again(open(&with_header(&trailer, |header| header.flags = 0)));
    asks_again(open(&with_header(&trailer, |header| header.index = 1)));
}

#[test]
fn a_copy_is_not_taken_in_twice() {
    let (there, good) = (end(1024), Bytes::from(frame(0, b"body")));
    assert!(Sealed::arrived(&there, good.clone()).unwrap().is_some());
    assert!(
        Sealed::arrived(&there, good.clone()).unwrap().is_none(),
        "it is on its way through the stages"
    );
    there.incoming().received(0);
    assert!(Sealed::arrived(&there, good).unwrap().is_none(), "it was received");
}

#[test]
fn a_chunk_of_another_transfer_attempt_pair_or_size_does_not_open() {
    let good = frame(5, b"body");
    let others = [
        KeyScope { transfer: TransferId::from_bytes([4; 24]), ..scope(1024) },
        KeyScope { attempt: 1, ..scope(1024) },
        KeyScope { suite: Suite(2), ..scope(1024) },
        KeyScope {
            sender: PeerId::from_bytes([2; 32]),
            receiver: PeerId::from_bytes([1; 32]),
            ..scope(1024)
        },
        scope(2048),
    ];
    for other in others {
        asks_again(open_at(&end_of(other), &good));
    }
    let (stranger, _) = Transfer::bare(scope(1024), TransferKey::from_bytes([8; 32]), None);
    asks_again(open_at(&stranger, &good));
}

#[test]
fn one_opener_serves_many_transfers_without_mixing_their_keys() {
    let mut opener = Opener::new();
    let other = KeyScope { transfer: TransferId::from_bytes([4; 24]), ..scope(1024) };
    let (a, b) = (end(1024), end_of(other));
    for index in 0..4 {
        for (here, there) in [(end(1024), &a), (end_of(other), &b)] {
            let sealed = Sealer::new().apply(&compressed(&here, index << 19, b"body")).unwrap();
            let arrived = Sealed::arrived(there, sealed.content().clone()).unwrap().unwrap();
            assert_eq!(opener.apply(&arrived).unwrap().body(), b"body");
        }
    }
}

#[test]
fn what_was_sealed_under_a_false_prefix_is_the_sender_s_fault_and_not_asked_for_again() {
    let lies = |prefix: [u8; 16]| {
        let custody = Custody::outgoing(&end(1024), 5, 0, None);
        let plain = Compressed::from_parts(custody, [&prefix[..], b"body"].concat().into());
        open(Sealer::new().apply(&plain).unwrap().content()).unwrap_err()
    };
    let honest = Prefix { codec: Codec::RAW, raw_len: 4, index: 5 };
    let mut reserved = honest.encode();
    reserved[2] = 1;
    for (prefix, because) in [
        (Prefix { index: 6, ..honest }.encode(), "contains what is sealed as another one, 6"),
        (Prefix { codec: Codec::TRAILER, ..honest }.encode(), "sealed as another one"),
        (reserved, "reserved"),
    ] {
        let error = lies(prefix);
        assert_eq!(error.kind, FailureKind::Protocol);
        assert!(error.message.contains(because), "{error}");
    }
}

#[test]
fn a_frame_that_does_not_belong_is_named() {
    let arrive = |frame: Vec<u8>| Sealed::arrived(&end(1024), frame.into()).unwrap_err();
    let good = frame(0, b"body");
    assert_eq!(
        arrive(with_header(&good, |header| header.stream = 3)),
        ArrivalError::OtherStream { expected: 1 }
    );
    let control = FrameHeader::control(0).encode().to_vec();
    assert_eq!(arrive(control), ArrivalError::OtherStream { expected: 1 });
    let beyond = with_header(&good, |header| header.index = u64::MAX);
    assert!(matches!(arrive(beyond), ArrivalError::Beyond { index: u64::MAX, .. }));
    let much =
        FrameHeader { len: 1024 + 33, kind: FrameKind::Chunk, flags: 0, stream: 1, index: 0 }
            .encode()
            .to_vec();
    assert_eq!(
        arrive(much),
        FrameError::TooLong { kind: FrameKind::Chunk, given: 1057, limit: 1056 }.into()
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_behind_a_header_do_not_open(body in prop::collection::vec(any::<u8>(), 0..200), index in 0_u64..100, last: bool) {
        let header = FrameHeader { len: body.len() as u32, kind: FrameKind::Chunk, flags: u8::from(last), stream: 1, index };
        asks_again(open(&[&header.encode(), &body[..]].concat()));
    }
}
