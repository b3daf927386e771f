//! Tests of the output on a terminal, which is not written to anything else.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::process::{Child, Command, Output, Stdio};

use support::process::Process;
use support::terminal::Terminal;
use support::{World, text};
use vt100::Screen;

/// Takes two seconds at the rate below.
const LENGTH: usize = 4 << 20;
const RATE: &str = "2M";
const OF: &str = "MiB of 4.00 MiB";

/// As a person runs it.
fn command(world: &World, who: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
    command.env_clear().env("HOME", world.path(who)).env("TERM", "xterm-256color");
    command.stdin(Stdio::null()).arg("--key").arg(world.path(who).with_extension("key"));
    command
}

fn world() -> (World, Process, String) {
    let world = World::new();
    let (paris, ticket) = world.paris_with(&["--on-conflict", "rename"]);
    let ticket = text(&ticket, "ticket");
    (world, paris, ticket)
}

fn code(mut child: Child) -> i32 {
    child.wait().unwrap().code().unwrap()
}

/// The rows of a terminal that are not empty: a line that is too long takes several.
fn rows(screen: &Screen) -> Vec<String> {
    screen.rows(0, screen.size().1.get()).filter(|row| !row.is_empty()).collect()
}

#[test]
fn progress_is_one_line_however_wide_the_terminal_is_and_is_gone_at_the_end() {
    let (world, _paris, ticket) = world();
    let file = world.file("a-rather-long-name-of-a-file-that-is-to-be-sent", LENGTH);
    for (columns, shown) in
        [(120, OF), (96, OF), (80, OF), (74, OF), (40, " % of 4.00 MiB"), (20, " %")]
    {
        let terminal = Terminal::new(24, columns);
        let child = terminal
            .start(command(&world, "lyon").args(["send", "--limit", RATE]).arg(&file).arg(&ticket));
        // Some of it, so that it was drawn more than once.
        let begun =
            |row: &str| row.contains(shown) && !row.contains(" 0 B") && !row.contains(" 0 %");
        let mut seen = Vec::new();
        terminal.wait_until("progress", |screen| {
            seen = rows(screen);
            seen.iter().any(|row| begun(row))
        });
        assert_eq!(seen.len(), 1, "{columns} columns: {seen:#?}");
        assert_eq!(code(child), 0);
        let screen = terminal.wait_for("delivered");
        assert!(
            screen.starts_with("delivered 1 file, 4.0 MiB to "),
            "{columns} columns:\n{screen}"
        );
        assert!(
            !screen.contains('%') && !screen.contains("━") && !screen.contains(" of "),
            "{columns} columns:\n{screen}"
        );
    }
}

#[test]
fn the_ticket_is_asked_for_and_typed_in() {
    let (world, _paris, ticket) = world();
    let file = world.file("small", 10);
    let terminal = Terminal::new(24, 80);
    let child = terminal.start(command(&world, "lyon").arg("send").arg(&file).arg("-"));
    assert_eq!(terminal.wait_for("The ticket, then Enter:").trim(), "The ticket, then Enter:");
    terminal.type_in(&format!("{ticket}\n"));
    terminal.wait_for("delivered 1 file, 10 B to ");
    assert_eq!(code(child), 0);
    assert!(world.has_arrived("small"));
}

#[test]
fn what_is_sent_can_be_typed_in() {
    let (world, _paris, ticket) = world();
    let terminal = Terminal::new(24, 80);
    let child =
        terminal.start(command(&world, "lyon").args(["send", "--as", "typed", "-", &ticket]));
    terminal.wait_for("What is to be sent, then Ctrl-D:");
    terminal.type_in("words\n\u{4}");
    terminal.wait_for("delivered 1 file, 6 B to ");
    assert_eq!(code(child), 0);
    assert_eq!(fs::read(world.path("in/typed")).unwrap(), b"words\n");
}

