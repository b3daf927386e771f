//! Tests that content comes out of a package as it was put in.

use std::fs;

use estafette::FailureKind;
use estafette::delivery::{ContentKind, KeyScope, TransferId, TransferKey};
use estafette::node::PackOrder;
use estafette::pipeline::{Codec, Compression, Source};
use estafette_actors::sink::FileSink;
use estafette_actors::source::{FileSource, ReaderSource, TreeSource};
use estafette_actors::standard;
use proptest::prelude::*;

use super::harness::{CHUNK, CREATED, EXPIRES, Scene, into, noise, run, source, text};

async fn there_and_back(scene: &Scene, bytes: &[u8], compression: Compression, coders: &[&str]) {
    let coders: Vec<String> = coders.iter().map(|&stage| stage.to_owned()).collect();
    let order = scene.order("package", source(bytes));
    let transfer = order.transfer;
    let packed =
        scene.try_pack(estafette::node::PackOrder { compression, coders, ..order }).await.unwrap();
    let (length, digest) = (bytes.len() as u64, *blake3::hash(bytes).as_bytes());
    assert_eq!((packed.length, packed.digest), (length, digest));
    assert_eq!(packed.bytes, fs::metadata(scene.file("package")).unwrap().len());
    let report = scene.packages().verify(&scene.file("package")).unwrap();
    assert_eq!((report.bytes, report.chunks), (packed.bytes, length.div_ceil(CHUNK as u64)));

    let (unpacked, arrived) = scene.unpack("package").await.unwrap();
    assert!(arrived == bytes, "{length} bytes came out as others");
    assert_eq!(
        (unpacked.sender, unpacked.transfer, unpacked.inbox.as_str()),
        (scene.sender.peer(), transfer, "in")
    );
    assert_eq!((unpacked.summary.length, unpacked.summary.digest), (length, digest));
    assert_eq!(unpacked.content, source(bytes).content());
    assert!(packed.recognises(&unpacked.receipt));
    assert_eq!(packed.processed_mac, unpacked.processed_mac);
    assert_eq!(scene.files(), 1, "only the package");
}

#[test]
fn content_of_every_size_comes_out_as_it_went_in() {
    let around = [1, 2, 3, 4, 8, 16].map(|count| count * CHUNK);
    let sizes =
        [0, 1, 2].into_iter().chain(around.into_iter().flat_map(|size| [size - 1, size, size + 1]));
    let scene = Scene::new();
    run(async {
        for size in sizes {
            for bytes in [text(size), noise(size)] {
                there_and_back(&scene, &bytes, Compression::Snappy, &[]).await;
                there_and_back(&scene, &bytes, Compression::Off, &[]).await;
            }
        }
    });
}

#[test]
fn stages_of_the_users_are_undone() {
    let scene = Scene::new();
    run(async {
        for size in [0, 1, CHUNK, 3 * CHUNK + 1, 20 * CHUNK] {
            for stages in [&["flip"][..], &["swap"], &["flip", "swap"], &["swap", "flip"]] {
                there_and_back(&scene, &text(size), Compression::Snappy, stages).await;
            }
        }
    });
}

#[test]
fn large_content_in_large_chunks() {
    let scene = Scene::new();
    let bytes = [text(5 << 20), noise(4 << 20)].concat();
    run(async {
        for chunk_size in [256 << 10, 4 << 20] {
            let order = scene.order("package", source(&bytes));
            scene.try_pack(estafette::node::PackOrder { chunk_size, ..order }).await.unwrap();
            let (inbox, mut delivered) = estafette_actors::sink::MemorySink::channel(64 << 20, 1);
            let order = scene.unpack_order("package", into(inbox));
            scene
                .packages()
                .unpack(estafette::node::UnpackOrder { window: 16 << 20, ..order })
                .await
                .unwrap();
            assert!(delivered.try_recv().unwrap().bytes == bytes);
        }
    });
}

