//! Whatever happens to the bytes of a package, by a disk or by somebody who knows the format, is
//! noticed.

use std::fs;

use estafette::FailureKind;
use estafette::pipeline::SourceError;
use estafette::testing::Random;

use super::harness::{CHUNK, Scene, ends, noise, read, run, text, with_checksums};

/// The number of bits that are flipped, besides those of places that deserve each of them.
const SAMPLE: usize = 250;

async fn package(scene: &Scene) -> Vec<u8> {
    scene.pack("good", &[text(2 * CHUNK), noise(CHUNK + 100)].concat()).await;
    fs::read(scene.file("good")).unwrap()
}

/// Opens these bytes as a package, which must fail.
async fn refused(scene: &Scene, bytes: &[u8], what: &str) -> estafette::Failure {
    fs::write(scene.file("bad"), bytes).unwrap();
    let failure =
        scene.unpack("bad").await.err().unwrap_or_else(|| panic!("{what} was not noticed"));
    if failure.kind == FailureKind::Integrity {
        assert!(
            failure.message.contains("bad") && failure.message.contains("set it aside"),
            "{failure}"
        );
    }
    failure
}

/// The bits to flip: all of the preamble and of the first frame's header, and a sample of the
/// others.
fn bits(package: &[u8]) -> Vec<usize> {
    let header = ends(package)[0];
    let whole = (0..16).chain(header..header + 24).flat_map(|byte| byte * 8..byte * 8 + 8);
    let mut random = Random::seeded(7);
    let sampled =
        (0..SAMPLE).map(|_| random.below(package.len() as u64 * 8) as usize).collect::<Vec<_>>();
    whole.chain(sampled).collect()
}

#[test]
fn a_flipped_bit_is_noticed_by_whoever_carries_it() {
    let scene = Scene::new();
    run(async {
        let good = package(&scene).await;
        for bit in bits(&good) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            fs::write(scene.file("bad"), &bad).unwrap();
            assert!(scene.packages().verify(&scene.file("bad")).is_err(), "bit {bit}");
            refused(&scene, &bad, &format!("bit {bit}")).await;
        }
    });
}

#[test]
fn a_flipped_bit_is_noticed_by_the_receiver_even_when_the_checksums_agree() {
    let scene = Scene::new();
    run(async {
        let good = package(&scene).await;
        let mut tampered = 0;
        for bit in bits(&good) {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let bad = with_checksums(bad);
            if bad != good {
                refused(&scene, &bad, &format!("bit {bit}")).await;
                tampered += 1;
            }
        }
        assert!(tampered > SAMPLE, "only bits of checksums are repaired");
    });
}

#[test]
fn the_checksums_of_the_tests_are_those_of_the_format() {
    let scene = Scene::new();
    run(async {
        let good = package(&scene).await;
        let mut without = good.clone();
        ends(&good).iter().for_each(|&end| without[end - 8..end].fill(0));
        assert_eq!(with_checksums(without), good);
    });
}

#[test]
fn nothing_of_a_damaged_frame_is_given_out() {
    let scene = Scene::new();
    run(async {
        let good = package(&scene).await;
        for pair in ends(&good).windows(2) {
            let mut bad = good.clone();
            bad[pair[1] - 12] ^= 1;
            fs::write(scene.file("bad"), &bad).unwrap();
            let mut source = scene.packages().open(&scene.file("bad")).unwrap();
            let (given, error) = read(source.as_mut(), 100).await;
            assert_eq!(given, good[..pair[0]], "all before the frame, and nothing of it");
            let error = error.unwrap();
            assert!(
                matches!(&error, SourceError::Damaged { offset, .. } if *offset == pair[0] as u64),
                "{error}"
            );
            let text = error.to_string();
            assert!(
                text.contains("bad")
                    && text.contains("set it aside")
                    && text.contains(&pair[0].to_string()),
                "{text}"
            );
        }
    });
}

#[test]
fn a_package_that_was_cut_is_noticed_at_every_length() {
    let scene = Scene::new();
    run(async {
        let good = package(&scene).await;
        let mut random = Random::seeded(9);
        let some = (0..60).map(|_| random.below(good.len() as u64) as usize);
        let ends = ends(&good).into_iter().rev().skip(1);
        for length in some.chain(ends).chain([0, 1, 15, 16, good.len() - 1]) {
            refused(&scene, &good[..length], &format!("a cut at {length}")).await;
            assert!(scene.packages().verify(&scene.file("bad")).is_err());
        }
        refused(&scene, &[&good[..], b"x"].concat(), "a byte too many").await;
        assert_eq!(
            refused(&scene, b"%PDF-1.7, and something more", "another file").await.kind,
            FailureKind::Protocol
        );
    });
}

/// A package made of these of its frames, with the index that each is to have, as somebody would
/// who knows the format.
fn rearranged(package: &[u8], frames: &[usize]) -> Vec<u8> {
    let ends = ends(package);
    let mut made = package[..ends[0]].to_vec();
    for (index, &frame) in frames.iter().enumerate() {
        let at = made.len();
        made.extend_from_slice(&package[ends[frame]..ends[frame + 1]]);
        made[at + 16..at + 24].copy_from_slice(&(index as u64).to_le_bytes());
    }
    with_checksums(made)
}

#[test]
fn frames_left_out_swapped_or_repeated_are_noticed() {
    let scene = Scene::new();
    run(async {
        // Four chunks and the trailer.
        let good = package(&scene).await;
        assert_eq!(rearranged(&good, &[0, 1, 2, 3, 4]), good);
        for frames in [
            &[1, 0, 2, 3, 4][..],
            &[0, 2, 3, 4],
            &[0, 1, 2, 4],
            &[4],
            &[0, 1, 1, 2, 3, 4],
            &[0, 1, 2, 2, 4],
            &[0, 1, 2, 3, 3, 4],
        ] {
            let failure = refused(&scene, &rearranged(&good, frames), &format!("{frames:?}")).await;
            assert_eq!(failure.kind, FailureKind::Integrity, "{failure}");
        }
        for frames in [&[0, 1, 2, 3][..], &[], &[0, 1, 2, 3, 4, 4]] {
            let failure = refused(&scene, &rearranged(&good, frames), &format!("{frames:?}")).await;
            assert_eq!(failure.kind, FailureKind::Integrity, "{failure}");
        }
    });
}

#[test]
fn a_frame_of_another_package_is_noticed() {
    let scene = Scene::new();
    run(async {
        let good = package(&scene).await;
        scene.pack("other", &noise(4 * CHUNK)).await;
        let other = fs::read(scene.file("other")).unwrap();
        let (ours, theirs) = (ends(&good), ends(&other));
        for frame in 0..4 {
            let parts = [
                &good[..ours[frame]],
                &other[theirs[frame]..theirs[frame + 1]],
                &good[ours[frame + 1]..],
            ]
            .concat();
            refused(&scene, &parts, &format!("frame {frame}, spliced")).await;
            let failure = refused(
                &scene,
                &with_checksums(parts),
                &format!("frame {frame}, spliced and summed"),
            )
            .await;
            assert_eq!(failure.kind, FailureKind::Integrity, "{failure}");
        }
        let heads = [&good[..ours[0]], &other[theirs[0]..]].concat();
        refused(&scene, &with_checksums(heads), "a header before other frames").await;
    });
}
