//! Clients without rights, and clients that want the door harm.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use support::http::{Answer, Client, curl};
use support::{World, within};
use tokio::io::AsyncReadExt;

const ORDER: &str = "/v1/ask/paris/shop/shop.Order";
const JSON: &str = "Content-Type: application/json";
const TEA: &str = r#"{"article":"tea"}"#;

/// It serves others as before.
async fn is_well(client: &Client) {
    assert_eq!(client.post(ORDER, TEA).await.status, 200);
}

#[tokio::test]
async fn nobody_is_let_in_without_a_token_that_leads_there() {
    let world = World::new().await;
    let client = world.client();
    let without = client.with(None);
    let missing = without.post(ORDER, TEA).await;
    missing.problem(401, "no-token", "no");
    assert!(missing.header("www-authenticate").starts_with("Bearer"), "{missing:?}");
    let long = "x".repeat(8 << 10);
    for unknown in ["estafette_aaaaaaaaaaaaa_aaaa", "x", &long] {
        client.with(Some(unknown)).post(ORDER, TEA).await.problem(401, "unknown-token", "no");
    }
    let tokens = world.access.tokens();
    let past = std::time::SystemTime::UNIX_EPOCH;
    let expired = tokens.add("expired", &["*".parse().unwrap()], None, Some(past)).unwrap();
    let expired = client.with(Some(expired.text()));
    expired.post(ORDER, TEA).await.problem(401, "expired-token", "no");
    let basic = format!("Authorization: Basic {}", world.token);
    without
        .ask("POST", ORDER, &[JSON, &basic], TEA.as_bytes())
        .await
        .problem(401, "no-token", "no");
    let bearer = format!("Authorization: Bearer {}", world.token);
    let two = client.ask("POST", ORDER, &[JSON, &bearer], TEA.as_bytes()).await;
    two.problem(400, "bad-request", "no");
    // One for another name, or another peer; whether that is known here is not told.
    let till = client.with(Some(&world.token("other", "paris/till", None)));
    for path in [ORDER, "/v1/ask/dijon/till/shop.Order", "/v1/tell/nobody/shop/shop.Order"] {
        let text = till.post(path, TEA).await.problem(403, "forbidden", "no");
        assert!(text.contains("\"other\" does not lead to"), "{text}");
    }
    for path in ["/v1/ask/paris%2Fshop/till/shop.Order", "/v1/ask/*/till/shop.Order"] {
        till.post(path, TEA).await.problem(403, "forbidden", "no");
    }
    let all = client.with(Some(&world.token("all", "*", None)));
    all.post("/v1/ask/dijon/shop/shop.Order", TEA).await.problem(404, "unknown-peer", "no");
    let origin = ["Origin: http://evil.example", JSON];
    client.ask("POST", ORDER, &origin, TEA.as_bytes()).await.problem(403, "origin", "no");
    let preflight = ["Origin: http://evil.example", "Access-Control-Request-Method: POST"];
    let answer = without.ask("OPTIONS", ORDER, &preflight, b"").await;
    answer.problem(403, "origin", "no");
    assert_eq!(answer.header("access-control-allow-origin"), "");
    assert_eq!(world.shop.orders(), [""; 0]);
    is_well(&client).await;
}

