//! A client that speaks plain HTTP over a socket, so that it may speak wrongly, too; and curl.

use std::ffi::OsStr;
use std::net::SocketAddr;
use std::process::Stdio;

use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::within;

#[derive(Clone, Debug)]
pub(crate) struct Client {
    pub(crate) address: SocketAddr,
    pub(crate) token: Option<String>,
}

/// An answer, its body decoded.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

/// The bytes that come on a connection.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) socket: TcpStream,
    bytes: Vec<u8>,
}

impl Client {
    /// The same client with another token.
    pub(crate) fn with(&self, token: Option<&str>) -> Self {
        Self { token: token.map(str::to_owned), ..self.clone() }
    }

    pub(crate) async fn connect(&self) -> Incoming {
        let socket = within(TcpStream::connect(self.address)).await.unwrap();
        Incoming { socket, bytes: Vec::new() }
    }

    /// The head of a request, with a host and the token.
    pub(crate) fn head(&self, method: &str, path: &str, headers: &[&str]) -> String {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n", self.address);
        if let Some(token) = &self.token {
            head += &format!("Authorization: Bearer {token}\r\n");
        }
        headers.iter().for_each(|line| head += &format!("{line}\r\n"));
        head + "\r\n"
    }

    /// Begins a request; its answer may go on for ever.
    pub(crate) async fn open(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> (Answer, Incoming) {
        let mut incoming = self.connect().await;
        let length = format!("Content-Length: {}", body.len());
        let headers = [headers, &[&length]].concat();
        incoming.say(self.head(method, path, &headers)).await;
        incoming.say(body).await;
        (incoming.head().await, incoming)
    }

    /// Asks, and reads all of the answer.
    pub(crate) async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[&str],
        body: &[u8],
    ) -> Answer {
        let (head, mut incoming) = self.open(method, path, headers, body).await;
        let body = if method == "HEAD" { String::new() } else { incoming.body(&head).await };
        Answer { body, ..head }
    }

    /// Posts JSON.
    pub(crate) async fn post(&self, path: &str, json: &str) -> Answer {
        self.ask("POST", path, &["Content-Type: application/json"], json.as_bytes()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &[], b"").await
    }
}

impl Answer {
    /// The value of a header; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(':'));
        let mut found = lines.filter(|(known, _)| known.eq_ignore_ascii_case(name));
        found.next().map_or("", |(_, value)| value.trim())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    /// A problem of this type, and whether it says that the message was handled; its text.
    pub(crate) fn problem(&self, status: u16, kind: &str, handled: &str) -> String {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.header("estafette-handled"), handled, "{self:?}");
        let problem = self.json();
        assert_eq!(problem["type"], format!("urn:estafette:problem:{kind}"), "{self:?}");
        assert_eq!(problem["status"], status);
        assert_eq!(problem["handled"], handled);
        problem["detail"].as_str().unwrap().to_owned()
    }
}

impl Incoming {
    pub(crate) async fn say(&mut self, bytes: impl AsRef<[u8]>) {
        // Whoever refuses a request need not read it to its end.
        let _ = within(self.socket.write_all(bytes.as_ref())).await;
    }

    /// Waits for more; false at the end.
    async fn more(&mut self) -> bool {
        let mut bytes = vec![0; 64 << 10];
        let read = within(self.socket.read(&mut bytes)).await.unwrap_or(0);
        self.bytes.extend_from_slice(&bytes[..read]);
        read > 0
    }

    /// All up to this end, which is taken, too.
    pub(crate) async fn until(&mut self, end: &str) -> String {
        let mut seen = 0;
        loop {
            let mut found = self.bytes[seen..].windows(end.len());
            if let Some(at) = found.position(|bytes| bytes == end.as_bytes()) {
                let at = seen + at;
                let rest = self.bytes.split_off(at + end.len());
                let before = std::mem::replace(&mut self.bytes, rest);
                return String::from_utf8(before[..at].to_vec()).unwrap();
            }
            seen = (self.bytes.len() + 1).saturating_sub(end.len());
            if !self.more().await {
                panic!("it ended behind {:?}", String::from_utf8_lossy(&self.bytes));
            }
        }
    }

    pub(crate) async fn exactly(&mut self, count: usize) -> Vec<u8> {
        while self.bytes.len() < count {
            assert!(self.more().await, "{} of {count} bytes", self.bytes.len());
        }
        let rest = self.bytes.split_off(count);
        std::mem::replace(&mut self.bytes, rest)
    }

    pub(crate) async fn head(&mut self) -> Answer {
        let head = self.until("\r\n\r\n").await;
        let status = head.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {head:?}"));
        Answer { status: status.parse().unwrap(), head, body: String::new() }
    }

    /// One piece of a body that comes in pieces; empty at its end.
    pub(crate) async fn piece(&mut self) -> String {
        let length = self.until("\r\n").await;
        let length = usize::from_str_radix(length.trim(), 16).unwrap();
        let piece = self.exactly(length + 2).await;
        String::from_utf8(piece[..length].to_vec()).unwrap()
    }

    pub(crate) async fn body(&mut self, head: &Answer) -> String {
        if head.header("transfer-encoding") == "chunked" {
            let mut all = String::new();
            loop {
                let piece = self.piece().await;
                if piece.is_empty() {
                    return all;
                }
                all += &piece;
            }
        }
        let length = head.header("content-length").parse().unwrap_or(0);
        String::from_utf8(self.exactly(length).await).unwrap()
    }

    /// All that still comes, until the other end closes.
    pub(crate) async fn rest(mut self) -> String {
        while self.more().await {}
        String::from_utf8_lossy(&self.bytes).into_owned()
    }
}

/// Returns what curl prints: the body, a line break and the status. `-s` is given.
pub(crate) async fn curl(arguments: &[impl AsRef<OsStr>]) -> (u16, String) {
    let ran = tokio::process::Command::new("curl")
        .args(["-s", "-w", "\n%{http_code}"])
        .args(arguments)
        .stdin(Stdio::null())
        .output();
    let ran = within(ran).await.expect("curl is there");
    let text = String::from_utf8(ran.stdout).unwrap();
    let error = String::from_utf8_lossy(&ran.stderr).into_owned();
    let (body, status) = text.rsplit_once('\n').unwrap_or_else(|| panic!("{text}: {error}"));
    (status.parse().unwrap(), body.to_owned())
}
