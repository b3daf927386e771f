//! The cipher against NaCl's own vector, and the format of a sealed frame against bytes that were
//! written down.

use estafette::pipeline::{Parcel, Transform};
use estafette_actors::seal::{BadTag, Cipher, Opener, Reference, Sealer, self_check};

use super::harness::end;
use super::sealing::compressed;

/// `firstkey`, `nonce`, `m` and `c` of "Cryptography in NaCl" (Bernstein, 2009), which NaCl's tests
/// of `crypto_secretbox` use.
const KEY: &str = "1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389";
const NONCE: &str = "69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37";
const PLAIN: &str = "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f41\
    db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52f0a089bc76897040e082f\
    937763848645e0705";
const TAG: &str = "f3ffc7703f9400e52a7dfb4b3d3305d9";
const SEALED: &str = "8e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe22\
    70d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f\
    654cb45a74e355a5";

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

fn answers_as_nacl(cipher: &impl Cipher<Nonce = [u8; 24]>) {
    let (key, nonce) = (bytes(KEY).try_into().unwrap(), bytes(NONCE).try_into().unwrap());
    let (plain, mut sealed) = (bytes(PLAIN), vec![0; PLAIN.len() / 2]);
    let tag = cipher.seal(&key, &nonce, &plain, &mut sealed);
    assert_eq!((&tag[..], &sealed), (&bytes(TAG)[..], &bytes(SEALED)));
    let mut opened = vec![0; plain.len()];
    assert_eq!(cipher.open(&key, &nonce, &tag, &sealed, &mut opened), Ok(()));
    assert_eq!(opened, plain);
    for bit in 0..128 {
        let mut wrong = tag;
        wrong[bit / 8] ^= 1 << (bit % 8);
        assert_eq!(
            cipher.open(&key, &nonce, &wrong, &sealed, &mut opened),
            Err(BadTag),
            "bit {bit} of the tag"
        );
    }
}

#[test]
fn the_reference_answers_as_nacl() {
    answers_as_nacl(&Reference);
}

#[cfg(feature = "fast-seal")]
#[test]
fn the_fast_one_answers_as_nacl() {
    answers_as_nacl(&estafette_actors::seal::Fast);
}

#[test]
fn the_check_at_the_start_passes_and_the_standard_registry_runs_it() {
    assert_eq!(self_check(), Ok(()));
    assert_eq!(estafette_actors::standard().stages().coder_names().count(), 0);
}

/// Transfer id 03…, attempt 0, sender 01…, receiver 02…, chunks of 1 KiB, key 09…: chunk 5, the
/// bytes "estafette".
const FRAME: &str = "2900000002000000010000000000000005000000000000003450b864917087132f917ed75316be873dcf677998e08d3726c4bde62aac3e56e9b10e62cc0eb28e\
    5a";

#[test]
fn the_bytes_of_a_sealed_frame_are_held() {
    let transfer = end(1024);
    let plain = compressed(&transfer, 5, b"estafette");
    let frame = Sealer::<Reference>::default().apply(&plain).unwrap();
    let hex: String = frame.content().iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, FRAME);
    assert_eq!(Sealer::new().apply(&plain).unwrap().content(), frame.content());
    let arrived =
        estafette::pipeline::Sealed::arrived(&end(1024), bytes(FRAME).into()).unwrap().unwrap();
    assert_eq!(Opener::new().apply(&arrived).unwrap().body(), b"estafette");
}
