//! The example with a door that leads in and one that leads out, with a real server behind it.

use std::io::Lines;
use std::process::ChildStdout;
use std::sync::Arc;
use std::sync::atomic::AtomicU16;
use std::sync::atomic::Ordering::SeqCst;

use super::reload::{runs, save};
use super::*;

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n";

/// The file of the secret that the example signs by, as its first lines make it.
pub(crate) fn secret(folder: &Path) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    let file = folder.join("orders.secret");
    fs::write(&file, SECRET).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    file
}

/// Somebody else's server: the example in Python, which verifies by the stock package of Standard
/// Webhooks. `None`, said loudly, where that is not there, which `ESTAFETTE_PYTHON` forbids.
fn server(secret: &Path) -> Option<(Running, Lines<BufReader<ChildStdout>>, String)> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let venv = here.join("target/python/bin/python3");
    let python = if venv.exists() { venv } else { "python3".into() };
    let mut tried = Command::new(&python);
    tried.args(["-c", "import cloudevents.core, standardwebhooks"]).stderr(Stdio::null());
    if !tried.status().is_ok_and(|status| status.success()) {
        assert!(
            std::env::var_os("ESTAFETTE_PYTHON").is_none(),
            "{} has no standardwebhooks and cloudevents: examples/python/requirements.txt",
            python.display()
        );
        eprintln!("LEFT OUT: no Python with standardwebhooks and cloudevents is here");
        return None;
    }
    let mut command = Command::new(python);
    command.arg(here.join("examples/python/webhook.py")).arg("0").arg(secret);
    let mut running = Running(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(running.0.stdout.take().unwrap()).lines();
    let port = lines.next().unwrap().unwrap();
    Some((running, lines, format!("127.0.0.1:{port}")))
}

#[test]
fn orders_that_come_in_by_http_are_posted_once_in_their_order_to_a_server_that_verifies_them() {
    let (place, _) = examples();
    let folder = place.path();
    let Some((_server, mut posted, server)) = server(&secret(folder)) else { return };
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../topologies/webhook.toml");
    let example = fs::read_to_string(example).unwrap();
    let listen = format!("unix:{}", folder.join("paris.sock").display());
    let placed = example
        .replace("\"127.0.0.1:7426\"", &format!("{listen:?}"))
        .replace("\"127.0.0.1:7482\"", "\"127.0.0.1:0\"")
        .replace("http://127.0.0.1:7483/", &format!("http://{server}/"));
    fs::write(folder.join("webhook.toml"), placed).unwrap();
    let mut command = estafette(folder);
    let command = command.args(["--json", "run", "webhook.toml"]).stdout(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let stdout = BufReader::new(running.0.stdout.take().unwrap());
    let mut events = stdout.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap());
    let door = Running::wait_for(&mut events, "door", "lyon");
    let door = door["addr"].as_str().unwrap();
    let key = [".estafette/webhook/lyon/node.key", "token", "add", "till", "--to", "paris/orders"];
    let added = run(folder, &[&["--json", "--key"][..], &key].concat());
    let added: Value = serde_json::from_slice(&added.stdout).unwrap();
    let token = format!("Authorization: Bearer {}", added["token"].as_str().unwrap());
    let order = |key: &str, article: &str| {
        let url = format!("http://{door}/v1/deliver/paris/orders/shop.Order");
        let (key, json) =
            (format!("Idempotency-Key: {key}"), format!(r#"{{"article":"{article}"}}"#));
        let given = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", &token, "-H", &key];
        let ran = Command::new("curl").args(given).args(["--json", &json, &url]).output().unwrap();
        let status = text(&ran.stdout);
        assert!(["202", "200"].contains(&&*status), "{status}");
    };
    for (key, article) in
        [("1", "tea"), ("2", "coffee"), ("1", "tea"), ("3", "milk"), ("2", "coffee")]
    {
        order(key, article);
    }
    let mut ids = BTreeSet::new();
    for article in ["tea", "coffee", "milk"] {
        let told: Value = serde_json::from_str(&posted.next().unwrap().unwrap()).unwrap();
        assert_eq!(
            (&told["data"]["article"], &told["type"]),
            (&article.into(), &"shop.Order".into())
        );
        ids.insert(told["id"].as_str().unwrap().to_owned());
    }
    assert_eq!(ids.len(), 3);
    let prices = Running::wait_for(&mut events, "delivered", "lyon");
    assert_eq!(prices["name"], "prices.csv");
    let prices = |folder: &Path, name| fs::read(folder.join(name)).unwrap();
    assert_eq!(prices(folder, "received-prices/prices.csv"), prices(folder, "input/prices.csv"));
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert!(running.0.wait().unwrap().success());
}

const POSTED: &str = r#"
[node.lyon]
[node.nice]
listen = "unix:{here}/nice.sock"
[node.paris]
listen = "unix:{here}/paris.sock"
[door.orders]
node = "paris"
door = { webhook = { url = "{url}", secret_file = "orders.secret", retries = ["7d"], allow = ["127.0.0.0/8"], allow_http = true } }
from = "lyon"
"#;

/// A server that answers each POST with what is set, until its listener is gone with the test.
fn answering(status: &Arc<AtomicU16>) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (address, status) = (listener.local_addr().unwrap(), Arc::clone(status));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (mut stream, mut read) = (stream.unwrap(), Vec::new());
            // The order, of which each is as long.
            while !read.ends_with(br#"{"article":"tea"}"#) {
                let mut byte = [0];
                if stream.read_exact(&mut byte).is_err() {
                    break;
                }
                read.push(byte[0]);
            }
            let answer =
                format!("HTTP/1.1 {} So\r\ncontent-length: 0\r\n\r\n", status.load(SeqCst));
            // Who posted it may be gone.
            let _ = stream.write_all(answer.as_bytes());
        }
    });
    format!("http://{address}/hook")
}

