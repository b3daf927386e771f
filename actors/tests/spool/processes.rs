//! A spool belongs to one process at a time, and outlives it however it ends.

use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use estafette::node::Store;
use estafette_actors::spool::Spool;

/// Another process with a spool: this test binary, told to run only `another_process`.
struct Another {
    child: Child,
    says: BufReader<ChildStdout>,
}

impl Another {
    fn start(dir: &Path) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::another_process", "--ignored", "--nocapture"])
            .env(DIR, dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let says = BufReader::new(child.stdout.take().unwrap());
        let mut another = Self { child, says };
        another.hears("open");
        another
    }

    /// Reads on until a line begins with `word`, and returns the rest of it.
    fn hears(&mut self, word: &str) -> String {
        let lines = (&mut self.says).lines().map(Result::unwrap);
        // What the test harness says of itself comes first, on the same line or not.
        let mut rests = lines.filter_map(|line| Some(line.split_once(word)?.1.trim().to_owned()));
        rests.next().expect("the other process has ended")
    }

    fn tell(&mut self, word: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{word}").unwrap();
    }
}

impl Drop for Another {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

const DIR: &str = "ESTAFETTE_TEST_SPOOL";

#[test]
#[ignore = "the other process of the tests here, which start it"]
fn another_process() {
    let dir = std::env::var_os(DIR).expect("started by another test");
    let spool = Spool::open(dir).unwrap();
    println!("open");
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    if line.trim() == "write" {
        for number in 0..u64::MAX {
            spool.put("peers", &number.to_be_bytes(), &number.to_be_bytes()).unwrap();
            println!("wrote {number}");
        }
    }
}

#[test]
fn two_processes_do_not_have_one_spool() {
    let folder = tempfile::tempdir().unwrap();
    let mut another = Another::start(folder.path());
    let id = another.child.id();
    for refused in [
        Spool::open(folder.path()).map(drop),
        Spool::check(folder.path()).map(drop),
        Spool::repair(folder.path()).map(drop),
    ] {
        let error = refused.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceBusy, "{error}");
        let text = error.to_string();
        assert!(
            text.contains(&format!("process {id}"))
                && text.contains(folder.path().to_str().unwrap()),
            "{text}"
        );
        assert!(text.contains("stop that one, or give this one a folder of its own"), "{text}");
    }
    another.tell("stop");
    assert!(another.child.wait().unwrap().success());
    Spool::open(folder.path()).unwrap();
}

#[test]
fn two_spools_of_one_process_are_refused_as_well() {
    let folder = tempfile::tempdir().unwrap();
    let spool = Spool::open(folder.path()).unwrap();
    assert_eq!(Spool::open(folder.path()).unwrap_err().kind(), ErrorKind::ResourceBusy);
    drop(spool);
    Spool::open(folder.path()).unwrap();
}

#[test]
fn a_spool_that_is_given_back_is_free_at_once_though_processes_are_started_meanwhile() {
    let folder = tempfile::tempdir().unwrap();
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // A process has what is open here from its beginning to that of its program.
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                // A busy machine may have no room for one: the next one comes.
                let _ = Command::new("true").status();
            }
        });
        let opened: Vec<_> = (0..100).map(|_| Spool::open(folder.path()).map(drop)).collect();
        over.store(true, Ordering::Relaxed);
        for opened in opened {
            opened.unwrap();
        }
    });
}

#[test]
fn a_process_that_is_killed_loses_nothing_that_it_was_told_to_be_kept() {
    let folder = tempfile::tempdir().unwrap();
    let mut next = 0;
    for round in 0..3 {
        let mut another = Another::start(folder.path());
        another.tell("write");
        let mut told = 0;
        for _ in 0..20 + round {
            told = another.hears("wrote").parse::<u64>().unwrap();
        }
        another.child.kill().unwrap();
        another.child.wait().unwrap();
        let spool = Spool::open(folder.path()).unwrap();
        let records = spool.load("peers").unwrap();
        assert!(records.iter().all(|(key, value)| key == value));
        for number in 0..=told {
            assert!(
                records.iter().any(|(key, _)| *key == number.to_be_bytes()),
                "{number} of {told} is lost"
            );
        }
        assert!(records.len() >= next);
        next = records.len();
    }
}
