//! Uploads by tus 1.0: in parts, over what breaks, to a receiver who may be away.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use std::io;
use std::path::Path;
use std::sync::Arc;

use data_encoding::BASE64;
use estafette::TransferId;
use estafette::node::{Change, Store};
use estafette_actors::spool::Spool;
use support::http::{Answer, Client};
use support::{World, within};
use tokio::process::Command;

const TUS: &str = "Tus-Resumable: 1.0.0";
const PART: &str = "Content-Type: application/offset+octet-stream";
/// In base64, photo.raw.
const NAMED: &str = "Upload-Metadata: filename cGhvdG8ucmF3";
const INTO: &str = "/v1/uploads/paris/files";

fn content(length: usize) -> Vec<u8> {
    (0..length).map(|at| ((at * at) >> 7) as u8).collect()
}

async fn begin(client: &Client, length: usize) -> String {
    let length = format!("Upload-Length: {length}");
    let begun = client.ask("POST", INTO, &[TUS, NAMED, &length], b"").await;
    assert_eq!(begun.status, 201, "{begun:?}");
    assert!(begun.header("upload-expires").ends_with("GMT"), "{begun:?}");
    begun.header("location").to_owned()
}

async fn patch(client: &Client, place: &str, offset: usize, body: &[u8]) -> Answer {
    let offset = format!("Upload-Offset: {offset}");
    client.ask("PATCH", place, &[TUS, PART, &offset], body).await
}

/// The offset of an upload, as a client asks for it that goes on.
async fn offset(client: &Client, place: &str) -> usize {
    let told = client.ask("HEAD", place, &[TUS], b"").await;
    assert_eq!((told.status, told.header("cache-control")), (200, "no-store"), "{told:?}");
    assert_eq!(told.header("tus-resumable"), "1.0.0");
    told.header("upload-offset").parse().unwrap()
}

async fn arrives(world: &World, place: &str, sent: &[u8]) {
    arrives_as(world, place, "photo.raw", sent).await;
}

async fn arrives_as(world: &World, place: &str, name: &str, sent: &[u8]) {
    let (_, id) = place.rsplit_once('/').unwrap();
    let place = format!("/v1/transfers/{id}");
    loop {
        let told = world.client().ask("GET", &place, &["Prefer: wait=60"], b"").await;
        if told.json()["state"] == "delivered" {
            break;
        }
        assert_eq!((told.status, &told.json()["state"]), (200, &"stored".into()), "{told:?}");
    }
    assert_eq!(world.arrived(name).as_deref(), Some(sent));
}

/// Folders of uploads in lyon's spool.
fn folders(world: &World) -> usize {
    let entries = std::fs::read_dir(world.lyon.outbox().spool_folder().unwrap()).unwrap();
    entries.filter(|entry| entry.as_ref().unwrap().path().is_dir()).count()
}

#[tokio::test]
async fn parts_come_over_restarts_and_go_on_their_way_though_the_receiver_is_away() {
    let mut world = World::new().await;
    world.paris_goes().await;
    let sent = content(1_000_000);
    let place = begin(&world.client(), sent.len()).await;
    let mut there = 0;
    for end in [300_000, 300_001, 700_000, 1_000_000] {
        let client = world.client();
        assert_eq!(offset(&client, &place).await, there);
        let answer = patch(&client, &place, there, &sent[there..end]).await;
        assert_eq!((answer.status, answer.header("upload-offset")), (204, &*end.to_string()));
        there = end;
        world.lyon_restarts().await;
    }
    // It is over for its client, who may say the end again, and it can't be taken back.
    let client = world.client();
    assert_eq!(offset(&client, &place).await, sent.len());
    assert_eq!(patch(&client, &place, sent.len(), b"").await.status, 204);
    patch(&client, &place, 0, b"x").await.problem(409, "offset", "no");
    client.ask("DELETE", &place, &[TUS], b"").await.problem(409, "on-its-way", "no");
    assert_eq!((world.lyon.outbox().list().await.unwrap().len(), folders(&world)), (1, 1));
    world.paris_comes().await;
    arrives(&world, &place, &sent).await;
    world.lyon_restarts().await;
    assert_eq!(folders(&world), 0, "nothing is left in the spool");
    assert_eq!(offset(&world.client(), &place).await, sent.len());
}

