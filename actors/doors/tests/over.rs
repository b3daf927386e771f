//! The end of a server while calls are open: each hears of it by its own protocol.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::convert::Infallible;
use std::future::pending;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Request;
use axum::response::Response;
use axum::routing::any;
use estafette_doors::serve;
use futures_util::{StreamExt, stream};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// An answer that begins and does not end, of the kind that is asked for.
async fn endless(request: Request) -> Response {
    let kind = request.headers()["content-type"].clone();
    let first = stream::iter([Ok::<_, Infallible>(Bytes::from_static(b"begun"))]);
    let body = Body::from_stream(first.chain(stream::pending()));
    Response::builder().header("content-type", kind).body(body).unwrap()
}

/// Asks by HTTP/1.1, and reads until this has come.
async fn ask(address: &str, path: &str, kind: &str, until: &str) -> TcpStream {
    let mut socket = TcpStream::connect(address).await.unwrap();
    let head = format!(
        "PUT {path} HTTP/1.1\r\nhost: x\r\ncontent-type: {kind}\r\ncontent-length: 9\r\n\
         expect: 100-continue\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut read = String::new();
    while !read.contains(until) {
        read.push(char::from(socket.read_u8().await.unwrap()));
    }
    socket
}

/// All that comes until the end, lossily.
async fn rest(mut socket: TcpStream) -> String {
    let mut read = Vec::new();
    // One that is broken off may end so.
    let _ = socket.read_to_end(&mut read).await;
    String::from_utf8_lossy(&read).into_owned()
}

#[tokio::test]
async fn calls_that_a_server_waits_for_no_longer_are_told_of_it() {
    let router = Router::new().route("/endless", any(endless)).route(
        "/slow",
        any(|body: Bytes| async move {
            drop(body);
            pending::<()>().await;
        }),
    );
    let serving = serve(router, "127.0.0.1:0").await.unwrap();
    let address = serving.address().to_string();
    let slow = ask(&address, "/slow", "text/plain", "100 Continue\r\n\r\n").await;
    let events = ask(&address, "/endless", "text/event-stream", "begun").await;
    let bytes = ask(&address, "/endless", "text/plain", "begun").await;
    let web = ask(&address, "/endless", "application/grpc-web+proto", "begun").await;
    let socket = TcpStream::connect(&address).await.unwrap();
    let (mut send, connection) = h2::client::handshake(socket).await.unwrap();
    let connection = tokio::spawn(connection);
    let request = |path: &str| {
        let request = http::Request::post(format!("http://{address}{path}"));
        request.header("content-type", "application/grpc").body(()).unwrap()
    };
    let (answer, _kept) = send.send_request(request("/endless"), false).unwrap();
    let mut begun = answer.await.unwrap().into_body();
    assert_eq!(begun.data().await.unwrap().unwrap(), "begun");
    let (unanswered, _kept_too) = send.send_request(request("/slow"), false).unwrap();
    // Both are there before it stops: what comes of one connection is taken in its order.
    let (answer, _) = send.send_request(request("/endless"), true).unwrap();
    drop(answer.await.unwrap());
    serving.stop().await;
    let slow = rest(slow).await;
    assert!(slow.starts_with("HTTP/1.1 503") && slow.contains("ask again"), "{slow}");
    let events = rest(events).await;
    assert!(events.ends_with("0\r\n\r\n"), "it ends as a whole one: {events:?}");
    let bytes = rest(bytes).await;
    assert!(!bytes.contains("0\r\n\r\n"), "nobody takes it for whole: {bytes:?}");
    let web = rest(web).await;
    assert!(web.contains("grpc-status:14\r\n") && web.ends_with("0\r\n\r\n"), "{web:?}");
    assert!(begun.data().await.is_none(), "no more than its end");
    let trailers = begun.trailers().await.unwrap().unwrap();
    assert_eq!(trailers["grpc-status"], "14");
    let unanswered = unanswered.await.unwrap();
    assert_eq!(unanswered.headers()["grpc-status"], "14");
    drop((send, begun));
    connection.abort();
}
