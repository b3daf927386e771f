//! `token` and `node --http`: who has a token reaches an actor of another node.

#![cfg(feature = "doors")]
#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;

use estafette::{Identity, Node, RemoteMessage, TrustedPeer};
use estafette_actors::sink::FileSink;
use estafette_actors::spool::Spool;
use estafette_actors::standard;
use serde::{Deserialize, Serialize};
use support::process::Process;
use support::{World, text};

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "shop.Order", reply = u64, json)]
struct Order {
    article: String,
}

struct Shop;

impl actix::Actor for Shop {
    type Context = actix::Context<Self>;
}

impl actix::Handler<Order> for Shop {
    type Result = u64;

    fn handle(&mut self, order: Order, _: &mut Self::Context) -> u64 {
        order.article.len() as u64
    }
}

/// Paris's key, the same one in each life of it.
fn paris_key(world: &World) -> Identity {
    Identity::load_or_create(world.path("paris.key")).unwrap()
}

/// Paris, as a program with an actor, and lyon's id.
async fn paris(world: &World) -> (Node, String) {
    let lyon = text(world.run("lyon", ["id"]).event("id"), "peer");
    let node = Node::builder()
        .name("paris")
        .identity(paris_key(world))
        .listen("127.0.0.1:0")
        .spool(Arc::new(Spool::open(world.path("paris.spool")).unwrap()))
        .receive("files", FileSink::into_dir(world.path("in")))
        .stages(standard())
        .start()
        .await
        .unwrap();
    node.trust().add(lyon.parse().unwrap(), TrustedPeer::new("lyon")).unwrap();
    node.host("shop", || Shop).takes::<Order>().start().await.unwrap();
    (node, lyon)
}

