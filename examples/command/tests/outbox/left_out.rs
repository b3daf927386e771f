//! Entries of a tree that can't be sent when it is stored: who stores it hears of them, where they
//! are known then, and else whoever runs the node that sends it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::Value;

use crate::support::proxy::Proxy;
use crate::support::{World, text};
use crate::{paris_behind, ticket_by};

/// A tree with a pipe, which can't be sent, and a link that leads out of it.
fn tree(world: &World) -> PathBuf {
    let tree = world.path("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("leaf"), "green").unwrap();
    symlink("/etc/passwd", tree.join("out")).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, tree.join("pipe"), rustix::fs::Mode::RWXU).unwrap();
    tree
}

/// The messages of such events about a delivery.
fn said(events: &[Value], kind: &str, transfer: &str) -> Vec<String> {
    let about = |event: &&Value| event["event"] == kind && event["transfer"] == transfer;
    events.iter().filter(about).map(|event| text(event, "message")).collect()
}

#[test]
fn what_a_copy_has_not_is_told_to_who_stores_it_whether_a_node_runs_or_not() {
    let (world, proxy) = (World::new(), Proxy::new());
    let (ticket, tree) = (ticket_by(&world, &proxy), tree(&world));
    let store = |arguments: &[&str]| {
        let ran = world.try_to_store(
            &tree,
            &ticket,
            &[&["--copy", "--links", "skip"], arguments].concat(),
        );
        let stored = ran.event("stored");
        assert_eq!(stored["copied"], true, "{stored}");
        let transfer = text(stored, "transfer");
        let told = ["error", "remark"].map(|kind| said(&ran.events, kind, &transfer));
        (ran.code, told)
    };
    for is_running in [false, true] {
        let lyon = is_running.then(|| world.lyon_with(&["--patience", "1s"]));
        let (code, [errors, remarks]) = store(&[]);
        assert_eq!((code, errors.len()), (6, 1), "{errors:?}");
        assert!(errors[0].starts_with("pipe was left out: "), "{errors:?}");
        assert!(remarks.iter().any(|line| line.starts_with("out was left out: ")), "{remarks:?}");
        // Of what a person wants left out nothing is amiss.
        let (code, [errors, remarks]) = store(&["--exclude", "pipe"]);
        assert_eq!((code, errors.len()), (0, 0), "{errors:?}");
        assert!(remarks.iter().any(|line| line.starts_with("out was left out: ")), "{remarks:?}");
        assert!(lyon.is_none_or(|lyon| lyon.terminate() == 0));
    }
    assert!(world.outbox().iter().all(|entry| entry["state"] == "stored"));
    assert_eq!(world.outbox().len(), 4);
}

#[test]
fn what_is_read_when_it_is_sent_is_told_by_the_node_that_sends_it() {
    let (world, proxy) = (World::new(), Proxy::new());
    let (ticket, tree) = (ticket_by(&world, &proxy), tree(&world));
    let ran = world.try_to_store(&tree, &ticket, &[]);
    assert_eq!((ran.code, &ran.event("stored")["copied"]), (0, &false.into()));
    let transfer = text(ran.event("stored"), "transfer");
    let (paris, lyon) = (paris_behind(&world, &proxy), world.lyon());
    assert_eq!(lyon.wait_for("delivered")["transfer"], transfer.as_str());
    let error = lyon.wait_for("error");
    assert_eq!(said(std::slice::from_ref(&error), "error", &transfer).len(), 1, "{error}");
    assert!(text(&error, "message").starts_with("pipe was left out: "), "{error}");
    assert_eq!((lyon.terminate(), paris.terminate()), (0, 0));
}
