//! `node --webhook` and `webhook`: what is delivered to a name is posted, whenever the node is
//! killed.

#![cfg(feature = "webhooks")]
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde_json::Value;
use support::process::Process;
use support::proxy::Proxy;
use support::{Ran, World, text};

const PATIENCE: Duration = Duration::from_secs(180);

/// Two nodes, of which paris posts what is delivered to `orders`, and somebody else's server.
struct Hooked {
    world: World,
    /// The road by which lyon dials paris, whichever life it has.
    proxy: Proxy,
    url: String,
    came: Receiver<Posted>,
    /// It delivers as long as this is there.
    _lyon: Process,
}

/// A request that is to be answered.
struct Posted {
    id: String,
    body: String,
    stream: TcpStream,
}

impl Posted {
    fn read(mut stream: TcpStream) -> Option<Self> {
        let (mut head, mut byte) = (String::new(), [0]);
        while !head.ends_with("\r\n\r\n") {
            stream.read_exact(&mut byte).ok()?;
            head.push(char::from(byte[0]));
        }
        let header = |name: &str| {
            let mut lines = head.lines().filter_map(|line| line.split_once(": "));
            lines.find(|(known, _)| *known == name).unwrap().1.to_owned()
        };
        assert!(head.starts_with("POST /hook HTTP/1.1\r\n"), "{head}");
        let mut body = vec![0; header("content-length").parse().unwrap()];
        stream.read_exact(&mut body).ok()?;
        Some(Self { id: header("webhook-id"), body: String::from_utf8(body).unwrap(), stream })
    }

    fn answer(self, status: u16) {
        self.answer_with(status, "");
    }

    /// With these lines of the head, too.
    fn answer_with(mut self, status: u16, lines: &str) {
        let answer = format!("HTTP/1.1 {status} So\r\n{lines}content-length: 0\r\n\r\n");
        // Whoever posted it may have been killed.
        let _ = self.stream.write_all(answer.as_bytes());
    }
}

impl Hooked {
    fn new() -> Self {
        let (world, proxy) = (World::new(), Proxy::new());
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let (sender, came) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let sender = sender.clone();
                std::thread::spawn(move || Posted::read(stream.unwrap()).map(|it| sender.send(it)));
            }
        });
        let file = world.path("secret");
        fs::write(&file, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
        let id = |who| text(world.run(who, ["id"]).event("id"), "peer");
        let (lyon, paris) = (id("lyon"), id("paris"));
        world.run("paris", ["trust", "add", &lyon, "--name", "lyon"]).event("trusted");
        let address = proxy.address();
        let known = ["trust", "add", &paris, "--name", "paris", "--addr", &address];
        world.run("lyon", known).event("trusted");
        let lyon = world.lyon();
        Self { world, proxy, url, came, _lyon: lyon }
    }

    /// A life of paris.
    fn paris(&self, more: &[&str]) -> Process {
        self.started(Process::start(&mut self.paris_as(more)))
    }

    fn paris_as(&self, more: &[&str]) -> Command {
        let mut command = self.world.command("paris");
        // Nobody is there, and nobody is asked.
        for proxy in ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"] {
            command.env(proxy, "http://127.0.0.1:1");
        }
        command.args(["node", "--name", "paris", "--listen", "127.0.0.1:0"]);
        command.args(["--webhook", &format!("orders={}", self.url), "--webhook-secret"]);
        command.arg(self.world.path("secret")).args(more);
        command.args(["--webhook-allow", "127.0.0.0/8", "--webhook-allow-http"]);
        command
    }

    /// It is up, and lyon finds it.
    fn started(&self, paris: Process) -> Process {
        let ready = paris.wait_for("ready");
        self.proxy.lead_to(ready["addrs"][0].as_str().unwrap());
        assert_eq!(paris.wait_for("webhook_open")["name"], "orders");
        paris
    }

    /// Delivers an order, and waits until paris has it in its queue; its id.
    fn order(&self, article: &str) -> String {
        let letter = self.deliver(article, &["--wait"]);
        assert_eq!(letter["state"], "processed");
        text(&letter, "id")
    }

    fn deliver(&self, article: &str, more: &[&str]) -> Value {
        let body = format!(r#"{{"article":"{article}"}}"#);
        let order = ["deliver", "paris/orders", "shop.Order", &body];
        let ran = self.world.run("lyon", order.iter().chain(more));
        // The last one says how far it is.
        ran.events.into_iter().rfind(|event| event["event"] == "letter").unwrap()
    }

    fn next(&self) -> Posted {
        self.came.recv_timeout(PATIENCE).expect("nothing is posted")
    }

    fn webhook(&self, arguments: &[&str]) -> Ran {
        self.world.run("paris", ["webhook"].iter().chain(arguments))
    }

    /// Returns what it tells a person.
    fn said(&self, arguments: &[&str]) -> String {
        let mut command = Command::new(env!("CARGO_BIN_EXE_estafette"));
        command.env_clear().env("HOME", self.world.path("paris")).arg("--key");
        command.arg(self.world.path("paris").with_extension("key")).arg("webhook").args(arguments);
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        String::from_utf8(said).unwrap()
    }

    /// Returns what `webhook list` says, once it is so.
    fn listed(&self, is_so: impl Fn(&Value) -> bool) -> Ran {
        loop {
            let ran = self.webhook(&["list"]);
            if is_so(ran.event("webhook")) {
                return ran;
            }
        }
    }

    /// Waits until what came of its first try is noted.
    fn until_tried(&self, id: &str) {
        while self.webhook(&["show", id]).event("webhook_message")["tries"] == 0 {}
    }

    fn until_empty(&self) {
        self.listed(|webhook| webhook["waiting"] == 0 && webhook["dead"] == 0);
    }
}

