//! The command as a user runs it: real processes, real sockets, real files. Waits for what the
//! processes say, never for time.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Lines};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with everything two nodes need, and nothing of the user's.
struct World(TempDir);

impl World {
    fn new() -> Self {
        let world = Self(tempfile::tempdir().unwrap());
        fs::create_dir(world.path("in")).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn command(&self, who: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
        command
            .env_clear()
            .env("HOME", self.path(who))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.stdin(Stdio::null()).arg("--json");
        command
    }

    fn receive(&self, arguments: &[&str]) -> Receiver {
        let mut command = self.command("paris");
        command
            .args(["receive", "--listen", "127.0.0.1:0", "--name", "paris", "--into"])
            .arg(self.path("in"))
            .args(arguments);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut receiver = Receiver { child, lines, ticket: String::new() };
        receiver.ticket = receiver.wait_for("ticket")["ticket"].as_str().unwrap().to_owned();
        receiver
    }

    fn send(&self, who: &str, paths: &[&Path], ticket: &str) -> Sent {
        self.send_with(who, paths, ticket, &[])
    }

    fn send_with(&self, who: &str, paths: &[&Path], ticket: &str, arguments: &[&str]) -> Sent {
        let mut command = self.command(who);
        let patience: &[&str] =
            if arguments.contains(&"--patience") { &[] } else { &["--patience", "5s"] };
        command.arg("send").args(patience).args(arguments).arg("--").args(paths).arg(ticket);
        Sent::from(command.output().unwrap())
    }
}

struct Receiver {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    ticket: String,
}

impl Receiver {
    /// The next event of this kind.
    fn wait_for(&mut self, event: &str) -> Value {
        loop {
            let line = self.lines.next().expect("the receiver ended before it said so").unwrap();
            let value: Value = serde_json::from_str(&line).unwrap();
            if value["event"] == event {
                return value;
            }
        }
    }

