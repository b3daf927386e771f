//! A program that embeds a node, and opens no door, is as small as before.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::process::Command;

/// Crates that doors are made of, and nodes are not.
const OF_DOORS: [&str; 10] = [
    "axum",
    "h2",
    "http",
    "hyper",
    "hyper-util",
    "prost",
    "tonic",
    "tonic-web",
    "tower",
    "tungstenite",
];

fn crates_of(package: &str) -> Vec<String> {
    tree(env!("CARGO_MANIFEST_DIR"), &["--edges", "normal", "--package", package])
}

fn tree(folder: &str, of: &[&str]) -> Vec<String> {
    let tree = Command::new(env!("CARGO"))
        .args(["tree", "--offline", "--prefix", "none"])
        .args(of)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
    let text = String::from_utf8(tree.stdout).unwrap();
    text.lines().filter_map(|line| Some(line.split(' ').next()?.to_owned())).collect()
}

#[test]
fn a_node_without_doors_has_no_crate_of_theirs() {
    for package in ["estafette", "estafette-actors"] {
        let crates = crates_of(package);
        assert!(crates.iter().any(|name| name == "actix"), "{crates:?}");
        let theirs: Vec<_> =
            crates.iter().filter(|name| OF_DOORS.contains(&name.as_str())).collect();
        assert!(theirs.is_empty(), "{package} needs {theirs:?}");
    }
    assert!(crates_of("estafette-doors").iter().any(|name| name == "hyper"), "they are seen");
}

#[test]
fn doors_that_post_nothing_have_no_crate_of_webhooks() {
    // What a client needs beside a server, and what secures it; `ring` is in every node.
    let of_webhooks = ["rustls", "rustls-native-certs", "tokio-rustls", "want"];
    let crates = crates_of("estafette-doors");
    let theirs: Vec<_> =
        crates.iter().filter(|name| of_webhooks.contains(&name.as_str())).collect();
    assert!(theirs.is_empty(), "{theirs:?}");
}

/// Programs with a proto have them in their build scripts; who builds the workspace has none.
#[test]
fn the_default_build_has_nothing_that_makes_rust_of_protos() {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/../..");
    let of_protos = ["estafette-build", "prost-build", "tonic-prost-build"];
    let found = |crates: Vec<String>| {
        crates.into_iter().filter(|name| of_protos.contains(&name.as_str())).collect::<Vec<_>>()
    };
    let default = tree(root, &["--edges", "normal,build"]);
    assert!(default.iter().any(|name| name == "estafette-command"), "{default:?}");
    assert_eq!(found(default), [""; 0]);
    let with = tree(root, &["--edges", "normal,build", "--package", "estafette-typed-grpc"]);
    assert!(found(with).contains(&"prost-build".to_owned()), "they are seen");
}
