//! Arrivals in an inbox of the node with the door: lists, content by parts, and that they are
//! processed.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::path::Path;

use estafette::node::OutboxState;
use estafette::{Receipt, SendOptions, TransferId, TrustedPeer};
use estafette_actors::source::BytesSource;
use support::http::{Answer, Client, curl};
use support::{World, within};

fn content(length: usize) -> String {
    (0..length).map(|at| char::from(b'a' + ((at * at) >> 7) as u8 % 26)).collect()
}

/// Sends content to an inbox of lyon; its id.
async fn sent(world: &World, name: &str, content: &str) -> (TransferId, Receipt) {
    let paris = world.paris.as_ref().unwrap();
    // It is paris that dials here.
    let mut lyon = TrustedPeer::new("lyon");
    lyon.addresses = world.lyon.addresses().to_vec();
    paris.trust().add(world.lyon.peer(), lyon).unwrap();
    let source = BytesSource::new(name, content.to_owned().into_bytes()).unwrap();
    let options = SendOptions { copy: true, ..SendOptions::default() };
    let handle = within(paris.send_with("lyon/files", source, options)).await.unwrap();
    let receipt = within(handle.delivered()).await.unwrap();
    (handle.id(), receipt)
}

fn reader(world: &World) -> Client {
    world.client().with(Some(&world.token("reader", "read:files", None)))
}

/// The token of one that reads, and says what is processed.
fn worker(world: &World, name: &str) -> String {
    let rights = ["read:files", "done:files"].map(|right| right.parse().unwrap());
    world.access.tokens().add(name, &rights, None, None).unwrap().text().to_owned()
}

fn place(id: TransferId) -> String {
    format!("/v1/inbox/files/{id}")
}

async fn asked(client: &Client, id: TransferId, headers: &[&str]) -> Answer {
    client.ask("GET", &place(id), headers, b"").await
}