    fn code(&mut self) -> i32 {
        for line in self.lines.by_ref() {
            line.unwrap();
        }
        self.child.wait().unwrap().code().unwrap()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The end of a `send`.
struct Sent {
    code: i32,
    events: Vec<Value>,
}

impl From<Output> for Sent {
    fn from(output: Output) -> Self {
        let text = String::from_utf8(output.stdout).unwrap();
        let events = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        Self { code: output.status.code().unwrap(), events }
    }
}

impl Sent {
    fn event(&self, name: &str) -> &Value {
        let found = self.events.iter().find(|event| event["event"] == name);
        found.unwrap_or_else(|| panic!("no {name} among {:?}", self.events))
    }
}

#[test]
fn a_receiver_listens_at_several_addresses_and_one_machine_needs_no_port() {
    let world = World::new();
    let (socket, letter) =
        (format!("unix:{}", world.path("paris.sock").display()), world.path("letter"));
    // The ticket holds the socket alone.
    let mut receiver = world.receive(&["--listen", &socket, "--advertise", &socket]);
    fs::write(&letter, "by a socket").unwrap();
    assert_eq!(world.send("lyon", &[&letter], &receiver.ticket).code, 0);
    assert_eq!(receiver.wait_for("delivered")["name"], "letter");
    assert_eq!(fs::read(world.path("in/letter")).unwrap(), b"by a socket");
    let relative = ["--addr", "unix:paris.sock"];
    let nowhere = world.send_with("lyon", &[&letter], &receiver.ticket, &relative);
    assert_eq!(nowhere.code, 2, "another process runs in another folder");
}

#[test]
fn a_file_arrives_and_its_digest_is_b3sums() {
    let world = World::new();
    let (file, content) =
        (world.path("big.bin"), (0..3_000_000u32).flat_map(u32::to_le_bytes).collect::<Vec<u8>>());
    fs::write(&file, &content).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    let mut receiver = world.receive(&["--once"]);
    let sent = world.send("lyon", &[&file], &receiver.ticket);
    assert_eq!(sent.code, 0, "{:?}", sent.events);
    let delivered = sent.event("delivered");
    assert_eq!(delivered["blake3"], blake3::hash(&content).to_hex().as_str());
    assert_eq!((&delivered["files"], &delivered["bytes"]), (&1.into(), &content.len().into()));
    assert!(delivered["seconds"].is_f64() && delivered["transfer"].is_string());
    assert_eq!(receiver.wait_for("delivered")["blake3"], delivered["blake3"]);
    assert_eq!(receiver.code(), 0);
    let arrived = world.path("in/big.bin");
    assert_eq!(fs::read(&arrived).unwrap(), content);
    let (ours, theirs) = (fs::metadata(&file).unwrap(), fs::metadata(&arrived).unwrap());
    assert_eq!(
        (ours.mode(), ours.mtime(), ours.mtime_nsec()),
        (theirs.mode(), theirs.mtime(), theirs.mtime_nsec())
    );
}

#[test]
fn a_folder_arrives_with_odd_names_modes_and_links() {
    let world = World::new();
    let folder = world.path("tree");
    fs::create_dir_all(folder.join("deep/empty")).unwrap();
    let names: [&[u8]; 5] =
        [b"plain", b"-dash", b"new\nline", b"\xff\xfe not utf-8", b"empty file"];
    for name in names {
        fs::write(
            folder.join(OsStr::from_bytes(name)),
            name.repeat(if name == b"empty file" { 0 } else { 5000 }),
        )
        .unwrap();
    }
    fs::set_permissions(folder.join("plain"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("plain", folder.join("link")).unwrap();
    let receiver = world.receive(&[]);
    let sent = world.send("lyon", &[&folder], &receiver.ticket);
    assert_eq!(sent.code, 0, "{:?}", sent.events);
    assert_eq!(sent.event("delivered")["files"], 5);
    let arrived = world.path("in/tree");
    for name in names {
        let name = OsStr::from_bytes(name);
        assert_eq!(
            fs::read(folder.join(name)).unwrap(),
            fs::read(arrived.join(name)).unwrap(),
            "{name:?}"
        );
    }
    assert_eq!(fs::metadata(arrived.join("plain")).unwrap().mode() & 0o777, 0o755);
    assert_eq!(fs::read_link(arrived.join("link")).unwrap(), Path::new("plain"));
    assert!(arrived.join("deep/empty").is_dir());
}

#[test]
fn a_receiver_goes_on_serving_several_senders_and_the_same_one_again() {
    let world = World::new();
    let receiver = world.receive(&["--redeemers", "3"]);
    let files: Vec<_> = (0..4).map(|i| world.path(&format!("file{i}"))).collect();
    files
        .iter()
        .for_each(|file| fs::write(file, file.as_os_str().as_bytes().repeat(40_000)).unwrap());
    std::thread::scope(|scope| {
        for (who, file) in ["a", "b", "c"].into_iter().zip(&files) {
            let (world, ticket) = (&world, &receiver.ticket);
            scope.spawn(move || assert_eq!(world.send(who, &[file], ticket).code, 0));
        }
    });
    assert_eq!(world.send("a", &[&files[3]], &receiver.ticket).code, 0);
    for file in &files {
        assert_eq!(
            fs::read(file).unwrap(),
            fs::read(world.path("in").join(file.file_name().unwrap())).unwrap()
        );
    }
}

#[test]
fn a_used_up_ticket_lets_nobody_else_in() {
    let world = World::new();
    let file = world.path("file");
    fs::write(&file, "x").unwrap();
    let receiver = world.receive(&["--on-conflict", "rename"]);
    assert_eq!(world.send("first", &[&file], &receiver.ticket).code, 0);
    let second = world.send("second", &[&file], &receiver.ticket);
    assert_eq!((second.code, &second.event("error")["kind"]), (3, &"untrusted".into()));
    assert!(second.event("error")["message"].as_str().unwrap().contains("ticket"));
    assert_eq!(
        world.send("first", &[&file], &receiver.ticket).code,
        0,
        "who has redeemed it comes in again"
    );
    assert!(world.path("in/file (1)").exists());
}

#[test]
fn a_name_that_is_taken_is_refused_and_nothing_is_touched() {
    let world = World::new();
    let file = world.path("file");
    fs::write(&file, "new").unwrap();
    fs::write(world.path("in/file"), "old").unwrap();
    let mut receiver = world.receive(&["--once"]);
    let sent = world.send("lyon", &[&file], &receiver.ticket);
    assert_eq!((sent.code, &sent.event("error")["kind"]), (3, &"refused".into()));
    assert_eq!(receiver.code(), 3);
    assert_eq!(fs::read(world.path("in/file")).unwrap(), b"old");
    assert_eq!(fs::read_dir(world.path("in")).unwrap().count(), 1, "nothing is left behind");
}

#[test]
fn what_is_too_long_is_refused() {
    let world = World::new();
    let file = world.path("file");
    fs::write(&file, vec![1; 100_000]).unwrap();
    let receiver = world.receive(&["--max-bytes", "64K"]);
    let sent = world.send("lyon", &[&file], &receiver.ticket);
    assert_eq!((sent.code, &sent.event("error")["kind"]), (3, &"refused".into()));
    assert_eq!(fs::read_dir(world.path("in")).unwrap().count(), 0);
}

#[test]
fn nobody_there_is_unreachable() {
    let world = World::new();
    let file = world.path("file");
    fs::write(&file, "x").unwrap();
    let ticket = world.receive(&[]).ticket.clone();
    let sent = world.send_with("lyon", &[&file], &ticket, &["--patience", "1s"]);
    assert_eq!((sent.code, &sent.event("error")["kind"]), (4, &"unreachable".into()));
    assert!(!sent.event("error")["hint"].as_str().unwrap().is_empty());
}

#[test]
fn a_receiver_that_is_killed_in_the_middle_fails_the_transfer_and_leaves_no_half_file() {
    let world = World::new();
    let file = world.path("file");
    let length = 3 << 30;
    fs::File::create(&file).unwrap().set_len(length).unwrap();
    let mut receiver = world.receive(&[]);
    let mut command = world.command("lyon");
    command
        .args(["send", "--patience", "1s"])
        .arg(&file)
        .arg(&receiver.ticket)
        .stdout(Stdio::piped());
    let sending = command.spawn().unwrap();
    receiver.wait_for("progress");
    receiver.child.kill().unwrap();
    let sent = Sent::from(sending.wait_with_output().unwrap());
    assert_eq!(
        (sent.code, &sent.event("error")["kind"]),
        (4, &"unreachable".into()),
        "{:?}",
        sent.events.last()
    );
    assert!(!world.path("in/file").exists());
}

#[test]
fn wrong_usage_says_so() {
    let world = World::new();
    let garbage = world.send("lyon", &[world.0.path()], "estafette1garbage");
    assert_eq!((garbage.code, &garbage.event("error")["kind"]), (2, &"usage".into()));
    let nothing = Sent::from(world.command("lyon").args(["send", "--wrong"]).output().unwrap());
    assert_eq!((nothing.code, &nothing.event("error")["kind"]), (2, &"usage".into()));
    let ticket = world.receive(&[]).ticket.clone();
    let missing = world.send("lyon", &[&world.path("not there")], &ticket);
    assert_eq!((missing.code, &missing.event("error")["kind"]), (6, &"io".into()));
    assert!(missing.event("error")["message"].as_str().unwrap().contains("not there"));
}

#[test]
fn errors_name_what_they_are_about_and_to_whom_they_speak() {
    let world = World::new();
    let run = |who: &str, arguments: &[&str]| {
        Sent::from(world.command(who).args(arguments).output().unwrap())
    };
    let message = |sent: &Sent| sent.event("error")["message"].as_str().unwrap().to_owned();
    let one = run("lyon", &["send", "file"]);
    assert!(
        one.code == 2 && message(&one).contains("what to send, or where to"),
        "{:?}",
        one.events
    );
    let folder = world.path("in");
    let listen =
        run("paris", &["receive", "--listen", "nowhere", "--into", folder.to_str().unwrap()]);
    assert!(listen.code == 2 && message(&listen).contains("\"nowhere\""), "{:?}", listen.events);
    let key = run("lyon", &["id", "--key", folder.to_str().unwrap()]);
    assert!(key.code == 6 && message(&key).contains("is not a key file"), "{:?}", key.events);
    // Who receives is told what to do about it at the receiver.
    let file = world.path("file");
    fs::write(&file, "new").unwrap();
    fs::write(world.path("in/file"), "old").unwrap();
    let mut receiver = world.receive(&["--once"]);
    assert_eq!(world.send("lyon", &[&file], &receiver.ticket).code, 3);
    let told = receiver.wait_for("error");
    assert!(
        told["message"].as_str().unwrap().contains("a delivery from")
            && told["hint"].as_str().unwrap().contains("--on-conflict")
    );
    // A port that nobody listens at any more, with its reason.
    let away = world.send_with("lyon", &[&file], &receiver.ticket, &["--patience", "1s"]);
    assert!(
        away.code == 4
            && message(&away).contains("127.0.0.1:")
            && message(&away).contains("refused"),
        "{:?}",
        away.events
    );
}

#[test]
fn a_port_in_use_is_named() {
    let world = World::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut command = world.command("paris");
    command.args(["receive", "--listen", &address, "--into"]).arg(world.path("in"));
    let ended = Sent::from(command.output().unwrap());
    assert_eq!((ended.code, &ended.event("error")["kind"]), (6, &"io".into()));
    assert!(ended.event("error")["message"].as_str().unwrap().contains(&address));
}

#[test]
fn trust_is_kept_listed_and_taken_back() {
    let world = World::new();
    let file = world.path("file");
    fs::write(&file, "x").unwrap();
    let id = Sent::from(world.command("lyon").arg("id").output().unwrap()).event("id")["peer"]
        .as_str()
        .unwrap()
        .to_owned();
    let receiver = world.receive(&["--on-conflict", "rename"]);
    assert_eq!(world.send("lyon", &[&file], &receiver.ticket).code, 0);
    let listed = Sent::from(world.command("paris").args(["trust", "list"]).output().unwrap());
    assert_eq!(listed.event("peer")["peer"], id.as_str(), "who redeemed a ticket is trusted");
    assert_eq!(
        Sent::from(world.command("paris").args(["trust", "remove", &id]).output().unwrap()).code,
        0
    );
    let again = world.send("lyon", &[&file], &receiver.ticket);
    assert_eq!(
        (again.code, &again.event("error")["kind"]),
        (3, &"untrusted".into()),
        "{:?}",
        again.events
    );
}

#[test]
fn a_signal_lets_a_receiver_end_in_peace() {
    use rustix::process::Signal;
    // Below `nohup` nobody ends by it, as it should be.
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
    let is_below_nohup = u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 == 1;
    for signal in [Signal::TERM, Signal::HUP] {
        if signal == Signal::HUP && is_below_nohup {
            eprintln!("SKIPPED: SIGHUP is ignored here; run the tests without nohup");
            continue;
        }
        let world = World::new();
        let mut receiver = world.receive(&[]);
        let pid = rustix::process::Pid::from_child(&receiver.child);
        rustix::process::kill_process(pid, signal).unwrap();
        assert_eq!(receiver.code(), 0, "{signal:?}");
    }
}

#[test]
fn the_demo_runs() {
    let world = World::new();
    let folder = world.path("photos");
    fs::create_dir(&folder).unwrap();
    (0..20).for_each(|i| {
        fs::write(folder.join(format!("{i}.txt")), format!("photo {i} ").repeat(20_000)).unwrap()
    });
    let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
    let output = command.arg("demo").arg(&folder).env("HOME", world.path("home")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    for wanted in ["lyon  compress", "paris sink", "Bound by", "20 files", "byte for byte"] {
        assert!(text.contains(wanted), "{wanted} is missing in {text}");
    }
}

#[test]
fn what_nobody_could_write_is_not_taken_for_written() {
    let world = World::new();
    for arguments in [&["receive", "--into", "-"][..], &["id"]] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
        command.env_clear().env("HOME", world.path("paris")).args(arguments);
        let only_read = fs::File::open("/dev/null").unwrap();
        command.stdin(Stdio::null()).stdout(only_read).stderr(Stdio::piped());
        let ended = command.output().unwrap();
        let said = String::from_utf8(ended.stderr).unwrap();
        assert!(ended.status.code() == Some(2) && said.contains("for reading alone"), "{said}");
    }
}
