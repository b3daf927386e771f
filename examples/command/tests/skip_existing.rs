//! `estafette send --skip-existing`: what the receiver has from an earlier delivery is not sent
//! again.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use support::process::Process;
use support::proxy::Proxy;
use support::{Ran, World, text};

/// More than a link says without any content, by far.
const LARGE: usize = 8 << 20;

/// Lyon, who sends by a proxy, and paris.
struct Twice {
    world: World,
    proxy: Proxy,
    ticket: String,
    paris: Process,
}

impl Twice {
    fn new() -> Self {
        let (world, proxy) = (World::new(), Proxy::new());
        let (paris, ticket) =
            world.paris_with(&["--advertise", &proxy.address(), "--redeemers", "2"]);
        let ticket = text(&ticket, "ticket");
        assert_eq!(paris.terminate(), 0);
        let (paris, there) = world.paris_with(&["--redeemers", "2"]);
        proxy.lead_to(&text(&there, "addr"));
        Self { world, proxy, ticket, paris }
    }

    /// Another process takes what comes from now on.
    fn restart(self, arguments: &[&str]) -> Self {
        assert_eq!(self.paris.terminate(), 0);
        let (paris, there) = self.world.paris_with(&[&["--redeemers", "2"], arguments].concat());
        self.proxy.lead_to(&text(&there, "addr"));
        Self { paris, ..self }
    }

    fn send_as(&self, who: &str, path: &Path) -> Ran {
        self.world.run(
            who,
            ["send", "--skip-existing", "--compress", "off", path.to_str().unwrap(), &self.ticket],
        )
    }

    /// Sends it, and tells whether it was there already, as both ends see it.
    fn send(&self, path: &Path) -> bool {
        let crossed = self.proxy.crossed();
        let sent = self.send_as("lyon", path);
        assert_eq!(sent.code, 0, "{:?}", sent.events);
        let (delivered, there) = (sent.event("delivered"), self.paris.wait_for("delivered"));
        for field in ["name", "inbox", "files", "bytes", "blake3", "place", "already_there"] {
            assert_eq!(delivered[field], there[field], "{field}: {delivered} {there}");
        }
        assert_eq!(
            (&delivered["name"], &delivered["inbox"]),
            (&path.file_name().unwrap().to_str().into(), &"files".into())
        );
        let already_there = delivered["already_there"].as_bool().unwrap();
        let content = delivered["bytes"].as_u64().unwrap();
        assert_eq!(already_there, self.proxy.crossed() - crossed < content, "{delivered}");
        already_there
    }

    fn refused(&self, who: &str, path: &Path) {
        let sent = self.send_as(who, path);
        assert_eq!(
            (sent.code, &sent.event("error")["kind"]),
            (3, &"refused".into()),
            "{:?}",
            sent.events
        );
        assert!(
            text(sent.event("error"), "message").contains("exists already"),
            "{:?}",
            sent.events
        );
    }

    fn arrived(&self, name: &str) -> PathBuf {
        self.world.path("in").join(name)
    }

    /// Waits until the clock of the file system has moved on: what changes within the same tick as
    /// it arrived can't be told.
    fn tick(&self, arrived: &Path) {
        let time = |path: &Path| {
            fs::metadata(path).map(|there| (there.ctime(), there.ctime_nsec())).unwrap()
        };
        let probe = self.world.path("probe");
        while {
            fs::write(&probe, "").unwrap();
            time(&probe) <= time(arrived)
        } {
            std::thread::yield_now();
        }
    }

    fn tree(&self) -> PathBuf {
        let tree = self.world.path("tree");
        fs::create_dir_all(tree.join("deep/empty")).unwrap();
        fs::copy(self.world.file("part", LARGE), tree.join("deep/large")).unwrap();
        fs::write(tree.join("small"), "small").unwrap();
        tree
    }
}

#[test]
fn a_file_that_is_there_is_not_sent_again_whichever_process_took_it() {
    let twice = Twice::new();
    let file = twice.world.file("file", LARGE);
    assert!(!twice.send(&file));
    assert!(twice.send(&file));
    let twice = twice.restart(&[]);
    assert!(twice.send(&file));
    let node = twice.world.lyon();
    assert!(twice.send(&file), "by a node that runs");
    assert_eq!(node.terminate(), 0);
    assert_eq!(twice.world.arrived(), ["file"]);
    assert!(twice.world.has_arrived("file"));
}

#[test]
fn what_was_sent_without_asking_is_known_too_and_without_asking_nothing_is_skipped() {
    let twice = Twice::new();
    let file = twice.world.file("file", LARGE);
    let arguments = ["send", file.to_str().unwrap(), &twice.ticket];
    assert_eq!(twice.world.run("lyon", arguments).event("delivered")["already_there"], false);
    twice.paris.wait_for("delivered");
    assert!(twice.send(&file));
    assert_eq!(twice.world.run("lyon", arguments).code, 3);
}