#[tokio::test]
async fn what_breaks_off_is_kept_as_far_as_it_came_and_a_head_takes_over_from_who_hangs() {
    let world = World::new().await;
    let (client, sent) = (world.client(), content(500_000));
    let place = begin(&client, sent.len()).await;
    // Its client goes away in the middle.
    let head = [TUS, PART, "Upload-Offset: 0", "Content-Length: 500000"];
    let mut broken = client.connect().await;
    broken.say(client.head("PATCH", &place, &head)).await;
    broken.say(&sent[..200_000]).await;
    drop(broken);
    let mut there = 0;
    while there < 200_000 {
        there = offset(&client, &place).await;
        if there < 200_000 {
            // It was asked before all had come: the rest of it is nobody's.
            let rest = patch(&client, &place, there, &sent[there..200_000]).await;
            there = rest.header("upload-offset").parse().unwrap_or(there);
        }
    }
    // Another one hangs; a second that writes is told so, and who asks how far it is goes on.
    let head = [TUS, PART, "Upload-Offset: 200000", "Content-Length: 300000"];
    let mut hangs = client.connect().await;
    hangs.say(client.head("PATCH", &place, &head)).await;
    hangs.say(&sent[200_000..200_001]).await;
    let mut second = patch(&client, &place, 200_000, b"").await;
    while second.status != 423 {
        second = patch(&client, &place, 200_000, b"").await;
    }
    second.problem(423, "locked", "no");
    let there = offset(&client, &place).await;
    let told = hangs.head().await;
    assert_eq!((told.status, told.header("upload-offset")), (409, &*there.to_string()), "{told:?}");
    assert!((200_000..=200_001).contains(&there));
    let end = patch(&client, &place, there, &sent[there..]).await;
    assert_eq!((end.status, end.header("upload-offset")), (204, "500000"), "{end:?}");
    arrives(&world, &place, &sent).await;
}

