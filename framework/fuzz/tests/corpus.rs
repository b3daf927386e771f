//! The seeds of the corpus are what is written today: where they are not, they are written anew by
//! `cargo test -p estafette-fuzz --test corpus -- --ignored`.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use estafette::Ticket;
use estafette::delivery::{
    Attributes, Content, ContentKind, ContentName, Failure, FailureKind, Receipt, Trailer,
    TransferId, TransferKey,
};
use estafette::pipeline::{Codec, Prefix, Source};
use estafette::wire::message::{Item, Shape};
use estafette::wire::package::{Frames, Letter, PackageHeader, PackageLabel};
use estafette::wire::{
    Along, Control, FLAG_LAST, FrameHeader, FrameKind, KnockKey, Opening, PeerId, Preamble,
    PreambleReply, Purpose, Ranges, RefuseReason, Suite, TraceContext, Word, WordKind, codec,
    envelope, negotiate,
};
use estafette_actors::source::TreeSource;
use estafette_actors::tree::{Entry, FileStatus, TreePath, TreeWriter};
use estafette_fuzz::{Choices, ENVELOPED, Everything, Nested, correspondents};
use futures_util::FutureExt;

#[test]
#[ignore = "writes into the source tree"]
fn write_the_corpus() {
    for ((target, number), bytes) in seeds() {
        let file = place(target, number);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, bytes).unwrap();
    }
}

#[test]
fn the_seeds_are_what_is_written_today() {
    // What is drawn at random differs from one writing to the next.
    let written: Vec<_> = (0..4).map(|_| seeds()).collect();
    let (first, others) = written.split_first().unwrap();
    for (key, bytes) in first {
        let (target, number) = *key;
        let there = fs::read(place(target, number)).unwrap_or_default();
        let is_drawn = |at: usize| others.iter().any(|other| other[key][at] != bytes[at]);
        assert!(others.iter().all(|other| other[key].len() == bytes.len()), "{target}/{number}");
        assert!(
            there.len() == bytes.len()
                && (0..bytes.len()).all(|at| is_drawn(at) || there[at] == bytes[at]),
            "{target}/{number} is not what is written today: write the corpus anew, and see that \
             a build before this one still reads it"
        );
    }
}

