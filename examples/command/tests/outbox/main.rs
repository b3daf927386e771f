//! The command's deliveries that outlive their process: real processes, killed and started again,
//! on real sockets.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod failing;
mod left_out;
#[path = "../support/mod.rs"]
mod support;

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use rustix::process::Signal;
use serde_json::Value;

use support::proxy::Proxy;
use support::{Ran, World, text};

/// The most that a kill may cost: what was on the way, and what was not written down there yet.
const WINDOW: u64 = 6 << 20;
const CHECKPOINT: u64 = 16 << 20;

/// Paris has been there and given a ticket away, that leads by the proxy, and is away again.
fn ticket_by(world: &World, proxy: &Proxy) -> String {
    let (paris, ticket) = world.paris_with(&["--advertise", &proxy.address()]);
    assert_eq!(paris.terminate(), 0);
    text(&ticket, "ticket")
}

/// Paris comes back, wherever the system gives it a port.
fn paris_behind(world: &World, proxy: &Proxy) -> support::process::Process {
    let (paris, ticket) = world.paris();
    proxy.lead_to(&text(&ticket, "addr"));
    paris
}

#[test]
fn a_delivery_waits_for_a_node_that_delivers_it_and_for_a_receiver_who_takes_it() {
    let (world, proxy) = (World::new(), Proxy::new());
    let ticket = ticket_by(&world, &proxy);
    let stored = world.store(&world.file("letter", 300_000), &ticket, &["--expires", "2h"]);
    assert_eq!(
        (stored["bytes"].as_u64(), stored["inbox"].as_str(), stored["name"].as_str()),
        (Some(300_000), Some("files"), Some("letter"))
    );
    let lyon = world.lyon_with(&["--patience", "1s"]);
    let deferred = lyon.wait_for("deferred");
    assert_eq!(
        (&deferred["transfer"], &deferred["kind"]),
        (&stored["transfer"], &"unreachable".into())
    );
    let paris = paris_behind(&world, &proxy);
    assert_eq!(lyon.wait_for("delivered")["transfer"], stored["transfer"]);
    assert!(world.has_arrived("letter"));
    assert_eq!((lyon.terminate(), paris.terminate()), (0, 0));
    let arrivals = world.run("paris", ["inbox", "list"]);
    assert_eq!(arrivals.event("arrival")["id"], world.outbox()[0]["id"]);
    assert_eq!(world.outbox()[0]["state"], "delivered");
}

#[test]
fn both_are_killed_in_the_middle_of_a_large_file_which_goes_on_where_it_was() {
    const LENGTH: u64 = 64 << 20;
    let (world, proxy) = (World::new(), Proxy::new());
    let ticket = ticket_by(&world, &proxy);
    let file = world.file("large", LENGTH as usize);
    world.settle(&file);
    world.store(&file, &ticket, &[]);
    let (paris, lyon) = (paris_behind(&world, &proxy), world.lyon());
    proxy.wait_for(28 << 20);
    lyon.kill();
    let lyon = world.lyon();
    proxy.wait_for(proxy.crossed().max(28 << 20) + (24 << 20));
    paris.kill();
    let paris = paris_behind(&world, &proxy);
    let delivered = lyon.wait_for("delivered");
    assert_eq!(delivered["bytes"], LENGTH);
    assert!(world.has_arrived("large"));
    assert_eq!((lyon.terminate(), paris.terminate()), (0, 0));
    assert_eq!(world.arrived(), ["large"], "it is there once, and nothing is left beside it");
    let most = LENGTH + 2 * (WINDOW + CHECKPOINT) + LENGTH / 50 + proxy.connections() * (64 << 10);
    assert!(proxy.crossed() <= most, "{} bytes crossed, and {most} were enough", proxy.crossed());
}

