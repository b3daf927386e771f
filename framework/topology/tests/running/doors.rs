//! Doors of a node of a topology: who has a token comes in, to where the file says and nowhere
//! else, and a reload changes them while the node runs.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use estafette::node::{FileStore, StageRegistry};
use estafette_doors::Tokens;
use estafette_topology::{Change, ReloadError, RunningNode, Topology};

use crate::harness::HANGS;

/// It is stored, or, where that took no longer than the answer, delivered.
const TAKEN: [u16; 2] = [202, 200];

const NODES: &str = r#"
    [node.lyon]
    [node.paris]
    listen = "unix:{here}/paris.sock"
    [inbox.letters]
    node = "paris"
    sink = { folder = "in" }
    [inbox.secrets]
    node = "paris"
    sink = { folder = "secrets" }
"#;

const WEB: &str = r#"
    [door.web]
    node = "lyon"
    door = { http = { listen = "127.0.0.1:0", tokens = ["till"] } }
    to = "paris/letters"
"#;

const CALLS: &str = r#"
    [door.calls]
    node = "lyon"
    door = { grpc = { listen = "127.0.0.1:0", methods = { "/a.B/C" = "ask:paris/shop" } } }
    to = "paris/shop"
"#;

fn registry() -> StageRegistry {
    estafette_doors::with_kinds(estafette_actors::standard())
}

fn topology(folder: &Path, text: &[&str]) -> Topology {
    let file = folder.join("topology.toml");
    fs::write(&file, text.concat().replace("{here}", folder.to_str().unwrap())).unwrap();
    Topology::load(file, &registry()).unwrap_or_else(|error| panic!("{error}"))
}

async fn start(topology: &Topology, name: &str) -> RunningNode {
    topology.start(name, registry()).await.unwrap()
}

fn address(node: &RunningNode, door: &str) -> String {
    let doors = node.doors();
    let found = doors.iter().find(|(name, _)| name == door);
    found.unwrap_or_else(|| panic!("{doors:?}")).1.clone()
}

fn token(topology: &Topology, name: &str) -> String {
    let mut folder = topology.key_of("lyon").into_os_string();
    folder.push(".trust");
    let tokens = Tokens::load(Arc::new(FileStore::open(folder).unwrap())).unwrap();
    tokens.add(name, &["*".parse().unwrap()], None, None).unwrap().text().to_owned()
}

/// The status of a PUT.
async fn put(address: &str, path: &str, token: &str, body: &str) -> u16 {
    let (address, request) = (address.to_owned(), request(address, path, token, body));
    let asked = tokio::task::spawn_blocking(move || {
        let mut socket = connect(&address);
        socket.write_all(request.as_bytes()).unwrap();
        status(&mut socket).unwrap()
    });
    asked.await.unwrap()
}

fn connect(address: &str) -> TcpStream {
    let socket = TcpStream::connect(address).unwrap();
    socket.set_read_timeout(Some(HANGS)).unwrap();
    socket
}

/// The status of the answer of a connection that ends then.
fn status(socket: &mut TcpStream) -> Option<u16> {
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    answer.split(' ').nth(1)?.parse().ok()
}

