//! `compress ∘ decompress` is the identity, and nothing decompresses into more than a chunk.

use estafette::delivery::{FailureKind, TransferKey};
use estafette::pipeline::{
    Chunk, Codec, Compressed, Compression, Custody, Parcel, Prefix, Transfer, Transform,
    TransformError,
};
use estafette_actors::compress::{Compressor, Decompressor};
use proptest::prelude::*;

use super::harness::{chunk, end, noise, scope, text};

fn there_and_back(bytes: &[u8], size: u32) -> (Compressed, Chunk) {
    let transfer = end(size);
    let compressed = Compressor::default().apply(&chunk(&transfer, 7, bytes)).unwrap();
    let back = Decompressor::default().apply(&compressed).unwrap();
    (compressed, back)
}

/// What the decompressor makes of a box with this prefix and body, in a transfer with chunks of 1
/// KiB.
fn decompress(prefix: Prefix, body: &[u8]) -> Result<Chunk, TransformError> {
    let custody = Custody::incoming(&end(1024), prefix.index, false, None);
    Decompressor::default()
        .apply(&Compressed::from_parts(custody, [&prefix.encode(), body].concat().into()))
}

fn refused(codec: Codec, raw_len: u32, body: &[u8], because: &str) {
    let error = decompress(Prefix { codec, raw_len, index: 7 }, body).unwrap_err();
    assert_eq!(
        error.kind,
        FailureKind::Protocol,
        "an authentic box that is wrong is not asked for again"
    );
    assert!(error.message.contains(because), "{:?} does not say {because:?}", error.message);
}

fn snappy(bytes: &[u8]) -> Vec<u8> {
    snap::raw::Encoder::new().compress_vec(bytes).unwrap()
}

#[test]
fn chunks_of_every_size_come_back_as_they_were() {
    for size in [1, 2, 15, 16, 17, 511, 512, 1022, 1023, 1024] {
        for bytes in [text(size), noise(size), vec![0; size]] {
            let (_, back) = there_and_back(&bytes, 1024);
            assert_eq!(back.bytes(), bytes);
            assert_eq!(
                Prefix::decode(back.content()),
                Ok(Prefix { codec: Codec::RAW, raw_len: size as u32, index: 7 })
            );
        }
    }
}

#[test]
fn what_would_not_shrink_by_an_eighth_goes_raw_and_is_not_copied() {
    let (compressed, _) = there_and_back(&text(1024), 1024);
    assert_eq!(compressed.prefix().unwrap().codec, Codec::SNAPPY);
    assert!(compressed.body().len() <= 1024 - 1024 / 8);
    let transfer = end(1024);
    let noise = chunk(&transfer, 0, &noise(1024));
    let raw = Compressor::default().apply(&noise).unwrap();
    assert_eq!(raw.prefix().unwrap().codec, Codec::RAW);
    assert_eq!(raw.content().as_ptr(), noise.content().as_ptr());
}

#[test]
fn compression_that_is_off_is_off() {
    let (transfer, _) =
        Transfer::bare(scope(1024), TransferKey::from_bytes([9; 32]), Compression::Off);
    let raw = Compressor::default().apply(&chunk(&transfer, 0, &[0; 1024])).unwrap();
    assert_eq!((raw.prefix().unwrap().codec, raw.body()), (Codec::RAW, &[0; 1024][..]));
}

#[test]
fn a_bomb_costs_nothing_and_is_named() {
    let bomb = snappy(&vec![0; 1 << 20]);
    refused(Codec::SNAPPY, 1024, &bomb, "says 1024 bytes, but would decompress to 1048576");
    refused(Codec::SNAPPY, 1 << 20, &bomb, "a chunk of 1048576 bytes, where 1 to 1024 are allowed");
    refused(Codec::SNAPPY, u32::MAX, &bomb, "4294967295 bytes");
    // A header that claims 4 GiB and nothing behind it.
    refused(Codec::SNAPPY, 1024, b"\xff\xff\xff\xff\x0f", "would decompress to 4294967295");
}

#[test]
fn every_lie_about_a_length_is_named() {
    refused(Codec::RAW, 5, b"four", "a raw chunk of 4 bytes that says 5");
    refused(Codec::RAW, 0, b"", "a chunk of 0 bytes");
    refused(Codec::RAW, 1025, &[0; 1025], "a chunk of 1025 bytes");
    refused(
        Codec::SNAPPY,
        1000,
        &snappy(&[0; 1001]),
        "says 1000 bytes, but would decompress to 1001",
    );
    refused(Codec::SNAPPY, 1000, &snappy(&[0; 1000])[..20], "snappy");
    refused(Codec::SNAPPY, 1000, &[], "says 1000 bytes, but would decompress to 0");
    refused(Codec::SNAPPY, 1000, &[0xff; 10], "snappy");
}

#[test]
fn a_codec_nobody_knows_is_named() {
    refused(Codec(2), 4, b"four", "codec 2 is not known here");
    refused(Codec(254), 4, b"four", "codec 254 is not known here");
}

#[test]
fn a_stage_that_makes_a_chunk_too_large_is_told_so() {
    let transfer = end(1024);
    let error = Compressor::default().apply(&chunk(&transfer, 0, &[0; 1025])).unwrap_err();
    assert_eq!(
        (error.kind, error.message.as_str()),
        (
            FailureKind::Stage,
            "a stage before it made a chunk of 1025 bytes, 1024 are allowed; see \
             `Pipeline::growing`"
        )
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_chunk_comes_back(bytes in prop::collection::vec(0_u8..4, 1..4096)) {
        let (_, back) = there_and_back(&bytes, 4096);
        prop_assert_eq!(back.bytes(), &bytes[..]);
    }

    #[test]
    fn no_body_panics_or_gives_more_than_it_says(body in prop::collection::vec(any::<u8>(), 0..300), raw_len in 0_u32..1100, codec in 0_u8..3) {
        if let Ok(chunk) = decompress(Prefix { codec: Codec(codec), raw_len, index: 0 }, &body) {
            prop_assert_eq!(chunk.bytes().len(), raw_len as usize);
        }
    }

    #[test]
    fn a_changed_snappy_body_is_an_error_or_of_the_right_length(at: prop::sample::Index, value: u8) {
        let mut body = snappy(&text(1024));
        let at = at.index(body.len());
        body[at] = value;
        if let Ok(chunk) = decompress(Prefix { codec: Codec::SNAPPY, raw_len: 1024, index: 0 }, &body) {
            prop_assert_eq!(chunk.bytes().len(), 1024);
        }
    }
}