#[test]
fn a_signal_lets_a_node_finish_what_it_delivers() {
    let (world, proxy) = (World::new(), Proxy::new());
    let ticket = ticket_by(&world, &proxy);
    world.store(&world.file("large", 32 << 20), &ticket, &[]);
    let paris = paris_behind(&world, &proxy);
    let lyon = world.lyon_with(&["--drain", "120s"]);
    proxy.wait_for(1 << 20);
    lyon.signal(Signal::TERM);
    lyon.wait_for("delivered");
    assert_eq!((lyon.code(), paris.terminate()), (0, 0));
    assert!(world.has_arrived("large"));
}

/// The answers of `estafette outbox` and `inbox` for deliveries to a receiver who is away, and for
/// a dead letter.
fn orders(world: &World, open: &str, dead: &str) {
    let ran = |arguments: &[&str]| -> Ran { world.run("lyon", arguments) };
    let shown = ran(&["outbox", "show", open]);
    assert_eq!((shown.code, &shown.event("entry")["state"]), (0, &"stored".into()));
    assert_eq!(shown.event("entry")["paths"][0], world.path("open").display().to_string());
    let refused = ran(&["outbox", "drop", open]);
    assert_eq!(
        (refused.code, &refused.event("error")["kind"]),
        (2, &"usage".into()),
        "it is still to be delivered"
    );
    assert_eq!(ran(&["outbox", "retry", open]).event("entry")["state"], "stored");
    let cancelled = ran(&["outbox", "cancel", open]);
    assert_eq!(
        (cancelled.code, &cancelled.event("cancelled")["transfer"]),
        (0, &open[..16].into()),
        "{:?}",
        cancelled.events
    );
    let gone = ran(&["outbox", "show", open]);
    assert!(
        gone.code == 2 && text(gone.event("error"), "message").contains("no delivery"),
        "{:?}",
        gone.events
    );
    assert_eq!(ran(&["outbox", "show", "no id"]).code, 2);
    let shown = ran(&["outbox", "show", &dead[..16]]);
    assert_eq!(
        (&shown.event("entry")["state"], &shown.event("entry")["failure"]["kind"]),
        (&"dead".into(), &"refused".into())
    );
    assert_eq!(ran(&["outbox", "cancel", dead]).code, 2, "it is over");
    let dropped = ran(&["outbox", "drop", dead]);
    assert_eq!((dropped.code, &dropped.event("dropped")["transfer"]), (0, &dead[..16].into()));
    assert_eq!(ran(&["outbox", "list"]).events, [] as [Value; 0]);
}

/// A dead letter, since the receiver has something of that name already.
fn dead_letter(world: &World, ticket: &str, proxy: &Proxy) -> String {
    fs::write(world.path("in/dead"), "taken").unwrap();
    let stored = world.store(&world.file("dead", 1000), ticket, &[]);
    let (paris, lyon) = (paris_behind(world, proxy), world.lyon());
    let failed = lyon.wait_for("error");
    assert_eq!((&failed["transfer"], &failed["kind"]), (&stored["transfer"], &"refused".into()));
    assert_eq!((lyon.terminate(), paris.terminate()), (0, 0));
    world
        .outbox()
        .iter()
        .find(|entry| entry["transfer"] == stored["transfer"])
        .map(|entry| text(entry, "id"))
        .unwrap()
}

#[test]
fn the_outbox_answers_alike_whether_a_node_runs_or_not() {
    let (world, proxy) = (World::new(), Proxy::new());
    let ticket = ticket_by(&world, &proxy);
    for runs in [false, true] {
        let dead = dead_letter(&world, &ticket, &proxy);
        proxy.lead_to("127.0.0.1:1");
        let lyon = runs.then(|| world.lyon());
        world.store(&world.file("open", 1000), &ticket, &[]);
        let open = world
            .outbox()
            .iter()
            .find(|entry| entry["state"] == "stored")
            .map(|entry| text(entry, "id"))
            .unwrap();
        orders(&world, &open, &dead);
        if let Some(lyon) = lyon {
            assert_eq!(lyon.terminate(), 0);
        }
    }
}