/// A run of the file in which paris posts, or would.
struct World {
    folder: PathBuf,
    _place: TempDir,
}

impl World {
    fn save(&self, text: &str) {
        save(&self.folder, text);
    }

    /// The events of a command with the key of a node.
    fn of(&self, node: &str, arguments: &[&str]) -> Vec<Value> {
        let key = format!(".estafette/topology/{node}/node.key");
        let said = run(&self.folder, &[&["--json", "--key", &key], arguments].concat());
        text(&said.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The webhook `orders` of a node, once it is so.
    fn hook(&self, node: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        loop {
            let listed = self.of(node, &["webhook", "list"]);
            let found = listed.into_iter().find(|it| it["event"] == "webhook" && is_so(it));
            if let Some(found) = found {
                return found;
            }
        }
    }

    /// Delivers an order, which paris has in its queue then.
    fn order(&self) -> String {
        let order = ["deliver", "paris/orders", "shop.Order", r#"{"article":"tea"}"#, "--wait"];
        let told = self.of("lyon", &order);
        let letter = told.iter().rfind(|event| event["event"] == "letter").unwrap();
        assert_eq!(letter["state"], "processed");
        letter["id"].as_str().unwrap().to_owned()
    }

    /// The exit code of `estafette reload`, and what it says.
    fn reload(&self) -> (Option<i32>, String) {
        let output = run(&self.folder, &["reload", "topology.toml"]);
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    }
}

/// Waits until lyon can be asked to deliver, and paris has opened its door, in whichever order.
fn until_up(events: &mut impl Iterator<Item = Value>) {
    let mut left = vec![("ready", "lyon"), ("door", "paris")];
    while !left.is_empty() {
        let event = events.next().expect("it runs");
        left.retain(|(kind, node)| event["event"] != *kind || event["node"] != *node);
    }
}

/// The file, and what is made of it that would leave messages of `orders` behind.
fn leaving() -> Vec<String> {
    let at = |name: &str, node: &str| {
        POSTED.replace("door.orders", name).replace("node = \"paris\"", node)
    };
    let without = POSTED.split("[door.orders]").next().unwrap().to_owned();
    let ended = without.replace("[node.paris]\nlisten = \"unix:{here}/paris.sock\"\n", "");
    assert!(!ended.contains("paris"));
    vec![
        at("door.orders-v2", "node = \"paris\""),
        at("door.orders", "node = \"nice\""),
        POSTED.replace("[node.paris]", "[node.paris]\nkey = \"new.key\""),
        // It is started again, and the door is gone meanwhile.
        without.replace("[node.paris]", "[node.paris]\nrelay = true"),
        without,
        ended,
    ]
}

#[test]
fn what_a_webhook_has_taken_is_not_left_behind_by_a_reload() {
    let (place, folder) = world("");
    secret(&folder);
    let status = Arc::new(AtomicU16::new(500));
    let url = answering(&status);
    let posted = |text: &str| text.replace("{url}", &url);
    let world = World { folder, _place: place };
    world.save(&posted(POSTED));
    let program = Path::new(env!("CARGO_BIN_EXE_estafette"));
    let (_running, mut events) = runs(program, &world.folder, &["topology.toml"]);
    until_up(&mut events);
    let ids = [world.order(), world.order()];
    for left in leaving() {
        world.save(&posted(&left));
        let (code, said) = world.reload();
        let told = "paris: not reloaded: 2 messages wait at the door `orders` of the node `paris`";
        assert!(code == Some(3) && said.contains(told), "{left}\n{said}");
        assert_eq!(said.matches("reloaded").count(), 1, "{said}");
        let planned = text(&run(&world.folder, &["plan", "topology.toml"]).stdout);
        let told = "; refused while its door `orders` has 2 messages waiting";
        assert!(planned.contains(told), "{planned}");
        assert_eq!(world.hook("paris", |_| true)["open"], true, "{said}");
    }
    // One that posts elsewhere goes on with them.
    status.store(204, SeqCst);
    world.save(&posted(&POSTED.replace("[\"7d\"]", "[]")));
    assert_eq!(world.reload().0, Some(0));
    for id in &ids {
        let retried = world.of("paris", &["webhook", "retry", id]);
        assert_eq!(
            (&retried[0]["event"], &retried[0]["held"]),
            (&"webhook_retried".into(), &Value::Null)
        );
    }
    world.hook("paris", |it| it["waiting"] == 0);
    for left in leaving() {
        world.save(&posted(&left));
        let (code, said) = world.reload();
        assert_eq!(code, Some(0), "{left}\n{said}");
    }
}

#[test]
fn a_start_without_the_door_says_what_waits_for_it_and_so_do_list_and_doctor() {
    let (place, folder) = world("");
    secret(&folder);
    let url = answering(&Arc::new(AtomicU16::new(500)));
    let world = World { folder, _place: place };
    world.save(&POSTED.replace("{url}", &url));
    let program = Path::new(env!("CARGO_BIN_EXE_estafette"));
    let (mut running, mut events) = runs(program, &world.folder, &["topology.toml"]);
    until_up(&mut events);
    let id = world.order();
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    events.for_each(drop);
    assert!(running.0.wait().unwrap().success(), "all its processes have ended");
    world.save(&POSTED.replace("{url}", &url).replace("door.orders", "door.bills"));
    let mut command = estafette(&world.folder);
    command.args(["run", "topology.toml"]).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut running = Running(command.spawn().unwrap());
    let mut log = BufReader::new(running.0.stderr.take().unwrap()).lines().map(Result::unwrap);
    let told = log.find(|line| line.contains("a webhook that is not open")).expect("it is told");
    assert!(told.contains("orders") && told.contains("waiting=1"), "{told}");
    std::thread::spawn(move || log.for_each(drop));
    let hook = world.hook("paris", |it| it["waiting"] == 1);
    assert_eq!((&hook["name"], &hook["open"]), (&"orders".into(), &false.into()));
    let shown = world.of("paris", &["webhook", "show", &id]);
    assert_eq!(shown[0]["held"], "not_open");
    let retried = world.of("paris", &["webhook", "retry", &id]);
    assert_eq!(retried[0]["held"], "not_open");
    let found = world.of("paris", &["doctor"]);
    let found =
        found.iter().find(|found| found["what"].as_str().unwrap().contains("1 message waits"));
    let found = found.expect("the doctor says so");
    assert_eq!((&found["event"], &found["severity"]), (&"finding".into(), &"warning".into()));
    assert!(found["where"].as_str().unwrap().ends_with("node.key.webhooks/orders"), "{found}");
}