#[tokio::test]
async fn curl_fetches_all_a_part_what_is_missing_and_nothing_that_it_has() {
    let world = World::new().await;
    let all = content(3_000_001);
    let (id, receipt) = sent(&world, "photo.raw", &all).await;
    let folder = tempfile::tempdir().unwrap();
    let (kept, tag) = (folder.path().join("kept"), folder.path().join("tag"));
    let bearer = format!("Authorization: Bearer {}", world.token("reader", "read:files", None));
    let url = world.url(&place(id));
    let with = |more: &[&str]| {
        let all = [&["-H", &bearer, &url][..], more].concat();
        all.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let (status, part) = curl(&with(&["-r", "1000000-1000009"])).await;
    assert_eq!((status, &*part), (206, &all[1_000_000..1_000_010]));
    let (status, part) = curl(&with(&["-r", "-7"])).await;
    assert_eq!((status, &*part), (206, &all[all.len() - 7..]));
    std::fs::write(&kept, &all[..1_234_567]).unwrap();
    let (status, _) = curl(&with(&["-C", "-", "-o", kept.to_str().unwrap()])).await;
    assert_eq!((status, std::fs::read_to_string(&kept).unwrap()), (206, all.clone()));
    let tagged = ["--etag-save", tag.to_str().unwrap(), "--etag-compare", tag.to_str().unwrap()];
    std::fs::write(&tag, "").unwrap();
    let (status, body) = curl(&with(&tagged)).await;
    assert_eq!((status, body == all), (200, true));
    assert_eq!(curl(&with(&tagged)).await, (304, String::new()));
    let (status, head) = curl(&with(&["-I"])).await;
    let digest = blake3::Hash::from_bytes(receipt.digest).to_hex();
    assert_eq!(status, 200);
    for line in [
        "content-length: 3000001",
        "accept-ranges: bytes",
        &format!("etag: \"{digest}\""),
        "content-disposition: attachment; filename=\"photo.raw\"; filename*=UTF-8''photo.raw",
    ] {
        assert!(head.to_lowercase().contains(&line.to_lowercase()), "{line}: {head}");
    }
}

#[tokio::test]
async fn a_part_says_what_it_is_of_and_none_is_told_from_all() {
    let world = World::new().await;
    let client = reader(&world);
    let (id, receipt) = sent(&world, "n\u{f6} \"te\";.txt", "0123456789").await;
    let tag = format!("\"{}\"", blake3::Hash::from_bytes(receipt.digest).to_hex());
    let part = asked(&client, id, &["Range: bytes=2-4"]).await;
    assert_eq!((part.status, &*part.body), (206, "234"), "{part:?}");
    assert_eq!(part.header("content-range"), "bytes 2-4/10");
    let name = "attachment; filename=\"n_ _te_;.txt\"; filename*=UTF-8''n%C3%B6%20%22te%22%3B.txt";
    assert_eq!(part.header("content-disposition"), name);
    let none = asked(&client, id, &["Range: bytes=10-"]).await;
    none.problem(416, "no-such-part", "no");
    assert_eq!(none.header("content-range"), "bytes */10");
    let same = format!("If-Range: {tag}");
    for (known, status) in [(&*same, 206), ("If-Range: \"other\"", 200)] {
        let answer = asked(&client, id, &["Range: bytes=0-0", known]).await;
        assert_eq!(answer.status, status, "{answer:?}");
    }
    let known = asked(&client, id, &[&format!("If-None-Match: \"x\", {tag}")]).await;
    assert_eq!((known.status, known.header("etag"), &*known.body), (304, &*tag, ""), "{known:?}");
    asked(&client, id, &["If-Match: \"x\""]).await.problem(412, "another-content", "no");
    // Lists of several lines are one list; of what is no list, several lines say nothing.
    let known =
        asked(&client, id, &["If-None-Match: \"x\"", &format!("If-None-Match: {tag}")]).await;
    assert_eq!(known.status, 304, "{known:?}");
    let matched = asked(&client, id, &["If-Match: \"x\"", &format!("If-Match: {tag}")]).await;
    assert_eq!(matched.status, 200, "{matched:?}");
    let several = asked(&client, id, &["Range: bytes=0-0", "Range: bytes=1-1"]).await;
    assert_eq!((several.status, &*several.body), (200, "0123456789"), "{several:?}");
    let several = asked(&client, id, &["Range: bytes=0-0", &same, "If-Range: \"other\""]).await;
    assert_eq!((several.status, &*several.body), (200, "0123456789"), "{several:?}");
    let (empty, _) = sent(&world, "empty", "").await;
    let answer = asked(&client, empty, &[]).await;
    assert_eq!((answer.status, answer.header("content-length")), (200, "0"), "{answer:?}");
    asked(&client, empty, &["Range: bytes=0-"]).await.problem(416, "no-such-part", "no");
}

#[tokio::test]
async fn only_what_arrived_is_given_whatever_lies_there_now() {
    let world = World::new().await;
    let client = reader(&world);
    let (id, _) = sent(&world, "letter", "0123456789").await;
    let file = world.inbox().join("letter");
    assert_eq!(asked(&client, id, &[]).await.body, "0123456789");
    // Of the same length.
    std::fs::write(&file, "0123456780").unwrap();
    asked(&client, id, &[]).await.problem(410, "content-gone", "no");
    std::fs::write(&file, "longer than it was").unwrap();
    asked(&client, id, &["Range: bytes=0-0"]).await.problem(410, "content-gone", "no");
    std::fs::remove_file(&file).unwrap();
    asked(&client, id, &[]).await.problem(410, "content-gone", "no");
    // A link to the same bytes is not what arrived.
    let elsewhere = world.inbox().join("../elsewhere");
    std::fs::write(&elsewhere, "0123456789").unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file).unwrap();
    asked(&client, id, &[]).await.problem(410, "content-gone", "no");
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir(&file).unwrap();
    asked(&client, id, &[]).await.problem(404, "no-file", "no");
    std::fs::remove_dir(&file).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(&file).status().unwrap().success());
    asked(&client, id, &[]).await.problem(404, "no-file", "no");
    std::fs::remove_file(&file).unwrap();
    std::fs::rename(&elsewhere, &file).unwrap();
    assert_eq!(asked(&client, id, &[]).await.body, "0123456789", "the same bytes are the content");
}

#[tokio::test]
async fn content_that_changes_while_it_is_read_breaks_off() {
    let world = World::new().await;
    let client = reader(&world);
    let (id, _) = sent(&world, "long", &content(64 << 20)).await;
    let mut client = client.connect().await;
    let head = reader_head(&world, id);
    client.say(head).await;
    let head = client.head().await;
    assert_eq!((head.status, head.header("content-length")), (200, "67108864"), "{head:?}");
    let file = world.inbox().join("long");
    let length = std::fs::metadata(&file).unwrap().len();
    std::fs::OpenOptions::new().append(true).open(&file).unwrap().set_len(length + 1).unwrap();
    let rest = client.rest().await;
    assert!(rest.len() < 64 << 20, "{} bytes of a file that has changed", rest.len());
}