#[test]
fn a_dead_letter_comes_to_life_again_by_either_way_and_both_list_it_alike() {
    let (world, proxy) = (World::new(), Proxy::new());
    let ticket = ticket_by(&world, &proxy);
    for runs in [false, true] {
        let dead = dead_letter(&world, &ticket, &proxy);
        fs::remove_file(world.path("in/dead")).unwrap();
        let paris = paris_behind(&world, &proxy);
        let before = runs.then(|| world.lyon());
        assert_eq!(world.run("lyon", ["outbox", "retry", &dead]).event("entry")["state"], "stored");
        let lyon = before.unwrap_or_else(|| world.lyon());
        assert_eq!(lyon.wait_for("delivered")["transfer"], dead[..16]);
        assert!(world.has_arrived("dead"));
        let running = (world.outbox(), world.run("paris", ["inbox", "list"]).events);
        assert_eq!((lyon.terminate(), paris.terminate()), (0, 0));
        assert_eq!((world.outbox(), world.run("paris", ["inbox", "list"]).events), running);
        assert_eq!(world.run("lyon", ["outbox", "drop", &dead]).code, 0);
    }
}

#[test]
fn a_trusted_peer_is_sent_to_by_its_name() {
    let world = World::new();
    let id = |who: &str| text(world.run(who, ["id"]).event("id"), "peer");
    assert_eq!(world.run("paris", ["trust", "add", &id("lyon"), "--name", "lyon"]).code, 0);
    let (paris, ticket) = world.paris();
    let add = ["trust", "add", &id("paris"), "--name", "paris", "--addr", &text(&ticket, "addr")];
    assert_eq!(world.run("lyon", add).code, 0);
    let attached =
        world.run("lyon", ["send", world.file("attached", 10).to_str().unwrap(), "paris/files"]);
    assert_eq!(attached.code, 0, "{:?}", attached.events);
    let lyon = world.lyon();
    world.store(&world.file("detached", 10), "paris/files", &[]);
    lyon.wait_for("delivered");
    assert!(world.has_arrived("attached") && world.has_arrived("detached"));
    for (to, why) in
        [("nobody/files", "no peer is called"), ("paris/", "no inbox"), ("paris", "ticket")]
    {
        let wrong =
            world.run("lyon", ["send", "--detach", world.path("attached").to_str().unwrap(), to]);
        assert_eq!((wrong.code, &wrong.event("error")["kind"]), (2, &"usage".into()), "{to}");
        assert!(text(wrong.event("error"), "message").contains(why), "{:?}", wrong.events);
    }
    assert_eq!((lyon.terminate(), paris.terminate()), (0, 0));
}

#[test]
fn a_second_process_on_a_spool_is_told_who_has_it_and_one_that_hangs_is_named() {
    let world = World::new();
    let lyon = world.lyon();
    let second = world.run("lyon", ["node"]);
    let message = text(second.event("error"), "message");
    assert!(second.code == 6 && message.contains(&format!("process {}", lyon.id())), "{message}");
    lyon.signal(Signal::STOP);
    let silent = world.run("lyon", ["outbox", "list"]);
    let message = text(silent.event("error"), "message");
    assert!(silent.code == 6 && message.contains("does not answer"), "{message}");
    lyon.signal(Signal::CONT);
    lyon.kill();
    assert!(
        world.spool("lyon").join("control.sock").exists(),
        "a dead process has left its socket"
    );
    assert_eq!(world.run("lyon", ["outbox", "list"]).code, 0);
    let lyon = world.lyon();
    assert!(
        text(world.run("lyon", ["node"]).event("error"), "message")
            .contains(&format!("process {}", lyon.id()))
    );
    assert_eq!(lyon.terminate(), 0);
}

