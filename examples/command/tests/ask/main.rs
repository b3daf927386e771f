//! `estafette ask`, `tell`, `download` and `describe`: a client of actors whose types it has not,
//! by itself and by a node that runs with its key.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod completing;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod town;

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;

use estafette::TrustedPeer;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use support::terminal::Terminal;
use town::{Town, both_ways, events};

#[test]
fn an_actor_of_another_program_is_asked_told_and_downloaded_from() {
    both_ways(|town| {
        let tea = r#"{"article":"tea","count":2}"#;
        let answer = json!({
            "event": "answer", "to": "paris/shop", "message": "shop.Order", "answer": {"Ok": 6},
        });
        assert_eq!(town.run(&["ask", "paris/shop", "shop.Order", tea]), [answer]);
        let told = json!({"event": "told", "to": "paris/shop", "message": "shop.Order"});
        assert_eq!(town.run(&["tell", "paris/shop", "shop.Order", tea]), [told]);
        assert_eq!((town.next(), town.next()), ("tea".into(), "tea".into()));
        // What the actor answers is an answer, if not a good one.
        let none = r#"{"article":"tea","count":0}"#;
        let answered = town.run(&["ask", "paris/shop", "shop.Order", none]);
        assert_eq!(answered[0]["answer"], json!({"Err": "of nothing?"}));
        assert_eq!(town.next(), "tea");
        let counted = town.run(&["download", "paris/shop", "shop.Count", "300"]);
        let counted = counted.iter().map(|event| event["answer"].as_u64().unwrap());
        assert_eq!(counted.collect::<Vec<_>>(), (0..300).collect::<Vec<_>>());
        // In a script: the answer alone, digit for digit, from a file or from stdin.
        let echo = "{ \"text\": \"\u{9b}31m\u{202e}\\u001b\",\n\"number\": 18446744073709551615, \
                    \"wide\": 340282366920938463463374607431768211455 }";
        let line = "{\"text\":\"\\u009b31m\\u202e\\u001b\",\"number\":18446744073709551615,\
                    \"wide\":340282366920938463463374607431768211455}\n";
        std::fs::write(town.world.path("order.json"), echo).unwrap();
        let file = format!("@{}", town.world.path("order.json").display());
        let ask = ["ask", "paris/shop", "shop.Order@2"];
        let output = town.plain().args(ask).arg(&file).output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), line);
        let mut piped = town.plain();
        let piped = piped.args(ask).arg("-").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut piped = piped.spawn().unwrap();
        piped.stdin.take().unwrap().write_all(echo.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(piped.wait_with_output().unwrap().stdout).unwrap(), line);
    });
}