fn request(address: &str, path: &str, token: &str, body: &str) -> String {
    format!(
        "PUT {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn arrives(path: &Path, content: &str) {
    let arrived = async {
        while fs::read_to_string(path).ok().as_deref() != Some(content) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(HANGS, arrived).await.expect("it arrives");
}

#[tokio::test]
async fn content_comes_in_by_a_door_and_goes_where_the_door_and_the_token_lead() {
    let place = tempfile::tempdir().unwrap();
    let topology = topology(place.path(), &[NODES, WEB, CALLS]);
    let (paris, lyon) = (start(&topology, "paris").await, start(&topology, "lyon").await);
    let (till, other) = (token(&topology, "till"), token(&topology, "other"));
    let web = address(&lyon, "web");
    // A token that is new is heard of soon.
    let mut first = 401;
    while first == 401 {
        first = put(&web, "/v1/send/paris/letters/one", &till, "1").await;
    }
    assert!(TAKEN.contains(&first), "{first}");
    arrives(&place.path().join("in/one"), "1").await;
    // The token leads anywhere, the door does not; and not every token comes in by it.
    assert_eq!(put(&web, "/v1/send/paris/secrets/one", &till, "1").await, 403);
    assert_eq!(put(&web, "/v1/send/paris/letters/two", &other, "2").await, 401);
    assert_ne!(address(&lyon, "calls"), web);
    lyon.shutdown().await;
    assert!(TcpStream::connect(web).is_err(), "a node that is gone has no doors");
    paris.shutdown().await;
}

#[tokio::test]
async fn a_reload_changes_doors_and_touches_no_other_ones() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let old = topology(folder, &[NODES, WEB, CALLS]);
    let (mut paris, mut lyon) = (start(&old, "paris").await, start(&old, "lyon").await);
    let till = token(&old, "till");
    let (web, calls) = (address(&lyon, "web"), address(&lyon, "calls"));
    // It leads elsewhere now, and the other node lets it.
    let wider = WEB.replace("\"paris/letters\"", "[\"paris/letters\", \"paris/secrets\"]");
    let new = topology(folder, &[NODES, &wider, CALLS]);
    paris.reload(&new).await.unwrap();
    let reload = lyon.reload(&new).await.unwrap();
    assert_eq!(reload.doors.into_iter().collect::<Vec<_>>(), [("web".into(), Change::Changed)]);
    assert_eq!(address(&lyon, "calls"), calls, "it was not touched");
    let now = address(&lyon, "web");
    // Its tokens are read as it opens.
    let status = put(&now, "/v1/send/paris/secrets/one", &till, "1").await;
    assert!(TAKEN.contains(&status), "{status}");
    arrives(&folder.join("secrets/one"), "1").await;
    assert!(now == web || TcpStream::connect(web).is_err());
    // Of files that can't be read nothing is opened, and nothing is closed.
    let proto = CALLS.replace("methods =", "protos = [\"gone.proto\"], methods =");
    let error = lyon.reload(&topology(folder, &[NODES, &wider, &proto])).await.unwrap_err();
    assert!(error.to_string().contains("gone.proto"), "{error}");
    assert_eq!(address(&lyon, "calls"), calls, "it serves still");
    assert!(TcpStream::connect(&calls).is_ok());
    // Where one can't be opened, all are as they were: this one, and the one that was to go.
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = format!("\"{}\"", taken.local_addr().unwrap());
    let fails = wider.replace("\"127.0.0.1:0\"", &at);
    let new = topology(folder, &[NODES, &fails]);
    let error = lyon.reload(&new).await.unwrap_err();
    assert!(matches!(error, ReloadError::Make(_)), "{error}");
    assert!(error.to_string().contains("`web` can't be opened"), "{error}");
    assert!(error.to_string().ends_with("nothing is changed"), "{error}");
    assert_eq!((address(&lyon, "web"), address(&lyon, "calls")), (now.clone(), calls.clone()));
    // Nor where the one before had to go first, as its port is wanted: that is opened again.
    let port = now.rsplit(':').next().unwrap();
    let held = std::net::TcpListener::bind(format!("127.0.0.2:{port}")).unwrap();
    let same = wider.replace("127.0.0.1:0", &held.local_addr().unwrap().to_string());
    let error = lyon.reload(&topology(folder, &[NODES, &same, CALLS])).await.unwrap_err();
    assert!(matches!(error, ReloadError::Make(_)), "{error}");
    assert!(TcpStream::connect(address(&lyon, "web")).is_ok());
    assert_eq!(address(&lyon, "calls"), calls, "it was not touched");
    drop((taken, held));
    // Mended, it is there again.
    lyon.reload(&new).await.unwrap();
    let now = address(&lyon, "web");
    let status = put(&now, "/v1/send/paris/letters/again", &till, "2").await;
    assert!(TAKEN.contains(&status), "{status}");
    arrives(&folder.join("in/again"), "2").await;
    for node in [lyon, paris] {
        node.shutdown().await;
    }
}

const OUT: &str = r#"
    [door.orders]
    node = "paris"
    door = { webhook = { url = "URL", secret_file = "secret", allow = ["127.0.0.0/8"], allow_http = true } }
    from = "lyon"
"#;

/// The head of the next request, which is answered well.
async fn posted(listener: &tokio::net::TcpListener) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let reading = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.unwrap());
        }
        let mut body = [0; 2];
        stream.read_exact(&mut body).await.unwrap();
        stream.write_all(b"HTTP/1.1 204 So\r\n\r\n").await.unwrap();
        String::from_utf8(head).unwrap()
    };
    tokio::time::timeout(HANGS, reading).await.expect("it is posted")
}

