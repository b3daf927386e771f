//! AES-256-GCM: against the vectors of NIST and of Project Wycheproof, against a second
//! implementation, and in the stages. Where the processor or the build does not have it, nothing
//! registers it, and there is nothing to check.

use aes_gcm::aead::AeadInPlace;
use aes_gcm::{Aes256Gcm, KeyInit};
use estafette::delivery::KeyScope;
use estafette::pipeline::{Parcel, Sealed, Transform};
use estafette::wire::Suite;
use estafette_actors::seal::{Aes, BadTag, Cipher, Opener, Reference, Sealer};
use estafette_actors::standard;
use proptest::prelude::*;

use super::harness::{end_of, noise, scope, sizes};
use super::sealing::compressed;

/// The package `aes-gcm`, which shares no code with `graviola`.
fn second(key: &[u8; 32], nonce: &[u8; 12], plain: &[u8]) -> (Vec<u8>, [u8; 16]) {
    let (cipher, mut sealed) = (Aes256Gcm::new(key.into()), plain.to_vec());
    let tag = cipher.encrypt_in_place_detached(nonce.into(), &[], &mut sealed).unwrap();
    (sealed, tag.into())
}

fn seal(aes: &Aes, key: &[u8; 32], nonce: &[u8; 12], plain: &[u8]) -> (Vec<u8>, [u8; 16]) {
    let mut sealed = vec![0; plain.len()];
    let tag = aes.seal(key, nonce, plain, &mut sealed);
    (sealed, tag)
}

fn open(
    aes: &Aes,
    key: &[u8; 32],
    nonce: &[u8; 12],
    (sealed, tag): &(Vec<u8>, [u8; 16]),
) -> Result<Vec<u8>, BadTag> {
    let mut plain = vec![0; sealed.len()];
    aes.open(key, nonce, tag, sealed, &mut plain).map(|()| plain)
}

fn bytes(hex: &str) -> Vec<u8> {
    let hex = hex.trim_start_matches('-');
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn the_vectors_of_nist_and_wycheproof_are_answered_as_they_say() {
    let Some(aes) = Aes::detect() else { return println!("left out: no AES here") };
    let (mut valid, mut invalid) = (0, 0);
    for line in include_str!("aes_256_gcm.txt").lines().filter(|line| !line.starts_with('#')) {
        let [verdict, key, nonce, plain, sealed, tag] =
            line.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let (key, nonce) = (bytes(key).try_into().unwrap(), bytes(nonce).try_into().unwrap());
        let (plain, boxed) = (bytes(plain), (bytes(sealed), bytes(tag).try_into().unwrap()));
        if verdict == "valid" {
            valid += 1;
            assert_eq!(seal(&aes, &key, &nonce, &plain), boxed, "{line}");
            assert_eq!(second(&key, &nonce, &plain), boxed, "{line}");
            assert_eq!(open(&aes, &key, &nonce, &boxed), Ok(plain), "{line}");
        } else {
            invalid += 1;
            assert_eq!(open(&aes, &key, &nonce, &boxed), Err(BadTag), "{line}");
        }
    }
    assert_eq!((valid, invalid), (41, 27));
}

#[test]
fn it_is_registered_and_preferred_where_the_processor_has_it() {
    let salsa = Suite::XSALSA20_POLY1305;
    let expected = match Aes::detect() {
        Some(_) => vec![Suite::AES_256_GCM, salsa],
        None => vec![salsa],
    };
    assert_eq!(standard().stages().suites(), expected);
    assert_eq!(standard().without_sealer(Suite::AES_256_GCM).stages().suites(), [salsa]);
}

fn aes_scope(chunk_size: u32) -> KeyScope {
    KeyScope { suite: Suite::AES_256_GCM, ..scope(chunk_size) }
}

fn there_and_back(index: u64, body: &[u8]) {
    let (here, there) = (end_of(aes_scope(1 << 16)), end_of(aes_scope(1 << 16)));
    let plain = compressed(&here, index, body);
    let sealed = Sealer::<Aes>::default().apply(&plain).unwrap();
    let arrived = Sealed::arrived(&there, sealed.content().clone()).unwrap().unwrap();
    let opened = Opener::<Aes>::default().apply(&arrived).unwrap();
    assert_eq!((opened.custody().index(), opened.content()), (index, plain.content()));
}

#[test]
fn bodies_of_every_size_and_indices_on_both_sides_of_an_epoch_come_back() {
    if Aes::detect().is_none() {
        return println!("left out: no AES here");
    }
    for size in sizes(64).into_iter().chain(sizes(1024)) {
        there_and_back(0, &noise(size));
    }
    for index in [1, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 1 << 40] {
        there_and_back(index, b"body");
    }
}

/// Transfer id 03…, attempt 0, sender 01…, receiver 02…, chunks of 1 KiB, key 09…: chunk 5, the
/// bytes "estafette".
const FRAME: &str = "2900000002000000010000000000000005000000000000009c392724ada8ff0371fccd6cbe9df165\
    6d5cbe4dfd9cf29f0b004aa1942c6719d026237824ffc99a2d";

#[test]
fn the_bytes_of_a_frame_are_held_and_no_other_suite_opens_it() {
    if Aes::detect().is_none() {
        return println!("left out: no AES here");
    }
    let plain = compressed(&end_of(aes_scope(1024)), 5, b"estafette");
    let frame = Sealer::<Aes>::default().apply(&plain).unwrap();
    let hex: String = frame.content().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, FRAME);
    for scope in [aes_scope(1024), scope(1024)] {
        let arrived = Sealed::arrived(&end_of(scope), frame.content().clone()).unwrap().unwrap();
        assert!(Opener::<Reference>::default().apply(&arrived).is_err());
        let opened = Opener::<Aes>::default().apply(&arrived);
        assert_eq!(opened.is_ok(), scope.suite == Suite::AES_256_GCM, "keys are bound to a suite");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn it_agrees_with_a_second_implementation(key: [u8; 32], nonce: [u8; 12], plain in prop::collection::vec(any::<u8>(), 0..5000)) {
        if let Some(aes) = Aes::detect() {
            let boxed = seal(&aes, &key, &nonce, &plain);
            prop_assert_eq!(&boxed, &second(&key, &nonce, &plain));
            prop_assert_eq!(open(&aes, &key, &nonce, &boxed), Ok(plain));
        }
    }

    #[test]
    fn one_changed_bit_anywhere_is_noticed(key: [u8; 32], nonce: [u8; 12], plain in prop::collection::vec(any::<u8>(), 0..3000), bit: prop::sample::Index) {
        if let Some(aes) = Aes::detect() {
            let (mut key, mut nonce) = (key, nonce);
            let (mut sealed, mut tag) = seal(&aes, &key, &nonce, &plain);
            let mut all: Vec<_> = sealed.iter_mut().chain(&mut tag).chain(&mut nonce).chain(&mut key).collect();
            let bit = bit.index(8 * all.len());
            *all[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(open(&aes, &key, &nonce, &(sealed, tag)), Err(BadTag));
        }
    }

    #[test]
    fn any_body_comes_back(index in 0_u64..(1 << 41), body in prop::collection::vec(any::<u8>(), 0..5000)) {
        if Aes::detect().is_some() {
            there_and_back(index, &body);
        }
    }
}