#[tokio::test]
async fn pages_of_an_origin_that_the_door_was_told_of_ask_as_everybody_does_with_a_token() {
    let world = World::new().await;
    let access = world.access.clone().pages_of(["https://shop.example".parse().unwrap()]);
    let router = estafette_doors::http(&access);
    let serving = estafette_doors::serve(router, "127.0.0.1:0").await.unwrap();
    let client = Client { address: serving.address(), ..world.client() };
    let ours = "Origin: https://shop.example";
    let seen = |answer: &Answer| {
        assert_eq!(answer.header("access-control-allow-origin"), "https://shop.example");
        assert_eq!(answer.header("access-control-expose-headers"), "*");
        assert_eq!(answer.header("access-control-allow-credentials"), "");
        assert_eq!(answer.header("vary"), "origin");
    };
    let asked = [
        ours,
        "Access-Control-Request-Method: PATCH",
        "Access-Control-Request-Headers: authorization,upload-offset",
    ];
    for path in [ORDER, "/v1/uploads/paris/files", "/openapi.json"] {
        let may = client.with(None).ask("OPTIONS", path, &asked, b"").await;
        assert_eq!((may.status, &*may.body), (204, ""), "{may:?}");
        seen(&may);
        assert_eq!(may.header("access-control-allow-methods"), "PATCH");
        assert_eq!(may.header("access-control-allow-headers"), "authorization,upload-offset");
    }
    let answer = client.ask("POST", ORDER, &[ours, JSON], TEA.as_bytes()).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    seen(&answer);
    let refused = client.with(None).ask("POST", ORDER, &[ours, JSON], TEA.as_bytes()).await;
    refused.problem(401, "no-token", "no");
    seen(&refused);
    // What tus asks without a page is its own.
    let plain = client.ask("OPTIONS", "/v1/uploads/paris/files", &[], b"").await;
    assert_eq!((plain.status, plain.header("tus-version")), (204, "1.0.0"), "{plain:?}");
    let two = [ours, "Origin: https://evil.example", JSON];
    let two = client.ask("POST", ORDER, &two, TEA.as_bytes()).await;
    two.problem(403, "origin", "no");
    assert_eq!(two.header("access-control-allow-origin"), "");
}

#[tokio::test]
async fn what_the_node_s_peer_forbids_stays_forbidden() {
    let world = World::new().await;
    let paris = world.paris.as_ref().unwrap();
    let mut trusted = paris.trust().peer(&world.lyon.peer()).unwrap();
    trusted.inboxes = vec!["till".into()];
    paris.trust().add(world.lyon.peer(), trusted).unwrap();
    let refused = world.client().post(ORDER, TEA).await;
    let text = refused.problem(403, "forbidden", "no");
    assert!(!text.contains("token"), "{text}");
}

#[tokio::test]
async fn a_client_that_is_refused_while_it_writes_hears_it() {
    let world = World::new().await;
    let (body, length) = (vec![b'x'; 20 << 20], format!("Content-Length: {}", 20 << 20));
    let strange = world.client().with(None);
    for (client, method, path, more, (status, kind)) in [
        (&strange, "PUT", "/v1/send/paris/files/x", "Accept: */*", (401, "no-token")),
        (&world.client(), "POST", ORDER, JSON, (413, "too-large")),
    ] {
        let mut connection = client.connect().await;
        connection.say(client.head(method, path, &[&length, more])).await;
        // Each of its writes is taken, and the connection is good for another request behind it.
        connection.say(&body).await;
        let refused = connection.head().await;
        let text = connection.body(&refused).await;
        assert_eq!(refused.status, status, "{refused:?}");
        assert!(text.contains(&format!("problem:{kind}")), "{text}");
        connection.say(client.head("GET", "/openapi.json", &[])).await;
        assert_eq!(connection.head().await.status, if status == 401 { 401 } else { 200 });
    }
}

#[tokio::test]
async fn who_asks_before_it_sends_and_is_refused_has_nothing_that_follows_taken_for_its_body() {
    let world = World::new().await;
    let client = world.client().with(None);
    let mut connection = client.connect().await;
    let asks = ["Content-Length: 100", "Expect: 100-continue"];
    connection.say(client.head("PUT", "/v1/send/paris/files/x", &asks)).await;
    let refused = connection.head().await;
    assert_eq!(refused.status, 401, "{refused:?}");
    connection.body(&refused).await;
    // Its connection is over, or takes the next request: it is not read as a body.
    let next = client.head("GET", "/v1/deliveries/x", &[]);
    let (mut head, mut answer) = (vec![0; 12], connection.socket);
    let _ = tokio::io::AsyncWriteExt::write_all(&mut answer, next.as_bytes()).await;
    let came = within(answer.read(&mut head)).await.unwrap_or_default();
    assert!(came == 0 || head.starts_with(b"HTTP/1.1 401"), "{head:?}");
}

