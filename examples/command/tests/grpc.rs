//! `--grpc`: stock clients of gRPC come in at a node that runs, and reach an actor of another one.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]
#![cfg(feature = "grpc")]

#[path = "../../../actors/doors/tests/grpc/python.rs"]
mod python;
mod support;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;

use actix::{Actor, Context, Handler};
use estafette::remote::{Called, Raw, RawReply};
use estafette::{Node, RemoteMessage, TrustedPeer};
use estafette_actors::standard;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use support::browser::Browser;
use support::{Ran, World, text};
use tokio::runtime::Runtime;

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "greeter.SayHello", reply = Line, json)]
struct SayHello {
    name: String,
    times: u32,
}

#[derive(Debug, Serialize, Deserialize)]
struct Line {
    text: String,
}

struct Greeter;

impl Actor for Greeter {
    type Context = Context<Self>;
}

fn line(name: &str, time: u32) -> String {
    format!("Bonjour {name}, for the {time}. time")
}

impl Handler<Called<SayHello>> for Greeter {
    type Result = ();

    fn handle(&mut self, mut called: Called<SayHello>, _: &mut Context<Self>) {
        actix::spawn(async move {
            let Some(Ok(SayHello { name, times })) = called.requests.next().await else { return };
            for time in 1..=times {
                let _ = called.replies.send(&Line { text: line(&name, time) }).await;
            }
            called.replies.finish();
        });
    }
}

impl Handler<Called<Raw>> for Greeter {
    type Result = ();

    fn handle(&mut self, mut called: Called<Raw>, _: &mut Context<Self>) {
        actix::spawn(async move {
            let Some(Ok(Raw { body, .. })) = called.requests.next().await else { return };
            let name = String::from_utf8(body).unwrap();
            for time in 1..=3 {
                let _ = called.replies.send(&RawReply(line(&name, time).into_bytes())).await;
            }
            called.replies.finish();
        });
    }
}

const HANDLED: &str = "estafette-handled";

/// `paris` in this process, with a greeter, and a token of `lyon`, which trusts it.
fn town() -> (World, Runtime, Node, String) {
    let (world, runtime) = (World::new(), Runtime::new().unwrap());
    let node = runtime.block_on(async {
        let node = Node::builder().name("paris").listen("127.0.0.1:0").stages(standard());
        let node = node.start().await.unwrap();
        let hosted = node.host("greeter", || Greeter);
        hosted.takes_calls::<SayHello>().takes_calls::<Raw>().start().await.unwrap();
        node
    });
    let lyon = text(world.run("lyon", ["id"]).event("id"), "peer").parse().unwrap();
    node.trust().add(lyon, TrustedPeer::new("lyon")).unwrap();
    let (paris, address) = (node.peer().to_string(), node.addresses()[0].clone());
    let trusted = ["trust", "add", &*paris, "--name", "paris", "--addr", &*address];
    assert_eq!(world.run("lyon", trusted).code, 0);
    let added = world.run("lyon", ["token", "add", "till", "--to", "paris/*"]);
    let token = text(added.event("token_added"), "token");
    (world, runtime, node, token)
}

#[test]
fn a_client_reads_the_answers_of_an_actor_of_another_node_by_bytes_and_by_a_proto() {
    let Some(python) = python::python() else { return };
    let (world, runtime, _paris, token) = town();
    let proto = python::workspace().join("examples/greeter/greeter.proto");
    // The proto says what its client calls; bytes are another method.
    let lyon = world.lyon_with(&[
        "--grpc",
        "127.0.0.1:0",
        "--grpc-method",
        "/raw.Greeter/SayHello=download:paris/greeter",
        "--grpc-proto",
        proto.to_str().unwrap(),
        "--grpc-service",
        "helloworld.Greeter=paris/greeter",
        "--grpc-type",
        "helloworld.Greeter/SayHello=greeter.SayHello",
    ]);
    let address = text(&lyon.wait_for("grpc"), "addr");
    let with = |arguments: &[&str]| -> Vec<String> {
        let all = [&*address, &*token].into_iter().chain(arguments.iter().copied());
        all.map(str::to_owned).collect()
    };
    let said = |program: &str, arguments: &[&str]| {
        let arguments = with(arguments);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
        let output = runtime
            .block_on(async {
                python::start(&python, program, &arguments).wait_with_output().await
            })
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let lines = |name| (1..=3).map(|time| line(name, time) + "\n").collect::<String>();
    assert_eq!(said("greeter_proto.py", &["Ada", "3"]), lines("Ada"));
    assert_eq!(said("greeter_raw.py", &["Grace", "/raw.Greeter/SayHello"]), lines("Grace"));
    if let Some(mut javascript) = javascript() {
        let output = javascript.args(with(&["Edsger", "3"])).output().unwrap();
        let (lines, wrong) = (lines("Edsger"), String::from_utf8_lossy(&output.stderr));
        assert_eq!((String::from_utf8_lossy(&output.stdout), &*wrong), (lines.into(), ""));
    }
    assert_eq!(lyon.terminate(), 0);
}

/// The client in JavaScript. `None`, said loudly, where it can't be run; a panic where
/// `ESTAFETTE_JAVASCRIPT` says that it can.
fn javascript() -> Option<Command> {
    let folder = python::workspace().join("examples/javascript");
    let has_node = Command::new("node").arg("--version").output().is_ok();
    if has_node && folder.join("node_modules/@grpc/grpc-js").exists() {
        let mut command = Command::new("node");
        command.arg(folder.join("greeter.js"));
        return Some(command);
    }
    assert!(
        std::env::var_os("ESTAFETTE_JAVASCRIPT").is_none(),
        "ESTAFETTE_JAVASCRIPT says that there is node, and what `npm install` makes in {}",
        folder.display()
    );
    eprintln!("LEFT OUT: no node is here, or no `npm install` was done in examples/javascript");
    None
}

/// A program that gives a page to whoever asks, which does nothing by itself.
fn page() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming() {
            let mut socket = socket.unwrap();
            std::thread::spawn(move || {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    let mut byte = [0];
                    if socket.read(&mut byte).unwrap_or(0) == 0 {
                        return;
                    }
                    head.push(byte[0]);
                }
                let page = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 15\r\n\
                            connection: close\r\n\r\n<title>.</title>";
                let _ = socket.write_all(page.as_bytes());
            });
        }
    });
    address
}