#[tokio::test]
async fn a_door_at_the_same_address_is_another_one_at_once_while_calls_of_the_former_end() {
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let old = topology(folder, &[NODES, WEB]);
    let (mut paris, mut lyon) = (start(&old, "paris").await, start(&old, "lyon").await);
    let (till, web) = (token(&old, "till"), address(&lyon, "web"));
    while put(&web, "/v1/send/paris/letters/one", &till, "1").await == 401 {}
    // A call that is under way: the door asks for what it is to send.
    let begun = request(&web, "/v1/send/paris/letters/slow", &till, "")
        .replace("Content-Length: 0", "Content-Length: 4\r\nExpect: 100-continue");
    let mut slow = connect(&web);
    slow.write_all(begun.as_bytes()).unwrap();
    let mut goes_on = [0; "HTTP/1.1 100 Continue\r\n\r\n".len()];
    slow.read_exact(&mut goes_on).unwrap();
    // The address that it has is said now, and that it leads elsewhere, too.
    let wider = WEB.replace("127.0.0.1:0", &web);
    let wider = wider.replace("\"paris/letters\"", "[\"paris/letters\", \"paris/secrets\"]");
    let new = topology(folder, &[NODES, &wider]);
    paris.reload(&new).await.unwrap();
    let asked = request(&web, "/v1/send/paris/secrets/one", &till, "1");
    let at = web.clone();
    let calls = tokio::task::spawn_blocking(move || {
        // Nobody is refused a connection meanwhile. One that the former door has taken may end.
        let mut answer = None;
        while !answer.is_some_and(|status| TAKEN.contains(&status)) {
            let mut socket = connect(&at);
            answer = socket.write_all(asked.as_bytes()).ok().and_then(|()| status(&mut socket));
        }
        // It may have been waited for no longer, where all this took longer than that.
        let _ = slow.write_all(b"slow");
        status(&mut slow)
    });
    let (reload, answer) = tokio::join!(lyon.reload(&new), calls);
    assert_eq!(reload.unwrap().doors.get("web"), Some(&Change::Changed));
    let answer = answer.unwrap().unwrap_or_default();
    if answer != 503 {
        assert!(TAKEN.contains(&answer), "{answer}");
        arrives(&folder.join("in/slow"), "slow").await;
    }
    assert_eq!(address(&lyon, "web"), web);
    lyon.shutdown().await;
    assert!(TcpStream::connect(web).is_err(), "nobody has the port any more");
    paris.shutdown().await;
}