#[tokio::test]
async fn a_token_that_is_used_too_often_waits() {
    let world = World::new().await;
    let seldom = world.client().with(Some(&world.token("seldom", "paris/*", Some("2/h"))));
    is_well(&seldom).await;
    is_well(&seldom).await;
    let refused = seldom.post(ORDER, TEA).await;
    refused.problem(429, "rate", "no");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1000..=1800).contains(&wait), "{wait}");
    is_well(&world.client()).await;
}

#[tokio::test]
async fn a_request_that_is_wrong_is_told_what_is_right() {
    let world = World::new().await;
    let client = world.client();
    for (method, path, allow) in [
        ("GET", ORDER, "POST"),
        ("PUT", ORDER, "POST"),
        ("POST", "/v1/deliveries/x", "GET,HEAD"),
        ("DELETE", "/v1/deliveries/x", "GET,HEAD"),
    ] {
        let refused = client.ask(method, path, &[], b"").await;
        refused.problem(405, "method", "no");
        assert_eq!(refused.header("allow"), allow, "{method} {path}");
    }
    for path in
        ["/v1", "/v1/", "/v1/asks/paris/shop/shop.Order", "/v1/ask/paris/shop", "/v1/ask//shop/x"]
    {
        let refused = client.ask("POST", path, &[JSON], TEA.as_bytes()).await;
        assert!([404, 403].contains(&refused.status), "{path}: {refused:?}");
    }
    for kind in
        ["text/plain", "application/x-www-form-urlencoded", "", "application/json, text/html"]
    {
        let kind = format!("Content-Type: {kind}");
        let refused = client.ask("POST", ORDER, &[&kind], TEA.as_bytes()).await;
        refused.problem(415, "content-type", "no");
        assert_eq!(refused.header("accept-post"), "application/json");
    }
    let packed = client.ask("POST", ORDER, &[JSON, "Content-Encoding: gzip"], b"x").await;
    packed.problem(415, "content-type", "no");
    for bad in ["", "{", "{} {}", "nothing", "\u{0}", "{\"a\":1e999999}x"] {
        client.post(ORDER, bad).await.problem(400, "no-json", "no");
    }
    let latin = client.ask("POST", ORDER, &[JSON], b"{\"article\":\"th\xe9\"}").await;
    latin.problem(400, "no-json", "no");
    let deep = "[".repeat(100_000) + &"]".repeat(100_000);
    for path in [ORDER, "/v1/tell/paris/shop/shop.Order", "/v1/deliver/paris/shop/shop.Order"] {
        let why = client.post(path, &deep).await.problem(400, "no-json", "no");
        assert!(why.contains("nested more than 128 deep"), "{why}");
    }
    for path in ["/v1/ask/paris/sh%FFop/shop.Order", "/v1/ask/paris/shop/shop.Order?version=x"] {
        client.post(path, TEA).await.problem(400, "bad-request", "no");
    }
    for name in ["a%2Fb", "%00", "%20", "caf%C3%A9", "..", "%2E%2E"] {
        let refused = client.post(&format!("/v1/ask/paris/{name}/shop.Order"), TEA).await;
        assert_eq!(refused.status, 404, "{name}: {refused:?}");
    }
    is_well(&client).await;
}