#[test]
fn each_mistake_says_what_to_do_and_whether_it_was_handled() {
    both_ways(|town| {
        let cases: [(&[&str], i32, &str, &str, &str); 11] = [
            (&["paris/shpo", "shop.Order", "{}"], 3, "NoSuchName", "no", "paris has: bomb, shop"),
            (&["paris/shop", "shop.Ordre", "{}"], 3, "NoSuchMessage", "no", "shop.Order@2"),
            (&["paris/shop", "shop.Native", "null"], 3, "NoSuchMessage", "no", "not as JSON"),
            (&["paris/shop", "shop.Order@9", "{}"], 3, "VersionMismatch", "no", "shop.Order@1"),
            (&["paris/shop", "shop.Order", "{}"], 3, "Undecodable", "no", "put right"),
            (&["paris/bomb", "shop.Panic"], 3, "Died", "unknown", "done twice"),
            (&["nantes/shop", "shop.Order", "{}"], 2, "UnknownPeer", "no", "trust list"),
            (&["paris", "shop.Order", "{}"], 2, "", "", "estafette describe"),
            (&["paris/shop", "shop.Order", "{"], 2, "", "", "quote it"),
            (&["paris/shop", "shop.Order@x", "{}"], 2, "", "", ""),
            (&["paris/shop", "shop.Order", "@/nowhere"], 6, "", "", "@FILE"),
        ];
        for (arguments, code, remote, handled, hint) in cases {
            let (ended, error) = town.fails(&[&["ask"], arguments].concat());
            assert_eq!(error["event"], "error", "{error}");
            assert_eq!(ended, code, "{arguments:?}: {error}");
            assert_eq!(error["remote"].as_str().unwrap_or(""), remote, "{error}");
            assert_eq!(error["handled"].as_str().unwrap_or(""), handled, "{error}");
            assert!(error["hint"].as_str().unwrap().contains(hint), "{hint} in {error}");
        }
        let field =
            town.fails(&["tell", "paris/shop", "shop.Order", r#"{"article":"x","count":-1}"#]);
        assert!(field.1["message"].as_str().unwrap().contains("count: invalid value"), "{field:?}");
        // A time that is over before there is a link is another error: it may take any time.
        let late = ["100ms", "1s", "10s", "100s"].into_iter().find_map(|within| {
            let ended = town.fails(&["ask", "--within", within, "paris/shop", "shop.Hang"]);
            (ended.1["remote"] != "Unreachable").then_some(ended)
        });
        let (code, error) = late.unwrap();
        assert_eq!((code, &error["remote"]), (4, &json!("Deadline")), "{error}");
        assert_eq!(error["handled"], "unknown");
        // A stream that ends in an error has printed what came before.
        let seven = ["download", "paris/shop", "shop.Count", "7"];
        let output = town.world.command("lyon").args(seven).output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        let printed = events(&output);
        assert_eq!((printed.len(), &printed[7]["handled"]), (8, &json!("yes")));
        // A longer message is content.
        let long = format!("\"{}\"", "x".repeat(1 << 20));
        std::fs::write(town.world.path("long.json"), long).unwrap();
        let file = format!("@{}", town.world.path("long.json").display());
        assert_eq!(town.fails(&["ask", "paris/shop", "shop.Order", &file]).0, 2);
        while town.noted.try_recv().is_ok() {}
    });
    let town = Town::new();
    town.runtime.block_on(town.node.shutdown());
    let (code, error) = town.fails(&["ask", "paris/shop", "shop.Order", "{}"]);
    assert_eq!(
        (code, &error["remote"], &error["handled"]),
        (4, &json!("Unreachable"), &json!("no"))
    );
}

#[test]
fn a_node_that_does_not_trust_this_one_says_so_and_is_not_out_of_reach() {
    let town = Town::new();
    let lyon = town.run(&["id"])[0]["peer"].as_str().unwrap().parse().unwrap();
    assert!(town.node.trust().revoke(lyon).unwrap());
    for asked in [
        &["ask", "paris/shop", "shop.Order", "{}"][..],
        &["tell", "paris/shop", "shop.Order", "{}"],
        &["download", "paris/shop", "shop.Count", "1"],
        &["describe", "paris"],
    ] {
        let (code, error) = town.fails(asked);
        assert_eq!((code, &error["kind"]), (3, &json!("untrusted")), "{asked:?}: {error}");
        assert_eq!((&error["remote"], &error["handled"]), (&json!("Forbidden"), &json!("no")));
        assert!(error["message"].as_str().unwrap().contains("does not know this node"), "{error}");
    }
}

#[test]
fn a_node_is_described_as_far_as_this_one_may_send_to_it() {
    both_ways(|town| {
        let described = town.run(&["describe", "paris"]);
        let [_, shop] = &described[..] else { panic!("{described:?}") };
        assert_eq!(
            (&shop["event"], &shop["peer"], &shop["name"]),
            (&json!("name"), &json!("paris"), &json!("shop"))
        );
        let types: Vec<_> = shop["takes"]
            .as_array()
            .unwrap()
            .iter()
            .map(|taken| (taken["message"].as_str().unwrap(), taken["version"].as_u64().unwrap()))
            .collect();
        assert_eq!(types.len(), 7);
        assert!(types.contains(&("shop.Order", 2)));
        assert_eq!(town.run(&["describe", "paris/shop"]), described[1..]);
        let (code, error) = town.fails(&["describe", "paris/nobody"]);
        assert_eq!(
            (code, &error["event"], &error["remote"]),
            (3, &json!("error"), &json!("NoSuchName"))
        );
        assert_eq!(error["hint"], "paris has: bomb, shop", "{error}");
        let output = town.plain().args(["describe", "paris/nobody"]).output().unwrap();
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("nothing that this node may send to"), "{told}");
        assert_eq!((output.status.code(), output.stdout.len()), (Some(3), 0));
        let order = &shop["takes"][0];
        assert_eq!(order["schema"]["required"], json!(["article", "count"]));
        assert_eq!(shop["takes"][2]["schema"], Value::Null);
        let output = town.plain().args(["describe", "paris/shop"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let looks =
            "{\"article\": string, \"count\": integer} → {\"Ok\": integer} | {\"Err\": string}";
        assert!(text.lines().any(|line| line.trim() == looks), "{text}");
        let output = town.plain().args(["describe", "paris"]).output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(
            text.lines().any(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                words == ["shop.Native", "1", "ask,", "tell,", "deliver", "no"]
            }),
            "{text}"
        );
        let lyon = town.run(&["id"])[0]["peer"].as_str().unwrap().parse().unwrap();
        let nothing = TrustedPeer { inboxes: vec!["other".into()], ..TrustedPeer::new("lyon") };
        town.node.trust().add(lyon, nothing).unwrap();
        assert!(town.run(&["describe", "paris"]).is_empty());
        let (code, error) = town.fails(&["ask", "paris/shop", "shop.Count", "1"]);
        assert_eq!(
            (code, &error["kind"], &error["remote"]),
            (3, &json!("untrusted"), &json!("Forbidden"))
        );
        town.node.trust().add(lyon, TrustedPeer::new("lyon")).unwrap();
    });
}

#[test]
fn who_has_heard_enough_or_dies_cancels_a_call() {
    both_ways(|town| {
        let endless = ["download", "paris/shop", "shop.Count", "18446744073709551615"];
        // As `| head -1` does.
        let mut command = town.plain();
        let mut child = command.args(endless).stdout(Stdio::piped()).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        assert_eq!(first, "0\n");
        assert_eq!(child.wait().unwrap().code(), Some(6));
        assert_eq!(town.next(), "cancelled");
        // By a signal, and by one that can't be caught.
        for (signal, code) in [(Signal::INT, Some(130)), (Signal::KILL, None)] {
            let mut command = town.plain();
            let mut child = command.args(endless).stdout(Stdio::piped()).spawn().unwrap();
            let mut reading = BufReader::new(child.stdout.take().unwrap());
            reading.read_line(&mut first).unwrap();
            kill_process(Pid::from_child(&child), signal).unwrap();
            assert_eq!(child.wait().unwrap().code(), code);
            assert_eq!(town.next(), "cancelled");
        }
    });
}

#[test]
fn a_signal_ends_a_download_whose_output_nobody_reads_on() {
    both_ways(|town| {
        let endless = ["download", "paris/shop", "shop.Count", "18446744073709551615"];
        for json in [&[][..], &["--json"]] {
            for signal in [Signal::INT, Signal::TERM] {
                let mut command = town.plain();
                let mut child =
                    command.args(json).args(endless).stdout(Stdio::piped()).spawn().unwrap();
                let reading = child.stdout.take().unwrap();
                // A pipe takes 64 KiB.
                while rustix::io::ioctl_fionread(&reading).unwrap() < 60_000 {
                    std::thread::yield_now();
                }
                kill_process(Pid::from_child(&child), signal).unwrap();
                assert_eq!(child.wait().unwrap().code(), Some(130));
                assert_eq!(town.next(), "cancelled");
                drop(reading);
            }
        }
    });
}

#[test]
fn a_signal_ends_a_command_that_can_not_say_so_since_nobody_reads() {
    let town = Town::new();
    let (reading, writing) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writing, true).unwrap();
    while (&writing).write(&[b' '; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writing, false).unwrap();
    let mut path = town.world.path("lyon").with_extension("key").into_os_string();
    path.push(format!(".sending-{:.16}", town.node.peer().to_string()));
    let turn = std::fs::File::create(path).unwrap();
    rustix::fs::flock(&turn, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut command = town.plain();
    command.args(["--json", "ask", "paris/shop", "shop.Order", "{}"]);
    let mut child = command.stdout(writing).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let catches_signals = |status: &str| {
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & 1 << (Signal::INT.as_raw() - 1) != 0
    };
    while !catches_signals(&std::fs::read_to_string(&status).unwrap()) {
        std::thread::yield_now();
    }
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    drop((reading, turn));
}

#[test]
fn who_stops_while_another_command_has_its_turn_hears_that_nothing_was_sent() {
    let town = Town::new();
    let mut path = town.world.path("lyon").with_extension("key").into_os_string();
    path.push(format!(".sending-{:.16}", town.node.peer().to_string()));
    let turn = std::fs::File::create(path).unwrap();
    rustix::fs::flock(&turn, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut command = town.plain();
    command.args(["ask", "paris/shop", "shop.Order", r#"{"article":"tea","count":2}"#]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let waiting = said.next().unwrap().unwrap();
    assert!(waiting.contains("waiting for its end"), "{waiting}");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let stopped = said.next().unwrap().unwrap();
    assert!(stopped.contains("nothing was sent"), "{stopped}");
    // Whoever waits for the lock lets go of it with the process.
    drop(turn);
    assert_eq!(child.wait().unwrap().code(), Some(130));
}

#[test]
fn on_a_terminal_an_answer_is_printed_for_a_person_and_nothing_in_it_steers_that() {
    let town = Town::new();
    let terminal = Terminal::new(24, 80);
    let echo = "{\"text\":\"\u{9b}2J\u{202e}\",\"number\":1,\"wide\":2}";
    let mut command = town.plain();
    let mut child = terminal.start(command.args(["ask", "paris/shop", "shop.Order@2", echo]));
    assert!(child.wait().unwrap().success());
    let wanted =
        ["{", "  \"text\": \"\\u009b2J\\u202e\",", "  \"number\": 1,", "  \"wide\": 2", "}"];
    terminal.wait_until("the answer", |screen| {
        let rows: Vec<_> = screen.rows(0, 80).filter(|row| !row.is_empty()).collect();
        rows == wanted
    });
}

/// The table of `framework/docs/json.md`.
#[test]
fn the_events_have_the_documented_fields() {
    let town = Town::new();
    let printed = [
        town.run(&["ask", "paris/shop", "shop.Order", r#"{"article":"tea","count":2}"#]),
        town.run(&["tell", "paris/shop", "shop.Order", r#"{"article":"tea","count":2}"#]),
        town.run(&["describe", "paris"]),
        vec![town.fails(&["ask", "paris/bomb", "shop.Panic"]).1],
    ];
    let document = include_str!("../../../../framework/docs/json.md");
    for event in printed.iter().flatten() {
        let row = format!("| `{}` |", event["event"].as_str().unwrap());
        let documented = document.lines().find(|line| line.starts_with(&row)).unwrap();
        for field in event.as_object().unwrap().keys().filter(|field| *field != "event") {
            assert!(documented.contains(&format!("`{field}`")), "{field} in {documented}");
        }
    }
}