#[tokio::test]
async fn a_door_that_leads_out_posts_what_its_nodes_deliver_and_a_reload_leads_it_elsewhere() {
    use std::os::unix::fs::PermissionsExt;
    let place = tempfile::tempdir().unwrap();
    let secret = place.path().join("secret");
    fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = |path: &str| format!("http://{}/{path}", listener.local_addr().unwrap());
    let out = |path| topology(place.path(), &[NODES, &OUT.replace("URL", &url(path))]);
    let first = out("first");
    let (mut paris, lyon) = (start(&first, "paris").await, start(&first, "lyon").await);
    assert_eq!(format!("{}/first", address(&paris, "orders")), url("first"));
    let orders = lyon.node().remote_json("paris/orders", "shop.Order", 1).unwrap();
    let delivery = orders.deliver("{}").await.unwrap();
    let (head, processed) = tokio::join!(posted(&listener), delivery.processed());
    processed.unwrap();
    assert!(head.starts_with("POST /first HTTP/1.1\r\n"), "{head}");
    // What it has no right to is refused.
    let other = lyon.node().remote_json("paris/bills", "shop.Order", 1).unwrap();
    let refused = other.deliver("{}").await.unwrap().processed().await.unwrap_err();
    assert_eq!(refused.kind, estafette::RemoteErrorKind::Forbidden);
    let reload = paris.reload(&out("second")).await.unwrap();
    let changed: Vec<_> = reload.doors.into_iter().collect();
    assert_eq!(changed, [("orders".into(), Change::Changed)]);
    orders.deliver("{}").await.unwrap();
    let head = posted(&listener).await;
    assert!(head.starts_with("POST /second HTTP/1.1\r\n"), "{head}");
    for node in [lyon, paris] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_door_whose_messages_nobody_else_goes_on_with_stays_until_they_are_posted() {
    use std::os::unix::fs::PermissionsExt;
    let place = tempfile::tempdir().unwrap();
    let secret = place.path().join("secret");
    fs::write(&secret, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    fs::set_permissions(&secret, PermissionsExt::from_mode(0o600)).unwrap();
    // Nobody listens there, and nobody else gets it.
    let closed = tokio::net::TcpSocket::new_v4().unwrap();
    closed.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let away = format!("http://{}/", closed.local_addr().unwrap());
    let out = OUT.replace("secret_file", "retries = [\"1d\"], secret_file");
    let at = |url: &str| topology(place.path(), &[NODES, &out.replace("URL", url)]);
    let (mut paris, lyon) = (start(&at(&away), "paris").await, start(&at(&away), "lyon").await);
    let orders = lyon.node().remote_json("paris/orders", "shop.Order", 1).unwrap();
    orders.deliver("{}").await.unwrap().processed().await.unwrap();
    // Out of the file, under another name, at another node, and one of another kind.
    let listens = NODES.replace("[node.lyon]", "[node.lyon]\nlisten = \"unix:{here}/lyon.sock\"");
    let moved = out.replace("paris", "milan").replace("lyon", "paris").replace("milan", "lyon");
    let back = "[inbox.back]\nnode = \"lyon\"\nsink = { folder = \"back\" }\n";
    let web = WEB.replace("door.web", "door.orders").replace("lyon", "paris");
    let web = web.replace("to = \"paris/letters\"", "to = \"lyon/back\"");
    for (nodes, doors) in [
        (NODES, ""),
        (NODES, &*out.replace("door.orders", "door.bills")),
        (&*listens, &*moved),
        (NODES, &*[back, &web].concat()),
    ] {
        let new = topology(place.path(), &[nodes, &doors.replace("URL", &away)]);
        let error = paris.reload(&new).await.unwrap_err();
        let ReloadError::LeftAtDoor(left) = &error else { panic!("{error}") };
        assert_eq!((&*left.door, &*left.node, left.count), ("orders", "paris", 1));
        assert!(error.to_string().ends_with("nothing is changed"), "{error}");
        assert!(!address(&paris, "orders").is_empty(), "it is open still");
    }
    // Another place to post to has what waits.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    paris.reload(&at(&format!("http://{}/", listener.local_addr().unwrap()))).await.unwrap();
    let folder = estafette_doors::webhook_folder(&at(&away).key_of("paris"), "orders");
    let kept = estafette_doors::Kept::open(folder).unwrap();
    kept.retry(&kept.messages().unwrap()[0].id).unwrap();
    posted(&listener).await;
    let none = topology(place.path(), &[NODES]);
    let empty = async {
        while paris.reload(&none).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(HANGS, empty).await.expect("nothing waits any more");
    assert!(paris.doors().is_empty());
    for node in [lyon, paris] {
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_door_that_goes_to_another_node_opens_there_when_the_first_one_has_let_it_go() {
    let place = tempfile::tempdir().unwrap();
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let other_port = other.local_addr().unwrap().port().to_string();
    drop((free, other));
    let door = |name: &str, node: &str, port: &str| {
        let door = format!("{{ http = \"127.0.0.1:{port}\" }}\nto = \"brest/archive\"\n");
        format!("[door.{name}]\nnode = \"{node}\"\ndoor = {door}")
    };
    const BREST: &str = r#"
        [node.brest]
        listen = "unix:{here}/brest.sock"
        [inbox.archive]
        node = "brest"
        sink = { folder = "archive" }
    "#;
    // Each takes the other one's.
    let doors = |web: &str, shop: &str| door("web", "lyon", web) + &door("shop", "paris", shop);
    let before = topology(place.path(), &[NODES, BREST, &doors(&port, &other_port)]);
    let (mut lyon, mut paris) = (start(&before, "lyon").await, start(&before, "paris").await);
    let after = topology(place.path(), &[NODES, BREST, &doors(&other_port, &port)]);
    let both = async { tokio::join!(lyon.reload(&after), paris.reload(&after)) };
    let (first, second) = tokio::time::timeout(HANGS, both).await.expect("neither waits for ever");
    first.unwrap();
    second.unwrap();
    assert_eq!(address(&lyon, "web"), format!("127.0.0.1:{other_port}"));
    assert_eq!(address(&paris, "shop"), format!("127.0.0.1:{port}"));
    // It goes from one to the other, which hears of it first.
    let moved = door("web", "paris", &other_port);
    let moved = topology(place.path(), &[NODES, BREST, &moved]);
    let mut reloads = Box::pin(paris.reload(&moved));
    let waits = tokio::time::timeout(std::time::Duration::from_millis(300), reloads.as_mut());
    assert!(waits.await.is_err(), "it waits for lyon");
    lyon.reload(&moved).await.unwrap();
    reloads.await.unwrap();
    assert_eq!(address(&paris, "web"), format!("127.0.0.1:{other_port}"));
    lyon.shutdown().await;
    paris.shutdown().await;
}
