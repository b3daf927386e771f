//! The command's relay: three real processes, of which the sender is gone before the receiver
//! comes, on real sockets.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::fs;
use std::path::PathBuf;

use rustix::process::Signal;

use support::disk::Disk;
use support::process::Process;
use support::proxy::Proxy;
use support::{Ran, World, text};

/// More than what is on the way while nobody takes it.
const LARGE: usize = 64 << 20;

/// Lyon and paris, who were never linked, and dijon between them, which is found behind the proxy
/// wherever it listens.
struct Road {
    world: World,
    proxy: Proxy,
    lyon: String,
    paris: String,
}

impl Road {
    fn new() -> Self {
        let (world, proxy) = (World::new(), Proxy::new());
        let id = |who: &str| text(world.run(who, ["id"]).event("id"), "peer");
        let (lyon, dijon, paris) = (id("lyon"), id("dijon"), id("paris"));
        let trust = |who: &str, whom: &str, rest: &[&str]| {
            let ran = world.run(who, ["trust", "add", whom].iter().chain(rest));
            assert_eq!(ran.code, 0, "{:?}", ran.events);
        };
        trust("dijon", &lyon, &["--name", "lyon"]);
        trust("dijon", &paris, &["--name", "paris"]);
        trust("lyon", &dijon, &["--name", "dijon", "--addr", &proxy.address()]);
        trust("paris", &dijon, &["--name", "dijon", "--addr", &proxy.address(), "--relay-only"]);
        Self { world, proxy, lyon, paris }
    }

    fn paris_trusts_lyon(self) -> Self {
        assert_eq!(self.world.run("paris", ["trust", "add", &self.lyon, "--name", "lyon"]).code, 0);
        self
    }

    fn dijon(&self, arguments: &[&str]) -> Process {
        let mut command = self.world.command("dijon");
        let process = Process::start_logged(
            command
                .args(["node", "--name", "dijon", "--relay", "--listen", "127.0.0.1:0"])
                .args(arguments),
            &self.log(),
        );
        let ready = process.wait_for("ready");
        self.proxy.lead_to(ready["addrs"][0].as_str().unwrap());
        process
    }

    /// The log of dijon.
    fn log(&self) -> PathBuf {
        self.world.path("dijon.log")
    }

    fn paris(&self) -> Process {
        self.world.paris_with(&["--connect", "dijon"]).0
    }

    fn lyon_listens(&self) -> Process {
        self.world.lyon_with(&["--connect", "dijon"])
    }

    /// Lyon sends a file to paris by dijon.
    fn send(&self, name: &str, length: usize, arguments: &[&str]) -> Ran {
        self.send_to(&format!("{}/files", self.paris), name, length, arguments)
    }

    fn send_to(&self, to: &str, name: &str, length: usize, arguments: &[&str]) -> Ran {
        let file = self.world.file(name, length).display().to_string();
        self.world.run(
            "lyon",
            ["send", "--via", "dijon"].iter().chain(arguments).chain(&[file.as_str(), to]),
        )
    }

    /// The same, while it is under way: nobody takes it, since dijon does not move.
    fn stuck(&self, dijon: &Process, arguments: &[&str]) -> Process {
        let (file, crossed) = (self.world.file("large", LARGE), self.proxy.crossed());
        let mut command = self.world.command("lyon");
        command
            .args(["send", "--via", "dijon", "--compress", "off"])
            .args(arguments)
            .arg(file)
            .arg(format!("{}/files", self.paris));
        let sending = Process::start(&mut command);
        self.proxy.wait_for(crossed + (1 << 20));
        dijon.signal(Signal::STOP);
        sending
    }

    /// The states of lyon's deliveries.
    fn states(&self) -> Vec<String> {
        self.world.outbox().iter().map(|entry| text(entry, "state")).collect()
    }
}

fn relayed(ran: &Ran) -> String {
    assert_eq!(ran.code, 0, "{:?}", ran.events);
    text(ran.event("relayed"), "transfer")
}

fn refused(ran: &Ran, code: i32, kind: &str, why: &str) {
    let message = text(ran.event("error"), "message");
    assert_eq!(
        (ran.code, ran.event("error")["kind"].as_str()),
        (code, Some(kind)),
        "{:?}",
        ran.events
    );
    assert!(message.contains(why), "{message}");
}

