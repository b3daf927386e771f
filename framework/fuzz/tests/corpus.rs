//! Writes the corpus anew: `cargo test -p estafette-fuzz --test corpus -- --ignored`.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::fs;
use std::path::Path;

use estafette::Ticket;
use estafette::delivery::{
    Attributes, Content, ContentKind, ContentName, Trailer, TransferId, TransferKey,
};
use estafette::pipeline::{Codec, Prefix, Source};
use estafette::wire::message::{Item, Shape};
use estafette::wire::package::{Frames, Letter, PackageHeader, PackageLabel};
use estafette::wire::{
    Along, Control, FLAG_LAST, FrameHeader, FrameKind, KnockKey, PeerId, Preamble, PreambleReply,
    Purpose, Ranges, RefuseReason, Suite, TraceContext, codec, envelope, negotiate,
};
use estafette_actors::source::TreeSource;
use estafette_actors::tree::{Entry, FileStatus, TreePath, TreeWriter};
use estafette_fuzz::{Choices, ENVELOPED, Everything, Nested, correspondents};
use futures_util::FutureExt;

#[test]
#[ignore = "writes into the source tree"]
fn write_the_corpus() {
    let header = FrameHeader { len: 5, kind: FrameKind::Chunk, flags: 1, stream: 2, index: 3 };
    let frame = [&header.encode()[..], b"12345"].concat();
    let key = KnockKey::of(correspondents().1.peer());
    let preamble = Preamble { nonce: [6; 16], ..Preamble::new(Purpose::Lane([5; 16])) };
    let reply = PreambleReply { nonce: [7; 16], ..negotiate(&preamble) };
    let peer = PeerId::from_bytes([7; 32]);
    let ticket = Ticket::new(peer, vec!["127.0.0.1:7400".into()], "files".into(), [9; 32]).unwrap();
    let prefix = Prefix { codec: Codec::SNAPPY, raw_len: 5, index: 0 };
    let raw = Prefix { codec: Codec::RAW, raw_len: 5, index: 0 };
    let controls = [
        Control::Grant { stream: 1, limit: 9 },
        Control::Received { stream: 1, indices: Ranges::new(vec![(0, 4), (6, 7)]).unwrap() },
        Control::Refuse { reason: RefuseReason::Other("no".into()) },
        Control::Hello { name: "lyon".into(), token: Some([1; 32].into()), inbox: None },
        Control::Messages {
            transfer: TransferId::from_bytes([6; 24]),
            key: [5; 32].into(),
            commitment: [8; 32],
        },
        Control::Accept {
            stream: 1,
            limit: 9,
            received: Ranges::new(vec![(0, 4)]).unwrap(),
            trailer: true,
        },
        Control::Unknown { stream: 1 },
        Control::Waiting { stream: 1, running: 3 },
        Control::Process { incarnation: [4; 16] },
        Control::Remarks { stream: 1, lines: vec!["no".into()] },
    ];
    write("frame_header", 0, &header.encode());
    write("frame_stream", 0, &frame.repeat(3));
    write("preamble", 0, &preamble.encode(&key));
    write("preamble_reply", 0, &reply.encode());
    controls
        .iter()
        .enumerate()
        .for_each(|(number, control)| write("control", number, &control.encode().unwrap()));
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
    packages();
    messages();
}

/// Every kind of item, with and without what goes along, and a message.
fn messages() {
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
    nested();
    write("traceparent", 0, trace.to_string().as_bytes());
}

/// One of each way of nesting, and as deep as may be.
fn nested() {
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
fn packages() {
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

/// The stream of a small folder.
fn tree() -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("deep/empty")).unwrap();
    fs::write(folder.path().join("file"), "hello").unwrap();
    std::os::unix::fs::symlink("file", folder.path().join("link")).unwrap();
    let mut source = TreeSource::new(vec![folder.path().to_owned()]).unwrap();
    let (mut stream, mut buffer) = (Vec::new(), [0; 4096]);
    // A tree is read from the disk, which blocks: its future is ready at once.
    while let Some(Ok(read)) =
        source.read(&mut buffer).now_or_never().filter(|read| !matches!(read, Ok(0)))
    {
        stream.extend_from_slice(&buffer[..read]);
    }
    stream
}

/// A tree stream with a further name, a link that leads out, attributes and a remark.
fn every_entry() -> Vec<u8> {
    let path = |text: &str| TreePath::new(text).unwrap();
    let (mut writer, mut out) = (TreeWriter::new(), Vec::new());
    writer.begin(&mut out);
    writer.attribute(b"user.note", b"hello", &mut out);
    writer.entry(&Entry::File { path: path("a"), mode: 0o644, mtime: 1, size: 1 }, &mut out);
    out.push(b'x');
    writer.file_end(FileStatus::Complete, &mut out);
    writer.entry(&Entry::HardLink { path: path("b"), target: path("a") }, &mut out);
    writer
        .entry(&Entry::OutwardLink { path: path("c"), mtime: 2, target: b"/c".to_vec() }, &mut out);
    writer.remark("no", &mut out);
    writer.end(&mut out);
    out
}

fn write(target: &str, number: usize, bytes: &[u8]) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join(number.to_string()), bytes).unwrap();
}