#[tokio::test]
async fn a_body_that_is_too_long_or_never_ends_is_refused_before_it_is_taken() {
    let world = World::new().await;
    let client = world.client();
    // With a length that says so, nothing of it is asked for.
    let mut told = client.connect().await;
    let headers = [JSON, "Content-Length: 99999999999", "Expect: 100-continue"];
    told.say(client.head("POST", ORDER, &headers)).await;
    assert_eq!(told.head().await.status, 413);
    // Who has no right is not asked for a body, either.
    let stranger = client.with(None);
    let mut waits = stranger.connect().await;
    waits
        .say(stranger.head("POST", ORDER, &[JSON, "Content-Length: 5", "Expect: 100-continue"]))
        .await;
    assert_eq!(waits.head().await.status, 401);
    let mut goes_on = client.connect().await;
    let length = format!("Content-Length: {}", TEA.len());
    goes_on.say(client.head("POST", ORDER, &[JSON, &length, "Expect: 100-continue"])).await;
    assert_eq!(goes_on.head().await.status, 100);
    goes_on.say(TEA).await;
    assert_eq!(goes_on.head().await.status, 200);
    let mut endless = client.connect().await;
    endless.say(client.head("POST", ORDER, &[JSON, "Transfer-Encoding: chunked"])).await;
    let piece = [b"10000\r\n".as_slice(), &[b' '; 0x10000], b"\r\n"].concat();
    for _ in 0..400 {
        endless.say(&piece).await;
    }
    assert_eq!(endless.head().await.status, 413);
    is_well(&client).await;
}

#[tokio::test]
async fn a_token_that_takes_all_its_room_leaves_others_theirs() {
    let world = World::new().await;
    let greedy = world.client().with(Some(&world.token("greedy", "paris/*", None)));
    let (mut slow, mut posts) = (Vec::new(), Vec::new());
    for _ in 0..9 {
        let mut socket = greedy.connect().await;
        let put = greedy.head("PUT", "/v1/send/paris/files/x", &["Content-Length: 9"]);
        socket.say(put).await;
        slow.push(Box::pin(async move { (socket.head().await, socket) }));
    }
    for _ in 0..4 {
        let mut socket = greedy.connect().await;
        let head = greedy.head("POST", ORDER, &[JSON, "Content-Length: 16777216"]);
        posts.push(Box::pin(async move {
            socket.say(head).await;
            socket.say(vec![b' '; (16 << 20) - 1]).await;
            (socket.head().await, socket)
        }));
    }
    // One content, and three messages, are too many; the others have all that a token may have.
    let ((refused, _), _, _slow) = within(futures_util::future::select_all(slow)).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    for _ in 0..3 {
        let ((refused, _), _, others) = within(futures_util::future::select_all(posts)).await;
        assert_eq!(refused.status, 503, "{refused:?}");
        posts = others;
    }
    let client = world.client();
    let put = client.ask("PUT", "/v1/send/paris/files/z", &[], b"x").await;
    assert_eq!(put.status, 202, "{put:?}");
    is_well(&client).await;
}

#[tokio::test]
async fn two_lengths_or_a_length_and_pieces_hide_no_second_request() {
    let world = World::new().await;
    let client = world.client();
    let second =
        client.head("POST", ORDER, &[JSON, &format!("Content-Length: {}", TEA.len())]) + TEA;
    for (headers, body) in [
        (vec!["Content-Length: 5", "Transfer-Encoding: chunked"], "0\r\n\r\n"),
        (vec!["Transfer-Encoding: chunked", "Content-Length: 5"], "0\r\n\r\n"),
        (vec!["Content-Length: 2", "Content-Length: 3"], "{} "),
        (vec!["Content-Length: 2, 3"], "{} "),
        (vec!["Content-Length: +2"], "{}"),
        (vec!["Content-Length: 0x2"], "{}"),
        (vec!["Transfer-Encoding: chunked, identity"], "0\r\n\r\n"),
        (vec!["Transfer-Encoding: xchunked"], "0\r\n\r\n"),
        (vec!["Transfer-Encoding : chunked"], "0\r\n\r\n"),
        (vec!["Transfer-Encoding: chunked"], "0;\n\r\n\r\n"),
        (vec!["Transfer-Encoding: chunked"], "-1\r\n\r\n"),
        (vec!["Transfer-Encoding: chunked"], "fffffffffffffffff\r\n\r\n"),
        (vec!["X: a\r\n\tb", "Content-Length: 2"], "{}"),
        (vec!["X: a\0b", "Content-Length: 2"], "{}"),
    ] {
        let mut socket = client.connect().await;
        let first = client.head("POST", ORDER, &[&[JSON], &headers[..]].concat());
        socket.say(first + body + &second).await;
        let answers = socket.rest().await;
        let served = answers.matches("HTTP/1.1 200").count();
        assert_eq!(served, 0, "{headers:?}: {answers}");
    }
    assert_eq!(world.shop.orders(), [""; 0]);
    // In HTTP/1.0, in capitals, with a bare line feed: what hyper takes leads nowhere else.
    is_well(&client).await;
}