#[test]
fn a_reader_that_gives_little_at_a_time_is_packed_whole() {
    let (scene, bytes) = (Scene::new(), text(10 * CHUNK + 7));
    run(async {
        let (mut writer, reader) = tokio::io::duplex(100);
        let order = scene.order("package", ReaderSource::new("pipe", reader).unwrap());
        let writing = async {
            tokio::io::AsyncWriteExt::write_all(&mut writer, &bytes).await.map(|()| drop(writer))
        };
        let (packed, written) = tokio::join!(scene.try_pack(order), writing);
        written.unwrap();
        assert_eq!(packed.unwrap().length, bytes.len() as u64);
        assert!(scene.unpack("package").await.unwrap().1 == bytes);
    });
}

#[test]
fn a_folder_and_a_file_come_out_in_the_receivers_folder() {
    let scene = Scene::new();
    let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let photos = from.path().join("photos");
    fs::create_dir_all(photos.join("deep/empty")).unwrap();
    fs::write(photos.join("deep/one"), text(5000)).unwrap();
    fs::write(photos.join("two"), b"").unwrap();
    std::os::unix::fs::symlink("two", photos.join("link")).unwrap();
    run(async {
        let packed = scene
            .try_pack(scene.order("tree", TreeSource::new(vec![photos.clone()]).unwrap()))
            .await
            .unwrap();
        assert_eq!(packed.report.files, 2);
        let order = scene.order("file", FileSource::open(photos.join("deep/one")).unwrap());
        scene.try_pack(order).await.unwrap();
        for name in ["tree", "file"] {
            let order = scene.unpack_order(name, into(FileSink::into_dir(to.path())));
            let unpacked = scene.packages().unpack(order).await.unwrap();
            assert!(!unpacked.receipt.place.is_empty());
        }
    });
    assert_eq!(fs::read(to.path().join("photos/deep/one")).unwrap(), text(5000));
    assert_eq!(fs::read(to.path().join("one")).unwrap(), text(5000));
    assert_eq!(fs::read_link(to.path().join("photos/link")).unwrap().as_os_str(), "two");
    assert!(to.path().join("photos/deep/empty").is_dir());
}

#[test]
fn a_package_is_content_that_never_changes_and_can_be_read_again() {
    let scene = Scene::new();
    run(async {
        scene.pack("a", &text(5000)).await;
        scene.pack("b", &text(5000)).await;
        let bytes = fs::read(scene.file("a")).unwrap();
        let mut package = scene.packages().open(&scene.file("a")).unwrap();
        let content = package.content();
        assert_eq!(
            (content.kind, content.length),
            (ContentKind::Package, Some(bytes.len() as u64))
        );
        assert!(
            content.name.to_string().ends_with(".package")
                && !content.name.to_string().contains("content")
        );
        for size in [1, 1000, 1 << 20] {
            assert_eq!(super::harness::read(package.as_mut(), size).await.0, bytes);
            package.finish().unwrap();
            assert!(package.rewind().unwrap());
        }
        let version = package.version().unwrap();
        assert_eq!(scene.packages().open(&scene.file("a")).unwrap().version(), Some(version));
        assert_ne!(scene.packages().open(&scene.file("b")).unwrap().version(), Some(version));
        assert!(package.reference().is_some_and(|reference| reference.kind == "package"));
    });
}

#[test]
fn the_label_tells_a_carrier_what_it_needs_and_no_more() {
    let scene = Scene::new();
    run(async {
        let order = scene.order("package", source(b"the secret content"));
        let transfer = order.transfer;
        scene.try_pack(order).await.unwrap();
        let header = scene.packages().header(&scene.file("package")).unwrap();
        let label = header.label();
        assert_eq!(
            (label.sender, label.receiver, label.transfer),
            (scene.sender.peer(), scene.receiver.peer(), transfer)
        );
        assert_eq!((label.created, label.expires), (CREATED, EXPIRES));
        let bytes = fs::read(scene.file("package")).unwrap();
        assert!(!bytes.windows(6).any(|window| window == b"secret"));
        assert!(!bytes.windows(7).any(|window| window == b"content"), "nor its name");
    });
}