#[test]
fn what_is_in_the_queue_is_posted_in_the_next_life_and_managed_in_between() {
    let hooked = Hooked::new();
    let paris = hooked.paris(&[]);
    // As a person is told.
    let mut lyon = Command::new(env!("CARGO_BIN_EXE_estafette"));
    lyon.env_clear().env("HOME", hooked.world.path("lyon")).arg("--key");
    lyon.arg(hooked.world.path("lyon").with_extension("key")).args(["describe", "paris"]);
    let lyon = lyon.output().unwrap();
    let said = String::from_utf8(lyon.stdout).unwrap();
    let mut row = said.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    let orders = row.find(|row| row.first() == Some(&"orders"));
    assert_eq!(orders.unwrap(), ["orders", "any", "message", "deliver", "yes"], "{said}");
    // From now on it only takes.
    let first = hooked.order("tea");
    hooked.next().answer(410);
    let listed = hooked.listed(|webhook| webhook["disabled"].is_string());
    assert_eq!(listed.event("webhook_message")["id"], first.as_str());
    let (second, third) = (hooked.order("coffee"), hooked.order("milk"));
    // To post it again does not enable it, which is said.
    let retried = hooked.webhook(&["retry", &first]);
    assert_eq!((retried.code, &retried.event("webhook_retried")["held"]), (0, &"disabled".into()));
    let said = hooked.said(&["retry", &second]);
    assert!(said.contains("once orders is enabled (`estafette webhook enable orders`)"), "{said}");
    let found = hooked.world.run("paris", ["doctor"]);
    let mut found = found.events.iter().map(|event| event["what"].to_string());
    assert!(found.any(|what| what.contains("the webhook is disabled: it answered 410")));
    paris.kill();
    // While nothing runs.
    let shown = hooked.webhook(&["show", &second]);
    let message = shown.event("webhook_message");
    assert_eq!(
        (&message["body"], &message["held"]),
        (&r#"{"article":"coffee"}"#.into(), &"not_open".into())
    );
    assert_eq!(hooked.webhook(&["list"]).event("webhook")["open"], false);
    let said = hooked.said(&["list"]);
    assert!(said.contains("nobody posts it"), "{said}");
    assert_eq!(hooked.webhook(&["drop", &third]).event("webhook_dropped")["id"], third.as_str());
    assert_eq!(hooked.webhook(&["drop", &third]).code, 2);
    assert_eq!(hooked.webhook(&["enable", "bills"]).code, 2);
    let paris = hooked.paris(&["--webhook-ordered"]);
    // While it runs.
    assert_eq!(
        hooked.webhook(&["enable", "orders"]).event("webhook_enabled")["was_disabled"],
        true
    );
    let waits = |id: &str| hooked.webhook(&["show", id]).event("webhook_message")["held"].clone();
    assert_eq!((waits(&first), waits(&second)), (Value::Null, "behind".into()));
    let said = hooked.said(&["list"]);
    assert_eq!(said.matches(&format!("behind {first}")).count(), 1, "{said}");
    for (id, body) in [(first, r#"{"article":"tea"}"#), (second, r#"{"article":"coffee"}"#)] {
        let posted = hooked.next();
        assert_eq!((&posted.id, &*posted.body), (&id, body));
        posted.answer(200);
    }
    hooked.until_empty();
    assert_eq!(paris.terminate(), 0);
    assert!(hooked.came.try_recv().is_err(), "nothing is posted twice");
}

#[test]
fn a_rest_is_told_to_who_looks_kept_over_restarts_and_ended_by_who_posts_again() {
    let hooked = Hooked::new();
    let paris = hooked.paris(&[]);
    let first = hooked.order("tea");
    hooked.next().answer_with(503, "retry-after: 80000\r\n");
    let listed = hooked.listed(|webhook| webhook["rests"].is_u64());
    let rests = listed.event("webhook")["rests"].as_u64().unwrap();
    hooked.until_tried(&first);
    let second = hooked.order("coffee");
    assert_eq!(paris.terminate(), 0);
    let log = hooked.world.path("log");
    let paris = hooked.started(Process::start_logged(&mut hooked.paris_as(&[]), &log));
    for id in [&first, &second] {
        let shown = hooked.webhook(&["show", id]);
        let message = shown.event("webhook_message");
        assert_eq!(message["held"], "rests", "{message}");
        assert!(message["next"].as_u64().unwrap() >= rests, "{message}");
    }
    let said = hooked.said(&["list"]);
    assert!(said.contains("orders rests, as its receiver asked") && said.contains("503"), "{said}");
    assert!(!said.contains("now"), "{said}");
    let found = hooked.world.run("paris", ["doctor"]);
    let mut found = found.events.iter().map(|event| event["what"].to_string());
    assert!(found.any(|what| what.contains("2 messages wait, and the webhook rests")));
    assert!(hooked.came.try_recv().is_err(), "nothing is posted while it rests");
    let said = hooked.said(&["retry", &second]);
    assert!(said.contains("is posted again") && said.contains("is ended"), "{said}");
    let posted = hooked.next();
    assert_eq!(posted.id, second);
    posted.answer_with(429, "retry-after: 7200\r\n");
    // The log says that another one begins.
    let told = loop {
        let logged = fs::read_to_string(&log).unwrap();
        if let Some(told) = logged.lines().find(|line| line.contains("asks for a rest")) {
            break told.to_owned();
        }
    };
    assert!(told.contains("orders") && told.contains("7200s") && told.contains("429"), "{told}");
    hooked.until_tried(&second);
    for id in [&first, &second] {
        assert_eq!(hooked.webhook(&["retry", id]).event("webhook_retried")["held"], Value::Null);
        let posted = hooked.next();
        assert_eq!(posted.id, *id);
        posted.answer(200);
    }
    hooked.until_empty();
    assert_eq!(paris.terminate(), 0);
}

#[test]
fn what_was_posted_and_not_noted_is_posted_again_under_its_id() {
    let hooked = Hooked::new();
    let paris = hooked.paris(&[]);
    let id = hooked.order("tea");
    let posted = hooked.next();
    assert_eq!(posted.id, id);
    // It is handled, and the answer finds nobody.
    paris.kill();
    posted.answer(200);
    let paris = hooked.paris(&[]);
    let again = hooked.next();
    assert_eq!((again.id.as_str(), &*again.body), (id.as_str(), r#"{"article":"tea"}"#));
    again.answer(200);
    hooked.until_empty();
    paris.kill();
    let paris = hooked.paris(&[]);
    hooked.order("coffee");
    let other = hooked.next();
    assert_ne!(other.id, id, "what was noted is not posted again");
    other.answer(200);
    hooked.until_empty();
    assert_eq!(paris.terminate(), 0);
}

#[test]
fn killed_again_and_again_it_posts_all_in_their_order() {
    const ORDERS: usize = 24;
    let hooked = Hooked::new();
    let mut paris = hooked.paris(&["--webhook-ordered"]);
    let ids: Vec<String> =
        (0..ORDERS).map(|n| text(&hooked.deliver(&n.to_string(), &[]), "id")).collect();
    let (mut first_times, mut seen) = (Vec::new(), BTreeSet::new());
    let mut came = 0;
    while first_times.len() < ORDERS {
        let posted = hooked.next();
        came += 1;
        if seen.insert(posted.id.clone()) {
            first_times.push(posted.id.clone());
        }
        if came % 4 == 0 {
            // Before its answer, or right behind it.
            if came % 8 == 0 {
                posted.answer(200);
            }
            paris.kill();
            paris = hooked.paris(&["--webhook-ordered"]);
        } else {
            posted.answer(200);
        }
    }
    assert_eq!(first_times, ids);
    // The last one may come once more.
    while let Ok(posted) = hooked.came.recv_timeout(Duration::from_millis(1)) {
        posted.answer(200);
    }
    assert_eq!(paris.terminate(), 0);
}

#[test]
fn what_can_t_be_is_told_before_the_node_starts() {
    let world = World::new();
    let secret = world.path("secret");
    let check = |url: &str| {
        let mut arguments = vec!["node", "--check", "--webhook", url, "--webhook-secret"];
        arguments.push(secret.to_str().unwrap());
        world.run("paris", arguments)
    };
    assert_eq!(check("orders=https://example.org/").code, 2, "there is no such file");
    fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o644)).unwrap();
    assert!(
        check("orders=https://example.org/").event("error")["message"]
            .as_str()
            .unwrap()
            .contains("chmod 600")
    );
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    assert_eq!(check("orders=http://example.org/").code, 2);
    assert_eq!(check("https://example.org/").code, 2, "it has no name");
    let mut twice = vec!["node", "--check", "--webhook", "orders=https://example.org/"];
    twice.extend(["--webhook", "orders=https://example.com/", "--webhook-secret"]);
    twice.push(secret.to_str().unwrap());
    let ran = world.run("paris", twice);
    assert_eq!(ran.code, 2);
    let said = ran.event("error")["message"].clone();
    assert!(said.as_str().unwrap().contains("two webhooks have the name"), "{said}");
    assert_eq!(world.run("paris", ["node", "--webhook", "a=https://b/"]).code, 2, "no secret");
}
