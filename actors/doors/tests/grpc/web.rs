//! gRPC-Web: a stock client of pages in JavaScript, curl, and pages that may call or not.

use std::path::PathBuf;
use std::process::Stdio;

use data_encoding::BASE64;
use estafette::RemoteErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::Command;

use crate::python::workspace;
use crate::serve::{Door, PAGES};
use crate::world::{Heard, World, soon, world};

const ECHO: &str = "/test.All/Echo";
const WEB: &str = "application/grpc-web+proto";
const TEXT: &str = "application/grpc-web-text";

/// A program of `examples/javascript`, which needs `npm install` there. `None`, said loudly, where
/// that was not done; a panic where `ESTAFETTE_JAVASCRIPT` says that it was.
fn javascript(program: &str) -> Option<PathBuf> {
    let folder = workspace().join("examples/javascript");
    let has_node = std::process::Command::new("node").arg("--version").output().is_ok();
    if has_node && folder.join("node_modules/@connectrpc/connect-web").exists() {
        return Some(folder.join(program));
    }
    let folder = folder.display();
    assert!(std::env::var_os("ESTAFETTE_JAVASCRIPT").is_none(), "node, npm install in {folder}");
    eprintln!("LEFT OUT: no node is here, or no `npm install` in examples/javascript");
    None
}