#[test]
fn a_file_of_which_anything_but_its_bytes_changed_is_there_and_one_whose_bytes_did_is_not() {
    let twice = Twice::new();
    let file = twice.world.file("file", LARGE);
    twice.send(&file);
    let arrived = twice.arrived("file");
    twice.tick(&arrived);
    fs::set_permissions(&arrived, fs::Permissions::from_mode(0o600)).unwrap();
    fs::copy(&arrived, twice.arrived("copy")).unwrap();
    fs::rename(twice.arrived("copy"), &arrived).unwrap();
    assert!(twice.send(&file), "other permissions, and another inode");
    twice.tick(&arrived);
    let (mut bytes, times) =
        (fs::read(&arrived).unwrap(), fs::metadata(&arrived).unwrap().modified().unwrap());
    bytes[LARGE / 2] ^= 1;
    fs::write(&arrived, &bytes).unwrap();
    fs::File::options().write(true).open(&arrived).unwrap().set_modified(times).unwrap();
    twice.refused("lyon", &file);
    assert!(fs::read(&arrived).unwrap() == bytes, "what somebody wrote there is kept");
    fs::remove_file(&arrived).unwrap();
    assert!(!twice.send(&file), "it is gone");
    fs::write(&file, "other content").unwrap();
    twice.refused("lyon", &file);
}

#[test]
fn a_folder_is_there_only_if_nothing_in_it_was_touched() {
    let twice = Twice::new().restart(&["--on-conflict", "replace"]);
    let tree = twice.tree();
    assert!(!twice.send(&tree));
    assert!(twice.send(&tree));
    let deep = twice.arrived("tree/deep");
    let touches: [(&str, &dyn Fn()); 5] = [
        ("content", &|| fs::write(deep.join("large"), "x").unwrap()),
        ("permissions", &|| {
            fs::set_permissions(deep.join("empty"), fs::Permissions::from_mode(0o700)).unwrap()
        }),
        ("a new file", &|| fs::write(deep.join("empty/new"), "").unwrap()),
        ("one that is gone", &|| fs::remove_file(twice.arrived("tree/small")).unwrap()),
        ("all of it", &|| fs::remove_dir_all(twice.arrived("tree")).unwrap()),
    ];
    for (what, touch) in touches {
        twice.tick(&twice.arrived("tree"));
        touch();
        assert!(!twice.send(&tree), "{what}");
        assert!(twice.send(&tree), "{what}, and sent again");
    }
    fs::write(tree.join("small"), "other").unwrap();
    assert!(!twice.send(&tree), "the sender's changed");
}

#[test]
fn a_delivery_that_got_a_number_is_known_by_the_name_it_was_sent_under() {
    let twice = Twice::new().restart(&["--on-conflict", "rename"]);
    fs::write(twice.arrived("file"), "of somebody else").unwrap();
    let file = twice.world.file("file", LARGE);
    assert!(!twice.send(&file));
    assert!(twice.send(&file));
    assert_eq!(twice.world.arrived(), ["file", "file (1)"]);
}

#[test]
fn nobody_is_told_what_another_sender_has_delivered() {
    let twice = Twice::new();
    let file = twice.world.file("file", LARGE);
    fs::write(twice.arrived("put-there"), "by its owner").unwrap();
    fs::write(twice.world.path("put-there"), "by its owner").unwrap();
    twice.send(&file);
    twice.refused("nice", &file);
    twice.refused("lyon", &twice.world.path("put-there"));
}

#[test]
fn the_command_of_exec_is_not_run_again_for_what_is_there() {
    let log = tempfile::tempdir().unwrap();
    let command = format!("echo \"$DELIVERY_NAME\" >> {}", log.path().join("log").display());
    let twice = Twice::new().restart(&["--exec", &command]);
    let file = twice.world.file("file", LARGE);
    twice.send(&file);
    assert!(twice.send(&file));
    twice.send(&twice.world.file("next", 10));
    let done = || fs::read_to_string(log.path().join("log")).unwrap_or_default();
    while !done().ends_with("next\n") {
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert_eq!(done(), "file\nnext\n");
}

#[test]
fn what_can_t_be_asked_about_is_said() {
    let world = World::new();
    let file = world.file("file", 10);
    for (arguments, path) in [
        (&["--detach"][..], file.to_str().unwrap()),
        (&["--via", "dijon"], file.to_str().unwrap()),
        (&[], "-"),
    ] {
        let ran = world.run(
            "lyon",
            ["send", "--skip-existing"].iter().chain(arguments).chain(&[path, "paris/files"]),
        );
        assert_eq!(
            (ran.code, &ran.event("error")["kind"]),
            (2, &"usage".into()),
            "{arguments:?} {:?}",
            ran.events
        );
    }
}
