//! `compress ∘ decompress` is the identity, and nothing decompresses into more than a chunk.

use std::sync::Arc;

use estafette::delivery::{FailureKind, TransferKey};
use estafette::pipeline::{
    Chunk, ChunkCodec, Codec, CodecFault, Compressed, Custody, Parcel, Prefix, Transfer, Transform,
    TransformError,
};
use estafette_actors::compress::{Compressor, Decompressor, Lz4};
use proptest::prelude::*;

use super::harness::{chunk, end, noise, scope, text};

/// One end of a transfer with this codec.
fn with(codec: impl ChunkCodec, size: u32) -> Arc<Transfer> {
    Transfer::bare(scope(size), TransferKey::from_bytes([9; 32]), Some(Arc::new(codec))).0
}

fn there_and_back(bytes: &[u8], size: u32) -> (Compressed, Chunk) {
    back_and_forth(&end(size), bytes)
}

fn back_and_forth(transfer: &Arc<Transfer>, bytes: &[u8]) -> (Compressed, Chunk) {
    let compressed = Compressor::default().apply(&chunk(transfer, 7, bytes)).unwrap();
    let back = Decompressor::default().apply(&compressed).unwrap();
    (compressed, back)
}

/// Returns what the decompressor makes of a box with this prefix and body, in a transfer with
/// chunks of 1 KiB.
fn decompress(prefix: Prefix, body: &[u8]) -> Result<Chunk, TransformError> {
    decompress_in(&end(1024), prefix, body)
}

fn decompress_in(
    transfer: &Arc<Transfer>,
    prefix: Prefix,
    body: &[u8],
) -> Result<Chunk, TransformError> {
    let custody = Custody::incoming(transfer, prefix.index, false, None);
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
    let (transfer, _) = Transfer::bare(scope(1024), TransferKey::from_bytes([9; 32]), None);
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

fn lz4(bytes: &[u8]) -> Vec<u8> {
    let mut packed = vec![0; Lz4.bound(bytes.len())];
    let length = Lz4.compress(bytes, &mut packed).unwrap();
    packed.truncate(length);
    packed
}

#[test]
fn lz4_brings_chunks_of_every_size_back_and_names_itself() {
    for size in [1, 2, 15, 16, 17, 511, 1023, 1024] {
        for bytes in [text(size), noise(size), vec![0; size]] {
            assert_eq!(back_and_forth(&with(Lz4, 1024), &bytes).1.bytes(), bytes);
        }
    }
    let (compressed, _) = back_and_forth(&with(Lz4, 1024), &text(1024));
    assert_eq!(compressed.prefix().unwrap().codec, Codec::LZ4);
    let (raw, _) = back_and_forth(&with(Lz4, 1024), &noise(1024));
    assert_eq!(raw.prefix().unwrap().codec, Codec::RAW);
}

#[test]
fn a_bomb_of_lz4_is_no_larger_than_its_chunk_and_every_lie_is_named() {
    let transfer = with(Lz4, 1024);
    let refused = |raw_len, body: &[u8], because: &str| {
        let prefix = Prefix { codec: Codec::LZ4, raw_len, index: 7 };
        let error = decompress_in(&transfer, prefix, body).unwrap_err();
        assert_eq!(error.kind, FailureKind::Protocol);
        assert!(error.message.contains(because), "{:?} does not say {because:?}", error.message);
    };
    let bomb = lz4(&vec![0; 1 << 20]);
    refused(1024, &bomb, "lz4");
    refused(1 << 20, &bomb, "a chunk of 1048576 bytes, where 1 to 1024 are allowed");
    refused(1000, &lz4(&[0; 999]), "says 1000 bytes, but would decompress to 999");
    refused(1000, &lz4(&[0; 1001]), "lz4");
    refused(1000, &lz4(&[0; 1000])[..5], "lz4");
    refused(1000, &[], "");
}

/// Says that all is as long as it was, and writes nothing.
#[derive(Debug)]
struct Idle;

impl ChunkCodec for Idle {
    fn id(&self) -> Codec {
        Codec(78)
    }
    fn name(&self) -> &str {
        "idle"
    }
    fn bound(&self, length: usize) -> usize {
        length
    }
    fn compress(&self, bytes: &[u8], _: &mut [u8]) -> Result<usize, CodecFault> {
        Ok(bytes.len())
    }
    fn decompress(&self, _: &[u8], _: &mut [u8]) -> Result<usize, CodecFault> {
        Err(CodecFault::new("it made nothing"))
    }
}

#[test]
fn a_chunk_that_a_codec_left_as_it_was_goes_raw_however_short() {
    for size in 1..=40 {
        let (compressed, back) = back_and_forth(&with(Idle, 1024), &text(size));
        assert_eq!(compressed.prefix().unwrap().codec, Codec::RAW, "{size}");
        assert_eq!(back.bytes(), text(size), "{size}");
    }
}

/// Says that it wrote more than there is, and that it made less than it was asked for.
#[derive(Debug)]
struct Liar;

impl ChunkCodec for Liar {
    fn id(&self) -> Codec {
        Codec(77)
    }
    fn name(&self) -> &str {
        "liar"
    }
    fn bound(&self, _: usize) -> usize {
        0
    }
    fn compress(&self, _: &[u8], into: &mut [u8]) -> Result<usize, CodecFault> {
        Ok(into.len() + 1)
    }
    fn decompress(&self, _: &[u8], into: &mut [u8]) -> Result<usize, CodecFault> {
        Ok(into.len() - 1)
    }
}

#[test]
fn a_codec_that_lies_about_lengths_harms_its_transfer_alone() {
    let transfer = with(Liar, 1024);
    let error = Compressor::default().apply(&chunk(&transfer, 0, &[0; 1024])).unwrap_err();
    assert_eq!(error.kind, FailureKind::Stage);
    assert!(error.message.contains("liar says it wrote 1 bytes to 0"), "{error}");
    let prefix = Prefix { codec: Codec(77), raw_len: 10, index: 0 };
    let error = decompress_in(&transfer, prefix, b"x").unwrap_err();
    assert!(error.message.contains("says 10 bytes, but would decompress to 9"), "{error}");
}

#[test]
fn a_chunk_of_another_codec_than_the_transfer_s_is_refused() {
    let body = snappy(&[0; 1000]);
    let prefix = Prefix { codec: Codec::SNAPPY, raw_len: 1000, index: 7 };
    let error = decompress_in(&with(Lz4, 1024), prefix, &body).unwrap_err();
    assert!(error.message.contains("codec 1") && error.message.contains("lz4"), "{error}");
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
    fn any_chunk_comes_back_from_lz4(bytes in prop::collection::vec(0_u8..4, 1..4096)) {
        let (_, back) = back_and_forth(&with(Lz4, 4096), &bytes);
        prop_assert_eq!(back.bytes(), &bytes[..]);
    }

    #[test]
    fn no_body_of_lz4_panics_or_gives_more_than_it_says(body in prop::collection::vec(any::<u8>(), 0..300), raw_len in 0_u32..1100) {
        if let Ok(chunk) = decompress_in(&with(Lz4, 1024), Prefix { codec: Codec::LZ4, raw_len, index: 0 }, &body) {
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