/// Says which delivery an error is about.
fn is_about(road: &Road, ran: &Ran) {
    let error = ran.event("error");
    assert_eq!(error["peer"], road.paris.as_str(), "{error}");
    assert_eq!(text(error, "transfer").len(), 16);
}

#[test]
fn the_sender_is_gone_before_the_receiver_comes_and_hears_of_it_when_it_is_back() {
    let road = Road::new().paris_trusts_lyon();
    let dijon = road.dijon(&[]);
    let ran = road.send("letter", 3_000_000, &[]);
    let id = relayed(&ran);
    assert_eq!(ran.event("relayed")["peer"], road.paris.as_str());
    assert_eq!(dijon.wait_for("kept")["transfer"], id.as_str());
    assert_eq!(road.states(), ["relayed"]);
    let paris = road.paris();
    // What is told on the way is of the letter, too, under the id that its sender gave it.
    let progress = paris.wait_for("progress");
    let delivered = paris.wait_for("delivered");
    for event in [&progress, &delivered] {
        let said = ["transfer", "name", "inbox"].map(|field| text(event, field));
        assert_eq!(said, [&*id, "letter", "files"], "{event}");
    }
    assert_eq!(
        (&delivered["transfer"], &delivered["peer"]),
        (&id.as_str().into(), &road.lyon.as_str().into())
    );
    assert_eq!(delivered["bytes"], 3_000_000, "of the letter, not of the package");
    assert!(road.world.has_arrived("letter"));
    let arrivals = road.world.run("paris", ["inbox", "list"]);
    assert_eq!(arrivals.events.len(), 1, "{:?}", arrivals.events);
    assert_eq!(text(arrivals.event("arrival"), "peer"), road.lyon);
    dijon.wait_for("delivered");
    assert_eq!(paris.terminate(), 0);
    let lyon = road.lyon_listens();
    assert_eq!(lyon.wait_for("delivered")["transfer"], id.as_str());
    assert_eq!((lyon.terminate(), dijon.terminate()), (0, 0));
    assert_eq!(road.states(), ["delivered"]);
}

#[test]
fn attributes_of_a_file_and_what_was_left_behind_of_it_come_by_a_relay() {
    let road = Road::new().paris_trusts_lyon();
    let flags = rustix::fs::XattrFlags::empty();
    let file = road.world.file("noted", 1000);
    if let Err(error) = rustix::fs::setxattr(&file, "user.note", b"here", flags) {
        eprintln!("SKIPPED: no attribute can be set in {}: {error}", file.display());
        return;
    }
    let dijon = road.dijon(&[]);
    let to = format!("{}/files", road.paris);
    let arguments = ["send", "--xattrs", "--via", "dijon", file.to_str().unwrap(), &to];
    relayed(&road.world.run("lyon", arguments));
    let paris = road.paris();
    paris.wait_for("delivered");
    let mut value = [0; 10];
    let there = road.world.path("in/noted");
    let length = rustix::fs::getxattr(&there, "user.note", &mut value[..]).unwrap();
    assert_eq!(&value[..length], b"here");
    let other = road.world.file("other", 1000);
    rustix::fs::setxattr(&other, "user.note", b"here", flags).unwrap();
    relayed(&road.world.run("lyon", ["send", "--via", "dijon", other.to_str().unwrap(), &to]));
    let heard = text(&paris.wait_for("remark"), "message");
    let said = "the sender says: extended attributes or ACLs of other were not sent: they were";
    assert!(heard.starts_with(said), "{heard}");
    assert_eq!((paris.terminate(), dijon.terminate()), (0, 0));
}