fn reader_head(world: &World, id: TransferId) -> String {
    let client = world.client().with(Some(&world.token("second", "read:*", None)));
    client.head("GET", &place(id), &[])
}

#[tokio::test]
async fn nobody_reads_without_the_right_to_read_that_inbox() {
    let world = World::new().await;
    let (id, _) = sent(&world, "letter", "0123456789").await;
    for to in ["*", "paris/files", "lyon/files", "*/files", "read:file", "read:files/x"] {
        let client = world.client().with(Some(&world.token(to, to, None)));
        for path in ["/v1/inbox/files", &place(id), "/v1/inbox/nothing"] {
            client.get(path).await.problem(403, "forbidden", "no");
        }
        let processed = format!("{}/processed", place(id));
        client.ask("POST", &processed, &[], b"").await.problem(403, "forbidden", "no");
    }
    // To read is not to be done with it, and neither is the other way round.
    let processed = format!("{}/processed", place(id));
    for to in ["read:files", "read:*", "done:files", "done:*"] {
        let client = world.client().with(Some(&world.token(to, to, None)));
        client.ask("POST", &processed, &[], b"").await.problem(403, "forbidden", "no");
    }
    let client = world.client().with(Some(&world.token("done", "done:*", None)));
    client.get(&place(id)).await.problem(403, "forbidden", "no");
    let client = reader(&world);
    client.get("/v1/inbox/other").await.problem(403, "forbidden", "no");
    client.get("/v1/ask/paris/files/x").await.problem(405, "method", "no");
    client.post("/v1/tell/paris/shop/shop.Order", "{}").await.problem(403, "forbidden", "no");
    for none in ["0", "%2e%2e", &TransferId::random().to_string()] {
        client.get(&format!("/v1/inbox/files/{none}")).await.problem(404, "no-such-arrival", "no");
    }
    client.get(&format!("{}?from=nobody", place(id))).await.problem(404, "no-such-arrival", "no");
    assert_eq!(client.get(&format!("{}?from=paris", place(id))).await.body, "0123456789");
    // A door that leads to one place reads nothing by that.
    let access = world.access.clone().to(["paris/files".parse().unwrap()]);
    let router = estafette_doors::http(&access);
    let narrow = estafette_doors::serve(router, "127.0.0.1:0").await.unwrap();
    let client = Client { address: narrow.address(), ..client };
    client.get(&place(id)).await.problem(403, "forbidden", "no");
    // One that lets read lets nobody be done by that.
    let access = world.access.clone().to(["read:files".parse().unwrap()]);
    let router = estafette_doors::http(&access);
    let reading = estafette_doors::serve(router, "127.0.0.1:0").await.unwrap();
    let client = Client { address: reading.address(), token: Some(worker(&world, "worker")) };
    assert_eq!(client.get(&place(id)).await.body, "0123456789");
    client.ask("POST", &processed, &[], b"").await.problem(403, "forbidden", "no");
}

#[tokio::test]
async fn a_list_has_each_arrival_once_and_what_is_processed_is_told_the_sender() {
    let mut world = World::new().await;
    let client = world.client().with(Some(&worker(&world, "worker")));
    let mut ids = Vec::new();
    for number in 0..7 {
        ids.push(
            sent(&world, &format!("letter {number}"), &"x".repeat(number)).await.0.to_string(),
        );
    }
    let page = async |client: &Client, query: &str| {
        let answer = client.get(&format!("/v1/inbox/files?{query}")).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.json()
    };
    let (mut listed, mut query) = (Vec::new(), "limit=3".to_owned());
    loop {
        let told = page(&client, &query).await;
        for arrival in told["arrivals"].as_array().unwrap() {
            assert_eq!(arrival["from"], "paris");
            assert_eq!(arrival["processed"], false);
            listed.push(arrival["id"].as_str().unwrap().to_owned());
        }
        let Some(after) = told["after"].as_str() else { break };
        assert_eq!(listed.len() % 3, 0);
        query = format!("limit=3&after={after}");
    }
    listed.sort();
    ids.sort();
    assert_eq!(listed, ids);
    for bad in ["limit=0", "limit=1001", "limit=x", "after=x", "after=AAAA", "processed=x", "x=1"] {
        client.get(&format!("/v1/inbox/files?{bad}")).await.problem(400, "bad-request", "no");
    }
    let done = format!("/v1/inbox/files/{}/processed", ids[0]);
    for _ in 0..2 {
        let told = client.ask("POST", &done, &[], b"").await;
        assert_eq!((told.status, &told.json()["processed"]), (200, &true.into()), "{told:?}");
    }
    let paris = world.paris.as_ref().unwrap();
    let id: TransferId = ids[0].parse().unwrap();
    within(paris.outbox().transfer(id).await.unwrap().processed()).await.unwrap();
    let state = paris.outbox().entry(id).await.unwrap().state;
    assert!(matches!(state, OutboxState::Processed { .. }), "{state:?}");
    world.lyon_restarts().await;
    let client = Client { address: world.client().address, ..client };
    let open = page(&client, "processed=no").await;
    assert_eq!(open["arrivals"].as_array().unwrap().len(), 6);
    let closed = page(&client, "processed=yes").await;
    assert_eq!(closed["arrivals"][0]["id"], ids[0]);
    assert_eq!(closed["after"], serde_json::Value::Null);
}

