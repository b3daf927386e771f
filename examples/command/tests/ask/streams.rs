//! `estafette upload` and `open`: each line of stdin is a request; and `deliver`: messages that are
//! stored.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::town::{Town, both_ways, events};

/// A command with this on stdin, to its end.
fn fed(command: &mut Command, input: &str) -> Output {
    let mut child = begun(command);
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn begun(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap()
}

fn lyon(town: &Town, arguments: &[&str]) -> Command {
    let mut command = town.world.command("lyon");
    command.args(arguments);
    command
}

#[test]
fn each_line_of_stdin_is_a_request_and_answers_come_as_they_are_given() {
    both_ways(|town| {
        let output = fed(&mut lyon(town, &["open", "paris/shop", "shop.Add"]), "1\n\n 2\r\n3");
        let sums: Vec<_> = events(&output).iter().map(|event| event["answer"].clone()).collect();
        assert_eq!((output.status.code(), sums), (Some(0), vec![json!(1), json!(3), json!(6)]));
        // One that answers before stdin has an end.
        let mut child = begun(town.plain().args(["open", "paris/shop", "shop.Add"]));
        let mut answers = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut stdin = child.stdin.take().unwrap();
        for sum in ["40", "80"] {
            stdin.write_all(b"40\n").unwrap();
            assert_eq!(answers.next().unwrap().unwrap(), sum);
        }
        drop(stdin);
        assert!(child.wait().unwrap().success());
        // More than there is credit for, each way.
        let many: String = (0..20_000).map(|_| "1\n").collect();
        let output = fed(town.plain().args(["open", "paris/shop", "shop.Add"]), &many);
        let last = String::from_utf8(output.stdout).unwrap().lines().last().map(str::to_owned);
        assert_eq!(last.as_deref(), Some("20000"));
        let output = fed(&mut lyon(town, &["upload", "paris/shop", "shop.Total"]), "5\n6\n");
        assert_eq!(events(&output)[0]["answer"], json!(11));
        assert_eq!((town.next(), town.next()), ("so far 5".into(), "so far 11".into()));
        let none = fed(&mut lyon(town, &["upload", "paris/shop", "shop.Total"]), "");
        assert_eq!(events(&none)[0]["answer"], json!(0));
    });
}

#[test]
fn requests_that_break_off_never_pass_for_all() {
    both_ways(|town| {
        let upload = ["upload", "paris/shop", "shop.Total"];
        let output = fed(&mut lyon(town, &upload), "5\n{\n6\n");
        let error = &events(&output)[0];
        assert_eq!((output.status.code(), &error["kind"]), (Some(2), &json!("usage")));
        let message = error["message"].as_str().unwrap();
        assert!(message.contains("line 2 of stdin can't be sent: it is no JSON"), "{message}");
        assert_eq!((town.next(), town.next()), ("so far 5".into(), "broke off at 5".into()));
        let big = format!("7\n\"{}\"\n", "x".repeat(1 << 20));
        let output = fed(&mut lyon(town, &upload), &big);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        assert_eq!((town.next(), town.next()), ("so far 7".into(), "broke off at 7".into()));
        for signal in [Signal::INT, Signal::KILL] {
            let mut child = begun(&mut lyon(town, &upload));
            let mut stdin = child.stdin.take().unwrap();
            stdin.write_all(b"8\n").unwrap();
            assert_eq!(town.next(), "so far 8");
            kill_process(Pid::from_child(&child), signal).unwrap();
            assert!(!child.wait().unwrap().success());
            assert_eq!(town.next(), "broke off at 8");
        }
        // What is no message of the actor's ends it, and says which.
        let output = fed(&mut lyon(town, &["open", "paris/shop", "shop.Add"]), "\"two\"\n");
        let error = &events(&output)[0];
        assert_eq!(
            (&error["remote"], &error["handled"]),
            (&json!("Other"), &json!("yes")),
            "{error}"
        );
        let (code, error) = town.fails(&["open", "paris/shop", "shop.Order"]);
        assert_eq!((code, &error["remote"]), (3, &json!("NoSuchMessage")), "{error}");
        while town.noted.try_recv().is_ok() {}
    });
}

#[test]
fn a_message_is_stored_and_delivered_when_a_node_runs() {
    let mut town = Town::new();
    let order = r#"{"article":"tea","count":2}"#;
    let deliver = ["deliver", "paris/shop", "shop.Order", order];
    let waiting = ["deliver", "--wait", "paris/shop", "shop.Order", order];
    let (code, error) = town.fails(&waiting);
    assert_eq!(code, 2, "{error}");
    assert!(error["message"].as_str().unwrap().contains("nothing was stored"), "{error}");
    assert!(town.run(&["outbox", "messages"]).is_empty());
    let stored = town.run(&deliver);
    let [letter] = &stored[..] else { panic!("{stored:?}") };
    assert_eq!((&letter["event"], &letter["state"]), (&json!("letter"), &json!("stored")));
    let to = (&json!("paris/shop"), &json!("shop.Order"));
    assert_eq!((&letter["to"], &letter["message"]), to);
    assert_eq!(town.run(&["outbox", "messages"]), stored);
    let output = town.plain().args(["outbox", "messages"]).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert!(told.contains("paris/shop") && told.contains("stored"), "{told}");

    let _node = town.lyon();
    assert_eq!(town.next(), "tea");
    let states = |events: &[Value]| {
        events.iter().map(|event| event["state"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(states(&town.run(&waiting)).last().map(String::as_str), Some("processed"));
    assert_eq!(town.next(), "tea");
    let hang = ["deliver", "--wait", "--within", "1s", "paris/nobody", "shop.Order", order];
    let (code, error) = town.fails(&hang);
    assert_eq!(code, 4, "{error}");
    assert!(error["hint"].as_str().unwrap().contains("stays stored"), "{error}");
    assert_eq!((&error["remote"], &error["handled"]), (&json!("Deadline"), &json!("unknown")));
    // What is too deep for any message is not sent at all.
    let deep = format!("{}1{}", "[".repeat(200), "]".repeat(200));
    for way in ["ask", "tell", "deliver", "download"] {
        let (code, error) = town.fails(&[way, "paris/shop", "shop.Order", &deep]);
        assert_eq!(code, 2, "{error}");
        assert!(error["message"].as_str().unwrap().contains("nested more than"), "{error}");
    }
}

#[test]
fn a_message_that_nobody_takes_is_dead_and_can_be_forgotten() {
    let town = Town::new();
    let _node = town.lyon();
    let (code, error) = town.fails(&["deliver", "--wait", "paris/shop", "shop.Native"]);
    assert_eq!(code, 3, "{error}");
    assert_eq!((&error["remote"], &error["handled"]), (&json!("NoSuchMessage"), &json!("no")));
    let dead = town.run(&["outbox", "messages"]);
    assert_eq!((dead.len(), &dead[0]["state"]), (1, &json!("dead")), "{dead:?}");
    assert!(dead[0]["error"].as_str().unwrap().contains("shop.Native"), "{dead:?}");
    let id = dead[0]["id"].as_str().unwrap();
    assert_eq!(town.run(&["outbox", "drop", id])[0]["event"], json!("dropped"));
    assert!(town.run(&["outbox", "messages"]).is_empty());
    assert_eq!(town.fails(&["outbox", "drop", id]).0, 2);
    assert_eq!(town.fails(&["outbox", "drop", "no-id"]).0, 2);
}