#[tokio::test]
async fn lies_about_offset_length_and_checksum_change_nothing() {
    let world = World::new().await;
    let (client, sent) = (world.client(), content(1000));
    let place = begin(&client, sent.len()).await;
    assert_eq!(patch(&client, &place, 0, &sent[..400]).await.status, 204);
    for wrong in [0, 399, 401, 1000, usize::MAX] {
        let told = patch(&client, &place, wrong, &sent[400..]).await;
        told.problem(409, "offset", "no");
        assert_eq!(told.header("upload-offset"), "400");
    }
    // More than there is to come, with and without a length of the body.
    patch(&client, &place, 400, &content(601)).await.problem(413, "too-large", "no");
    let mut pieces = client.connect().await;
    let head = [TUS, PART, "Upload-Offset: 400", "Transfer-Encoding: chunked"];
    pieces.say(client.head("PATCH", &place, &head)).await;
    pieces.say(format!("259\r\n{}\r\n0\r\n\r\n", "x".repeat(601))).await;
    assert_eq!(pieces.head().await.status, 413);
    assert_eq!(offset(&client, &place).await, 400);
    // A checksum is of all of a body, or nothing of it is kept.
    let sha1 = "Upload-Checksum: sha1 Kq5sNclPz7QV2+lfQIuc6R7oRu0=";
    let headers = [TUS, PART, "Upload-Offset: 400", sha1];
    let told = client.ask("PATCH", &place, &headers, &sent[400..]).await;
    told.problem(460, "checksum", "no");
    assert_eq!((told.header("upload-offset"), offset(&client, &place).await), ("400", 400));
    let digest = "Content-Digest: sha-256=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:";
    let headers = [TUS, PART, "Upload-Offset: 400", digest];
    let told = client.ask("PATCH", &place, &headers, &sent[400..]).await;
    told.problem(400, "digest", "no");
    assert_eq!((told.header("upload-offset"), offset(&client, &place).await), ("400", 400));
    let headers = [TUS, PART, "Upload-Offset: 400", "Content-Encoding: gzip"];
    let told = client.ask("PATCH", &place, &headers, &sent[400..]).await;
    told.problem(415, "content-type", "no");
    assert_eq!(offset(&client, &place).await, 400);
    let blake = BASE64.encode(blake3::hash(&sent[400..]).as_bytes());
    let blake = format!("Upload-Checksum: blake3 {blake}");
    let mut broken = client.connect().await;
    let head = [TUS, PART, "Upload-Offset: 400", &blake, "Content-Length: 600"];
    broken.say(client.head("PATCH", &place, &head)).await;
    broken.say(&sent[400..999]).await;
    drop(broken);
    assert_eq!(offset(&client, &place).await, 400, "what broke off had no checksum that agrees");
    for wrong in ["Upload-Checksum: md5 AAAA", "Upload-Checksum: sha1 ?", "Upload-Offset: -1"] {
        let headers = [TUS, PART, "Upload-Offset: 400", wrong];
        let told = client.ask("PATCH", &place, &headers, &sent[400..]).await;
        told.problem(400, "bad-request", "no");
    }
    let headers = [TUS, PART, "Upload-Offset: 400", "Upload-Length: 2000"];
    let longer = client.ask("PATCH", &place, &headers, &sent[400..]).await;
    longer.problem(400, "bad-request", "no");
    let end = [TUS, PART, "Upload-Offset: 400", &blake];
    assert_eq!(client.ask("PATCH", &place, &end, &sent[400..]).await.status, 204);
    // Behind the end of what is whole there is nothing more either.
    assert_eq!(patch(&client, &place, 1000, b"").await.status, 204);
    let more = patch(&client, &place, 1000, b"more").await;
    more.problem(413, "too-large", "no");
    assert_eq!(more.header("upload-offset"), "1000");
    let end = [TUS, PART, "Upload-Offset: 1000", &blake];
    client.ask("PATCH", &place, &end, b"").await.problem(460, "checksum", "no");
    arrives(&world, &place, &sent).await;
}

#[tokio::test]
async fn what_is_no_upload_is_refused_and_nobody_sees_those_of_others() {
    let world = World::new().await;
    let client = world.client();
    let can = client.ask("OPTIONS", INTO, &[], b"").await;
    assert_eq!((can.status, can.header("tus-version")), (204, "1.0.0"));
    assert_eq!(can.header("tus-max-size"), (world.lyon.outbox().bytes_limit() / 4).to_string());
    let length = "Upload-Length: 10";
    let old = client.ask("POST", INTO, &["Tus-Resumable: 0.2.2", length], b"").await;
    old.problem(412, "tus-version", "no");
    assert_eq!(old.header("tus-version"), "1.0.0");
    for headers in [
        &[][..],
        &["Upload-Length: ten"],
        &[length, "Upload-Defer-Length: 1"],
        &["Upload-Defer-Length: 2"],
        &[length, "Upload-Metadata: filename Li4="],
        &[length, "Upload-Metadata: filename ?"],
        &[length, "Upload-Concat: partial"],
    ] {
        let told = client.ask("POST", INTO, &[&[TUS], headers].concat(), b"").await;
        told.problem(400, "bad-request", "no");
    }
    let huge = format!("Upload-Length: {}", world.lyon.outbox().bytes_limit());
    client.ask("POST", INTO, &[TUS, &huge], b"").await.problem(413, "too-large", "no");
    let place = begin(&client, 10).await;
    let kind = [TUS, "Upload-Offset: 0", "Content-Type: text/plain"];
    client.ask("PATCH", &place, &kind, b"x").await.problem(415, "content-type", "no");
    client.ask("PATCH", &place, &[TUS, PART], b"x").await.problem(400, "bad-request", "no");
    // Each says by which method it may be asked.
    for method in ["GET", "POST"] {
        let refused = client.ask(method, &place, &[TUS], b"").await;
        refused.problem(405, "method", "no");
        let allowed = refused.header("allow");
        assert_eq!(allowed, "HEAD,PATCH,DELETE,POST,OPTIONS", "{refused:?}");
    }
    let other = client.with(Some(&world.token("other", "paris/*", None)));
    assert_eq!(other.ask("HEAD", &place, &[TUS], b"").await.status, 404);
    patch(&other, &place, 0, b"x").await.problem(404, "no-such-upload", "no");
    other.ask("DELETE", &place, &[TUS], b"").await.problem(404, "no-such-upload", "no");
    patch(&client, "/v1/uploads/0", 0, b"x").await.problem(404, "no-such-upload", "no");
    let stranger = client.with(Some(&world.token("stranger", "paris/till", None)));
    stranger.ask("POST", INTO, &[TUS, length], b"").await.problem(403, "forbidden", "no");
    // It is given up, by a client that can say POST alone.
    assert_eq!(patch(&client, &place, 0, b"12345").await.status, 204);
    let deletes = [TUS, "X-HTTP-Method-Override: DELETE"];
    assert_eq!(client.ask("POST", &place, &deletes, b"").await.status, 204);
    patch(&client, &place, 5, b"67890").await.problem(404, "no-such-upload", "no");
    assert_eq!((folders(&world), world.lyon.outbox().list().await.unwrap().len()), (0, 0));
}