#[test]
fn a_process_that_stops_when_it_has_said_who_it_is_is_named_too() {
    let world = World::new();
    assert_eq!(world.run("lyon", ["outbox", "list"]).code, 0);
    let listener = UnixListener::bind(world.spool("lyon").join("control.sock")).unwrap();
    let holder = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.write_all(b"{\"pid\":4711,\"version\":\"0.1.0\"}\n").unwrap();
        // Alive and busy for a while, then silent until nobody waits any more.
        stream.write_all(b"\"working\"\n").unwrap();
        BufReader::new(stream).lines().map_while(Result::ok).count()
    });
    let hangs = world.run("lyon", ["outbox", "list"]);
    let message = text(hangs.event("error"), "message");
    assert!(
        hangs.code == 6 && message.contains("process 4711") && message.contains("does not answer"),
        "{message}"
    );
    assert_eq!(holder.join().unwrap(), 1, "one question");
}

#[test]
fn the_control_socket_is_its_owner_s_and_stands_nonsense() {
    let world = World::new();
    let (paris, _) = world.paris();
    let socket = world.spool("paris").join("control.sock");
    assert_eq!(fs::metadata(&socket).unwrap().permissions().mode() & 0o777, 0o600);
    let idle: Vec<_> = (0..40).map(|_| UnixStream::connect(&socket).unwrap()).collect();
    let ask = |question: &[u8]| {
        let mut stream = UnixStream::connect(&socket).unwrap();
        // It may be cut off in the middle.
        let _ = stream.write_all(question);
        BufReader::new(stream).lines().map_while(Result::ok).last().unwrap_or_default()
    };
    assert!(ask(b"hello?\n").contains("not understood"));
    assert!(ask(b"{\"show\": 5}\n").contains("not understood"));
    ask(&vec![b' '; 2 << 20]);
    drop(idle);
    assert_eq!(world.run("paris", ["inbox", "list"]).code, 0);
    assert_eq!(paris.terminate(), 0);
    assert!(!socket.exists());
}

#[test]
fn the_spool_may_lie_deeper_than_a_socket_s_address_is_long() {
    let world = World::new();
    let deep = world.path(&["a-folder-with-a-long-name"; 6].join("/"));
    fs::create_dir_all(&deep).unwrap();
    let spool = deep.join("spool").display().to_string();
    let lyon = world.lyon_with(&["--spool", &spool]);
    let told = world.run("lyon", ["--spool", &spool, "node"]);
    assert!(
        text(told.event("error"), "message").contains(&format!("process {}", lyon.id())),
        "{:?}",
        told.events
    );
    assert_eq!(world.run("lyon", ["--spool", &spool, "outbox", "list"]).code, 0);
    assert_eq!(lyon.terminate(), 0);
}

fn doctor(world: &World, arguments: &[&str]) -> Ran {
    world.run("lyon", ["doctor"].iter().chain(arguments))
}

fn severities(ran: &Ran) -> Vec<&str> {
    ran.events
        .iter()
        .filter(|event| event["event"] == "finding")
        .map(|event| event["severity"].as_str().unwrap())
        .collect()
}

