//! Fuzz targets for every decoder of bytes that a peer, a file or a user can choose.
//!
//! Each takes any bytes, and holds that the decoder neither panics nor accepts what it would not
//! write itself. The programs in `fuzz_targets/` run them under libFuzzer; `tests/replay.rs`
//! replays the corpus and mutations of it in every test run.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use estafette::delivery::{ContentName, KeyScope, Trailer, TransferId, TransferKey};
use estafette::pipeline::{Compressed, Custody, Parcel, Prefix, SharedCodec, Transfer, Transform};
use estafette::wire::message::{Item, Items};
use estafette::wire::package::{Frames, Letter, PackageHeader, PackageLabel};
use estafette::wire::{
    Control, FrameDecoder, FrameHeader, HEADER_LENGTH, Identity, KNOCK_LENGTH, KnockKey,
    LaneResponder, LinkResponder, PREAMBLE_LENGTH, PeerId, Preamble, PreambleReply, REPLY_LENGTH,
    Suite, Ticket, TraceContext, codec, codec::CodecError, envelope as envelopes, handshake_length,
};
use estafette_actors::compress::{Decompressor, Lz4, Snappy};
use estafette_actors::tree::TreeReader;
use estafette_topology::{Document, Graph};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// A target and its name.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("frame_header", frame_header),
    ("frame_stream", frame_stream),
    ("preamble", preamble),
    ("preamble_reply", preamble_reply),
    ("control", control),
    ("handshake", handshake),
    ("ticket", ticket),
    ("peer_id", peer_id),
    ("prefix", prefix),
    ("trailer", trailer),
    ("tree", tree),
    ("compressed", compressed),
    ("content_name", content_name),
    ("envelope", envelope),
    ("package", package),
    ("batch", batch),
    ("message", message),
    ("nested", nested),
    ("traceparent", traceparent),
    ("topology", topology),
];

const MAX_FRAME: u32 = 1 << 20;

/// The 24 bytes before every frame.
pub fn frame_header(data: &[u8]) {
    let Some(bytes) = data.first_chunk::<HEADER_LENGTH>() else { return };
    if let Ok(header) = FrameHeader::decode(bytes, MAX_FRAME) {
        assert!(header.len <= MAX_FRAME);
        assert_eq!(&header.encode(), bytes);
    }
}

/// Frames in pieces of any length give the same as all at once.
pub fn frame_stream(data: &[u8]) {
    let whole = frames(&[data]);
    let cut = data.first().map_or(0, |&byte| usize::from(byte) % (data.len() + 1));
    let (head, tail) = data.split_at(cut);
    assert_eq!(whole, frames(&[head, tail]));
}

fn frames(pieces: &[&[u8]]) -> (usize, bool) {
    let (mut decoder, mut buffer, mut count) = (FrameDecoder::new(MAX_FRAME), BytesMut::new(), 0);
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&mut buffer) {
                Ok(Some(_)) => count += 1,
                Ok(None) => break,
                Err(_) => return (count, false),
            }
        }
    }
    (count, true)
}

/// The first message of an initiator.
pub fn preamble(data: &[u8]) {
    let Some(bytes) = data.first_chunk::<PREAMBLE_LENGTH>() else { return };
    let key = KnockKey::of(correspondents().1.peer());
    // A MAC is not guessed: with the right one, what is behind it is reached too.
    let mut vouched = *bytes;
    let (content, mac) = vouched.split_last_chunk_mut::<KNOCK_LENGTH>().expect("60 bytes hold 16");
    *mac = key.of_preamble(content);
    for bytes in [bytes, &vouched] {
        if let Ok(preamble) = Preamble::decode(bytes, &key) {
            assert_eq!(&preamble.encode(&key), bytes);
        }
    }
}

/// The answer of a responder.
pub fn preamble_reply(data: &[u8]) {
    let Some(bytes) = data.first_chunk::<REPLY_LENGTH>() else { return };
    if let Ok(reply) = PreambleReply::decode(bytes) {
        assert_eq!(&reply.encode(), bytes);
    }
}

/// Control messages, as they are once opened.
pub fn control(data: &[u8]) {
    if let Ok(control) = Control::decode(data) {
        // Texts are cut where they are too long, so what is written may be shorter; it reads back
        // as the same.
        let written = control.encode().expect("what was read can be written");
        assert_eq!(Control::decode(&written).as_ref(), Ok(&control));
    }
}

/// The first message of a handshake, of a link and of a lane.
pub fn handshake(data: &[u8]) {
    if let Some(length) = data.first_chunk::<2>() {
        // A length is an error or a bounded one.
        let _ = handshake_length(*length);
    }
    let identity = Identity::from_secret([7; 32]);
    let knock = KnockKey::of(identity.peer());
    assert!(knock.open(b"prologue", data).is_err(), "nobody can guess a MAC");
    assert_eq!(knock.open(b"prologue", &knock.seal(b"prologue", data.to_vec())), Ok(data));
    let link = LinkResponder::new(&identity, b"prologue").expect("a good key").read(data);
    let lane = LaneResponder::new(&[7; 32], b"prologue").expect("a good key").read(data);
    assert!(link.is_err() && lane.is_err(), "nobody can guess a handshake");
}

