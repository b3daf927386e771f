//! Answers as they come: lines and events.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::sync::atomic::Ordering;

use support::{World, within};

const COUNT: &str = "/v1/download/paris/counter/shop.Count";
const JSON: &str = "Content-Type: application/json";
const EVENTS: &str = "Accept: text/event-stream";

#[tokio::test]
async fn answers_come_as_lines_or_as_events_and_say_their_end() {
    let world = World::new().await;
    let client = world.client();
    let lines = client.post(COUNT, r#"{"to":3}"#).await;
    assert_eq!((lines.status, &*lines.body), (200, "1\n2\n3\n"));
    assert_eq!(lines.header("content-type"), "application/jsonl");
    let events = client.ask("POST", COUNT, &[JSON, EVENTS], br#"{"to":2}"#).await;
    let answers = "event: answer\ndata: 1\n\nevent: answer\ndata: 2\n\nevent: end\ndata: {}\n\n";
    assert_eq!((events.status, &*events.body), (200, answers));
    let none = client.post(COUNT, r#"{"to":0}"#).await;
    assert_eq!((none.status, &*none.body), (200, ""));
    // What is wrong from the start is in the status.
    let wrong = client.post("/v1/download/paris/nobody/shop.Count", "{}").await;
    wrong.problem(404, "no-such-name", "no");
    client.post(COUNT, r#"{"to":"x"}"#).await.problem(400, "undecodable", "no");
}

#[tokio::test]
async fn a_stream_that_breaks_off_says_so_and_does_not_pass_for_ended() {
    let mut world = World::new().await;
    let client = world.client();
    let (head, mut lines) = client.open("POST", COUNT, &[JSON], b"{}").await;
    let (events_head, mut events) = client.open("POST", COUNT, &[JSON, EVENTS], b"{}").await;
    assert_eq!((head.status, events_head.status), (200, 200));
    lines.until("3\n").await;
    events.until("data: 3\n\n").await;
    world.paris_goes().await;
    let rest = lines.rest().await;
    let tail = &rest[rest.len().saturating_sub(400)..];
    assert!(tail.contains("urn:estafette:problem:"), "{tail}");
    assert!(!rest.ends_with("\r\n0\r\n\r\n"), "it passes for whole");
    let rest = events.rest().await;
    let last = rest.rsplit("event: ").next().unwrap();
    assert!(last.starts_with("error\n") && last.contains("urn:estafette:problem:"), "{last}");
}

#[tokio::test]
async fn who_does_not_read_is_not_sent_to_and_who_goes_cancels_the_call() {
    let world = World::new().await;
    let (head, lines) = world.client().open("POST", COUNT, &[JSON], b"{}").await;
    assert_eq!(head.status, 200);
    // It counts until all that lies between is full, and then no further.
    let mut counted = 0;
    within(async {
        loop {
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
            let now = world.shop.counted.load(Ordering::Relaxed);
            if now > 0 && now == counted {
                return;
            }
            counted = now;
        }
    })
    .await;
    drop(lines);
    within(world.shop.given_up.acquire()).await.unwrap().forget();
}

#[tokio::test]
async fn who_does_not_read_keeps_no_call_without_a_token() {
    let world = World::new().await;
    for (name, accept) in [("one", "application/jsonl"), ("two", "text/event-stream")] {
        let token = world.token(name, "paris/counter", None);
        let socket = tokio::net::TcpStream::connect(world.serving.address()).await.unwrap();
        let mut unread = h2::client::Builder::new();
        let handshake = unread.initial_window_size(0).handshake::<_, bytes::Bytes>(socket);
        let (client, connection) = within(handshake).await.unwrap();
        tokio::spawn(connection);
        let mut client = within(client.ready()).await.unwrap();
        let request = http::Request::post(world.url(COUNT))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("accept", accept)
            .body(())
            .unwrap();
        let (answer, mut to) = client.send_request(request, false).unwrap();
        to.send_data("{}".into(), true).unwrap();
        assert_eq!(within(answer).await.unwrap().status(), 200);
        assert!(world.access.tokens().remove(name).unwrap());
        within(world.shop.given_up.acquire()).await.unwrap().forget();
    }
}

#[tokio::test]
async fn answers_that_end_with_their_token_may_have_been_handled() {
    let world = World::new().await;
    for (name, accept) in [("one", "Accept: application/jsonl"), ("two", EVENTS)] {
        let client = world.client().with(Some(&world.token(name, "paris/counter", None)));
        let (head, mut answers) = client.open("POST", COUNT, &[JSON, accept], b"{}").await;
        assert_eq!(head.status, 200);
        answers.until("2\n").await;
        assert!(world.access.tokens().remove(name).unwrap());
        let rest = answers.rest().await;
        let last = &rest[rest.rfind(r#"{"detail""#).unwrap()..];
        assert!(last.contains("problem:unknown-token"), "{last}");
        assert!(last.contains(r#""handled":"unknown""#), "{last}");
    }
}

#[tokio::test]
async fn a_download_that_broke_off_is_not_passed_off_as_one_that_goes_on() {
    let world = World::new().await;
    let headers = ["Content-Type: application/json", "Last-Event-ID: 7"];
    let answer = world.client().ask("POST", COUNT, &headers, br#"{"to":3}"#).await;
    answer.problem(409, "not-resumable", "no");
    assert_eq!(world.shop.counted.load(std::sync::atomic::Ordering::Relaxed), 0);
}
