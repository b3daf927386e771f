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

    fn answer(mut self, status: u16) {
        let answer = format!("HTTP/1.1 {status} So\r\ncontent-length: 0\r\n\r\n");
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
        let mut command = self.world.command("paris");
        // Nobody is there, and nobody is asked.
        for proxy in ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"] {
            command.env(proxy, "http://127.0.0.1:1");
        }
        command.args(["node", "--name", "paris", "--listen", "127.0.0.1:0"]);
        command.args(["--webhook", &format!("orders={}", self.url), "--webhook-secret"]);
        command.arg(self.world.path("secret")).args(more);
        command.args(["--webhook-allow", "127.0.0.0/8", "--webhook-allow-http"]);
        let paris = Process::start(&mut command);
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

    /// Returns what `webhook list` says, once it is so.
    fn listed(&self, is_so: impl Fn(&Value) -> bool) -> Ran {
        loop {
            let ran = self.webhook(&["list"]);
            if is_so(ran.event("webhook")) {
                return ran;
            }
        }
    }

    fn until_empty(&self) {
        self.listed(|webhook| webhook["waiting"] == 0 && webhook["dead"] == 0);
    }
}

#[test]
fn what_is_in_the_queue_is_posted_in_the_next_life_and_managed_in_between() {
    let hooked = Hooked::new();
    let paris = hooked.paris(&[]);
    // From now on it only takes.
    let first = hooked.order("tea");
    hooked.next().answer(410);
    let listed = hooked.listed(|webhook| webhook["disabled"].is_string());
    assert_eq!(listed.event("webhook_message")["id"], first.as_str());
    let (second, third) = (hooked.order("coffee"), hooked.order("milk"));
    paris.kill();
    // While nothing runs.
    let shown = hooked.webhook(&["show", &second]);
    assert_eq!(shown.event("webhook_message")["body"], r#"{"article":"coffee"}"#);
    assert_eq!(hooked.webhook(&["drop", &third]).event("webhook_dropped")["id"], third.as_str());
    assert_eq!(hooked.webhook(&["drop", &third]).code, 2);
    assert_eq!(hooked.webhook(&["enable", "bills"]).code, 2);
    let paris = hooked.paris(&["--webhook-ordered"]);
    // While it runs.
    assert_eq!(
        hooked.webhook(&["enable", "orders"]).event("webhook_enabled")["was_disabled"],
        true
    );
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
    assert_eq!(world.run("paris", ["node", "--webhook", "a=https://b/"]).code, 2, "no secret");
}
