//! `chunk ∘ assemble` is the identity, and it does not matter in what pieces content comes.

use estafette::delivery::Trailer;
use estafette::pipeline::{
    Assembly, Codec, Custody, Fault, Parcel, Piece, Pipeline, Prefix, Signal, Summary, Transfer,
};
use estafette_actors::chunk::Digest;
use estafette_actors::compress::{Compressor, Decompressor};
use estafette_actors::seal::{Opener, Sealer};
use proptest::prelude::*;

use super::harness::{chunk, cut, deliver, end, heard, noise, scope, sizes, text};

fn arrives(content: &[u8], chunk_size: u32) {
    let send = Pipeline::new()
        .then("digest", Digest::default)
        .then("compress", Compressor::default)
        .then("seal", Sealer::new);
    let receive = Pipeline::new()
        .then("open", Opener::new)
        .then("decompress", Decompressor::default)
        .then("digest", Digest::default);
    let (verdict, bytes) = deliver(content, chunk_size, &send, &receive);
    let Assembly::Committed { summary, .. } = verdict else {
        panic!("{} bytes in chunks of {chunk_size}: {verdict:?}", content.len())
    };
    assert_eq!(
        summary,
        Summary { length: content.len() as u64, digest: *blake3::hash(content).as_bytes() }
    );
    assert!(bytes == content, "{} bytes in chunks of {chunk_size}", content.len());
}

#[test]
fn content_of_every_size_around_a_boundary_arrives_as_it_was() {
    for size in sizes(1024) {
        arrives(&text(size), 1024);
        arrives(&noise(size), 1024);
    }
    arrives(&text((256 << 10) + 1), 256 << 10);
}

#[test]
fn loose_pieces_give_the_chunks_of_whole_ones() {
    for size in sizes(1024) {
        let content = noise(size);
        let whole = cut(&content, 1024, std::iter::repeat(1024), size == 0);
        let rest = size % 1024;
        assert_eq!(whole.len(), size.div_ceil(1024) + 1);
        for (place, (index, last, bytes)) in whole.iter().enumerate() {
            assert_eq!((*index, *last), (place as u64, place + 1 == whole.len()));
            let wanted = match place + 1 {
                _ if *last => Trailer::LENGTH,
                n if n == whole.len() - 1 && rest > 0 => rest,
                _ => 1024,
            };
            assert_eq!(bytes.len(), Prefix::LENGTH + wanted);
        }
        for piece in [1, 7, 1000, 1023, 1025, 3000, 5000] {
            assert_eq!(
                cut(&content, 1024, std::iter::repeat(piece), size % 2 == 0),
                whole,
                "{size} bytes in pieces of {piece}"
            );
        }
    }
}

#[test]
fn the_trailer_vouches_for_what_was_cut() {
    let content = text(5000);
    let (index, _, bytes) = cut(&content, 1024, std::iter::repeat(999), false).pop().unwrap();
    let prefix = Prefix::decode(&bytes).unwrap();
    assert_eq!((index, prefix), (5, Prefix { codec: Codec::TRAILER, raw_len: 48, index: 5 }));
    let trailer = Trailer { chunks: 5, length: 5000, digest: *blake3::hash(&content).as_bytes() };
    assert_eq!(Trailer::decode(&bytes[Prefix::LENGTH..]), Ok(trailer));
}

#[test]
fn a_piece_that_lies_about_its_length_fails_its_transfer_and_nothing_else() {
    use actix::{Actor, System};
    use estafette::pipeline::{Balanced, ChunkerSeat, Outlet};
    System::new().block_on(async {
        let key = estafette::delivery::TransferKey::from_bytes([9; 32]);
        let (transfer, mut signals) = Transfer::bare(scope(1024), key, None);
        let outlet = Outlet::into_stage("nowhere".into(), estafette::metrics::Metrics::default().stage("nowhere"));
        let seat = ChunkerSeat { transfer: transfer.clone(), outlet: Balanced::single(outlet) };
        let chunker = estafette_actors::chunk::Chunker::new(seat).start();
        let lie = Piece { length: 999, ..Piece::copied(&transfer, b"short", true) };
        chunker.send(lie).await.unwrap();
        let signals = heard(&mut signals);
        assert!(
            matches!(&signals[..], [Signal::Fault(Fault { message, .. })] if message.contains("longer than its buffer")),
            "{signals:?}"
        );
    });
}

#[test]
fn a_chunk_that_is_dropped_says_so_once_and_brings_itself_along() {
    let key = estafette::delivery::TransferKey::from_bytes([9; 32]);
    let (transfer, mut signals) = Transfer::bare(scope(1024), key, None);
    let dropped = chunk(&transfer, 3, b"dropped");
    dropped.custody().keep(dropped.content().clone());
    let copy: Custody = dropped.custody().clone();
    let content = dropped.content().clone();
    drop(dropped);
    assert!(heard(&mut signals).is_empty(), "somebody still answers for it");
    drop(copy);
    let signals = heard(&mut signals);
    let [Signal::Lost(lost)] = &signals[..] else { panic!("{signals:?}") };
    assert_eq!((lost.index, lost.trailer, lost.again.as_ref()), (3, false, Some(&content)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn content_of_any_size_arrives_as_it_was(size in 0_usize..20_000, doublings in 0_u32..4, compressible: bool) {
        let content = if compressible { text(size) } else { noise(size) };
        arrives(&content, 1024 << doublings);
    }

    #[test]
    fn pieces_of_any_sizes_give_the_same_chunks(size in 0_usize..6000, pieces in prop::collection::vec(1_usize..2500, 1..8), empty_end: bool) {
        let content = noise(size);
        let whole = cut(&content, 1024, std::iter::repeat(1024), size == 0);
        prop_assert_eq!(cut(&content, 1024, pieces.into_iter().cycle(), empty_end), whole);
    }

    #[test]
    fn the_digest_changes_no_byte(size in 1_usize..1025) {
        use estafette::pipeline::Transform;
        let transfer = end(1024);
        let content = noise(size);
        let out = Digest.apply(&chunk(&transfer, 0, &content)).unwrap();
        prop_assert_eq!(out.bytes(), &content[..]);
        prop_assert_eq!(transfer.digest_now(1), Some(*blake3::hash(&content).as_bytes()));
    }
}
