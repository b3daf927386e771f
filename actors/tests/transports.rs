//! Transports by scheme: Unix sockets beside TCP, and what stands in the way of a socket.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::fs;
use std::io::ErrorKind;
use std::os::unix::net::UnixListener;
use std::path::Path;

use estafette::node::{Listener, StartError, Transport};
use estafette::{Identity, Node, TrustedPeer};
use estafette_actors::bridge::Unix;
use estafette_actors::sink::FileSink;
use estafette_actors::source::FileSource;
use estafette_actors::standard;

/// Larger than what travels on the express lane.
const LARGE: usize = 8 << 20;

async fn listening(addresses: &[String], inbox: &Path, peer: &Identity) -> Node {
    let mut paris = Node::builder().name("paris").stages(standard());
    for address in addresses {
        paris = paris.listen(address);
    }
    let paris = paris.start().await.unwrap();
    paris.receive("files", FileSink::into_dir(inbox)).unwrap();
    let lyon = TrustedPeer { inboxes: vec!["files".into()], ..TrustedPeer::new("lyon") };
    paris.trust().add(peer.peer(), lyon).unwrap();
    paris
}

#[tokio::test]
async fn a_node_listens_at_unix_sockets_and_tcp_at_once_and_each_delivers() {
    let scene = tempfile::tempdir().unwrap();
    let socket = scene.path().join("paris.sock");
    let given = ["127.0.0.1:0".into(), format!("unix:{}", socket.display()), "tcp:[::1]:0".into()];
    let lyon_key = Identity::generate();
    let inbox = scene.path().join("in");
    fs::create_dir(&inbox).unwrap();
    let paris = listening(&given, &inbox, &lyon_key).await;
    assert_eq!(paris.addresses()[1], given[1]);
    assert!(paris.addresses()[2].starts_with("tcp:[::1]:"), "{:?}", paris.addresses());
    for (number, address) in paris.addresses().to_vec().into_iter().enumerate() {
        let content: Vec<u8> = (0..LARGE).map(|at| (at * number % 251) as u8).collect();
        let name = format!("{number}.raw");
        let here = scene.path().join(&name);
        fs::write(&here, &content).unwrap();
        let lyon = Node::builder().name("lyon").identity(lyon_key.clone()).stages(standard());
        let lyon = lyon.peer("paris", paris.peer(), vec![address]).start().await.unwrap();
        let transfer = lyon.send("paris/files", FileSource::open(&here).unwrap()).await.unwrap();
        let receipt = transfer.delivered().await.unwrap();
        assert_eq!(receipt.length, LARGE as u64);
        assert!(fs::read(inbox.join(&name)).unwrap() == content);
        lyon.shutdown().await;
    }
    paris.shutdown().await;
    assert!(!socket.exists(), "a node takes its socket with it");
}

/// Listens by the transport, and gives the file of a listener away that was not closed in order.
fn left_behind(path: &Path) {
    drop(UnixListener::bind(path).unwrap());
    assert!(path.exists());
}

async fn listen(path: &Path) -> std::io::Result<Box<dyn Listener>> {
    Unix.listen(path.to_str().unwrap()).await
}

#[tokio::test]
async fn a_socket_that_a_dead_process_left_is_replaced_and_nothing_else_is() {
    let scene = tempfile::tempdir().unwrap();
    let path = scene.path().join("paris.sock");
    left_behind(&path);
    let listener = listen(&path).await.unwrap();
    let second = listen(&path).await.unwrap_err();
    assert_eq!(second.kind(), ErrorKind::AddrInUse);
    assert!(second.to_string().contains("another program's socket"), "{second}");
    drop(listener);
    assert!(!path.exists());

    fs::write(&path, "a letter").unwrap();
    let file = listen(&path).await.unwrap_err();
    assert!(file.to_string().contains("is no socket"), "{file}");
    assert_eq!(fs::read(&path).unwrap(), b"a letter");
}

#[tokio::test]
async fn a_listener_leaves_a_socket_alone_that_took_the_place_of_its_own() {
    let scene = tempfile::tempdir().unwrap();
    let path = scene.path().join("paris.sock");
    let first = listen(&path).await.unwrap();
    fs::remove_file(&path).unwrap();
    let second = listen(&path).await.unwrap();
    drop(first);
    assert!(path.exists());
    drop(second);
    assert!(!path.exists());
}

#[tokio::test]
async fn what_can_be_no_socket_is_said_before_anything_is_made() {
    let stages = standard();
    let long = format!("unix:/{}", "x".repeat(107));
    for (bad, why) in [
        ("unix:", "the path of a socket is wanted"),
        (&*long, "108 bytes of at most 107"),
        ("unix:paris.sock", "names no folder: say unix:/"),
        ("quic:paris:7400", "schemes known here are tcp:, unix:"),
        ("tcp:paris", "host:port is wanted"),
        ("paris", "host:port is wanted"),
    ] {
        let said = stages.check_address(bad).unwrap_err();
        assert!(said.contains(why), "{bad}: {said}");
    }
    for good in ["unix:/run/paris.sock", "unix:7400", "tcp:paris:7400"] {
        assert_eq!(stages.check_address(good), Ok(()), "{good}");
    }
    let started = Node::builder().stages(stages).listen(&long).start().await.unwrap_err();
    assert!(
        matches!(&started, StartError::Listen { error, .. } if error.kind() == ErrorKind::InvalidInput)
    );
    assert!(started.to_string().contains("108 bytes of at most 107"), "{started}");
}
