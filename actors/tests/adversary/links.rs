//! A trusted peer that breaks the protocol on its link.

use estafette::FailureKind;
use estafette::wire::{
    CONTROL_BODY_LIMIT, Control, ControlSealer, Failure, FrameHeader, FrameKind, HEADER_LENGTH,
    Ranges, Receipt, RefuseReason, SecretBytes,
};

use super::peer::{MAX_FRAME, frame};
use super::world::{World, link_down};

/// A fault of a peer's words: what the node says about it, and the words.
type Wrong = (&'static str, Box<dyn FnOnce(&mut ControlSealer) -> Vec<u8>>);

fn wrong(
    reason: &'static str,
    bytes: impl FnOnce(&mut ControlSealer) -> Vec<u8> + 'static,
) -> Wrong {
    (reason, Box::new(bytes))
}

/// A frame with one byte of its header changed.
fn header(at: usize, value: u8) -> impl FnOnce(&mut ControlSealer) -> Vec<u8> {
    move |sealer| {
        let mut bytes = sealer.seal_control(&Control::Ping { nonce: 1 }).unwrap();
        bytes[at] = value;
        bytes
    }
}

#[tokio::test]
async fn what_is_no_message_closes_the_link_and_says_why() {
    let world = World::new(1).await;
    let chunk = FrameHeader { len: 40, kind: FrameKind::Chunk, flags: 0, stream: 1, index: 0 };
    let cases = [
        wrong("claims 65536 bytes", |_| frame(FrameHeader::control(CONTROL_BODY_LIMIT + 1), &[])),
        wrong("claims 4294967295 bytes", |_| frame(FrameHeader::control(u32::MAX), &[])),
        wrong("claims 4194304 bytes", move |_| frame(FrameHeader { len: MAX_FRAME, ..chunk }, &[])),
        wrong("a chunk on the express lane", move |_| frame(chunk, &[0; 40])),
        wrong("the kind 3", header(4, 3)),
        wrong("the kind 0", header(4, 0)),
        wrong("the flags 0x80", header(5, 0x80)),
        wrong("the reserved field", header(6, 1)),
        wrong("names stream 1", header(8, 1)),
        wrong("names stream 0 and index 1", header(16, 1)),
        wrong("does not verify", |sealer| {
            let mut bytes = sealer.seal_control(&Control::Ping { nonce: 1 }).unwrap();
            bytes[HEADER_LENGTH] ^= 1;
            bytes
        }),
        wrong("does not verify", |_| frame(FrameHeader::control(0), &[])),
        wrong("does not verify", |_| frame(FrameHeader::control(15), &[7; 15])),
        wrong("does not verify", |sealer| {
            sealer.seal_control(&Control::Ping { nonce: 1 }).unwrap().repeat(2)
        }),
        wrong("does not verify", |sealer| {
            drop(sealer.seal_control(&Control::Ping { nonce: 1 }));
            sealer.seal_control(&Control::Ping { nonce: 2 }).unwrap()
        }),
        wrong("ends before its value", |sealer| sealer.seal(&[]).unwrap()),
        wrong("malformed", |sealer| sealer.seal(&[99, 0, 0, 0]).unwrap()),
        wrong("has 1 too many", |sealer| {
            sealer.seal(&[&Control::LaneWanted.encode().unwrap()[..], &[0]].concat()).unwrap()
        }),
        // A text that claims to be longer than memory.
        wrong("message", |sealer| sealer.seal(&[&[0, 0, 0, 0][..], &[0xff; 8]].concat()).unwrap()),
        // 65,000 ranges, of which each is empty.
        wrong("message", |sealer| {
            let head =
                [&12_u32.to_le_bytes()[..], &1_u64.to_le_bytes(), &4000_u64.to_le_bytes()].concat();
            sealer.seal(&[head, vec![0; 16 * 4000]].concat()).unwrap()
        }),
    ];
    for (reason, bytes) in cases {
        let mut events = world.paris.events();
        let mut link = world.mallory.link().await;
        link.stands().await;
        let bytes = bytes(&mut link.channel.sealer);
        link.channel.say_bytes(&bytes).await;
        link.closes().await;
        let why = link_down(&mut events, world.mallory.id()).await;
        assert!(why.contains(reason), "{why} instead of {reason}");
    }
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn what_belongs_elsewhere_closes_the_link_with_a_word() {
    let world = World::new(2).await;
    let cases = [
        Control::Hello { name: "mallory".into(), token: None, inbox: None },
        Control::Welcome { name: "mallory".into() },
    ];
    for control in cases {
        let mut link = world.mallory.link().await;
        link.say(&control).await;
        let reason = link.closes().await.expect("a goodbye");
        assert!(reason.contains(control.name()), "{reason}");
    }
    for control in [
        Control::Refuse { reason: RefuseReason::Untrusted },
        Control::Goodbye { reason: "\u{7}bell".into() },
    ] {
        let mut link = world.mallory.link().await;
        link.say(&control).await;
        link.closes().await;
    }
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn words_about_transfers_that_are_not_there_change_nothing() {
    let mut world = World::new(3).await;
    let mut link = world.mallory.link().await;
    let everything = Ranges::new(vec![(0, u64::MAX)]).unwrap();
    let scattered = Ranges::new((0..1024).map(|at| (2 * at, 2 * at + 1)).collect()).unwrap();
    let failure = Failure::new(FailureKind::Io, "no\u{1b}[2J").in_stage("sink").at_index(u64::MAX);
    let receipt = Receipt {
        digest: [0; 32],
        length: u64::MAX,
        place: "/etc/passwd".into(),
        files: u64::MAX,
        mac: [0; 32],
    };
    for stream in [0, 1, 2, 3, 77, u64::MAX - 1, u64::MAX] {
        let words = [
            Control::Accept {
                stream,
                limit: u64::MAX,
                received: everything.clone(),
                trailer: false,
            },
            Control::Reject { stream, failure: failure.clone() },
            Control::Grant { stream, limit: u64::MAX },
            Control::Received { stream, indices: everything.clone() },
            Control::Received { stream, indices: scattered.clone() },
            Control::Lost { stream, index: u64::MAX, failure: Some(failure.clone()) },
            Control::Delivered { stream, receipt: receipt.clone(), enclosed: None },
            Control::Done { stream },
            Control::Fail { stream, failure: failure.clone() },
            Control::Pause { stream },
            Control::Unpause { stream },
            Control::LaneTicket {
                lane: stream as u16,
                id: [1; 16],
                secret: SecretBytes::new([2; 32]),
            },
            Control::LaneRequest { lane: u16::MAX },
            Control::Pong { nonce: stream },
        ];
        for word in &words {
            link.say(word).await;
        }
        link.stands().await;
    }
    // Words about lyon's transfers, said by mallory, are words about others.
    let bytes = world.random.bytes(200_000);
    let sent = world.lyon.send("paris/in", super::world::source(&bytes)).await.unwrap();
    for stream in 0..40 {
        link.say(&Control::Fail { stream, failure: failure.clone() }).await;
        link.say(&Control::Pause { stream }).await;
    }
    link.stands().await;
    super::world::within(sent.delivered()).await.unwrap();
    world.check(&bytes).await;
    world.unharmed_by_mallory().await;
}