#[test]
fn a_page_in_a_browser_calls_by_both_doors_if_its_origin_is_one_of_those_that_may() {
    let Some(browser) = Browser::start() else { return };
    let (world, _runtime, _paris, token) = town();
    let page = page();
    let lyon = world.lyon_with(&[
        "--http",
        "127.0.0.1:0",
        "--grpc",
        "127.0.0.1:0",
        "--grpc-method",
        "/raw.Greeter/SayHello=download:paris/greeter",
        "--origin",
        &format!("http://{page}"),
    ]);
    // Both have one port.
    let at = text(&lyon.wait_for("grpc"), "addr");
    let told = |path: &str, kind: &str, body: &str, more: &str| {
        let call = format!(
            "(window.told = null, fetch('http://{at}{path}', {{ method: 'POST', body: {body}, \
             headers: {{ 'content-type': '{kind}', authorization: 'Bearer {token}' {more} }} }})\
             .then(async a => {{ window.told = [await a.text(), a.headers.get('{HANDLED}')].join('|') }}, \
             wrong => {{ window.told = 'no' }}), 1)"
        );
        browser.value(&call);
        browser.wait_for("window.told !== null");
        browser.value("window.told").as_str().unwrap().to_owned()
    };
    let both = || {
        let call = "new Uint8Array([0, 0, 0, 0, 3, 65, 100, 97])";
        let web = "application/grpc-web+proto";
        let path = "/v1/download/paris/greeter/greeter.SayHello";
        let json = r#"'{"name":"Ada","times":2}'"#;
        [
            told("/raw.Greeter/SayHello", web, call, ", 'x-grpc-web': '1'"),
            told(path, "application/json", json, ""),
        ]
    };
    browser.open(&format!("http://{page}/"));
    let [called, asked] = both();
    let lines = (1..=3).map(|time| line("Ada", time));
    assert!(lines.into_iter().all(|line| called.contains(&line)), "{called}");
    assert!(
        called.contains("grpc-status:0") && called.contains("estafette-handled:yes"),
        "{called}"
    );
    assert!(asked.contains(&line("Ada", 2)) && asked.ends_with("|unknown"), "{asked}");
    // The same page under another name is of another origin.
    browser.open(&format!("http://localhost:{}/", page.port()));
    assert_eq!(both(), ["no", "no"]);
    assert_eq!(lyon.terminate(), 0);
}

#[test]
fn what_is_wrong_with_methods_is_said_before_the_node_starts() {
    let world = World::new();
    let missing = world.path("none.proto");
    let missing = missing.to_str().unwrap();
    for (given, told) in [
        (&["--grpc-method", "/a.B/C"][..], "has no ="),
        (&["--grpc-method", "a.B/C=ask:paris/x"], "/package.Service/Method"),
        (&["--grpc-method", "/a.B/C=tell:paris/x"], "the ways are ask, download"),
        (&["--grpc-method", "/a.B/C=ask:paris"], "no actor"),
        (&["--grpc-proto", missing], "none.proto"),
    ] {
        for check in [&[][..], &["--check"]] {
            let mut command = world.command("lyon");
            let command = command.args(["node", "--grpc", "127.0.0.1:0"]).args(given).args(check);
            let ran = Ran::from(command.output().unwrap());
            assert_eq!(ran.code, 2, "{:?}", ran.events);
            let error = ran.event("error").to_string();
            assert!(error.contains(told), "{error}");
        }
    }
}