/// A seed, by its target and number.
type Seeds = BTreeMap<(&'static str, usize), Vec<u8>>;

fn place(target: &str, number: usize) -> PathBuf {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    corpus.join(target).join(number.to_string())
}

/// All seeds, as they are written today.
fn seeds() -> Seeds {
    let mut seeds = Seeds::new();
    let mut write = |target, number, bytes: &[u8]| {
        assert!(seeds.insert((target, number), bytes.to_vec()).is_none(), "{target}/{number}");
    };
    plain(&mut write);
    controls(&mut write);
    packages(&mut write);
    messages(&mut write);
    seeds
}

type Write<'a> = &'a mut dyn FnMut(&'static str, usize, &[u8]);

/// One of each kind that has no more to it.
fn plain(write: Write<'_>) {
    let header = FrameHeader { len: 5, kind: FrameKind::Chunk, flags: 1, stream: 2, index: 3 };
    let frame = [&header.encode()[..], b"12345"].concat();
    let key = KnockKey::of(correspondents().1.peer());
    let preamble = Preamble { nonce: [6; 16], ..Preamble::new(Purpose::Lane([5; 16])) };
    let reply = PreambleReply { nonce: [7; 16], ..negotiate(&preamble) };
    let peer = PeerId::from_bytes([7; 32]);
    let ticket = Ticket::new(peer, vec!["127.0.0.1:7400".into()], "files".into(), [9; 32]).unwrap();
    let prefix = Prefix { codec: Codec::SNAPPY, raw_len: 5, index: 0 };
    let raw = Prefix { codec: Codec::RAW, raw_len: 5, index: 0 };
    write("frame_header", 0, &header.encode());
    write("frame_stream", 0, &frame.repeat(3));
    write("preamble", 0, &preamble.encode(&key));
    write("preamble_reply", 0, &reply.encode());
    write("handshake", 0, &[96; 98]);
    write("ticket", 0, ticket.to_string().as_bytes());
    write("peer_id", 0, peer.to_string().as_bytes());
    write("prefix", 0, &prefix.encode());
    write("trailer", 0, &Trailer { chunks: 1, length: 5, digest: [3; 32] }.encode());
    write("tree", 0, &tree());
    write("tree", 1, &every_entry());
    write("compressed", 0, &[&prefix.encode()[..], &[5, 16], b"hello"].concat());
    write("compressed", 1, &[&raw.encode()[..], b"hello"].concat());
    let lz4 = Prefix { codec: Codec::LZ4, ..prefix };
    write("compressed", 2, &[&lz4.encode()[..], b"\x50hello"].concat());
    write("content_name", 0, b"big.tar");
    let (sender, receiver) = correspondents();
    write("envelope", 0, &envelope::seal(&sender, receiver.peer(), b"beside", ENVELOPED).unwrap());
}

/// One of each control message, and of each word of a relay.
fn controls(write: Write<'_>) {
    let transfer = TransferId::from_bytes([6; 24]);
    let indices = Ranges::new(vec![(0, 4), (6, 7)]).unwrap();
    let receipt =
        Receipt { digest: [1; 32], length: 5, place: "in/a".into(), files: 1, mac: [3; 32] };
    let failure = || Failure::new(FailureKind::Stage, "no").in_stage("zip").at_index(5);
    let passed = |word| Control::Passed { transfer, word };
    let controls = [
        Control::Grant { stream: 1, limit: 9 },
        Control::Received { stream: 1, indices: indices.clone() },
        Control::Refuse { reason: RefuseReason::Other("no".into()) },
        Control::Hello { name: "lyon".into(), token: Some([1; 32].into()), inbox: None },
        Control::Messages { transfer, key: [5; 32].into(), commitment: [8; 32] },
        Control::Accept { stream: 1, limit: 9, received: indices, trailer: true },
        Control::Unknown { stream: 1 },
        Control::Waiting { stream: 1, running: 3 },
        Control::Process { incarnation: [4; 16] },
        Control::Remarks { stream: 1, lines: vec!["no".into()] },
        Control::Welcome { name: "paris".into() },
        Control::Ping { nonce: 7 },
        Control::Pong { nonce: 7 },
        Control::LaneRequest { lane: 1 },
        Control::LaneWanted,
        Control::LaneTicket { lane: 1, id: [2; 16], secret: [3; 32].into() },
        Control::Open(Box::new(opening())),
        Control::Reject { stream: 1, failure: failure() },
        Control::Lost { stream: 1, index: 3, failure: Some(failure()) },
        Control::Delivered { stream: 1, receipt: receipt.clone(), enclosed: Some(receipt.clone()) },
        Control::Done { stream: 1 },
        Control::Fail { stream: 1, failure: failure() },
        Control::Pause { stream: 1 },
        Control::Unpause { stream: 1 },
        Control::Goodbye { reason: "bye".into() },
        Control::Processed { transfer, mac: [9; 32] },
        Control::Heard { transfer, what: WordKind::Failed },
        passed(Word::Delivered(receipt.clone())),
        passed(Word::Processed { receipt, mac: [9; 32] }),
        passed(Word::Failed(failure())),
        passed(Word::Lapsed(Failure::new(FailureKind::Unknown, "over"))),
    ];
    let sown: BTreeSet<_> = controls.iter().map(number_of).collect();
    assert_eq!(sown, (0..=30).collect(), "there is one of each");
    for (number, control) in controls.iter().enumerate() {
        write("control", number, &control.encode().unwrap());
    }
}

/// Returns the number of a control message, and behind those of a word: a new one has none, and does
/// not compile until it has, and a seed.
fn number_of(control: &Control) -> usize {
    match control {
        Control::Hello { .. } => 0,
        Control::Welcome { .. } => 1,
        Control::Refuse { .. } => 2,
        Control::Ping { .. } => 3,
        Control::Pong { .. } => 4,
        Control::LaneRequest { .. } => 5,
        Control::LaneWanted => 6,
        Control::LaneTicket { .. } => 7,
        Control::Open(_) => 8,
        Control::Accept { .. } => 9,
        Control::Reject { .. } => 10,
        Control::Grant { .. } => 11,
        Control::Received { .. } => 12,
        Control::Lost { .. } => 13,
        Control::Delivered { .. } => 14,
        Control::Done { .. } => 15,
        Control::Fail { .. } => 16,
        Control::Pause { .. } => 17,
        Control::Unpause { .. } => 18,
        Control::Goodbye { .. } => 19,
        Control::Processed { .. } => 20,
        Control::Heard { .. } => 21,
        Control::Messages { .. } => 22,
        Control::Unknown { .. } => 23,
        Control::Waiting { .. } => 24,
        Control::Process { .. } => 25,
        Control::Remarks { .. } => 26,
        Control::Passed { word: Word::Delivered(_), .. } => 27,
        Control::Passed { word: Word::Processed { .. }, .. } => 28,
        Control::Passed { word: Word::Failed(_), .. } => 29,
        Control::Passed { word: Word::Lapsed(_), .. } => 30,
    }
}

fn opening() -> Opening {
    let name = ContentName::new("big.tar").unwrap();
    Opening {
        stream: 1,
        transfer: TransferId::from_bytes([3; 24]),
        attempt: 4,
        key: [5; 32].into(),
        commit: [6; 32],
        inbox: "in".into(),
        content: Content::new(ContentKind::File { mode: 0o644, mtime: -7 }, name, Some(8)),
        chunk_size: 1 << 18,
        suite: Suite::XSALSA20_POLY1305,
        stages: vec!["codec:lz4".into()],
        version: Some([11; 32]),
        created: 9,
        expires: 10,
        remaining: 11,
    }
}

/// Every kind of item, with and without what goes along, and a message.
fn messages(write: Write<'_>) {
    let trace: TraceContext =
        "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".parse().unwrap();
    let traced = TraceContext { state: "a=b".into(), ..trace.clone() };
    let traced = Along { trace: Some(traced), on_behalf: None };
    let on_behalf = Along { on_behalf: Some("till".into()), ..traced.clone() };
    let (call, target, body) = (300, 0, &b"body"[..]);
    let here = [
        Item::Bind { target, name: "sum", message: "test.Add", version: 1 },
        Item::Tell { target, body },
        Item::Call { call, target, shape: Shape::Both, body },
        Item::Request { call, body },
        Item::RequestsEnd { call },
        Item::Cancel { call },
        Item::Watch { watch: 1, name: "sum" },
        Item::Unwatch { watch: 1 },
        Item::Deliver { log: [5; 16], number: 1, before: 0, target, expires: 77, body },
        Item::Begin { total: 4 },
        Item::Part { bytes: body },
    ];
    let back = [
        Item::Reply { call, body },
        Item::RepliesEnd { call },
        Item::Failed { call, code: 7, text: "no" },
        Item::Consumed { target, tells: 3, cost: 200 },
        Item::Credit { call, of_requests: true, cost: 9 },
        Item::Undelivered { target, count: 2, code: 1, text: "gone" },
        Item::Status { watch: 1, up: false, code: 2 },
        Item::Taken { log: [5; 16], number: 1, code: 0, text: "" },
    ];
    let sown: BTreeSet<_> = here.iter().chain(&back).map(number_of_item).collect();
    assert_eq!(sown, (0..=18).collect(), "there is one of each");
    let batches = [
        (&here[..], None),
        (&back[..], None),
        (&here[1..3], Some(&traced)),
        (&here[1..3], Some(&on_behalf)),
    ];
    for (number, (items, along)) in batches.into_iter().enumerate() {
        let mut batch = Vec::new();
        items.iter().for_each(|item| item.encode(along, &mut batch));
        write("batch", number, &batch);
    }
    let everything = Everything {
        number: -70_000,
        text: "text".into(),
        choice: Choices::Few(vec![Choices::Nothing, Choices::One(true)]),
        list: vec![(1, Some('é')), (300, None)],
        map: [("key".into(), vec![1, u64::MAX])].into(),
        bytes: vec![0; 5],
        added: vec!["new".into()],
    };
    let mut message = Vec::new();
    codec::encode_message(&everything, &mut message).unwrap();
    write("message", 0, &message);
    nested(write);
    write("traceparent", 0, trace.to_string().as_bytes());
}

/// Returns the number of an item, as [`number_of`] does of a control message.
fn number_of_item(item: &Item<'_>) -> usize {
    match item {
        Item::Bind { .. } => 0,
        Item::Tell { .. } => 1,
        Item::Call { .. } => 2,
        Item::Request { .. } => 3,
        Item::RequestsEnd { .. } => 4,
        Item::Reply { .. } => 5,
        Item::RepliesEnd { .. } => 6,
        Item::Failed { .. } => 7,
        Item::Cancel { .. } => 8,
        Item::Consumed { .. } => 9,
        Item::Credit { .. } => 10,
        Item::Undelivered { .. } => 11,
        Item::Watch { .. } => 12,
        Item::Unwatch { .. } => 13,
        Item::Status { .. } => 14,
        Item::Deliver { .. } => 15,
        Item::Taken { .. } => 16,
        Item::Begin { .. } => 17,
        Item::Part { .. } => 18,
    }
}

/// One of each way of nesting, and as deep as may be.
fn nested(write: Write<'_>) {
    let field = Nested::Field { next: Some(Box::new(Nested::Leaf)), behind: 7 };
    let lists = Nested::Lists(
        vec![Nested::Leaf, field],
        [(7, Nested::Boxed(Box::new(Nested::Leaf)))].into(),
    );
    let units = Nested::Units(vec![(); 300], vec![[(); 32]; 3], [((), ())].into());
    let deep = (0..120).fold(Nested::Leaf, |next, _| Nested::Boxed(Box::new(next)));
    for (number, value) in [lists, units, deep].into_iter().enumerate() {
        let mut message = Vec::new();
        codec::encode_message(&value, &mut message).unwrap();
        write("nested", 2 * number, &message);
        write("nested", 2 * number + 1, &codec::encode(&value).unwrap());
    }
}

/// A package of one chunk and what ends it, its label, and its letter.
fn packages(write: Write<'_>) {
    let (sender, receiver) = correspondents();
    let label = PackageLabel {
        sender: sender.peer(),
        receiver: receiver.peer(),
        transfer: TransferId::from_bytes([3; 24]),
        created: 1,
        expires: 2,
        chunk_size: 1024,
        suite: Suite::XSALSA20_POLY1305,
        stages: vec!["rot13".into()],
    };
    let content = Content::new(ContentKind::Bytes, ContentName::new("letter").unwrap(), Some(5));
    let letter = Letter::new(&TransferKey::from_bytes([9; 32]), Suite(1), "in".into(), content);
    let letter = Letter { version: Some([1; 32]), token: Some([2; 32].into()), ..letter };
    let header = PackageHeader::seal(&sender, label.clone(), &letter).unwrap();
    let (mut package, mut frames) = (header.as_bytes().to_vec(), Frames::new(&label));
    for (index, flags) in [(0, 0), (1, FLAG_LAST)] {
        let header = FrameHeader { len: 40, kind: FrameKind::Chunk, flags, stream: 1, index };
        let frame = [&header.encode()[..], &[5; 40]].concat();
        package.extend_from_slice(&frame);
        package.extend(frames.append(&frame).unwrap());
    }
    write("package", 0, &package);
    write("package", 1, &codec::encode(&label).unwrap());
    write("package", 2, &codec::encode(&letter).unwrap());
    let attributes = Attributes::new(vec![(b"user.note".to_vec(), b"x".to_vec())]).unwrap();
    let content = letter.content.with_data(Some(1)).with_attributes(attributes);
    write("package", 3, &codec::encode(&Letter { content, ..letter }).unwrap());
}

/// The stream of a small folder, whose modes and times do not depend on who writes it and when.
fn tree() -> Vec<u8> {
    let temporary = tempfile::tempdir().unwrap();
    let folder = temporary.path().join("folder");
    fs::create_dir_all(folder.join("deep/empty")).unwrap();
    fs::write(folder.join("file"), "hello").unwrap();
    for (name, mode) in [("file", 0o644), ("deep/empty", 0o755), ("deep", 0o755), ("", 0o755)] {
        let path = folder.join(name);
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        fs::File::open(&path).unwrap().set_modified(time).unwrap();
    }
    let mut source = TreeSource::new(vec![folder]).unwrap();
    let (mut stream, mut buffer) = (Vec::new(), [0; 4096]);
    // A tree is read from the disk, which blocks: its future is ready at once.
    while let Some(Ok(read)) =
        source.read(&mut buffer).now_or_never().filter(|read| !matches!(read, Ok(0)))
    {
        stream.extend_from_slice(&buffer[..read]);
    }
    stream
}

/// A tree stream with links, a further name, attributes, a remark, and what could not be read.
fn every_entry() -> Vec<u8> {
    let path = |text: &str| TreePath::new(text).unwrap();
    let (mut writer, mut out) = (TreeWriter::new(), Vec::new());
    writer.begin(&mut out);
    writer.attribute(b"user.note", b"hello", &mut out);
    writer.entry(&Entry::File { path: path("a"), mode: 0o644, mtime: 1, size: 1 }, &mut out);
    out.push(b'x');
    writer.file_end(FileStatus::Complete, &mut out);
    writer.entry(&Entry::Link { path: path("l"), mtime: 2, target: b"a".to_vec() }, &mut out);
    writer.entry(&Entry::HardLink { path: path("b"), target: path("a") }, &mut out);
    writer
        .entry(&Entry::OutwardLink { path: path("c"), mtime: 2, target: b"/c".to_vec() }, &mut out);
    writer.remark("no", &mut out);
    writer.unread(b"d", &mut out);
    writer.unread(b"", &mut out);
    writer.end(&mut out);
    out
}
