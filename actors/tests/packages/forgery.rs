//! Tests that a carrier of a package can neither give it to somebody else nor speak for its
//! receiver.

use std::fs;

use estafette::delivery::Receipt;
use estafette::node::PackOrder;
use estafette::wire::{Identity, SecretBytes};
use estafette::{FailureKind, PeerId};

use super::harness::{Scene, run, source, text, with_checksums};

/// The offsets of sender and receiver in a package.
const SENDER: usize = 16;
const RECEIVER: usize = 48;

fn relabelled(scene: &Scene, at: usize, peer: PeerId) {
    let mut bytes = fs::read(scene.file("package")).unwrap();
    bytes[at..at + 32].copy_from_slice(peer.as_bytes());
    fs::write(scene.file("relabelled"), with_checksums(bytes)).unwrap();
}

#[test]
fn nobody_but_the_receiver_opens_it() {
    let (scene, mallory) = (Scene::new(), Identity::generate());
    run(async {
        scene.pack("package", &text(5000)).await;
        for other in [&mallory, &scene.sender] {
            let failure = scene.unpack_as(other, "package").await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::Refused, "{failure}");
            assert!(failure.message.contains(&scene.receiver.peer().to_string()), "{failure}");
            relabelled(&scene, RECEIVER, other.peer());
            let failure = scene.unpack_as(other, "relabelled").await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::Integrity, "addressed anew: {failure}");
        }
        assert!(scene.unpack("package").await.is_ok());
    });
}

#[test]
fn a_package_does_not_pass_for_somebody_elses() {
    let (scene, mallory) = (Scene::new(), Identity::generate());
    run(async {
        let order = scene.order("package", source(&text(5000)));
        scene.try_pack(PackOrder { identity: mallory.clone(), ..order }).await.unwrap();
        assert_eq!(scene.unpack("package").await.unwrap().0.sender, mallory.peer());
        relabelled(&scene, SENDER, scene.sender.peer());
        assert_eq!(scene.unpack("relabelled").await.unwrap_err().kind, FailureKind::Integrity);
    });
}

#[test]
fn only_the_receivers_own_word_is_recognised() {
    let scene = Scene::new();
    run(async {
        let packed = scene.pack("package", &text(5000)).await;
        let (unpacked, _) = scene.unpack("package").await.unwrap();
        let good = unpacked.receipt;
        assert!(packed.recognises(&good));
        scene.pack("other", &text(5000)).await;
        let other = scene.unpack("other").await.unwrap().0.receipt;
        assert_eq!(other.digest, good.digest);
        let mut flipped = good.mac;
        flipped[31] ^= 1;
        for forged in [
            Receipt { mac: [0; 32], ..good.clone() },
            Receipt { mac: flipped, ..good.clone() },
            Receipt { mac: unpacked.processed_mac, ..good.clone() },
            Receipt { mac: good.digest, ..good.clone() },
            Receipt { digest: [0; 32], ..good.clone() },
            Receipt { length: 4999, ..good.clone() },
            other,
        ] {
            assert!(!packed.recognises(&forged), "{forged:?}");
        }
    });
}

#[test]
fn the_token_of_a_ticket_reaches_the_receiver_only() {
    let scene = Scene::new();
    run(async {
        let token = SecretBytes::new([0x5a; 32]);
        let order = scene.order("package", source(b"content"));
        scene.try_pack(PackOrder { token: Some(token.clone()), ..order }).await.unwrap();
        let bytes = fs::read(scene.file("package")).unwrap();
        assert!(!bytes.windows(8).any(|window| window == [0x5a; 8]));
        let order = scene.unpack_order(
            "package",
            Box::new(move |offer| {
                assert_eq!(offer.token, Some(token));
                Err(super::harness::refused("it was seen"))
            }),
        );
        assert_eq!(scene.packages().unpack(order).await.unwrap_err().message, "it was seen");
    });
}