#[tokio::test]
async fn heads_that_are_too_large_or_half_or_none_are_in_nobodys_way() {
    let world = World::new().await;
    let client = world.client();
    let long = format!("X-Long: {}", "x".repeat(64 << 10));
    let many = vec!["X-Many: 1"; 100];
    for headers in [&[&*long][..], &many] {
        assert_eq!(client.ask("POST", ORDER, headers, b"").await.status, 431);
    }
    // By HTTP/2 they are no more. It has no body, which curl may lose an answer by.
    let (many, url) = (many.iter().flat_map(|header| ["-H", header]), world.url("/openapi.json"));
    let request: Vec<_> = many.chain(["--http2-prior-knowledge", &url]).collect();
    assert_eq!(curl(&request).await.0, 431);
    let mut sockets = Vec::new();
    for text in
        ["", "P", "POST /v1/ask", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}"]
    {
        for _ in 0..20 {
            let mut socket = client.connect().await;
            socket.say(text).await;
            sockets.push(socket);
        }
    }
    is_well(&client).await;
    for socket in sockets {
        // An end or a reset: none is kept.
        within(socket.rest()).await;
    }
    is_well(&client).await;
}

#[tokio::test]
async fn a_head_that_others_may_read_in_another_way_is_refused() {
    let world = World::new().await;
    let client = world.client();
    let answer = async |head: &str, body: &str| {
        let mut socket = client.connect().await;
        let head = head.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
        socket.say(head + body).await;
        let answer = socket.rest().await;
        (answer[..12].to_owned(), answer.contains("estafette-handled: no"))
    };
    let head = |line: &str| client.head("POST", ORDER, &[JSON, line]);
    let chunked = head("Transfer-Encoding: Chunked");
    let body = format!("{:x}\r\n{TEA}\r\n0\r\n\r\n", TEA.len());
    assert_eq!(answer(&chunked, &body).await, ("HTTP/1.1 200".into(), false));
    let refused = |status: &str| (format!("HTTP/1.1 {status}"), true);
    let host = format!("Host: {}\r\n", client.address);
    assert_eq!(answer(&chunked.replace(&host, ""), "").await, refused("400"), "for no host");
    let two = chunked.replace(&host, &host.repeat(2));
    assert_eq!(answer(&two, "").await, refused("400"), "for two of them");
    let packed = head("Transfer-Encoding: gzip, chunked");
    assert_eq!(answer(&packed, "").await, refused("501"));
    assert_eq!(world.shop.orders().len(), 1);
    is_well(&client).await;
}

#[tokio::test]
async fn connections_that_say_nothing_or_half_a_head_end_and_more_than_there_may_be_wait() {
    const PLACES: usize = 50;
    let world = World::new().await;
    let router = estafette_doors::http(&world.access);
    let serving = estafette_doors::serve_at_most(router, "127.0.0.1:0", PLACES).await.unwrap();
    let client = Client { address: serving.address(), ..world.client() };
    let mut kept = client.connect().await;
    let mut ask = async || {
        kept.say(client.head("GET", "/openapi.json", &[])).await;
        let head = kept.head().await;
        kept.body(&head).await;
        assert_eq!(head.status, 200, "{head:?}");
    };
    ask().await;
    // Twice as many as there are places.
    let mut idle = Vec::new();
    for number in 0..2 * PLACES {
        let mut socket = client.connect().await;
        if number % 2 == 0 {
            socket.say("POST /v1/ask/paris/shop/shop.Order HTTP/1.1\r\nHost: x\r\n").await;
        }
        idle.push(socket);
    }
    // Who has a connection is served meanwhile, and who comes behind all of them in turn.
    ask().await;
    is_well(&client).await;
    for mut socket in idle {
        // One that is reset has ended, too.
        let _ = within(socket.socket.read_to_end(&mut Vec::new())).await;
    }
    is_well(&client).await;
}