#[tokio::test]
async fn a_token_has_a_quarter_of_the_room_for_uploads_and_gets_it_back() {
    let world = World::new().await;
    let client = world.client();
    let most = usize::try_from(world.lyon.outbox().bytes_limit() / 4).unwrap();
    let place = begin(&client, most - 10).await;
    let full = |client: Client, length: usize| async move {
        let length = format!("Upload-Length: {length}");
        client.ask("POST", INTO, &[TUS, &length], b"").await
    };
    full(client.clone(), 11).await.problem(503, "busy", "no");
    // One whose length is told later has as much as comes.
    let later = client.ask("POST", INTO, &[TUS, "Upload-Defer-Length: 1"], b"").await;
    let later = later.header("location").to_owned();
    assert_eq!(patch(&client, &later, 0, b"12345").await.status, 204);
    patch(&client, &later, 5, b"678901").await.problem(503, "busy", "no");
    let other = client.with(Some(&world.token("other", "paris/*", None)));
    assert_eq!(full(other, most).await.status, 201);
    assert_eq!(client.ask("DELETE", &place, &[TUS], b"").await.status, 204);
    assert_eq!(full(client, most - 5).await.status, 201);
}

#[tokio::test]
async fn small_parts_are_charged_for_what_they_take_of_the_disk() {
    let world = World::new().await;
    let client = world.client();
    let most = usize::try_from(world.lyon.outbox().bytes_limit() / 4).unwrap();
    begin(&client, most - 8192).await;
    let later = client.ask("POST", INTO, &[TUS, "Upload-Defer-Length: 1"], b"").await;
    let later = later.header("location").to_owned();
    // The last one is not small yet, and 64 are free: the next one finds two that are charged.
    for at in 0..67 {
        assert_eq!(patch(&client, &later, at, b"x").await.status, 204, "{at}");
    }
    patch(&client, &later, 67, b"x").await.problem(503, "busy", "no");
    assert_eq!(offset(&client, &later).await, 67);
}

