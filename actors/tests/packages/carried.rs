//! A package is ordinary content to whoever carries it.

use std::fs;

use estafette::NodeConfig;
use estafette::delivery::ContentKind;
use estafette::testing::Pair;
use estafette_actors::package::PackageSource;
use estafette_actors::sink::MemorySink;
use estafette_actors::standard;

use super::harness::{Scene, run, text};

#[test]
fn over_two_hops_it_arrives_as_it_was_and_its_receiver_opens_it() {
    let scene = Scene::new();
    let content = text(300_000);
    run(async {
        let packed = scene.pack("package", &content).await;
        let mut held = scene.file("package");
        for (hop, name) in ["relayed", "arrived"].into_iter().enumerate() {
            let pair = Pair::start(hop as u64 + 1, NodeConfig::default(), standard(), standard()).await.unwrap();
            let (inbox, mut arrived) = MemorySink::channel(1 << 20, 1);
            pair.paris.receive("in", inbox).unwrap();
            let sending = pair.lyon.send("paris/in", PackageSource::open(&held).unwrap()).await.unwrap();
            sending.delivered().await.unwrap();
            let carried = arrived.recv().await.unwrap();
            assert_eq!(carried.offer.content.kind, ContentKind::Package);
            held = scene.file(name);
            fs::write(&held, &carried.bytes).unwrap();
        }
        assert_eq!(fs::read(&held).unwrap(), fs::read(scene.file("package")).unwrap());
        let (unpacked, arrived) = scene.unpack("arrived").await.unwrap();
        assert!(arrived == content);
        assert!(packed.recognises(&unpacked.receipt));
    });
}

#[test]
fn a_package_that_rotted_fails_its_delivery_and_says_so() {
    let scene = Scene::new();
    run(async {
        scene.pack("package", &text(300_000)).await;
        let mut bytes = fs::read(scene.file("package")).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(scene.file("package"), &bytes).unwrap();
        let pair = Pair::start(1, NodeConfig::default(), standard(), standard()).await.unwrap();
        let (inbox, mut arrived) = MemorySink::channel(1 << 20, 1);
        pair.paris.receive("in", inbox).unwrap();
        let sending = pair.lyon.send("paris/in", PackageSource::open(scene.file("package")).unwrap()).await.unwrap();
        let error = sending.delivered().await.unwrap_err().to_string();
        assert!(error.contains("damaged") && error.contains("set it aside"), "{error}");
        assert!(arrived.try_recv().is_err());
    });
}