/// The lines that such a program prints, and what it says on stderr.
async fn ran(program: &str, door: &Door, arguments: &[&str]) -> Option<(String, String)> {
    let program = javascript(program)?;
    let mut node = Command::new("node");
    node.arg(program).arg(format!("http://{}", door.address)).arg(&door.token).args(arguments);
    let output = soon(node.kill_on_drop(true).output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Some((text(output.stdout), text(output.stderr)))
}

#[tokio::test]
async fn a_stock_client_of_pages_reads_the_answers_of_an_actor_of_another_node() {
    let world = world().await;
    let door = crate::protos::door(&world).await;
    let Some(said) = ran("greeter_web.js", &door, &["Ada", "3"]).await else { return };
    let lines: String = (1..=3).map(|n| format!("Bonjour Ada, for the {n}. time\n")).collect();
    assert_eq!(said, (lines, String::new()));
    let tea = ["paris/shop", "shop.Order", r#"{"article":"tea"}"#];
    let said = ran("ask_web.js", &door, &tea).await.unwrap();
    assert_eq!(said, ("{\"Ok\":3}\n".into(), String::new()));
    let nobody = ["paris/nobody", "shop.Order", r#"{"article":"tea"}"#];
    let (_, wrong) = ran("ask_web.js", &door, &nobody).await.unwrap();
    assert!(wrong.starts_with("NotFound: ") && wrong.ends_with("(handled: no)\n"), "{wrong}");
}

fn message(body: &[u8]) -> Vec<u8> {
    [&[0][..], &u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

/// An answer to curl: its status and headers, and its body.
struct Answer {
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn status(&self) -> u16 {
        self.head.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The value of a header; empty if there is none.
    fn header(&self, name: &str) -> &str {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value)
    }

    /// The messages, and the trailers behind them; of an answer that has its status in its head,
    /// nothing.
    fn parts(&self) -> (Vec<String>, String) {
        let body = match self.header("content-type").contains("text") {
            true => decoded(&self.body),
            false => self.body.clone(),
        };
        let (mut rest, mut messages, mut trailers) = (&body[..], Vec::new(), String::new());
        while let Some((head, behind)) = rest.split_at_checked(5) {
            let length = u32::from_be_bytes(head[1..].try_into().unwrap()) as usize;
            let (body, behind) = behind.split_at(length);
            let body = String::from_utf8(body.to_vec()).unwrap();
            match head[0] {
                0 => messages.push(body),
                0x80 => trailers = body,
                flag => panic!("no flag: {flag}"),
            }
            rest = behind;
        }
        assert!(rest.is_empty(), "{rest:?}");
        (messages, trailers)
    }

    /// The code of gRPC, and whether it was handled.
    fn code(&self) -> (String, String) {
        let trailers = self.parts().1;
        let of = |name: &str| {
            let mut lines = trailers.lines().filter_map(|line| line.split_once(':'));
            let found = lines.find(|(known, _)| *known == name);
            found.map_or_else(|| self.header(name).to_owned(), |(_, value)| value.to_owned())
        };
        (of("grpc-status"), of("estafette-handled"))
    }
}

/// Bytes of several texts of base64, one behind the other.
fn decoded(text: &[u8]) -> Vec<u8> {
    text.chunks(4).flat_map(|four| BASE64.decode(four).unwrap()).collect()
}

/// Calls by curl, with these arguments.
async fn curl(door: &Door, path: &str, given: &[&str], body: &[u8]) -> Answer {
    let mut curl = Command::new("curl");
    curl.args(["-sS", "-i", "-H", "expect:", "--data-binary", "@-"]).args(given);
    curl.arg(format!("http://{}{path}", door.address));
    curl.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
    let mut curl = curl.spawn().unwrap();
    let mut stdin = curl.stdin.take().unwrap();
    soon(stdin.write_all(body)).await.unwrap();
    drop(stdin);
    let all = soon(curl.wait_with_output()).await.unwrap().stdout;
    let end = all.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let head = String::from_utf8(all[..end].to_vec()).unwrap();
    Answer { head: head.replace('\r', ""), body: all[end + 4..].to_vec() }
}

/// The same for one who has a token, in a message of this type.
async fn call(door: &Door, path: &str, kind: &str, body: &[u8]) -> Answer {
    let (kind, token) =
        (format!("content-type: {kind}"), format!("authorization: Bearer {}", door.token));
    curl(
        door,
        path,
        &["-H", &kind, "-H", &kind.replace("content-type", "accept"), "-H", &token],
        body,
    )
    .await
}

#[tokio::test]
async fn pages_call_by_both_versions_of_http_in_bytes_and_in_text() {
    let world = world().await;
    let door = crate::door(&world).await;
    let token = format!("authorization: Bearer {}", door.token);
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        for kind in ["", "+proto", "-text", "-text+proto"] {
            let (sent, accept) = (
                format!("content-type: application/grpc-web{kind}"),
                format!("accept: application/grpc-web{kind}"),
            );
            let given = [version, "-H", &sent, "-H", &accept, "-H", &token];
            let written = |message: Vec<u8>| match kind.contains("text") {
                true => BASE64.encode(&message).into_bytes(),
                false => message,
            };
            let answer = curl(&door, ECHO, &given, &written(message(b"well"))).await;
            let told = format!("{version} {kind}: {}", answer.head);
            assert_eq!(answer.status(), 200, "{told}");
            let expected = match kind.contains("text") {
                true => "application/grpc-web-text+proto",
                false => "application/grpc-web+proto",
            };
            assert_eq!(answer.header("content-type"), expected);
            assert_eq!(answer.parts().0, ["well"], "{told}");
            assert_eq!(answer.code(), ("0".into(), "yes".into()), "{told}");
            let hello = "/helloworld.Greeter/SayHello";
            let answer = curl(&door, hello, &given, &written(message(b"Ada"))).await;
            let lines: Vec<_> =
                (1..=3).map(|n| format!("Bonjour Ada, for the {n}. time")).collect();
            assert_eq!((answer.parts().0, answer.code().0), (lines, "0".into()), "{told}");
            let answer = curl(&door, "/test.All/Nobody", &given, &written(message(b"x"))).await;
            assert_eq!(answer.code(), ("5".into(), "no".into()), "{told}");
            let answer = curl(&door, ECHO, &given[..5], &written(message(b"x"))).await;
            assert_eq!(answer.code(), ("16".into(), "no".into()), "{told}");
        }
    }
    let get = format!("content-type: {WEB}");
    let answer = curl(&door, ECHO, &["-X", "GET", "-H", &get, "-H", &token], b"").await;
    assert_eq!(answer.status(), 405);
    let health = "/grpc.health.v1.Health/Check";
    let answer = curl(&door, health, &["-H", &get], &message(b"")).await;
    assert_eq!(answer.code().0, "0", "who looks whether it is there needs no token");
}

#[tokio::test]
async fn what_is_wrong_with_a_request_of_a_page_has_a_status_and_reaches_nobody() {
    let world = world().await;
    let door = crate::door(&world).await;
    let text = |bytes: &[u8]| BASE64.encode(bytes).into_bytes();
    let too_long = [&[0][..], &u32::MAX.to_be_bytes()].concat();
    for (kind, body, code) in [
        (WEB, Vec::new(), "3"),
        (WEB, [message(b"one"), message(b"two")].concat(), "3"),
        (WEB, b"\0\0\0".to_vec(), "13"),
        (WEB, too_long.clone(), "8"),
        (TEXT, text(&too_long), "8"),
        (TEXT, text(&[message(b"one"), message(b"two")].concat()), "3"),
        (TEXT, b"this is no text of base64!".to_vec(), "3"),
        (TEXT, b"AAAAAAR3Z".to_vec(), "3"),
        (TEXT, message(b"bytes"), "3"),
    ] {
        let answer = call(&door, ECHO, kind, &body).await;
        assert_eq!(answer.code(), (code.into(), "no".into()), "{kind} {body:?} {}", answer.head);
    }
}

/// A request by HTTP/1.1 that says how long it is, and is not sent whole.
async fn begin(door: &Door, path: &str, kind: &str, length: usize, body: &[u8]) -> TcpStream {
    let mut socket = TcpStream::connect(&door.address).await.unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: {}\r\ncontent-type: {kind}\r\nauthorization: Bearer {}\r\n\
         content-length: {length}\r\n\r\n",
        door.address, door.token
    );
    socket.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    socket
}

#[tokio::test]
async fn requests_of_pages_that_break_off_are_not_taken_for_all_of_them() {
    let mut world = world().await;
    let door = crate::door(&world).await;
    for kind in [WEB, TEXT] {
        let one = match kind {
            TEXT => BASE64.encode(&message(b"one!")).into_bytes(),
            _ => message(b"one!"),
        };
        let socket = begin(&door, "/test.All/Collect", kind, 100, &one).await;
        assert_eq!(soon(world.heard.recv()).await, Some(Heard::Request("one!".into())), "{kind}");
        drop(socket);
        let broke = Heard::Broke(RemoteErrorKind::Cancelled);
        assert_eq!(soon(world.heard.recv()).await, Some(broke), "{kind}");
        // A page that goes away is heard of by who answers it.
        let quiet = match kind {
            TEXT => BASE64.encode(&message(b"quiet")).into_bytes(),
            _ => message(b"quiet"),
        };
        let hello = "/helloworld.Greeter/SayHello";
        let socket = begin(&door, hello, kind, quiet.len(), &quiet).await;
        assert_eq!(soon(world.heard.recv()).await, Some(Heard::Request("quiet".into())), "{kind}");
        drop(socket);
        assert_eq!(soon(world.heard.recv()).await, Some(Heard::Closed), "{kind}");
    }
}

/// An answer that waits in the door for a page that does not read it, but for its head.
async fn untaken(door: &Door, large: &[u8]) -> (String, TcpStream) {
    let mut socket = TcpStream::connect(&door.address).await.unwrap();
    let head = format!(
        "POST {ECHO} HTTP/1.1\r\nhost: {}\r\ncontent-type: {TEXT}\r\naccept: {TEXT}\r\n\
         authorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
        door.address,
        door.token,
        large.len()
    );
    soon(socket.write_all(&[head.as_bytes(), large].concat())).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(soon(socket.read_u8()).await.unwrap());
    }
    (String::from_utf8(head).unwrap(), socket)
}

/// A text of base64 is longer than what it is of: what waits is what counts.
#[tokio::test]
async fn answers_that_pages_do_not_take_are_bounded_as_they_are_written() {
    let world = world().await;
    let door = crate::door(&world).await;
    let large = BASE64.encode(&message(&vec![7; 10 << 20])).into_bytes();
    let mut open = Vec::new();
    for number in 1..=2 {
        let (head, socket) = untaken(&door, &large).await;
        // Of the 24 MiB of a token, two take 27, where their bytes would be 20.
        assert_eq!(head.contains("grpc-status: 8"), number == 2, "{number}: {head}");
        open.push(socket);
    }
    drop(open);
    let answer = call(&door, ECHO, WEB, &message(b"well")).await;
    assert_eq!(answer.code().0, "0");
}

const ASKED: [&str; 4] = [
    "-H",
    "access-control-request-method: POST",
    "-H",
    "access-control-request-headers: authorization,content-type,x-grpc-web",
];

#[tokio::test]
async fn pages_call_whose_origin_the_door_was_told_of_and_no_others() {
    let world: World = world().await;
    let door = crate::door(&world).await;
    let ours = format!("origin: {PAGES}");
    let asked = [&["-X", "OPTIONS", "-H", &ours][..], &ASKED].concat();
    let may = curl(&door, ECHO, &asked, b"").await;
    assert_eq!(may.status(), 204, "{}", may.head);
    assert_eq!(may.header("access-control-allow-origin"), PAGES);
    assert_eq!(may.header("access-control-allow-methods"), "POST");
    let headers = "authorization,content-type,x-grpc-web";
    assert_eq!(may.header("access-control-allow-headers"), headers);
    assert_eq!(may.header("access-control-allow-credentials"), "");
    let (kind, token) =
        (format!("content-type: {WEB}"), format!("authorization: Bearer {}", door.token));
    let with = ["-H", &ours, "-H", &kind, "-H", &token];
    let answer = curl(&door, ECHO, &with, &message(b"well")).await;
    let seen = |answer: &Answer| {
        assert_eq!(answer.header("access-control-allow-origin"), PAGES, "{}", answer.head);
        assert_eq!(answer.header("access-control-expose-headers"), "*");
        assert_eq!(answer.header("vary"), "origin");
    };
    seen(&answer);
    assert_eq!(answer.parts().0, ["well"]);
    // Why it is not let in, a page is told, too.
    let answer = curl(&door, ECHO, &with[..4], &message(b"well")).await;
    seen(&answer);
    assert_eq!(answer.code().0, "16");
    for other in
        ["https://evil.example", "http://shop.example", "https://shop.example:8443", "null"]
    {
        let other = format!("origin: {other}");
        let preflight = [&["-X", "OPTIONS", "-H", &other][..], &ASKED].concat();
        for given in [&preflight[..], &["-H", &other, "-H", &kind, "-H", &token]] {
            let answer = curl(&door, ECHO, given, &message(b"well")).await;
            assert_eq!(answer.status(), 403, "{other}");
            assert_eq!(answer.header("access-control-allow-origin"), "", "{other}");
        }
    }
}

#[tokio::test]
async fn at_one_address_each_door_answers_the_pages_that_ask_for_it() {
    use std::sync::Arc;

    use estafette::node::MemoryStore;
    use estafette_doors::{Access, Tokens, both, http, serve};

    let world = world().await;
    let tokens = Tokens::load(Arc::new(MemoryStore::default())).unwrap();
    let access = Access::of(&world.lyon, &tokens);
    let of_calls = access.clone().pages_of([PAGES.parse().unwrap()]);
    let of_http = access.pages_of(["https://other.example".parse().unwrap()]);
    let calls = estafette_doors::grpc::grpc(&of_calls, estafette_doors::grpc::Methods::new());
    let serving = serve(both(http(&of_http), calls), "127.0.0.1:0").await.unwrap();
    let address = serving.address().to_string();
    let (token, other) = Default::default();
    let door = Door { address, token, other, tokens, _serving: serving };
    let ours = format!("origin: {PAGES}");
    let other = "origin: https://other.example";
    let path = "/v1/ask/paris/shop/shop.Order";
    for (origin, asked, path, status) in [
        (&*ours, &ASKED[..], ECHO, 204),
        (&ours, &ASKED[..2], path, 403),
        (other, &ASKED[..2], path, 204),
        (other, &ASKED[..], ECHO, 403),
    ] {
        let given = [&["-X", "OPTIONS", "-H", origin][..], asked].concat();
        assert_eq!(curl(&door, path, &given, b"").await.status(), status, "{origin} {path}");
    }
}