#[tokio::test]
async fn content_comes_with_its_beginning_without_a_length_and_with_no_bytes() {
    let world = World::new().await;
    let (client, sent) = (world.client(), content(1000));
    let other = "Upload-Metadata: filename b3RoZXI=";
    let headers = [TUS, NAMED, PART, "Upload-Length: 1000"];
    let begun = client.ask("POST", INTO, &headers, &sent).await;
    assert_eq!((begun.status, begun.header("upload-offset")), (201, "1000"), "{begun:?}");
    arrives(&world, begun.header("location"), &sent).await;
    // What came with it was not all, or was wrong: it is there to go on with.
    let wrong = [&headers[..], &["Upload-Checksum: sha1 AAAA"]].concat();
    let begun = client.ask("POST", INTO, &wrong, &sent).await;
    begun.problem(460, "checksum", "no");
    assert_eq!(offset(&client, begun.header("location")).await, 0);
    let begun = client.ask("POST", INTO, &[TUS, other, "Upload-Defer-Length: 1"], b"").await;
    let place = begun.header("location").to_owned();
    assert_eq!(patch(&client, &place, 0, &sent[..10]).await.status, 204);
    let told = client.ask("HEAD", &place, &[TUS], b"").await;
    assert_eq!((told.header("upload-defer-length"), told.header("upload-length")), ("1", ""));
    assert_eq!(told.header("upload-metadata"), "filename b3RoZXI=");
    let end = [TUS, PART, "Upload-Offset: 10", "Upload-Length: 700"];
    assert_eq!(client.ask("PATCH", &place, &end, &sent[10..700]).await.status, 204);
    arrives_as(&world, &place, "other", &sent[..700]).await;
    let begun = client.ask("POST", INTO, &[TUS, "Upload-Length: 0"], b"").await;
    assert_eq!((begun.status, begun.header("upload-offset")), (201, "0"), "{begun:?}");
    arrives_as(&world, begun.header("location"), "upload", b"").await;
}

/// A spool that keeps what lies in its folder when a record of the outbox goes: what a process that
/// dies there leaves behind.
#[derive(Debug)]
struct Keeping(Spool);

/// The folder in which an upload is kept.
fn kept_of(folder: &Path) -> std::path::PathBuf {
    folder.with_extension("kept")
}

impl Store for Keeping {
    fn load(&self, table: &str) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        self.0.load(table)
    }

    fn put(&self, table: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.0.put(table, key, value)
    }

    fn remove(&self, table: &str, key: &[u8]) -> io::Result<()> {
        self.0.remove(table, key)
    }

    fn write(&self, changes: Vec<Change>) -> io::Result<()> {
        if let [Change::Remove { table: "outbox", key }] = &changes[..] {
            let id = TransferId::from_bytes(key.as_slice().try_into().unwrap());
            let folder = self.0.folder().unwrap().join(estafette::OutboxHandle::parts_name(id));
            std::fs::create_dir(kept_of(&folder))?;
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                std::fs::copy(entry.path(), kept_of(&folder).join(entry.file_name()))?;
            }
        }
        self.0.write(changes)
    }

    fn folder(&self) -> Option<&Path> {
        self.0.folder()
    }
}

#[tokio::test]
async fn what_was_taken_out_is_not_sent_again_though_the_process_died_before_its_folder_went() {
    let mut world = World::new().await;
    world.paris_goes().await;
    world.lyon_restarts_with(|spool| Arc::new(Keeping(spool))).await;
    let (client, sent) = (world.client(), content(1000));
    let place = begin(&client, sent.len()).await;
    assert_eq!(patch(&client, &place, 0, &sent).await.status, 204);
    let (_, id) = place.rsplit_once('/').unwrap();
    world.lyon.outbox().withdraw(id.parse().unwrap()).await.unwrap();
    world.lyon.stop().await;
    let spool = world.lyon.outbox().spool_folder().unwrap();
    let folder = spool.join(estafette::OutboxHandle::parts_name(id.parse().unwrap()));
    assert!(!folder.exists());
    std::fs::rename(kept_of(&folder), &folder).unwrap();
    assert!(std::fs::read_dir(&folder).unwrap().count() > 0, "its content is there");
    world.lyon_restarts().await;
    // Before one begins it is looked at what earlier lives have left.
    let next = begin(&world.client(), 1).await;
    assert!(world.lyon.outbox().list().await.unwrap().is_empty(), "it was taken out");
    assert_eq!(folders(&world), 1, "that of {next}");
}