#[test]
fn a_delivery_is_not_written_to_a_terminal() {
    let world = World::new();
    let terminal = Terminal::new(24, 200);
    let child = terminal.start(command(&world, "paris").args([
        "receive",
        "--listen",
        "127.0.0.1:0",
        "--into",
        "-",
    ]));
    assert_eq!(code(child), 2);
    let screen = terminal.wait_for("receive --into - > FILE");
    assert!(
        screen.starts_with("error: --into - would write what a sender chose to this terminal"),
        "{screen}"
    );
    // Into a file it is, while the terminal shows how it goes.
    let terminal = Terminal::new(24, 200);
    let mut into = command(&world, "paris");
    into.args(["receive", "--listen", "127.0.0.1:0", "--into", "-"]);
    let child = into
        .stdout(fs::File::create(world.path("out")).unwrap())
        .stderr(terminal.end())
        .spawn()
        .unwrap();
    let screen = terminal.wait_for("estafette1");
    let ticket: String =
        screen.split_whitespace().find(|word| word.starts_with("estafette1")).unwrap().into();
    fs::write(world.path("bomb"), "\u{1b}[2J\u{1b}]0;title\u{7}").unwrap();
    assert_eq!(
        world
            .run("lyon", [OsStr::new("send"), world.path("bomb").as_os_str(), OsStr::new(&ticket)])
            .code,
        0
    );
    assert_eq!(code(child), 0);
    assert_eq!(fs::read(world.path("out")).unwrap(), fs::read(world.path("bomb")).unwrap());
    let screen = terminal.wait_for("delivered 14 B from ");
    assert!(!screen.trim_end().ends_with(':'), "it lies nowhere:\n{screen}");
}

#[test]
fn what_others_call_their_files_steers_no_terminal() {
    let world = World::new();
    let terminal = Terminal::new(24, 200);
    let mut receive = command(&world, "paris");
    receive.args(["receive", "--once", "--listen", "127.0.0.1:0", "--into"]).arg(world.path("in"));
    let child = terminal.start(&mut receive);
    let screen = terminal.wait_for("estafette1");
    let ticket: String =
        screen.split_whitespace().find(|word| word.starts_with("estafette1")).unwrap().into();
    let file = world
        .path("home")
        .with_file_name(OsStr::from_bytes(b"a\x1b[2J\x1b[1;1Hgone\r\xe2\x80\xae.txt"));
    fs::write(&file, vec![7; 1 << 20]).unwrap();
    let sent = command(&world, "lyon")
        .args(["send", "--limit", "2M"])
        .arg(&file)
        .arg(&ticket)
        .output()
        .unwrap();
    assert!(sent.status.success(), "{sent:?}");
    assert_eq!(code(child), 0);
    let screen = terminal.wait_for("delivered 1 file, 1.0 MiB from ");
    assert!(
        screen.contains("estafette1") && screen.contains("a\\u{1b}[2J\\u{1b}[1;1Hgone"),
        "what was there is there still:\n{screen}"
    );
    assert!(
        !terminal
            .bytes()
            .windows(4)
            .any(|bytes| bytes == b"\x1b[2J" || bytes == "\u{202e}".as_bytes())
    );
}

#[test]
fn nothing_but_a_terminal_is_written_escape_codes_to() {
    let (world, _paris, ticket) = world();
    let file = world.file("file", LENGTH);
    let plain = |output: &Output| {
        for bytes in [&output.stdout, &output.stderr] {
            assert!(
                bytes.iter().all(|byte| *byte != 0x1b && *byte != b'\r'),
                "{}",
                String::from_utf8_lossy(bytes)
            );
        }
    };
    let missing = world.path("missing");
    let ways: [(&[&OsStr], i32); 5] = [
        (
            &[
                OsStr::new("send"),
                OsStr::new("--limit"),
                OsStr::new(RATE),
                file.as_os_str(),
                OsStr::new(&ticket),
            ],
            0,
        ),
        (&[OsStr::new("-vv"), OsStr::new("send"), file.as_os_str(), OsStr::new(&ticket)], 0),
        (&[OsStr::new("send"), missing.as_os_str(), OsStr::new(&ticket)], 6),
        (&[OsStr::new("send"), OsStr::new("--help")], 0),
        (&[OsStr::new("sned")], 2),
    ];
    for (arguments, expected) in ways {
        let ran = command(&world, "lyon").args(arguments).output().unwrap();
        assert_eq!(ran.status.code(), Some(expected), "{ran:?}");
        plain(&ran);
    }
    // Colours only where they are wanted, on a terminal too.
    for (variable, value, coloured) in [("NO_COLOR", "1", false), ("NO_COLOR", "", true)] {
        let terminal = Terminal::new(24, 80);
        let child = terminal.start(
            command(&world, "lyon").env(variable, value).arg("send").arg(&missing).arg(&ticket),
        );
        assert_eq!(code(child), 6);
        terminal.wait_for("error:");
        assert_eq!(
            terminal.bytes().contains(&0x1b),
            coloured,
            "{}",
            String::from_utf8_lossy(&terminal.bytes())
        );
    }
}
