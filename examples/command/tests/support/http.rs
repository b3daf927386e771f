//! A client that asks a node's page, and knows no more of HTTP than that takes.

use std::io::{Read, Write};
use std::net::TcpStream;

use super::process::PATIENCE;

/// The answer to a request.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: String,
}

impl Answer {
    /// The body, if the status is this one.
    pub(crate) fn expect(self, status: u16) -> String {
        assert_eq!(self.status, status, "{}", self.body);
        self.body
    }
}

/// Asks for `path` below `url`, which ends with a slash.
pub(crate) fn get(url: &str, path: &str) -> Answer {
    get_with(url, path, &[])
}

/// The same, with more headers.
pub(crate) fn get_with(url: &str, path: &str, headers: &[&str]) -> Answer {
    let host = url.strip_prefix("http://").unwrap().trim_end_matches('/');
    let mut socket = TcpStream::connect(host).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut head = format!("GET /{path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n");
    headers.iter().for_each(|header| head += &format!("{header}\r\n"));
    socket.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Answer { status, body: body.to_owned() }
}
