//! `estafette send` beside a node that runs with the same key: real processes, on real sockets.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::fs;
use std::path::Path;

use rustix::process::Signal;

use support::process::Process;
use support::proxy::Proxy;
use support::{Ran, World, text};

/// More than what is on the way while nobody takes it.
const LARGE: usize = 64 << 20;

/// Lyon's node and paris, who have a link by the proxy.
struct Linked {
    world: World,
    proxy: Proxy,
    ticket: String,
    lyon: Process,
    paris: Process,
}

impl Linked {
    fn new() -> Self {
        let (world, proxy) = (World::new(), Proxy::new());
        let (paris, ticket) = world.paris_behind(&proxy);
        let lyon = world.lyon();
        world.store(&world.file("first", 10), &ticket, &[]);
        lyon.wait_for("delivered");
        Self { world, proxy, ticket, lyon, paris }
    }

    fn send(&self, path: &Path, arguments: &[&str]) -> Ran {
        self.world.run(
            "lyon",
            ["send"]
                .iter()
                .copied()
                .chain(arguments.iter().copied())
                .chain([path.to_str().unwrap(), &self.ticket]),
        )
    }

    /// A delivery that has begun, and can't go on, since paris does not move.
    fn stuck(&self, arguments: &[&str]) -> Process {
        let (file, crossed) = (self.world.file("large", LARGE), self.proxy.crossed());
        let mut command = self.world.command("lyon");
        let sending = Process::start(
            command.args(["send", "--compress", "off"]).args(arguments).arg(file).arg(&self.ticket),
        );
        self.proxy.wait_for(crossed + (1 << 20));
        self.paris.signal(Signal::STOP);
        sending
    }

    /// Nothing is left of the one that was stuck, and others are delivered, by the one link there
    /// is.
    fn goes_on(self) {
        self.paris.signal(Signal::CONT);
        assert_eq!(self.send(&self.world.file("next", 10), &[]).code, 0);
        assert!(self.world.has_arrived("next") && !self.world.path("in/large").exists());
        assert_eq!((self.lyon.terminate(), self.paris.terminate()), (0, 0));
    }
}

#[test]
fn it_goes_by_the_link_of_the_node_that_runs_and_says_the_same() {
    let linked = Linked::new();
    // The link, and the lanes: some may still be dialled when so little is delivered already.
    linked.proxy.wait_for_connections(
        1 + std::thread::available_parallelism().unwrap().get().min(8) as u64,
    );
    let connections = linked.proxy.connections();
    for number in 0..5 {
        let sent = linked.send(&linked.world.file(&format!("file{number}"), 3 << 20), &[]);
        assert_eq!(sent.code, 0, "{:?}", sent.events);
        let (progress, delivered) = (sent.event("progress"), sent.event("delivered"));
        assert_eq!(
            (&progress["total"], &delivered["bytes"]),
            (&(3 << 20).into(), &(3 << 20).into())
        );
        assert_eq!(
            (&progress["transfer"], delivered["files"].as_u64()),
            (&delivered["transfer"], Some(1))
        );
        assert!(
            text(delivered, "place").ends_with(&format!("file{number}"))
                && linked.world.has_arrived(&format!("file{number}"))
        );
        let by_node = linked.lyon.wait_for("delivered");
        assert_eq!(
            (&by_node["transfer"], &by_node["blake3"]),
            (&delivered["transfer"], &delivered["blake3"])
        );
    }
    assert_eq!(linked.proxy.connections(), connections, "nobody else has dialled");
    assert_eq!(linked.world.outbox().len(), 1, "what is watched is not stored");
    linked.goes_on();
}

#[test]
fn what_goes_wrong_is_told_as_without_a_node() {
    let linked = Linked::new();
    let again = linked.send(&linked.world.path("first"), &[]);
    assert_eq!(
        (again.code, &again.event("error")["kind"]),
        (3, &"refused".into()),
        "{:?}",
        again.events
    );
    assert_eq!(
        (text(again.event("error"), "transfer").len(), text(again.event("error"), "peer").len()),
        (16, 52)
    );
    let missing = linked.send(&linked.world.path("missing"), &[]);
    assert_eq!((missing.code, &missing.event("error")["kind"]), (6, &"io".into()));
    let nobody = linked
        .world
        .run("lyon", ["send", linked.world.path("first").to_str().unwrap(), "nobody/files"]);
    assert_eq!((nobody.code, &nobody.event("error")["kind"]), (2, &"usage".into()));
    for size in ["1000", "512", "4M"] {
        let chunks = linked.send(&linked.world.path("first"), &["--chunk-size", size]);
        assert_eq!((chunks.code, &chunks.event("error")["kind"]), (2, &"usage".into()));
        assert!(
            text(chunks.event("error"), "message").contains("from 1K to 2M"),
            "{:?}",
            chunks.events
        );
    }
    linked.goes_on();
}

#[test]
fn one_signal_lets_it_finish() {
    let linked = Linked::new();
    let sending = linked.stuck(&["--drain", "120s"]);
    sending.signal(Signal::INT);
    linked.paris.signal(Signal::CONT);
    sending.wait_for("delivered");
    assert_eq!(sending.code(), 0);
    assert!(linked.world.has_arrived("large"));
    fs::remove_file(linked.world.path("in/large")).unwrap();
    linked.goes_on();
}

#[test]
fn two_signals_or_one_and_the_end_of_patience_cancel_it() {
    for (drain, signals) in [("120s", &[Signal::INT, Signal::TERM][..]), ("1s", &[Signal::INT])] {
        let linked = Linked::new();
        let sending = linked.stuck(&["--drain", drain]);
        signals.iter().for_each(|&signal| sending.signal(signal));
        assert_eq!(sending.wait_for("error")["kind"], "cancelled");
        assert_eq!(sending.code(), 130);
        linked.goes_on();
    }
}