/// A pasted ticket.
pub fn ticket(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(ticket) = text.parse::<Ticket>() {
        assert_eq!(ticket.to_string().parse::<Ticket>(), Ok(ticket));
    }
}

/// A peer's id.
pub fn peer_id(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(peer) = text.parse::<PeerId>() {
        assert_eq!(peer.to_string().parse::<PeerId>(), Ok(peer));
    }
}

/// The prefix of a body.
pub fn prefix(data: &[u8]) {
    if let Ok(prefix) = Prefix::decode(data) {
        assert_eq!(prefix.encode(), data[..Prefix::LENGTH]);
    }
}

/// The end of a transfer.
pub fn trailer(data: &[u8]) {
    if let Ok(trailer) = Trailer::decode(data) {
        assert_eq!(trailer.encode(), data);
    }
}

/// A tree from a stranger, in one piece and in many.
pub fn tree(data: &[u8]) {
    let step = data.last().map_or(1, |&byte| usize::from(byte).max(1));
    assert_eq!(events(data, data.len().max(1)), events(data, step));
}

fn events(data: &[u8], step: usize) -> bool {
    let mut reader = TreeReader::new();
    for mut piece in data.chunks(step) {
        loop {
            match reader.next(&mut piece) {
                Ok(Some(_)) => {}
                Ok(None) => break,
                Err(_) => return false,
            }
        }
    }
    reader.finish().is_ok()
}

/// A compressed body that claims any length.
pub fn compressed(data: &[u8]) {
    const CHUNK_SIZE: u32 = 4096;
    let (sender, receiver) = (PeerId::from_bytes([1; 32]), PeerId::from_bytes([2; 32]));
    let transfer = TransferId::from_bytes([3; 24]);
    let scope = KeyScope {
        transfer,
        attempt: 0,
        suite: Suite::XSALSA20_POLY1305,
        sender,
        receiver,
        chunk_size: CHUNK_SIZE,
    };
    let codecs: [SharedCodec; 2] = [Arc::new(Snappy), Arc::new(Lz4)];
    for codec in codecs {
        let (transfer, _signals) =
            Transfer::bare(scope, TransferKey::from_bytes([9; 32]), Some(codec));
        let body = Compressed::from_parts(
            Custody::incoming(&transfer, 0, false, None),
            Bytes::copy_from_slice(data),
        );
        if let Ok(chunk) = Decompressor::default().apply(&body) {
            assert!((1..=CHUNK_SIZE as usize).contains(&chunk.bytes().len()));
        }
    }
}

/// The name of a delivery.
pub fn content_name(data: &[u8]) {
    if let Ok(name) = ContentName::new(data.to_vec()) {
        assert!(!data.contains(&b'/') && !data.contains(&0) && !name.to_string().contains('\n'));
    }
}

/// Returns the maker of the envelope of the corpus, and the one who opens it.
pub fn correspondents() -> (Identity, Identity) {
    (Identity::from_secret([8; 32]), Identity::from_secret([7; 32]))
}

/// The content of the envelope of the corpus.
pub const ENVELOPED: &[u8] = b"what was put in";

/// An envelope that came from anywhere.
pub fn envelope(data: &[u8]) {
    let (sender, receiver) = correspondents();
    if let Ok(opened) = envelopes::open(&receiver, b"beside", data) {
        assert_eq!(opened, (sender.peer(), ENVELOPED.to_vec()), "nobody can make another");
    }
}

/// A package that was on a disk or with a relay; and its label and its letter, as they are behind
/// checksum and seal.
pub fn package(data: &[u8]) {
    if let Ok(label) = codec::decode::<PackageLabel>(data) {
        assert_eq!(codec::encode(&label).as_deref(), Ok(data));
    }
    if let Ok(letter) = codec::decode::<Letter>(data) {
        assert_eq!(codec::encode(&letter).as_deref(), Ok(data));
    }
    let Some(Ok(length)) = data.first_chunk().map(PackageHeader::length) else { return };
    let Some((header, mut rest)) = data.split_at_checked(length) else { return };
    let Ok(header) = PackageHeader::decode(header) else { return };
    assert_eq!(header.as_bytes(), &data[..length]);
    let mut frames = Frames::new(header.label());
    while let Some(Ok(length)) = rest.first_chunk().map(|header| frames.length(header)) {
        let Some((record, behind)) = rest.split_at_checked(length) else { return };
        let index = frames.next();
        match frames.take(record) {
            Ok(frame) => assert!(frame.len() < record.len() && frames.next() == index + 1),
            Err(_) => return,
        }
        rest = behind;
    }
}