/// The status and the body of an ask by curl.
fn ask(url: &str, token: &str) -> (String, String) {
    let given = ["-s", "-w", "\n%{http_code}", "--json", r#"{"article":"tea"}"#, "-H"];
    let bearer = format!("Authorization: Bearer {token}");
    let path = format!("{url}v1/ask/paris/shop/shop.Order");
    let ran = Command::new("curl").args(given).args([bearer, path]).output().unwrap();
    let printed = String::from_utf8(ran.stdout).unwrap();
    let (body, status) = printed.rsplit_once('\n').unwrap();
    (status.to_owned(), body.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_shown_once_lets_in_and_lets_nobody_in_when_it_is_removed() {
    let world = World::new();
    let (paris, _) = paris(&world).await;
    let (id, address) = (paris.peer().to_string(), paris.addresses()[0].clone());
    let trusted = ["trust", "add", &*id, "--name", "paris", "--addr", &*address];
    assert_eq!(world.run("lyon", trusted).code, 0);
    let node = world.lyon_with(&["--http", "127.0.0.1:0"]);
    let url = text(&node.wait_for("page"), "url");
    assert_eq!(ask(&url, "estafette_x_y").0, "401", "nobody has a token yet");
    let added =
        world.run("lyon", ["token", "add", "till", "--to", "paris/shop", "--rate", "1000/s"]);
    let token = text(added.event("token_added"), "token");
    // A node that runs hears of it.
    while ask(&url, &token).0 == "401" {}
    assert_eq!(ask(&url, &token), ("200".into(), "3".into()));
    let listed = world.run("lyon", ["token", "list"]);
    let known = listed.event("token");
    assert_eq!((text(known, "name"), text(known, "rate")), ("till".into(), "1000/s".into()));
    assert!(!known.to_string().contains(&token), "{known}");
    assert_eq!(world.run("lyon", ["token", "remove", "till"]).code, 0);
    while ask(&url, &token).0 != "401" {}
    assert_eq!(world.run("lyon", ["token", "remove", "till"]).code, 2, "there is none");
    // The page is there as before, with its own rules.
    assert_eq!(support::http::get(&url, "healthz").status, 200);
    assert_eq!(support::http::get(&url, "api/v1/snapshot").status, 200);
    assert_eq!(support::http::get(&url, "v1/ask/paris/shop/shop.Order").status, 401);
    assert_eq!(node.terminate(), 0);
    paris.shutdown().await;
}

/// The lines of curl in the documentation, each in one piece.
fn documented() -> Vec<String> {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../framework/docs/doors.md");
    let text = fs::read_to_string(page).unwrap().replace("\\\n", " ");
    let lines = text.lines().filter(|line| line.starts_with("curl http://127.0.0.1:7480/"));
    lines.map(str::to_owned).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_documentation_says_to_curl_works_as_it_is_written() {
    let world = World::new();
    let (paris, _) = paris(&world).await;
    let (id, address) = (paris.peer().to_string(), paris.addresses()[0].clone());
    let trusted = ["trust", "add", &*id, "--name", "paris", "--addr", &*address];
    assert_eq!(world.run("lyon", trusted).code, 0);
    let to = [
        "token",
        "add",
        "till",
        "--to",
        "paris/shop,paris/files,read:files,done:files",
        "--expires",
        "30d",
    ];
    let token = text(world.run("lyon", to).event("token_added"), "token");
    let node = world.lyon_with(&["--http", "127.0.0.1:0"]);
    let url = text(&node.wait_for("page"), "url");
    fs::write(world.path("photo.jpg"), [7; 100_000]).unwrap();
    let lines = documented();
    assert!(lines.len() >= 4, "{lines:?}");
    for line in lines {
        let line = line.replace("http://127.0.0.1:7480/", &url).replacen(
            "curl",
            "curl -sS --fail-with-body",
            1,
        );
        let mut shell = Command::new("sh");
        shell.args(["-c", &line]).env("TOKEN", &token).current_dir(world.path(""));
        let ran = shell.output().unwrap();
        assert!(ran.status.success(), "{line}: {ran:?}");
    }
    while !world.has_arrived("photo.jpg") {}
    assert_eq!(node.terminate(), 0);
    paris.shutdown().await;
}

/// A request of tus, whose answer nobody reads yet.
fn request(url: &str, token: &str, line: &str, headers: &[&str], body: &[u8]) -> TcpStream {
    let host = url.strip_prefix("http://").unwrap().trim_end_matches('/');
    let mut head = format!("{line} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\n");
    head += "Tus-Resumable: 1.0.0\r\nConnection: close\r\n";
    headers.iter().for_each(|header| head += &format!("{header}\r\n"));
    let mut socket = TcpStream::connect(host).unwrap();
    socket.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    socket.write_all(body).unwrap();
    socket
}

fn answer(mut socket: TcpStream) -> String {
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    answer.to_ascii_lowercase()
}

fn header<'a>(answer: &'a str, name: &str) -> &'a str {
    let value = answer.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    value.unwrap_or_else(|| panic!("no {name}: {answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_goes_on_where_it_was_durable_when_its_node_was_killed_before_it_answered() {
    let world = World::new();
    let (paris, _) = paris(&world).await;
    let (id, address) = (paris.peer().to_string(), paris.addresses()[0].clone());
    paris.stop().await;
    let trusted = ["trust", "add", &*id, "--name", "paris", "--addr", &*address];
    assert_eq!(world.run("lyon", trusted).code, 0);
    let to = ["token", "add", "till", "--to", "paris/files"];
    let token = text(world.run("lyon", to).event("token_added"), "token");
    let start = || {
        let node = world.lyon_with(&["--http", "127.0.0.1:0"]);
        let url = text(&node.wait_for("page"), "url");
        (node, url)
    };
    let sent: Vec<u8> = (0..900_000_usize).map(|at| ((at * at) >> 7) as u8).collect();
    fs::write(world.path("photo.jpg"), &sent).unwrap();
    let (mut node, mut url) = start();
    let begins = ["Upload-Length: 900000", "Upload-Metadata: filename cGhvdG8uanBn"];
    let begun = answer(request(&url, &token, "POST /v1/uploads/paris/files", &begins, b""));
    let place = header(&begun, "location").to_owned();
    let folder = world.spool("lyon").join("bulk").join(format!("{}.parts", &place[12..]));
    let patches = format!("PATCH {place}");
    let patch = |url: &str, from: usize, length: usize, body: &[u8]| {
        let kind = "Content-Type: application/offset+octet-stream";
        let offset = format!("Upload-Offset: {from}");
        let length = format!("Content-Length: {length}");
        request(url, &token, &patches, &[kind, &offset, &length], body)
    };
    for (from, to) in [(0, 300_000), (300_000, 600_000), (600_000, 900_000)] {
        // In the middle of a part: of that, nothing was promised.
        let half = patch(&url, from, to - from, &sent[from..to - 1]);
        while !folder.join(format!("{from:020}.new")).exists() {}
        node.kill();
        drop(half);
        (node, url) = start();
        let told = answer(request(&url, &token, &format!("HEAD {place}"), &[], b""));
        assert_eq!(header(&told, "upload-offset"), from.to_string());
        // Behind it, and before anybody has heard of that.
        let unheard = patch(&url, from, to - from, &sent[from..to]);
        while !folder.join(format!("{from:020}")).exists() {}
        node.kill();
        drop(unheard);
        (node, url) = start();
        let told = answer(request(&url, &token, &format!("HEAD {place}"), &[], b""));
        assert_eq!(header(&told, "upload-offset"), to.to_string(), "what is durable is there");
    }
    let spool = Arc::new(Spool::open(world.path("paris.spool")).unwrap());
    let (key, lyon) = (paris_key(&world), text(world.run("lyon", ["id"]).event("id"), "peer"));
    let paris = Node::builder()
        .name("paris")
        .identity(key)
        // Before anybody comes.
        .peer("lyon", lyon.parse().unwrap(), Vec::<String>::new())
        .listen(&address)
        .spool(spool)
        .receive("files", FileSink::into_dir(world.path("in")))
        .stages(standard())
        .start()
        .await
        .unwrap();
    while !world.has_arrived("photo.jpg") {}
    assert_eq!(node.terminate(), 0);
    paris.shutdown().await;
}

/// Both nodes of a topology, each a process; the one with the door first.
fn run_both(world: &World, file: &str) -> [Process; 2] {
    ["paris", "lyon"].map(|node| {
        let mut command = world.command("lyon");
        Process::start(command.args(["run", file, "--node", node]))
    })
}

#[test]
fn a_door_of_a_topology_takes_content_while_its_receiver_is_away_and_is_seen() {
    let world = World::new();
    let text_of_file = "[node.lyon]\nhttp = \"127.0.0.1:0\"\n[node.paris]\nlisten = \
        \"unix:paris.sock\"\n[inbox.letters]\nnode = \"paris\"\nsink = { folder = \"in\" }\n\
        [door.web]\nnode = \"lyon\"\ndoor = { http = \"127.0.0.1:0\" }\nto = \"paris/letters\"\n";
    let place = format!("unix:{}", world.path("paris.sock").display());
    let file = world.path("office.toml");
    fs::write(&file, text_of_file.replace("unix:paris.sock", &place)).unwrap();
    let file = file.to_str().unwrap();
    let [paris, lyon] = run_both(&world, file);
    let door = text(&lyon.wait_for("door"), "addr");
    let page = text(&lyon.wait_for("page"), "url");
    // With the key of the node.
    let over = ["token", "add", "over", "--to", "*", "--expires", "0s"];
    assert_eq!(world.run("lyon", over).code, 2, "it would let nobody in");
    let till = ["token", "add", "till", "--to", "*"];
    let added = world.run(".estafette/office/lyon/node", till);
    let token = text(added.event("token_added"), "token");
    assert_eq!(paris.terminate(), 0);
    fs::write(world.path("letter"), "Dear Paris").unwrap();
    let put = |name: &str, token: &str| {
        let url = format!("http://{door}/v1/send/paris/{name}");
        let bearer = format!("Authorization: Bearer {token}");
        let file = world.path("letter");
        let given = ["-s", "-o", "/dev/null", "-w", "%{http_code}", "-H", &bearer, "-T"];
        let ran = Command::new("curl").args(given).arg(file).arg(url).output().unwrap();
        String::from_utf8(ran.stdout).unwrap()
    };
    while put("letters/letter", &token) != "202" {}
    assert_eq!(put("secrets/letter", &token), "403", "the door does not lead there");
    let metrics = support::http::get(&page, "metrics").expect(200);
    for line in ["estafette_door_refused_total{door=\"web\",kind=\"http\"} ", "door_calls_total"] {
        assert!(metrics.contains(line), "{line}: {metrics}");
    }
    let snapshot = support::http::get(&page, "api/v1/snapshot").expect(200);
    let snapshot: serde_json::Value = serde_json::from_str(&snapshot).unwrap();
    let doors = snapshot["doors"].as_array().unwrap();
    let web = doors.iter().find(|door| door["name"] == "web").unwrap();
    assert!(web["received_bytes"].as_u64() >= Some(10), "{web}");
    let mut command = world.command("lyon");
    let paris = Process::start(command.args(["run", file, "--node", "paris"]));
    while !world.has_arrived("letter") {}
    for node in [lyon, paris] {
        assert_eq!(node.terminate(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn by_tls_a_page_and_both_doors_are_at_one_address_for_who_has_a_certificate() {
    use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

    let world = World::new();
    let (paris, _) = paris(&world).await;
    let (id, address) = (paris.peer().to_string(), paris.addresses()[0].clone());
    let trusted = ["trust", "add", &*id, "--name", "paris", "--addr", &*address];
    assert_eq!(world.run("lyon", trusted).code, 0);
    assert_eq!(world.run("lyon", ["token", "add", "till", "--to", "paris/shop"]).code, 0);
    let mut authority = CertificateParams::new(Vec::new()).unwrap();
    authority.distinguished_name.push(DnType::CommonName, "authority");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let key = KeyPair::generate().unwrap();
    fs::write(world.path("ca.pem"), authority.self_signed(&key).unwrap().pem()).unwrap();
    let issuer = Issuer::new(authority, key);
    for (file, name) in [("door", "127.0.0.1"), ("till", "till")] {
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let made = made.signed_by(&key, &issuer).unwrap();
        fs::write(world.path(&format!("{file}.pem")), made.pem()).unwrap();
        fs::write(world.path(&format!("{file}.key")), key.serialize_pem()).unwrap();
        let owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions(world.path(&format!("{file}.key")), owner).unwrap();
    }
    let path = |name: &str| world.path(name).to_str().unwrap().to_owned();
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = port.local_addr().unwrap().to_string();
    drop(port);
    let files = [path("door.pem"), path("door.key"), path("ca.pem")];
    let flags = ["--http", &at, "--grpc", &at, "--tls-cert", &files[0], "--tls-key", &files[1]];
    let node = world.lyon_with(&[&flags[..], &["--tls-client-ca", &files[2]]].concat());
    assert_eq!(text(&node.wait_for("page"), "url"), format!("https://{at}/"));
    assert_eq!(text(&node.wait_for("grpc"), "addr"), at);
    let curl = |path: &str, given: &[&str]| {
        let mut curl = Command::new("curl");
        curl.args(["-s", "--cacert", &files[2], "-w", " %{http_code}"]).args(given);
        let ran = curl.arg(format!("https://{at}/{path}")).output().unwrap();
        String::from_utf8_lossy(&ran.stdout).into_owned()
    };
    let (cert, key) = (path("till.pem"), path("till.key"));
    let shown = ["--cert", &cert, "--key", &key, "--json", r#"{"article":"tea"}"#];
    assert_eq!(curl("v1/ask/paris/shop/shop.Order", &shown), "3 200");
    assert!(curl("v1/ask/paris/shop/shop.Order", &shown[4..]).ends_with(" 401"));
    assert!(curl("healthz", &[]).ends_with(" 200"), "the page is there, too");
    // The answer of a call of gRPC: health, of the door as a whole.
    fs::write(world.path("empty"), [0; 5]).unwrap();
    let body = format!("@{}", path("empty"));
    let call = ["-H", "content-type: application/grpc", "--data-binary", &*body, "-D", "-"];
    let call = [&["--http2", "-o", "/dev/null"], &call[..]].concat();
    let told = curl("grpc.health.v1.Health/Check", &call);
    assert!(told.contains("application/grpc") && told.contains("HTTP/2 200"), "{told}");
    assert_eq!(node.terminate(), 0);
    // What is no certificate is told before anything is opened.
    let wrong = ["node", "--check", "--http", &at, "--tls-cert", &files[1], "--tls-key", &files[1]];
    let ran = world.run("lyon", wrong);
    assert_eq!(ran.code, 2);
    assert!(ran.event("error").to_string().contains("door.key"), "{:?}", ran.events);
    paris.shutdown().await;
}

#[test]
fn what_is_kept_of_a_token_is_for_its_owner_and_has_no_token_in_it() {
    let world = World::new();
    let added = world.run("lyon", ["token", "add", "till", "--to", "paris/*,lyon/shop"]);
    let token = text(added.event("token_added"), "token");
    let (_, secret) = token.rsplit_once('_').unwrap();
    let folder = world.path("lyon.key.trust");
    assert_eq!(fs::metadata(&folder).unwrap().permissions().mode() & 0o077, 0);
    for entry in fs::read_dir(folder.join("tokens")).unwrap() {
        let bytes = fs::read(entry.unwrap().path()).unwrap();
        assert!(!String::from_utf8_lossy(&bytes).contains(secret));
    }
    for (given, told) in [
        (&["--to", "paris"][..], "PEER/NAME"),
        (&["--to", "paris/shop", "--rate", "10"], "10/s"),
        (&[], "--to"),
    ] {
        let ran = world.run("lyon", [&["token", "add", "other"], given].concat());
        assert_eq!(ran.code, 2, "{given:?}");
        assert!(ran.event("error").to_string().contains(told), "{:?}", ran.events);
    }
    let again = world.run("lyon", ["token", "add", "till", "--to", "*"]);
    assert_eq!(again.code, 2);
    assert!(text(again.event("error"), "message").contains("already"), "{:?}", again.events);
}