#[tokio::test]
async fn requests_of_http_2_that_are_reset_without_a_fault_are_not_whole() {
    let world = World::new().await;
    let socket = within(tokio::net::TcpStream::connect(world.serving.address())).await.unwrap();
    let (mut client, connection) = within(h2::client::handshake(socket)).await.unwrap();
    tokio::spawn(connection);
    let head = |method: &str, path: &str| {
        http::Request::builder()
            .method(method)
            .uri(world.url(path))
            .header("authorization", format!("Bearer {}", world.token))
            .header("content-type", "application/json")
            .body(())
            .unwrap()
    };
    const FILE: &str = "/v1/send/paris/files/a.json";
    for (method, path) in [("POST", ORDER), ("PUT", FILE), ("PUT", FILE)] {
        let (answer, mut to) = client.send_request(head(method, path), false).unwrap();
        to.send_data(TEA.into(), false).unwrap();
        // What was sent is there before the reset.
        client = within(client.ready()).await.unwrap();
        let ping = client.send_request(head("GET", "/openapi.json"), true).unwrap().0;
        assert_eq!(within(ping).await.unwrap().status(), 200);
        to.send_reset(h2::Reason::NO_ERROR);
        assert!(within(answer).await.is_err());
        client = within(client.ready()).await.unwrap();
    }
    // Of those that have an end, by data or behind it, all is there.
    for (method, path) in [("POST", ORDER), ("PUT", FILE)] {
        for trailers in [false, true] {
            // The receiver refuses a second one of a name, which may be told at once.
            let path = if trailers { path.replace("a.json", "b.json") } else { path.to_owned() };
            let (answer, mut to) = client.send_request(head(method, &path), false).unwrap();
            to.send_data(TEA.into(), !trailers).unwrap();
            if trailers {
                to.send_trailers(http::HeaderMap::new()).unwrap();
            }
            let status = within(answer).await.unwrap().status();
            assert!(status.is_success(), "{method} {trailers}: {status}");
            client = within(client.ready()).await.unwrap();
        }
    }
    assert_eq!(world.shop.orders().len(), 2, "of what broke off nobody heard");
    assert_eq!(world.lyon.outbox().list().await.unwrap().len(), 2, "and nothing of it is stored");
}

#[tokio::test]
async fn streams_of_http_2_that_are_taken_back_end_their_connection() {
    let world = World::new().await;
    let mut socket = world.client().connect().await;
    // The preface, empty settings, and requests that are reset at once.
    socket.say(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await;
    socket.say([0, 0, 0, 4, 0, 0, 0, 0, 0]).await;
    let frame = |kind: u8, flags: u8, stream: u32, body: &[u8]| {
        let length = u32::try_from(body.len()).unwrap().to_be_bytes();
        [&length[1..], &[kind, flags], &stream.to_be_bytes(), body].concat()
    };
    // ":method: POST", ":scheme: http", ":path: /", by the static table.
    let head = [0x83, 0x86, 0x84];
    for number in 0..20_000_u32 {
        let stream = 2 * number + 1;
        let reset = frame(3, 0, stream, &8_u32.to_be_bytes());
        socket.say([frame(1, 5, stream, &head), reset].concat()).await;
    }
    within(socket.rest()).await;
    is_well(&world.client()).await;
    let bearer = format!("Authorization: Bearer {}", world.token);
    let url = world.url(ORDER);
    let given = ["--http2-prior-knowledge", "-H", &*bearer, "--json", TEA, &*url];
    assert_eq!(curl(&given).await.0, 200);
}