#[test]
fn what_can_not_be_read_of_a_tree_is_told_to_who_sends_it_by_a_relay() {
    let road = Road::new().paris_trusts_lyon();
    let tree = road.world.path("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("leaf"), "green").unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, tree.join("pipe"), rustix::fs::Mode::RWXU).unwrap();
    let dijon = road.dijon(&[]);
    let to = format!("{}/files", road.paris);
    let ran = road.world.run("lyon", ["send", "--via", "dijon", tree.to_str().unwrap(), &to]);
    assert_eq!((ran.code, ran.event("relayed")["event"].as_str()), (6, Some("relayed")));
    let told = text(ran.event("error"), "message");
    assert!(told.starts_with("pipe was left out: "), "{told}");
    is_about(&road, &ran);
    let paris = road.paris();
    paris.wait_for("delivered");
    assert_eq!(road.world.arrived(), ["tree"], "what was kept is delivered");
    assert_eq!((paris.terminate(), dijon.terminate()), (0, 0));
}

#[test]
fn a_relay_that_is_killed_while_it_keeps_something_still_has_it() {
    let road = Road::new().paris_trusts_lyon();
    let dijon = road.dijon(&[]);
    let id = relayed(&road.send("letter", 3_000_000, &[]));
    dijon.kill();
    let (paris, dijon) = (road.paris(), road.dijon(&[]));
    assert_eq!(paris.wait_for("delivered")["transfer"], id.as_str());
    assert!(road.world.has_arrived("letter"));
    dijon.wait_for("delivered");
    dijon.kill();
    // What it knows of the delivery is durable, too.
    let (lyon, dijon) = (road.lyon_listens(), road.dijon(&[]));
    assert_eq!(lyon.wait_for("delivered")["transfer"], id.as_str());
    assert_eq!((paris.terminate(), lyon.terminate(), dijon.terminate()), (0, 0, 0));
    assert_eq!(road.world.arrived(), ["letter"]);
}

#[test]
fn a_relay_says_that_it_has_no_room_and_what_is_stored_waits_for_it() {
    let road = Road::new().paris_trusts_lyon();
    let dijon = road.dijon(&["--relay-packages", "1"]);
    relayed(&road.send("first", 1000, &[]));
    let ran = road.send("second", 1000, &[]);
    refused(&ran, 3, "refused", "the relay can't keep it");
    // Nobody else would hear of it there, whatever it logs.
    let log = fs::read_to_string(road.log()).unwrap();
    let told =
        log.lines().find(|line| line.contains("was refused")).unwrap_or_else(|| panic!("{log}"));
    for word in ["WARN", "peer=lyon", "the relay can't keep it"] {
        assert!(told.contains(word), "{word}: {told}");
    }
    is_about(&road, &ran);
    assert_eq!(road.states(), ["relayed"], "what was not sent is not kept");
    let third = text(road.send("third", 1000, &["--detach"]).event("stored"), "transfer");
    let (lyon, paris) = (road.lyon_listens(), road.paris());
    while lyon.wait_for("delivered")["transfer"] != third.as_str() {}
    assert!(road.world.has_arrived("first") && road.world.has_arrived("third"));
    assert_eq!((lyon.terminate(), paris.terminate(), dijon.terminate()), (0, 0, 0));
    let dijon = road.dijon(&["--relay-bytes", "10K"]);
    refused(&road.send("large", 100_000, &[]), 3, "refused", "bytes");
    assert_eq!(dijon.terminate(), 0);
}

#[test]
fn a_refusal_of_the_receiver_reaches_the_sender_by_name_and_a_ticket_lets_it_in() {
    let road = Road::new();
    let dijon = road.dijon(&[]);
    let id = relayed(&road.send("stranger", 1000, &[]));
    let (paris, ticket) = road.world.paris_with(&["--connect", "dijon"]);
    let lyon = road.lyon_listens();
    let failed = lyon.wait_for("error");
    assert_eq!((&failed["transfer"], &failed["kind"]), (&id.as_str().into(), &"refused".into()));
    let message = text(&failed, "message");
    assert!(
        message.contains("the relay dijon") && message.contains("may not deliver"),
        "{message}"
    );
    relayed(&road.send_to(&text(&ticket, "ticket"), "guest", 1000, &[]));
    lyon.wait_for("delivered");
    assert!(road.world.has_arrived("guest") && !road.world.has_arrived("stranger"));
    assert_eq!((lyon.terminate(), paris.terminate(), dijon.terminate()), (0, 0, 0));
}

#[test]
fn a_running_node_sends_by_a_relay_for_those_who_ask_it() {
    let road = Road::new().paris_trusts_lyon();
    let (dijon, lyon) = (road.dijon(&[]), road.world.lyon());
    let attached = relayed(&road.send("attached", 100_000, &[]));
    assert_eq!(lyon.wait_for("relayed")["transfer"], attached.as_str());
    let detached = road.send("detached", 100_000, &["--detach"]);
    assert_eq!(lyon.wait_for("relayed")["transfer"], detached.event("stored")["transfer"]);
    let shown = road.world.run("dijon", ["outbox", "show", &attached]);
    assert_eq!(
        (text(shown.event("entry"), "of"), text(shown.event("entry"), "inbox")),
        (road.lyon.clone(), String::new())
    );
    let paris = road.paris();
    paris.wait_for("delivered");
    paris.wait_for("delivered");
    assert!(road.world.has_arrived("attached") && road.world.has_arrived("detached"));
    assert_eq!((lyon.terminate(), paris.terminate(), dijon.terminate()), (0, 0, 0));
}

#[test]
fn the_first_signal_lets_it_finish_and_the_second_ends_it_with_a_node_and_without() {
    for beside in [true, false] {
        let road = Road::new();
        let (dijon, lyon) = (road.dijon(&[]), beside.then(|| road.world.lyon()));
        let sending = road.stuck(&dijon, &["--drain", "120s"]);
        sending.signal(Signal::INT);
        dijon.signal(Signal::CONT);
        sending.wait_for("relayed");
        assert_eq!((sending.code(), road.states()), (0, vec!["relayed".to_owned()]));
        let sending = road.stuck(&dijon, &["--drain", "120s"]);
        sending.signal(Signal::INT);
        sending.signal(Signal::TERM);
        let error = sending.wait_for("error");
        assert_eq!(
            (&error["kind"], &error["peer"]),
            (&"cancelled".into(), &road.paris.as_str().into())
        );
        assert_eq!((text(&error, "transfer").len(), sending.code()), (16, 130));
        dijon.signal(Signal::CONT);
        assert_eq!(road.states(), ["relayed"], "nothing is left of the second one");
        // What fails after the relay was told to stop would be cut off by that.
        dijon.wait_for("error");
        let rest = lyon.map_or(0, Process::terminate);
        assert_eq!((rest, dijon.terminate()), (0, 0));
    }
}

#[test]
fn what_the_relay_has_is_not_said_to_be_taken_out() {
    let road = Road::new().paris_trusts_lyon();
    let (dijon, lyon) = (road.dijon(&[]), road.lyon_listens());
    let id = relayed(&road.send("letter", 10, &[]));
    let ran = road.world.run("lyon", ["outbox", "cancel", &id]);
    let error = ran.event("error");
    let said = format!("{} {}", text(error, "message"), text(error, "hint"));
    assert_eq!((ran.code, error["kind"].as_str()), (2, Some("usage")), "{said}");
    assert!(said.contains("may still deliver it") && !said.contains("send again"), "{said}");
    assert_eq!(road.states(), ["relayed"]);
    let paris = road.paris();
    paris.wait_for("delivered");
    assert_eq!(lyon.wait_for("delivered")["transfer"], id.as_str());
    assert_eq!((lyon.terminate(), paris.terminate(), dijon.terminate()), (0, 0, 0));
}

#[test]
fn an_order_at_the_relay_answers_with_the_id_that_it_was_given() {
    let road = Road::new().paris_trusts_lyon();
    let dijon = road.dijon(&[]);
    relayed(&road.send("letter", 10, &[]));
    let entry = road.world.run("dijon", ["outbox", "list"]).event("entry").clone();
    let id = text(&entry, "id");
    for order in ["retry", "cancel"] {
        let ran = road.world.run("dijon", ["outbox", order, &id]);
        let told = ran.events.iter().find(|event| event["transfer"].is_string());
        let told = text(told.unwrap_or_else(|| panic!("{:?}", ran.events)), "transfer");
        assert!(ran.code == 0 && id.starts_with(&told), "{order}: {:?}", ran.events);
    }
    assert_eq!(dijon.terminate(), 0);
}

#[test]
fn what_a_relay_has_that_is_not_met_again_may_have_been_delivered() {
    let road = Road::new();
    let dijon = road.dijon(&[]);
    let mut life = 3;
    let id = loop {
        let ran = road.send("letter", 10, &["--expires", &format!("{life}s")]);
        if ran.code == 0 {
            break relayed(&ran);
        }
        // On a busy machine it may expire before the relay has it: the next one has longer.
        life *= 2;
    };
    dijon.kill();
    let lyon = road.lyon_listens();
    let error = loop {
        let error = lyon.wait_for("error");
        if error["transfer"] == id.as_str() {
            break error;
        }
    };
    let said = format!("{} {}", text(&error, "message"), text(&error, "hint"));
    assert!(said.contains("may have been delivered") && !said.contains("could not"), "{said}");
    assert!(said.contains("look at the receiver"), "{said}");
    let entry = road.world.outbox().into_iter().find(|entry| entry["transfer"] == id.as_str());
    let entry = entry.unwrap();
    let failure = text(&entry["failure"], "message");
    assert_eq!(text(&entry, "state"), "dead");
    assert!(failure.contains("may have been delivered"), "{failure}");
    let retried = road.world.run("lyon", ["outbox", "retry", &id]);
    let said = text(retried.event("error"), "message");
    assert!(said.contains("may have been delivered before: look at the receiver"), "{said}");
    assert_eq!(lyon.terminate(), 0);
}

#[test]
fn it_is_told_when_somebody_else_takes_it_out() {
    let road = Road::new();
    let (dijon, lyon) = (road.dijon(&[]), road.world.lyon());
    let sending = road.stuck(&dijon, &[]);
    let id = text(&road.world.outbox()[0], "id");
    assert_eq!(road.world.run("lyon", ["outbox", "cancel", &id]).code, 0);
    assert_eq!(sending.wait_for("error")["kind"], "cancelled");
    assert_eq!(sending.code(), 130);
    dijon.signal(Signal::CONT);
    dijon.wait_for("error");
    assert_eq!((lyon.terminate(), dijon.terminate()), (0, 0));
}

#[test]
fn the_command_goes_on_when_the_node_it_asked_dies() {
    let road = Road::new();
    let (dijon, lyon) = (road.dijon(&[]), road.world.lyon());
    let sending = road.stuck(&dijon, &["--copy"]);
    lyon.kill();
    dijon.signal(Signal::CONT);
    sending.wait_for("relayed");
    assert_eq!((sending.code(), road.states()), (0, vec!["relayed".to_owned()]));
    assert_eq!(dijon.terminate(), 0);
}

#[test]
fn what_can_t_be_meant_is_said_and_what_no_relay_takes_is_not_kept() {
    let road = Road::new();
    let ran = road.send("letter", 10, &["--patience", "1s"]);
    refused(&ran, 4, "unreachable", "");
    is_about(&road, &ran);
    assert_eq!(road.states(), [""; 0]);
    let mut command = road.world.command("dijon");
    let dijon = Process::start(command.args(["node", "--listen", "127.0.0.1:0"]));
    road.proxy.lead_to(dijon.wait_for("ready")["addrs"][0].as_str().unwrap());
    refused(&road.send("letter", 10, &[]), 3, "refused", "is no relay");
    assert_eq!((dijon.terminate(), road.states()), (0, vec![]));
    let file = road.world.path("letter").display().to_string();
    let paris = format!("{}/files", road.paris);
    let itself = text(road.world.run("dijon", ["id"]).event("id"), "peer") + "/files";
    let cases: [(&[&str], &str); 6] = [
        (&["send", "--via", "nobody", &file, &paris], "no peer is called"),
        (&["send", "--via", "dijon", &file, &itself], "the receiver itself"),
        (&["send", "--via", "dijon", &file, "nobody/files"], "no peer is called"),
        (&["send", "--via", "dijon", "--addr", "127.0.0.1:1", &file, &paris], "--addr"),
        (&["node", "--connect", "nobody"], "no peer is called"),
        (&["node", "--relay-bytes", "1G"], "--relay"),
    ];
    for (arguments, why) in cases {
        refused(&road.world.run("lyon", arguments), 2, "usage", why);
    }
    refused(&road.world.run("dijon", ["node", "--connect", "paris"]), 2, "usage", "can be dialled");
}

#[test]
fn a_relay_on_a_small_disk_keeps_what_has_room_on_it() {
    let road = Road::new().paris_trusts_lyon();
    let spool = road.world.spool("dijon");
    fs::create_dir(&spool).unwrap();
    let Some(_disk) = Disk::mount_of(&spool, LARGE as u64) else { return };
    let dijon = road.dijon(&[]);
    relayed(&road.send("letter", 1000, &[]));
    refused(&road.send("large", LARGE, &["--compress", "off"]), 3, "refused", "(`spool_free`)");
    let paris = road.paris();
    paris.wait_for("delivered");
    assert_eq!((paris.terminate(), dijon.terminate()), (0, 0));
    assert!(road.world.has_arrived("letter"));
}