/// A batch of messages, as it is once opened.
pub fn batch(data: &[u8]) {
    let (mut items, mut again) = (Items::new(data), Vec::new());
    loop {
        match items.next_item() {
            Ok(Some((item, along))) => {
                let before = again.len();
                item.encode(along.as_ref(), &mut again);
                let along = along.unwrap_or_default();
                let variable = along.trace.as_ref().map_or(0, |trace| 32 + trace.state.len())
                    + along.on_behalf().map_or(0, |who| 8 + who.len())
                    + variable_length(&item);
                assert!(again.len() - before <= Item::OVERHEAD + variable);
            }
            Ok(None) => return assert_eq!(again, data),
            Err(_) => {
                assert!(data.starts_with(&again));
                return assert_eq!(items.next_item(), Ok(None), "nothing is read behind an error");
            }
        }
    }
}

fn variable_length(item: &Item<'_>) -> usize {
    match item {
        Item::Bind { name, message, .. } => name.len() + message.len(),
        Item::Tell { body, .. }
        | Item::Call { body, .. }
        | Item::Request { body, .. }
        | Item::Reply { body, .. }
        | Item::Deliver { body, .. }
        | Item::Part { bytes: body } => body.len(),
        Item::Failed { text, .. }
        | Item::Undelivered { text, .. }
        | Item::Taken { text, .. }
        | Item::Watch { name: text, .. } => text.len(),
        _ => 0,
    }
}

/// A message with everything in it that messages have.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub struct Everything {
    /// A number that is written in one to nine bytes.
    pub number: i64,
    /// A text.
    pub text: String,
    /// One of several.
    pub choice: Choices,
    /// A list, for a hostile length.
    pub list: Vec<(u16, Option<char>)>,
    /// Keys that may come twice.
    pub map: BTreeMap<String, Vec<u64>>,
    /// Bytes as they are.
    #[serde(with = "serde_bytes")]
    pub bytes: Vec<u8>,
    /// A field that an older program does not have.
    #[serde(default)]
    pub added: Vec<String>,
}

/// One of several.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Choices {
    /// Nothing.
    Nothing,
    /// One thing.
    One(bool),
    /// A few, which may be of the same kind.
    Few(Vec<Choices>),
}

/// Messages of users, from a peer.
pub fn message(data: &[u8]) {
    reads::<Everything>(data);
    reads::<Choices>(data);
    reads::<(u128, [i8; 3], f32)>(data);
    reads::<Result<BTreeMap<u8, String>, ()>>(data);
}

/// A message that nests in itself in each of the ways there are, with elements that have no bytes.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Nested {
    /// Nothing.
    Leaf,
    /// Within one.
    Boxed(Box<Nested>),
    /// Within a struct, and an option.
    Field {
        /// The next one, which may be there.
        next: Option<Box<Nested>>,
        /// And what is behind it.
        behind: u8,
    },
    /// Within a list and a map.
    Lists(Vec<Nested>, BTreeMap<u8, Nested>),
    /// As many as one likes, of nothing.
    Units(Vec<()>, Vec<[(); 32]>, BTreeMap<(), ()>),
}

/// Checks that what is nested or counted without end is an error, for messages and for what the
/// wire itself says, and that what is read can be written.
pub fn nested(data: &[u8]) {
    reads::<Nested>(data);
    reads::<Vec<Vec<()>>>(data);
    if let Ok(value) = codec::decode::<Nested>(data)
        && let Some(written) = unless_shorter(codec::encode(&value))
    {
        assert_eq!(codec::decode::<Nested>(&written), Ok(value));
    }
}

/// Checks that what was read can be written; but for what has fewer bytes then, since numbers took
/// more than they need: as many elements may be read as there are bytes for.
fn unless_shorter<T>(written: Result<T, CodecError>) -> Option<T> {
    match written {
        Err(CodecError::TooMany { .. }) => None,
        written => Some(written.expect("what was read can be written")),
    }
}

fn reads<T: Debug + Serialize + DeserializeOwned>(data: &[u8]) {
    let Ok(value) = codec::decode_message::<T>(data) else { return };
    let mut written = Vec::new();
    if unless_shorter(codec::encode_message(&value, &mut written)).is_none() {
        return;
    }
    let again = codec::decode_message::<T>(&written).expect("what was written can be read");
    // In words: a number may be none.
    assert_eq!(format!("{value:?}"), format!("{again:?}"));
}

/// A trace from elsewhere.
pub fn traceparent(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(trace) = text.parse::<TraceContext>() {
        assert_eq!(trace.to_string().parse(), Ok(trace));
    }
}

/// A topology of a user: whatever is in it is told at its place, and drawn.
pub fn topology(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let document = Document::parse("topology.toml", text);
    let report = document.check(&estafette_actors::standard());
    for fault in report.faults() {
        assert!(fault.span.clone().is_none_or(|span| text.get(span).is_some()), "{fault:?}");
    }
    report.draw(false);
    // One that is at fault is drawn, too; one that is too large for a picture is told so.
    let graph = Graph::of(document.topology());
    drop((graph.to_svg(), graph.to_mermaid(), graph.to_dot(), graph.to_json()));
}