#[test]
fn it_is_cancelled_when_whoever_watches_it_is_killed() {
    let linked = Linked::new();
    linked.stuck(&[]).kill();
    assert_eq!(linked.lyon.wait_for("error")["kind"], "cancelled");
    linked.goes_on();
}

#[test]
fn whoever_watches_is_told_that_the_node_has_died() {
    let linked = Linked::new();
    let sending = linked.stuck(&[]);
    let node = linked.lyon.id();
    linked.lyon.kill();
    let error = sending.wait_for("error");
    assert!(text(&error, "message").contains(&format!("process {node}")), "{error}");
    assert_eq!((sending.code(), &error["kind"]), (4, &"unreachable".into()));
}

#[test]
fn beside_a_node_that_is_about_to_end_it_waits_for_that_and_sends_by_itself() {
    let linked = Linked::new();
    let stuck = linked.stuck(&["--drain", "120s"]);
    // It lets the stuck one finish first.
    linked.lyon.signal(Signal::TERM);
    let sends: Vec<_> = (0..3)
        .map(|number| {
            let file = linked.world.file(&format!("late{number}"), 10);
            Process::start(
                linked.world.command("lyon").args(["send"]).arg(file).arg(&linked.ticket),
            )
        })
        .collect();
    linked.paris.signal(Signal::CONT);
    stuck.wait_for("delivered");
    assert_eq!((stuck.code(), linked.lyon.code()), (0, 0));
    for (number, send) in sends.into_iter().enumerate() {
        send.wait_for("delivered");
        assert_eq!(send.code(), 0);
        assert!(linked.world.has_arrived(&format!("late{number}")));
    }
    assert_eq!(linked.paris.terminate(), 0);
}

#[test]
fn without_a_node_sends_to_one_receiver_take_turns_and_those_to_others_do_not_wait() {
    let world = World::new();
    let (paris, ticket) = world.paris();
    let ticket = text(&ticket, "ticket");
    let send = |name: &str, arguments: &[&str], ticket: &str| {
        Process::start(
            world
                .command("lyon")
                .arg("send")
                .args(arguments)
                .arg(world.file(name, 3_000_000))
                .arg(ticket),
        )
    };
    let slow = send("slow", &["--limit", "100K"], &ticket);
    // It has its turn.
    slow.wait_for("progress");
    let next = send("next", &[], &ticket);
    assert_eq!(text(&next.wait_for("queued"), "peer").len(), 52);
    let mut elsewhere = world.command("oslo");
    elsewhere
        .args(["receive", "--once", "--listen", "127.0.0.1:0", "--into"])
        .arg(world.path("in"));
    let oslo = Process::start(&mut elsewhere);
    let other = send("other", &[], &text(&oslo.wait_for("ticket"), "ticket"));
    assert_eq!((other.code(), oslo.code()), (0, 0));
    // Whoever has the turn and dies gives it away.
    slow.kill();
    assert_eq!(next.code(), 0);
    assert!(world.has_arrived("next") && !world.path("in/slow").exists());
    assert_eq!(paris.terminate(), 0);
    let left: Vec<_> =
        fs::read_dir(world.path("")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("sending")), "{left:?}");
}

#[test]
fn what_it_is_compressed_and_sealed_with_is_as_asked_and_said_alone_and_by_a_node_that_runs() {
    let linked = Linked::new();
    linked.paris.wait_for("delivered");
    let alone = linked.world.file("alone", 3 << 20);
    let marseille = |how| {
        let arguments = ["send", "--compress", how, alone.to_str().unwrap(), &linked.ticket];
        linked.world.run("marseille", arguments)
    };
    // The ticket is lyon's: another key is refused, and an unknown codec before anybody is asked.
    assert_eq!(marseille("zip").code, 2);
    for (how, codec) in [("lz4", Some("lz4")), ("snappy", Some("snappy")), ("off", None)] {
        let sent = linked.send(&linked.world.file(how, 1 << 20), &["--compress", how]);
        assert_eq!(sent.code, 0, "{:?}", sent.events);
        let (here, there) = (sent.event("delivered"), linked.paris.wait_for("delivered"));
        assert_eq!(here["codec"].as_str(), codec, "{here}");
        assert_eq!(there["codec"].as_str(), Some(codec.unwrap_or("snappy")), "{there}");
        assert_eq!(here["suite"], there["suite"], "{here} {there}");
        assert!(here["suite"].as_str().is_some_and(|suite| suite.contains('-')), "{here}");
    }
    let unknown = linked.send(&linked.world.file("zip", 10), &["--compress", "zip"]);
    assert_eq!((unknown.code, unknown.event("error")["kind"].as_str()), (2, Some("usage")));
    linked.goes_on();
}

#[test]
fn signals_end_it_while_the_node_that_sends_it_hangs() {
    for (drain, signals) in [("3600s", &[Signal::INT, Signal::TERM][..]), ("1s", &[Signal::TERM])] {
        let linked = Linked::new();
        let sending = linked.stuck(&["--drain", drain]);
        linked.lyon.signal(Signal::STOP);
        signals.iter().for_each(|&signal| sending.signal(signal));
        let error = sending.wait_for("error");
        let message = text(&error, "message");
        assert!(
            error["kind"] == "cancelled"
                && message.contains(&format!("process {}", linked.lyon.id()))
                && message.contains("has it still"),
            "{message}"
        );
        assert_eq!(sending.code(), 130);
        // It has let go of it when it goes on.
        linked.lyon.signal(Signal::CONT);
        linked.goes_on();
    }
}