#[test]
fn the_doctor_finds_nothing_where_all_is_well_and_says_what_may_go_wrong() {
    let (world, proxy) = (World::new(), Proxy::new());
    let new = doctor(&world, &[]);
    assert_eq!((new.code, severities(&new)), (0, vec!["note"]), "there is no key yet");
    let ticket = ticket_by(&world, &proxy);
    let file = world.file("letter", 1000);
    world.store(&file, &ticket, &[]);
    let well = doctor(&world, &[]);
    assert_eq!((well.code, severities(&well)), (0, vec![]), "{:?}", well.events);
    fs::remove_file(&file).unwrap();
    for repair in [&[][..], &["--repair"]] {
        let gone = doctor(&world, repair);
        assert_eq!((gone.code, severities(&gone)), (0, vec!["warning"]));
        assert!(text(gone.event("finding"), "what").contains("letter"), "{:?}", gone.events);
    }
    fs::write(world.spool("lyon").join("bulk/stray"), "x").unwrap();
    assert_eq!(severities(&doctor(&world, &[])), ["warning", "warning"]);
    assert_eq!(severities(&doctor(&world, &["--repair"])), ["warning", "repaired"]);
    assert_eq!(fs::read(world.spool("lyon").join("aside/stray")).unwrap(), b"x");
    fs::write(&file, "back").unwrap();
    let lyon = world.lyon();
    let running = doctor(&world, &[]);
    assert_eq!((running.code, severities(&running)), (0, vec!["note"]), "somebody has it");
    assert_eq!(lyon.terminate(), 0);
    fs::set_permissions(world.path("lyon.key"), fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = doctor(&world, &[]);
    assert_eq!((exposed.code, severities(&exposed)), (6, vec!["damage"]));
}

#[test]
fn a_folder_in_which_no_spool_was_begun_is_not_damaged() {
    let world = World::new();
    fs::create_dir_all(world.spool("lyon")).unwrap();
    for arguments in [&[][..], &["--repair"]] {
        let ran = doctor(&world, arguments);
        assert_eq!(ran.code, 0, "{:?}", ran.events);
    }
    fs::write(world.spool("lyon").join("state.redb"), "records").unwrap();
    assert_eq!(doctor(&world, &[]).code, 6, "the file that says its version is gone");
}

#[test]
fn the_doctor_sets_aside_what_is_damaged_and_the_rest_goes_on() {
    use estafette::node::Store;
    let (world, proxy) = (World::new(), Proxy::new());
    let ticket = ticket_by(&world, &proxy);
    let stored = world.store(&world.file("letter", 1000), &ticket, &[]);
    let folder = world.spool("lyon");
    estafette_actors::spool::Spool::open(&folder)
        .unwrap()
        .put("outbox", &[9; 24], b"from another time")
        .unwrap();
    assert_eq!((doctor(&world, &[]).code, severities(&doctor(&world, &[]))), (6, vec!["damage"]));
    let repaired = doctor(&world, &["--repair"]);
    assert_eq!((repaired.code, severities(&repaired)), (0, vec!["repaired"]));
    assert_eq!(doctor(&world, &[]).code, 0);
    damage(&folder.join("state.redb"));
    let damaged = doctor(&world, &[]);
    assert!(damaged.code == 6 && severities(&damaged).contains(&"damage"), "{:?}", damaged.events);
    let repaired = doctor(&world, &["--repair"]);
    assert_eq!(repaired.code, 0, "{:?}", repaired.events);
    assert!(severities(&repaired).contains(&"repaired"), "{:?}", repaired.events);
    assert_eq!(doctor(&world, &[]).code, 0);
    let listed = world.run("lyon", ["outbox", "list"]);
    assert!(
        listed.code == 0
            && listed.events.iter().all(|entry| entry["transfer"] == stored["transfer"]),
        "{:?}",
        listed.events
    );
}

#[test]
fn the_doctor_names_the_delivery_whose_copy_is_gone_or_cut_off() {
    let (world, proxy) = (World::new(), Proxy::new());
    let ticket = ticket_by(&world, &proxy);
    let stored = world.store(&world.file("letter", 300_000), &ticket, &["--copy"]);
    let copy =
        fs::read_dir(world.spool("lyon").join("bulk")).unwrap().next().unwrap().unwrap().path();
    assert_eq!(doctor(&world, &[]).code, 0);
    let whole = fs::read(&copy).unwrap();
    fs::write(&copy, &whole[..whole.len() - 1]).unwrap();
    let cut_off = doctor(&world, &[]);
    assert_eq!((cut_off.code, severities(&cut_off)), (6, vec!["damage"]));
    fs::remove_file(&copy).unwrap();
    let gone = doctor(&world, &[]);
    assert_eq!((gone.code, severities(&gone)), (6, vec!["damage"]));
    assert!(
        text(gone.event("finding"), "what").contains(stored["transfer"].as_str().unwrap()),
        "{:?}",
        gone.events
    );
    assert_eq!(
        world.run("lyon", ["outbox", "cancel", stored["transfer"].as_str().unwrap()]).code,
        0
    );
    assert_eq!(doctor(&world, &[]).code, 0);
}

#[test]
fn the_doctor_leaves_a_copy_with_the_record_of_a_newer_build() {
    use estafette::node::Store;
    let (world, proxy) = (World::new(), Proxy::new());
    let ticket = ticket_by(&world, &proxy);
    world.store(&world.file("letter", 1000), &ticket, &["--copy"]);
    let folder = world.spool("lyon");
    let copies = |folder: &Path| fs::read_dir(folder).map_or(0, |files| files.count());
    {
        let spool = estafette_actors::spool::Spool::open(&folder).unwrap();
        let (key, known) = spool.load("outbox").unwrap().remove(0);
        // All fields that there are, and one more.
        spool.put("outbox", &key, &[&known[..], &[0, 0, 0, 1, 7]].concat()).unwrap();
    }
    let found = doctor(&world, &[]);
    assert_eq!((found.code, severities(&found)), (6, vec!["damage"]), "{:?}", found.events);
    assert_eq!(world.run("lyon", ["outbox", "list"]).code, 0);
    assert_eq!(copies(&folder.join("bulk")), 1);
    // Set aside, neither is deleted.
    let repaired = doctor(&world, &["--repair"]);
    assert_eq!((repaired.code, severities(&repaired)), (0, vec!["repaired", "repaired"]));
    assert_eq!(copies(&folder.join("aside")), 1);
}

/// Everything behind the first page of a database is something else.
fn damage(database: &Path) {
    let mut bytes = fs::read(database).unwrap();
    bytes[4096..].iter_mut().for_each(|byte| *byte ^= 0x5a);
    fs::write(database, bytes).unwrap();
}

#[test]
fn what_was_copied_may_go_and_change_and_what_was_stored_still_arrives() {
    let (world, proxy) = (World::new(), Proxy::new());
    let ticket = ticket_by(&world, &proxy);
    let (file, folder) = (world.file("letter", 300_000), world.path("tree"));
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("leaf"), "green").unwrap();
    let letter = fs::read(&file).unwrap();
    for path in [&file, &folder] {
        assert_eq!(world.store(path, &ticket, &["--copy"])["copied"], true);
    }
    fs::remove_file(&file).unwrap();
    fs::write(folder.join("leaf"), "brown").unwrap();
    let well = doctor(&world, &[]);
    assert_eq!(
        (well.code, severities(&well)),
        (0, vec![]),
        "nothing is missing: {:?}",
        well.events
    );
    let (paris, lyon) = (paris_behind(&world, &proxy), world.lyon());
    lyon.wait_for("delivered");
    lyon.wait_for("delivered");
    assert_eq!(fs::read(world.path("in/letter")).unwrap(), letter);
    assert_eq!(fs::read(world.path("in/tree/leaf")).unwrap(), b"green");
    // Stored by a process that runs.
    let file = world.file("second", 1000);
    assert_eq!(world.store(&file, &ticket, &["--copy"])["copied"], true);
    lyon.wait_for("delivered");
    let alone = world.run("lyon", ["send", "--copy", file.to_str().unwrap(), &ticket]);
    assert_eq!(
        (alone.code, &alone.event("error")["kind"]),
        (2, &"usage".into()),
        "only what is stored is copied"
    );
    assert_eq!((lyon.terminate(), paris.terminate()), (0, 0));
    // What a node had no time to remove, the next one does.
    assert_eq!(world.lyon().terminate(), 0);
    assert_eq!(
        fs::read_dir(world.spool("lyon").join("bulk")).unwrap().count(),
        0,
        "the copies go when they are delivered"
    );
}