/// Leads to a server, and breaks off each of the first connections behind so many bytes.
async fn breaks(server: std::net::SocketAddr, broken: usize, behind: u64) -> std::net::SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        let left = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(broken));
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let left = std::sync::Arc::clone(&left);
            tokio::spawn(async move {
                let server = tokio::net::TcpStream::connect(server).await.unwrap();
                let (mut from_client, mut to_client) = client.into_split();
                let (mut from_server, mut to_server) = server.into_split();
                let back = tokio::io::copy(&mut from_server, &mut to_client);
                let there = async {
                    let mut first = tokio::io::AsyncReadExt::take(&mut from_client, behind);
                    let read = tokio::io::copy(&mut first, &mut to_server).await.unwrap_or(0);
                    let one_less = |left: usize| left.checked_sub(1);
                    let order = std::sync::atomic::Ordering::SeqCst;
                    if read == behind && left.fetch_update(order, order, one_less).is_ok() {
                        return;
                    }
                    let _ = tokio::io::copy(&mut from_client, &mut to_server).await;
                };
                tokio::select! {
                    _ = back => {}
                    () = there => {}
                }
            });
        }
    });
    at
}

#[tokio::test]
async fn a_stock_client_goes_on_by_itself_over_connections_that_break() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/javascript");
    let there = std::path::Path::new(folder).join("node_modules/tus-js-client").exists();
    if !there || Command::new("node").arg("--version").output().await.is_err() {
        assert!(std::env::var_os("ESTAFETTE_JAVASCRIPT").is_none(), "npm install in {folder}");
        return eprintln!("LEFT OUT: no node is here, or no `npm install` in examples/javascript");
    }
    let world = World::new().await;
    let files = tempfile::tempdir().unwrap();
    let (path, sent) = (files.path().join("photo.raw"), content(5_000_000));
    std::fs::write(&path, &sent).unwrap();
    let at = breaks(world.serving.address(), 3, 1_000_000).await;
    let mut node = Command::new("node");
    node.arg(format!("{folder}/upload.js")).arg(format!("http://{at}{INTO}"));
    let ran = within(node.arg(&world.token).arg(&path).output()).await.unwrap();
    let (told, wrong) = (String::from_utf8(ran.stdout).unwrap(), ran.stderr);
    let wrong = String::from_utf8_lossy(&wrong);
    assert!(ran.status.success(), "{told}{wrong}");
    assert!(wrong.matches("goes on after").count() >= 3, "{wrong}");
    let (_, id) = told.trim().rsplit_once('/').unwrap();
    arrives(&world, &format!("/v1/uploads/{id}"), &sent).await;
}

/// tuspy, if its venv is there, which `ESTAFETTE_PYTHON` asks for.
#[tokio::test]
async fn a_stock_client_goes_on_where_another_life_of_it_broke_off() {
    let python = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/python/bin/python");
    if !std::path::Path::new(python).exists() {
        assert!(std::env::var_os("ESTAFETTE_PYTHON").is_none(), "{python} is not there");
        return eprintln!("LEFT OUT: {python} is not there");
    }
    let mut world = World::new().await;
    world.paris_goes().await;
    let folder = tempfile::tempdir().unwrap();
    let (path, sent) = (folder.path().join("photo.raw"), content(2_500_000));
    std::fs::write(&path, &sent).unwrap();
    let client = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/python/upload.py");
    let run = |url: String, parts: &'static str| {
        let mut command = Command::new(python);
        command.args([client, &url, &world.token, path.to_str().unwrap()]);
        command.env("ESTAFETTE_PARTS", parts).env("PYTHONDONTWRITEBYTECODE", "1");
        async move {
            let ran = within(command.output()).await.unwrap();
            let text = String::from_utf8([ran.stdout, ran.stderr].concat()).unwrap();
            assert!(ran.status.success(), "{text}");
            text
        }
    };
    let first = run(world.url(INTO), "2").await;
    let place = first.lines().last().unwrap().to_owned();
    assert!(first.contains("2097152 of 2500000"), "{first}");
    let second = run(place.clone(), "0").await;
    assert!(!second.contains("1048576 of") && second.contains("2500000 of 2500000"), "{second}");
    world.paris_comes().await;
    arrives(&world, &place, &sent).await;
}