#[test]
fn two_packages_of_the_same_content_and_id_share_no_frame() {
    let scene = Scene::new();
    run(async {
        let transfer = TransferId::random();
        for name in ["a", "b"] {
            let order = scene.order(name, source(&noise(2 * CHUNK)));
            scene.try_pack(estafette::node::PackOrder { transfer, ..order }).await.unwrap();
        }
    });
    let [a, b] = ["a", "b"].map(|name| fs::read(scene.file(name)).unwrap());
    let frames = |package: &[u8]| {
        super::harness::ends(package)
            .windows(2)
            .map(|pair| package[pair[0] + 24..pair[1]].to_vec())
            .collect::<Vec<_>>()
    };
    assert!(frames(&a).iter().zip(frames(&b)).all(|(a, b)| *a != b), "each has a fresh key");
}

#[test]
fn the_key_is_nowhere_in_the_package() {
    // The scope of a package's keys is on its label; what is missing is the key.
    let scene = Scene::new();
    run(async {
        scene.pack("package", b"content").await;
        let header = scene.packages().header(&scene.file("package")).unwrap();
        let letter = header.open(&scene.receiver).unwrap();
        let bytes = fs::read(scene.file("package")).unwrap();
        let key = TransferKey::from_bytes(*letter.key.expose());
        let scope: KeyScope = header.label().scope();
        for secret in [letter.key.expose(), key.epoch_key(&scope, 0).key()] {
            assert!(!bytes.windows(32).any(|window| window == secret));
        }
        assert!(header.open(&scene.sender).is_err(), "its sender has forgotten the key");
    });
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_bytes_come_out_as_they_went_in(bytes in prop::collection::vec(any::<u8>(), 0..6000), off: bool, flip: bool) {
        let scene = Scene::new();
        let compression = if off { Compression::Off } else { Compression::Snappy };
        run(there_and_back(&scene, &bytes, compression, if flip { &["flip"] } else { &[] }));
    }
}

#[test]
fn a_package_is_opened_with_the_suite_on_its_label_or_refused_by_its_name() {
    run(async {
        for suite in standard().stages().suites() {
            let (mut scene, bytes) = (Scene::new(), text(10 * CHUNK));
            let order = PackOrder { suite, ..scene.order("package", source(&bytes)) };
            scene.try_pack(order).await.unwrap();
            assert_eq!(scene.unpack("package").await.unwrap().1, bytes);
            scene.registry = scene.registry.without_sealer(suite);
            let failure = scene.unpack("package").await.unwrap_err();
            assert_eq!(failure.kind, FailureKind::Stage);
            assert!(failure.message.contains(&format!("sealed with {suite}")), "{failure}");
            let order = PackOrder { suite, ..scene.order("other", source(&bytes)) };
            let error = scene.try_pack(order).await.unwrap_err().to_string();
            assert!(error.contains(&format!("sealed with {suite}")), "{error}");
        }
    });
}

#[test]
fn a_package_names_its_codec_unless_every_node_has_it() {
    run(async {
        let (mut scene, bytes) = (Scene::new(), text(10 * CHUNK));
        for (compression, stages) in [
            (Compression::Lz4, &["codec:lz4"][..]),
            (Compression::Snappy, &[]),
            (Compression::Off, &[]),
        ] {
            let order = PackOrder { compression, ..scene.order("package", source(&bytes)) };
            scene.try_pack(order).await.unwrap();
            let header = scene.packages().header(&scene.file("package")).unwrap();
            assert_eq!(header.label().stages, stages);
            assert_eq!(scene.unpack("package").await.unwrap().1, bytes);
        }
        let order =
            PackOrder { compression: Compression::Lz4, ..scene.order("package", source(&bytes)) };
        scene.try_pack(order).await.unwrap();
        scene.registry = scene.registry.without_codec(Codec::LZ4);
        let failure = scene.unpack("package").await.unwrap_err();
        assert_eq!(failure.kind, FailureKind::Stage);
        assert!(failure.message.contains("codec \"lz4\" is not registered here"), "{failure}");
    });
}
