//! `seal ∘ open` is the identity, whichever implementation does which half.

use std::sync::Arc;

use estafette::delivery::TransferKey;
use estafette::pipeline::{
    Codec, Compressed, Custody, Parcel, Prefix, Sealed, Transfer, Transform,
};
use estafette::wire::HEADER_LENGTH;
#[cfg(feature = "fast-seal")]
use estafette_actors::seal::Fast;
use estafette_actors::seal::{Cipher, Opener, Reference, Sealer};
use proptest::prelude::*;

use super::harness::{end, noise, scope, sizes};

/// The chunk that the compressor would hand to the sealer.
pub(crate) fn compressed(transfer: &Arc<Transfer>, index: u64, body: &[u8]) -> Compressed {
    let prefix = Prefix { codec: Codec::RAW, raw_len: body.len() as u32, index };
    let custody = Custody::outgoing(transfer, index, body.len() as u64, None);
    Compressed::from_parts(custody, [&prefix.encode(), body].concat().into())
}

fn there_and_back<S: Cipher, O: Cipher>(index: u64, body: &[u8]) {
    let (here, there) = (end(1 << 16), end(1 << 16));
    let plain = compressed(&here, index, body);
    let sealed = Sealer::<S>::default().apply(&plain).unwrap();
    assert_eq!(
        sealed.content().len(),
        HEADER_LENGTH + Sealed::TAG_LENGTH + Prefix::LENGTH + body.len()
    );
    let arrived = Sealed::arrived(&there, sealed.content().clone()).unwrap().unwrap();
    let opened = Opener::<O>::default().apply(&arrived).unwrap();
    assert_eq!((opened.custody().index(), opened.content()), (index, plain.content()));
}

fn every_pair(index: u64, body: &[u8]) {
    there_and_back::<Reference, Reference>(index, body);
    #[cfg(feature = "fast-seal")]
    {
        there_and_back::<Fast, Fast>(index, body);
        there_and_back::<Fast, Reference>(index, body);
        there_and_back::<Reference, Fast>(index, body);
    }
}

#[test]
fn bodies_of_every_size_come_back_whoever_seals_and_whoever_opens() {
    for size in sizes(64).into_iter().chain(sizes(1024)) {
        every_pair(0, &noise(size));
    }
}

#[test]
fn indices_on_both_sides_of_an_epoch_come_back() {
    for index in [1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 1 << 40] {
        every_pair(index, b"body");
    }
}

/// Another attempt at the same delivery has the same scope in all but its number; here even that.
#[test]
fn a_stage_uses_the_key_of_the_transfer_at_hand_whatever_it_sealed_before() {
    let with = |key: u8| Transfer::bare(scope(1 << 16), TransferKey::from_bytes([key; 32]), None).0;
    let (mut sealer, mut opener) = (Sealer::<Reference>::default(), Opener::<Reference>::default());
    for key in [1, 2, 1] {
        let plain = compressed(&with(key), 0, b"body");
        let sealed = sealer.apply(&plain).unwrap();
        let afresh = Sealer::<Reference>::default().apply(&plain).unwrap();
        assert_eq!(sealed.content(), afresh.content(), "sealed with the key of another transfer");
        let opened =
            opener.apply(&Sealed::arrived(&with(key), sealed.content().clone()).unwrap().unwrap());
        assert_eq!(opened.unwrap().content(), plain.content());
    }
}

#[cfg(feature = "fast-seal")]
#[test]
fn both_implementations_give_the_same_frame() {
    for size in sizes(64) {
        let (transfer, body) = (end(1 << 16), noise(size));
        let plain = compressed(&transfer, 5, &body);
        let frames = (
            Sealer::<Fast>::default().apply(&plain).unwrap(),
            Sealer::<Reference>::default().apply(&plain).unwrap(),
        );
        assert_eq!(frames.0.content(), frames.1.content(), "{size} bytes");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_body_comes_back(index in 0_u64..(1 << 41), body in prop::collection::vec(any::<u8>(), 0..5000)) {
        every_pair(index, &body);
    }

    #[cfg(feature = "fast-seal")]
    #[test]
    fn both_implementations_agree_on_any_key_and_nonce(key: [u8; 32], nonce: [u8; 24], plain in prop::collection::vec(any::<u8>(), 0..2000)) {
        let (mut fast, mut reference) = (vec![0; plain.len()], vec![0; plain.len()]);
        let tags = (Fast.seal(&key, &nonce, &plain, &mut fast), Reference.seal(&key, &nonce, &plain, &mut reference));
        prop_assert_eq!((tags.0, &fast), (tags.1, &reference));
        let mut opened = vec![0; plain.len()];
        prop_assert_eq!(Fast.open(&key, &nonce, &tags.1, &reference, &mut opened), Ok(()));
        prop_assert_eq!(&opened, &plain);
        prop_assert_eq!(Reference.open(&key, &nonce, &tags.0, &fast, &mut opened), Ok(()));
        prop_assert_eq!(&opened, &plain);
    }
}