/// The output of examples/python/inbox.py; nothing where there is no Python.
async fn python(world: &World, folder: &Path) -> Option<std::process::Output> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/python/inbox.py");
    let token = worker(world, "worker");
    let ran = tokio::process::Command::new("python3")
        .arg(script)
        .args([&world.url(""), &token, "files"])
        .arg(folder)
        .output();
    match within(ran).await {
        Ok(ran) => Some(ran),
        Err(error) => {
            assert!(std::env::var_os("ESTAFETTE_PYTHON").is_none(), "python3: {error}");
            eprintln!("LEFT OUT: there is no python3 here");
            None
        }
    }
}

/// Its name for an arrival.
fn taken_as(world: &World, id: TransferId, name: &str) -> String {
    format!("{}-{id}-{name}", world.paris.as_ref().unwrap().peer())
}

#[tokio::test]
async fn python_takes_what_arrived_and_goes_on_where_it_was() {
    let world = World::new().await;
    let all = content(300_000);
    let (id, _) = sent(&world, "photo.raw", &all).await;
    let folder = tempfile::tempdir().unwrap();
    let name = taken_as(&world, id, "photo.raw");
    std::fs::write(folder.path().join(format!("{name}.part")), &all[..100_000]).unwrap();
    let Some(ran) = python(&world, folder.path()).await else { return };
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
    assert_eq!(String::from_utf8(ran.stdout).unwrap(), format!("{name}\n"));
    assert_eq!(std::fs::read_to_string(folder.path().join(name)).unwrap(), all);
    let paris = world.paris.as_ref().unwrap();
    within(paris.outbox().transfer(id).await.unwrap().processed()).await.unwrap();
    let listed = reader_of(&world).get("/v1/inbox/files?processed=no").await.json();
    assert_eq!(listed["arrivals"], serde_json::json!([]));
}

#[tokio::test]
async fn python_passes_over_what_can_t_be_had_and_takes_nothing_for_what_it_is_not() {
    let world = World::new().await;
    let folder = tempfile::tempdir().unwrap();
    let mut names = Vec::new();
    for name in ["first", "gone", "again", "other", "last"] {
        let (id, _) = sent(&world, name, "0123456789").await;
        names.push(taken_as(&world, id, name));
    }
    let path = |name: &str| folder.path().join(name);
    std::fs::remove_file(world.inbox().join("gone")).unwrap();
    // Of the right length, and not of what arrived.
    std::fs::write(path(&format!("{}.part", names[0])), "xxxxxxxxxx").unwrap();
    // It was ended before it said that it was done with it.
    std::fs::write(path(&names[2]), "0123456789").unwrap();
    std::fs::write(path(&names[3]), "of somebody else").unwrap();
    let Some(ran) = python(&world, folder.path()).await else { return };
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(1), "{said}");
    let mut lines: Vec<_> = said.lines().map(|line| line.split(": ").next().unwrap()).collect();
    lines.sort_unstable();
    let mut failed = [&*names[1], &*names[3]];
    failed.sort_unstable();
    assert_eq!(lines, failed, "{said}");
    for taken in [0, 2, 4] {
        assert_eq!(std::fs::read_to_string(path(&names[taken])).unwrap(), "0123456789");
    }
    assert_eq!(std::fs::read_to_string(path(&names[3])).unwrap(), "of somebody else");
    let listed = reader_of(&world).get("/v1/inbox/files?processed=no").await.json();
    let left = listed["arrivals"].as_array().unwrap();
    assert_eq!(left.len(), 2, "{listed}");
}

fn reader_of(world: &World) -> Client {
    world.client().with(Some(&world.token("third", "read:files", None)))
}
