//! Spools that fail, and nodes that end.

use std::fs;

use rustix::process::Signal;
use serde_json::Value;

use super::*;
use support::disk::{Breakable, Exfat};
use support::process::Process;
use support::proxy::Proxy;
use support::{Ran, World, text};

/// The error of a whole node, not of one of its deliveries.
fn last_word(node: &support::process::Process) -> Value {
    loop {
        let error = node.wait_for("error");
        if error["transfer"].is_null() {
            return error;
        }
    }
}

#[test]
fn a_receiver_whose_spool_has_failed_ends_with_6_and_what_is_stored_arrives_when_the_disk_is_mended()
 {
    let (world, proxy) = (World::new(), Proxy::new());
    let Some(disk) = Breakable::mount(&world.spool("paris")) else { return };
    let (ticket, lyon) = (ticket_by(&world, &proxy), world.lyon_with(&["--patience", "1s"]));
    let paris = paris_behind(&world, &proxy);
    world.store(&world.file("before", 1000), &ticket, &[]);
    lyon.wait_for("delivered");
    disk.break_down();
    world.store(&world.file("after", 1000), &ticket, &[]);
    let error = last_word(&paris);
    assert!(
        error["kind"] == "io" && text(&error, "message").contains("the spool has failed"),
        "{error}"
    );
    assert_eq!(paris.code(), 6);
    lyon.wait_for("deferred");
    disk.mend();
    let paris = paris_behind(&world, &proxy);
    lyon.wait_for("delivered");
    assert!(world.has_arrived("before") && world.has_arrived("after"));
    assert_eq!((lyon.terminate(), paris.terminate()), (0, 0));
    assert_eq!(world.arrived(), ["after", "before"]);
}

#[test]
fn a_sender_whose_spool_has_failed_stores_nothing_ends_with_6_and_keeps_what_was_stored() {
    let (world, proxy) = (World::new(), Proxy::new());
    let Some(disk) = Breakable::mount(&world.spool("lyon")) else { return };
    let (ticket, lyon) = (ticket_by(&world, &proxy), world.lyon());
    world.store(&world.file("before", 1000), &ticket, &[]);
    disk.break_down();
    let (after, ticket) = (world.file("after", 1000), ticket.as_str());
    let store = || world.run("lyon", ["send", "--detach", "--", after.to_str().unwrap(), ticket]);
    assert_eq!(store().code, 6);
    let error = last_word(&lyon);
    assert!(
        error["kind"] == "io" && text(&error, "message").contains("the spool has failed"),
        "{error}"
    );
    assert_eq!(lyon.code(), 6);
    disk.mend();
    let (lyon, paris) = (world.lyon(), paris_behind(&world, &proxy));
    lyon.wait_for("delivered");
    assert_eq!(store().code, 0);
    lyon.wait_for("delivered");
    assert_eq!((lyon.terminate(), paris.terminate()), (0, 0));
    assert_eq!(world.arrived(), ["after", "before"]);
}

#[test]
fn a_node_that_finishes_what_runs_still_stores_what_it_is_given() {
    let (world, proxy) = (World::new(), Proxy::new());
    let ticket = ticket_by(&world, &proxy);
    world.store(&world.file("large", 32 << 20), &ticket, &[]);
    let paris = paris_behind(&world, &proxy);
    let lyon = world.lyon_with(&["--drain", "120s"]);
    proxy.wait_for(1 << 20);
    // The large one can't end, and so lyon can't.
    paris.signal(Signal::STOP);
    lyon.signal(Signal::TERM);
    let stored: Vec<_> = (0..3)
        .map(|number| {
            world.store(&world.file(&format!("late-{number}"), 100), &ticket, &["--copy"])
        })
        .collect();
    paris.signal(Signal::CONT);
    assert_eq!(lyon.code(), 0);
    let open = |entry: &Value| {
        stored.iter().any(|stored| stored["id"] == entry["id"] && entry["state"] == "stored")
    };
    assert_eq!(world.outbox().iter().filter(|entry| open(entry)).count(), 3);
    let lyon = world.lyon();
    for _ in 0..3 {
        lyon.wait_for("delivered");
    }
    assert_eq!((lyon.terminate(), paris.terminate()), (0, 0));
    assert!((0..3).all(|number| world.has_arrived(&format!("late-{number}"))));
}

#[test]
fn a_receiver_whose_sender_is_gone_ends_in_order_and_does_not_wait_for_it() {
    let (world, proxy) = (World::new(), Proxy::new());
    let ticket = ticket_by(&world, &proxy);
    let (paris, there) = world.paris_with(&["--drain", "3600s"]);
    proxy.lead_to(&text(&there, "addr"));
    world.store(&world.file("large", 64 << 20), &ticket, &[]);
    let lyon = world.lyon();
    proxy.wait_for(1 << 20);
    lyon.kill();
    assert_eq!(paris.terminate(), 0, "nothing was cut off by stopping");
}

#[test]
fn a_node_whose_spool_is_taken_away_ends_and_says_so() {
    let world = World::new();
    let (lyon, (paris, _ticket)) = (world.lyon(), world.paris());
    fs::remove_dir_all(world.spool("lyon")).unwrap();
    fs::rename(world.spool("paris"), world.path("elsewhere")).unwrap();
    for node in [lyon, paris] {
        let error = node.wait_for("error");
        assert!(
            error["kind"] == "io"
                && text(&error, "message").contains("removed, moved or unmounted"),
            "{error}"
        );
        assert_eq!(node.code(), 6);
    }
}

#[test]
fn a_node_whose_spool_lies_on_a_disk_without_sockets_runs_and_is_asked() {
    let world = World::new();
    let Some(_disk) = Exfat::mount(&world.path("usb")) else { return };
    let (spool, runtime) = (world.path("usb/spool"), world.path("runtime"));
    fs::create_dir(&runtime).unwrap();
    let lyon = |arguments: &[&str]| {
        let mut command = world.command("lyon");
        command.env("XDG_RUNTIME_DIR", &runtime).arg("--spool").arg(&spool).args(arguments);
        command
    };
    let mut node = Process::start(&mut lyon(&["node", "--name", "lyon"]));
    for _ in 0..2 {
        node.wait_for("ready");
        let second = Ran::from(lyon(&["node"]).output().unwrap());
        let message = text(second.event("error"), "message");
        assert!(message.contains(&format!("process {}", node.id())), "{message}");
        // Whoever asks needs no variable to find it.
        let listed = world.run("lyon", ["--spool", spool.to_str().unwrap(), "outbox", "list"]);
        assert_eq!((listed.code, fs::read_dir(&runtime).unwrap().count()), (0, 1));
        // What a dead one leaves behind is in nobody's way.
        node.kill();
        fs::remove_dir_all(&runtime).and_then(|()| fs::create_dir(&runtime)).unwrap();
        node = Process::start(&mut lyon(&["node", "--name", "lyon"]));
    }
    node.wait_for("ready");
    assert_eq!(node.terminate(), 0);
    assert_eq!(fs::read_dir(&runtime).unwrap().count(), 0, "nothing is left");
    assert!(!spool.join("control.at").exists());
}
