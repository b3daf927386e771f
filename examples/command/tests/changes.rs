//! Tests of content that changes while it is sent, of content that does not, and of a receiver that
//! loses its part. Each has its own word at the sender.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde_json::Value;

use support::process::Process;
use support::proxy::Proxy;
use support::{World, text};

/// Takes three seconds at the rate below.
const LENGTH: usize = 6 << 20;

/// A delivery of which some has arrived, and the rest takes its time.
struct Halfway {
    world: World,
    proxy: Proxy,
    paris: Process,
    file: PathBuf,
    sending: Process,
}

impl Halfway {
    fn new() -> Self {
        let (world, proxy) = (World::new(), Proxy::new());
        let (paris, ticket) = world.paris_behind(&proxy);
        let file = world.file("file", LENGTH);
        world.settle(&file);
        let mut command = world.command("lyon");
        let sending = Process::start(
            command.args(["send", "--compress", "off", "--limit", "2M"]).arg(&file).arg(ticket),
        );
        sending.wait_for("progress");
        Self { world, proxy, paris, file, sending }
    }

    /// All that is said until it is delivered, as it is now.
    fn until_delivered(&self) -> Vec<Value> {
        let mut said = Vec::new();
        loop {
            let next = self.sending.next();
            assert_ne!(next["event"], "error", "{next} after {said:?}");
            said.push(next);
            if said.last().unwrap()["event"] == "delivered" {
                let there = fs::metadata(self.world.path("in/file"));
                assert!(
                    self.world.has_arrived("file"),
                    "{there:?} {:?} {}",
                    self.world.arrived(),
                    said.last().unwrap()
                );
                return said;
            }
        }
    }
}

/// The reasons why it began anew, each time it did.
fn restarted(said: &[Value]) -> Vec<String> {
    said.iter()
        .filter(|event| event["event"] == "restarted")
        .map(|event| text(event, "message"))
        .collect()
}

fn link(from: &Path, to: &Path) {
    fs::hard_link(from, to).unwrap();
}

#[test]
fn content_that_changes_is_named_with_what_changed() {
    let halfway = Halfway::new();
    let mut file = fs::File::options().write(true).open(&halfway.file).unwrap();
    file.seek(SeekFrom::Start(100)).and_then(|_| file.write_all(b"other")).unwrap();
    drop(file);
    let restarted = restarted(&halfway.until_delivered());
    assert_eq!(
        restarted,
        [format!(
            "{} changed while it was sent (its content was modified)",
            halfway.file.display()
        )]
    );
    assert_eq!(halfway.sending.code(), 0);
}

#[test]
fn a_change_that_is_none_is_not_spoken_of_and_costs_nothing() {
    let halfway = Halfway::new();
    link(&halfway.file, &halfway.world.path("second-name"));
    fs::set_permissions(&halfway.file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::rename(&halfway.file, halfway.world.path("moved")).unwrap();
    fs::rename(halfway.world.path("moved"), &halfway.file).unwrap();
    fs::remove_file(halfway.world.path("second-name")).unwrap();
    let said = halfway.until_delivered();
    assert_eq!(restarted(&said), Vec::<String>::new());
    assert!(
        said.iter().all(|event| event["event"] == "progress" || event["event"] == "delivered"),
        "{said:?}"
    );
    assert_eq!(halfway.sending.code(), 0);
}

/// As hourly snapshots by hard links leave it: one name fewer, one more.
#[test]
fn a_file_of_which_no_change_can_be_told_is_read_again_here_and_not_sent_again() {
    let halfway = Halfway::new();
    let changed = || fs::metadata(&halfway.file).unwrap().ctime_nsec();
    let before = changed();
    while changed() == before {
        link(&halfway.file, &halfway.world.path("second-name"));
        fs::remove_file(halfway.world.path("second-name")).unwrap();
    }
    // Its path leads elsewhere in the end, as that of a log that was rotated.
    fs::rename(&halfway.file, halfway.world.path("rotated")).unwrap();
    let sent = || halfway.sending.next();
    let said: Vec<_> = std::iter::from_fn(|| Some(sent()))
        .take_while(|event| event["event"] != "delivered")
        .collect();
    assert!(said.iter().all(|event| event["event"] == "progress"), "{said:?}");
    fs::rename(halfway.world.path("rotated"), &halfway.file).unwrap();
    assert!(halfway.world.has_arrived("file"));
    assert_eq!(halfway.sending.code(), 0);
}

#[test]
fn content_that_was_written_and_its_time_put_back_is_sent_anew() {
    let halfway = Halfway::new();
    let before = fs::metadata(&halfway.file).unwrap();
    let mut file = fs::File::options().write(true).open(&halfway.file).unwrap();
    file.seek(SeekFrom::Start(100)).and_then(|_| file.write_all(b"other")).unwrap();
    file.set_modified(before.modified().unwrap()).unwrap();
    drop(file);
    let restarted = restarted(&halfway.until_delivered());
    let [only] = &*restarted else { panic!("{restarted:?}") };
    assert!(
        only.ends_with(
            "changed while it was sent (something of it changed, and perhaps its content)"
        ),
        "{only}"
    );
    assert_eq!(halfway.sending.code(), 0);
}

#[test]
fn a_receiver_that_has_lost_its_part_is_not_taken_for_a_change_here() {
    let Halfway { world, proxy, paris, file, sending } = Halfway::new();
    paris.kill();
    // Its disk was put back: of what came since nothing is there.
    fs::remove_dir_all(world.spool("paris")).unwrap();
    fs::remove_dir_all(world.path("in")).and_then(|()| fs::create_dir(world.path("in"))).unwrap();
    // Who forwards the port takes connections meanwhile, and ends them: the sender is as patient as
    // with one that takes none.
    proxy.wait_for_connections(proxy.connections() + 5);
    let (paris, there) = world.paris();
    proxy.lead_to(&text(&there, "addr"));
    let halfway = Halfway { world, proxy, paris, file, sending };
    assert_eq!(
        restarted(&halfway.until_delivered()),
        ["the receiver has lost the part that it had; nothing changed here"]
    );
    assert_eq!((halfway.sending.code(), halfway.paris.terminate()), (0, 0));
}

#[test]
fn a_file_that_is_gone_is_not_said_to_have_changed() {
    let (world, proxy) = (World::new(), Proxy::new());
    let (paris, ticket) = world.paris_with(&["--advertise", &proxy.address()]);
    assert_eq!(paris.terminate(), 0);
    let (paris, there) = world.paris();
    let lyon = world.lyon();
    let file = world.file("file", 10);
    let stored = world.store(&file, &text(&ticket, "ticket"), &[]);
    fs::remove_file(&file).unwrap();
    proxy.lead_to(&text(&there, "addr"));
    // It may be tried at this moment already.
    world.run("lyon", ["outbox", "retry", &text(&stored, "id")]);
    let message = text(&lyon.wait_for("error"), "message");
    assert!(message.contains("could not read") && message.contains("No such file"), "{message}");
    assert!(!message.contains("changed"), "{message}");
    assert_eq!((lyon.terminate(), paris.terminate()), (0, 0));
}
