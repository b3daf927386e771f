//! A node, and a client that speaks plain HTTP over a socket.

#![allow(dead_code, reason = "each test uses a part of it")]

use std::net::SocketAddr;
use std::time::Duration;

use estafette::Node;
use estafette_actors::standard;
use estafette_page::Serving;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Longer than anything takes that works.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

pub(crate) async fn node() -> Node {
    Node::builder().name("paris").stages(standard()).start().await.unwrap()
}

/// Fails instead of hanging.
pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("it hangs")
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Client(pub(crate) SocketAddr);

#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    fn of(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
        let status = head.split(' ').nth(1).unwrap_or_else(|| panic!("no answer: {text:?}"));
        Self { status: status.parse().unwrap(), head: head.to_owned(), body: body.to_owned() }
    }

    /// The value of a header; empty if there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
            .next()
            .unwrap_or("")
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.body))
    }
}

impl Client {
    pub(crate) fn of(serving: &Serving) -> Self {
        Self(serving.address())
    }

    pub(crate) async fn connect(self) -> TcpStream {
        TcpStream::connect(self.0).await.unwrap()
    }

    /// The text of a request.
    pub(crate) fn request(self, method: &str, path: &str, headers: &[&str]) -> String {
        let own = format!("Host: {}", self.0);
        let host = headers.iter().all(|header| !header.starts_with("Host:")).then_some(&*own);
        let headers: String = host
            .into_iter()
            .chain(headers.iter().copied())
            .map(|line| format!("{line}\r\n"))
            .collect();
        format!("{method} {path} HTTP/1.1\r\n{headers}\r\n")
    }

    /// Asks, and reads all of the answer.
    pub(crate) async fn ask(self, method: &str, path: &str, headers: &[&str]) -> Answer {
        let mut socket = self.connect().await;
        let headers = [headers, &["Connection: close"]].concat();
        socket.write_all(self.request(method, path, &headers).as_bytes()).await.unwrap();
        let mut bytes = Vec::new();
        within(socket.read_to_end(&mut bytes)).await.unwrap();
        Answer::of(&String::from_utf8(bytes).unwrap())
    }

    pub(crate) async fn get(self, path: &str) -> Answer {
        self.ask("GET", path, &[]).await
    }

    /// The head of the answer to a GET, which may go on for ever.
    pub(crate) async fn head_of(self, path: &str) -> Answer {
        let (head, _) = self.open(path, &[]).await;
        head
    }

    /// Begins to read an answer: its head, and what is to come.
    pub(crate) async fn open(self, path: &str, headers: &[&str]) -> (Answer, Events) {
        let mut socket = self.connect().await;
        socket.write_all(self.request("GET", path, headers).as_bytes()).await.unwrap();
        let mut events = Events { socket, text: String::new() };
        let head = events.until("\r\n\r\n").await;
        (Answer::of(&format!("{head}\r\n\r\n")), events)
    }
}

/// The events that come on a connection.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) socket: TcpStream,
    text: String,
}

impl Events {
    async fn until(&mut self, end: &str) -> String {
        loop {
            if let Some((before, rest)) = self.text.split_once(end) {
                let (before, rest) = (before.to_owned(), rest.to_owned());
                self.text = rest;
                return before;
            }
            let mut bytes = [0; 4096];
            let read = within(self.socket.read(&mut bytes)).await.unwrap();
            assert!(read > 0, "it ended behind {:?}", self.text);
            self.text += std::str::from_utf8(&bytes[..read]).expect("ASCII");
        }
    }

    /// The next event of this name: its id, and its data.
    pub(crate) async fn next(&mut self, name: &str) -> (String, Value) {
        loop {
            let event = self.until("\n\n").await;
            let field = |name: &str| {
                let found = event.lines().find_map(|line| line.strip_prefix(name));
                found.unwrap_or_default().trim().to_owned()
            };
            if field("event:") == name {
                return (field("id:"), serde_json::from_str(&field("data:")).unwrap());
            }
        }
    }
}
