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
        let (paris, ticket) = world.paris_with(&["--advertise", &proxy.address()]);
        let ticket = text(&ticket, "ticket");
        assert_eq!(paris.terminate(), 0);
        let (paris, there) = world.paris();
        proxy.lead_to(&text(&there, "addr"));
        let lyon = world.lyon();
        world.store(&world.file("first", 10), &ticket, &[]);
        lyon.wait_for("delivered");
        Self { world, proxy, ticket, lyon, paris }
    }

    fn send(&self, path: &Path, arguments: &[&str]) -> Ran {
        self.world.run("lyon", ["send"].iter().copied().chain(arguments.iter().copied()).chain([path.to_str().unwrap(), &self.ticket]))
    }

    /// A delivery that has begun, and can't go on, since paris does not move.
    fn stuck(&self, arguments: &[&str]) -> Process {
        let (file, crossed) = (self.world.file("large", LARGE), self.proxy.crossed());
        let mut command = self.world.command("lyon");
        let sending = Process::start(command.args(["send", "--compress", "off"]).args(arguments).arg(file).arg(&self.ticket));
        self.proxy.wait_for(crossed + (1 << 20));
        self.paris.signal(Signal::STOP);
        sending
    }

    /// Nothing is left of the one that was stuck, and others are delivered, by the one link there is.
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
    linked.proxy.wait_for_connections(1 + std::thread::available_parallelism().unwrap().get().min(8) as u64);
    let connections = linked.proxy.connections();
    for number in 0..5 {
        let sent = linked.send(&linked.world.file(&format!("file{number}"), 3 << 20), &[]);
        assert_eq!(sent.code, 0, "{:?}", sent.events);
        let (progress, delivered) = (sent.event("progress"), sent.event("delivered"));
        assert_eq!((&progress["total"], &delivered["bytes"]), (&(3 << 20).into(), &(3 << 20).into()));
        assert_eq!((&progress["transfer"], delivered["files"].as_u64()), (&delivered["transfer"], Some(1)));
        assert!(text(delivered, "place").ends_with(&format!("file{number}")) && linked.world.has_arrived(&format!("file{number}")));
        let by_node = linked.lyon.wait_for("delivered");
        assert_eq!((&by_node["transfer"], &by_node["blake3"]), (&delivered["transfer"], &delivered["blake3"]));
    }
    assert_eq!(linked.proxy.connections(), connections, "nobody else has dialled");
    assert_eq!(linked.world.outbox().len(), 1, "what is watched is not stored");
    linked.goes_on();
}

#[test]
fn what_goes_wrong_is_told_as_without_a_node() {
    let linked = Linked::new();
    let again = linked.send(&linked.world.path("first"), &[]);
    assert_eq!((again.code, &again.event("error")["kind"]), (3, &"refused".into()), "{:?}", again.events);
    let missing = linked.send(&linked.world.path("missing"), &[]);
    assert_eq!((missing.code, &missing.event("error")["kind"]), (6, &"io".into()));
    let nobody = linked.world.run("lyon", ["send", linked.world.path("first").to_str().unwrap(), "nobody/files"]);
    assert_eq!((nobody.code, &nobody.event("error")["kind"]), (2, &"usage".into()));
    let chunks = linked.send(&linked.world.path("first"), &["--chunk-size", "1000"]);
    assert_eq!((chunks.code, &chunks.event("error")["kind"]), (2, &"usage".into()));
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
