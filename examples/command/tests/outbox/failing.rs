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
fn a_key_that_is_missing_beside_its_spool_is_not_made_anew_and_what_is_stored_arrives_with_it() {
    let (world, proxy) = (World::new(), Proxy::new());
    let ticket = ticket_by(&world, &proxy);
    let (file, key) = (world.file("letter", 300_000), world.path("lyon.key"));
    world.store(&file, &ticket, &["--copy"]);
    fs::remove_file(file).and_then(|()| fs::rename(&key, world.path("away"))).unwrap();
    for arguments in [&["node"][..], &["node", "--check"], &["outbox", "list"], &["id"]] {
        let ran = world.run("lyon", arguments);
        let message = text(ran.event("error"), "message");
        assert!(ran.code == 6 && message.contains("put the key back"), "{arguments:?}: {message}");
        assert!(!key.exists(), "{arguments:?}");
    }
    let looked = world.run("lyon", ["doctor"]);
    assert!(
        looked.code == 6 && text(looked.event("finding"), "what").contains("key of this spool")
    );
    fs::rename(world.path("away"), &key).unwrap();
    let (paris, lyon) = (paris_behind(&world, &proxy), world.lyon());
    lyon.wait_for("delivered");
    assert_eq!((lyon.terminate(), paris.terminate()), (0, 0));
    assert_eq!(fs::metadata(world.path("in/letter")).unwrap().len(), 300_000);
}

#[test]
fn a_copy_that_another_key_stored_stays_until_that_key_delivers_it() {
    let (world, proxy) = (World::new(), Proxy::new());
    let ticket = ticket_by(&world, &proxy);
    let (file, spool) = (world.file("letter", 300_000), world.spool("lyon"));
    world.store(&file, &ticket, &["--copy"]);
    fs::remove_file(file).unwrap();
    let paris = paris_behind(&world, &proxy);
    assert_eq!(world.run("other", ["id"]).code, 0, "it has a key");
    let mut other = world.command("other");
    let other = Process::start(other.arg("--spool").arg(spool).args(["node", "--name", "other"]));
    let deferred = text(&other.wait_for("deferred"), "message");
    assert!(deferred.contains("stored under another key"), "{deferred}");
    assert_eq!(other.terminate(), 0);
    let lyon = world.lyon();
    lyon.wait_for("delivered");
    assert_eq!((lyon.terminate(), paris.terminate()), (0, 0));
    assert_eq!(fs::metadata(world.path("in/letter")).unwrap().len(), 300_000);
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

#[test]
fn a_delivery_of_a_spool_that_was_put_back_is_delivered_and_nothing_is_damaged() {
    let (world, proxy) = (World::new(), Proxy::new());
    let ticket = ticket_by(&world, &proxy);
    let file = world.file("letter", 3);
    let id = text(&world.store(&file, &ticket, &["--copy"]), "transfer");
    let copied = |from: &str, to: &str| {
        let copied = std::process::Command::new("cp").arg("-a").args([from, to]).status();
        assert!(copied.unwrap().success());
    };
    let (spool, copy) = (world.spool("lyon"), world.path("copy"));
    let [spool, copy] = [spool, copy].map(|path| path.display().to_string());
    copied(&spool, &copy);
    let (paris, lyon) = (paris_behind(&world, &proxy), world.lyon());
    lyon.wait_for("delivered");
    assert_eq!(lyon.terminate(), 0);
    fs::remove_dir_all(&spool).unwrap();
    copied(&copy, &spool);
    let lyon = world.lyon();
    // At once: not as one of which something did not verify.
    let told = loop {
        let event = lyon.next();
        if ["delivered", "deferred", "error"].iter().any(|kind| event["event"] == *kind) {
            break event;
        }
    };
    assert_eq!((&told["event"], text(&told, "transfer")), (&"delivered".into(), id), "{told}");
    assert_eq!((lyon.terminate(), paris.terminate()), (0, 0));
    assert_eq!(world.arrived(), ["letter"]);
}

#[test]
fn a_key_that_is_a_link_is_not_said_to_be_lost() {
    let world = World::new();
    assert_eq!(world.run("lyon", ["id"]).code, 0);
    let link = world.path("link");
    std::os::unix::fs::symlink(world.path("lyon.key"), &link).unwrap();
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_estafette"));
    command.env_clear().env("HOME", world.path("lyon")).args(["--json", "doctor", "--key"]);
    let ran = Ran::from(command.arg(&link).output().unwrap());
    let finding = ran.event("finding");
    let (what, advice) = (text(finding, "what"), text(finding, "advice"));
    assert!(ran.code == 6 && what.contains("link"), "{what}");
    assert!(!advice.contains("new node"), "{advice}");
}
