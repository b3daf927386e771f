//! A trusted peer that breaks the protocol of messages: its link ends, says why, and costs nobody
//! else anything.

use estafette::wire::message::{Item, Shape};
use estafette::wire::{Control, FLAG_LAST};
use futures_util::future::BoxFuture;

use super::post::{Echo, Hang, Post, batch, bind, body, serves_lyon, world};
use super::world::{World, link_down, within};

/// A misdeed of a peer.
type Misdeed = Box<dyn for<'a> FnOnce(&'a mut Post) -> BoxFuture<'a, ()>>;

/// Sends these items.
fn items(items: Vec<Item<'static>>) -> Misdeed {
    raw(batch(&items))
}

/// Sends this as a batch, sealed as it must be.
fn raw(batch: Vec<u8>) -> Misdeed {
    frame(move |post| post.batch(&batch))
}

/// Announces messages, and sends this.
fn frame(make: impl FnOnce(&mut Post) -> Vec<u8> + 'static) -> Misdeed {
    Box::new(move |post| {
        let frame = make(post);
        Box::pin(async move {
            post.announce().await;
            post.link.channel.say_bytes(&frame).await;
        })
    })
}

/// Says this instead of an announcement.
fn says(make: impl FnOnce(&Post) -> Vec<Control> + 'static) -> Misdeed {
    Box::new(move |post| {
        let words = make(post);
        Box::pin(async move {
            for word in words {
                post.link.say(&word).await;
            }
        })
    })
}

/// Each ends a link of its own for this reason, and lyon is served.
async fn each_ends_its_link(world: World, cases: Vec<(&'static str, Misdeed)>) {
    for (reason, misdeed) in cases {
        let mut events = world.paris.events();
        let mut post = Post::connect(&world.mallory).await;
        misdeed(&mut post).await;
        let why = link_down(&mut events, world.mallory.id()).await;
        assert!(why.contains(reason), "{why} instead of {reason}");
        super::peer::closed(post.link.channel.io).await;
        serves_lyon(&world).await;
    }
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn batches_that_are_not_as_they_were_announced_end_the_link() {
    let cases: Vec<(&'static str, Misdeed)> = vec![
        (
            "a chunk on the express lane",
            Box::new(|post| {
                let frame = post.batch(&[]);
                Box::pin(async move { post.link.channel.say_bytes(&frame).await })
            }),
        ),
        ("a second time", says(|post| vec![post.announcement(), post.announcement()])),
        (
            "not the one it commits to",
            says(|post| {
                let Control::Messages { transfer, key, mut commitment } = post.announcement()
                else {
                    unreachable!()
                };
                commitment[0] ^= 1;
                vec![Control::Messages { transfer, key, commitment }]
            }),
        ),
        ("batch 1 instead of 0", frame(|post| post.sealed(1, 0, &[]))),
        (
            "batch 0 instead of 1",
            frame(|post| post.sealed(0, 0, &batch(&[Item::Cancel { call: 1 }])).repeat(2)),
        ),
        ("a chunk of 0 bytes", raw(vec![])),
        ("a chunk on the express lane", frame(|post| post.sealed(0, FLAG_LAST, &[]))),
        (
            "damaged",
            frame(|post| {
                let mut frame = post.sealed(0, 0, &batch(&[Item::Cancel { call: 1 }]));
                *frame.last_mut().unwrap() ^= 1;
                frame
            }),
        ),
        ("is unknown", raw(vec![0x55; 100])),
        ("middle of an item", raw(vec![2, 0, 200])),
    ];
    each_ends_its_link(world(21).await, cases).await;
}

#[tokio::test]
async fn items_that_make_no_sense_end_the_link() {
    let call = |call, target| Item::Call { call, target, shape: Shape::Ask, body: b"" };
    let again = Item::Call { call: 7, target: 0, shape: Shape::Ask, body: &[0] };
    let cases = vec![
        ("out of turn", items(vec![bind::<Echo>(1)])),
        ("out of turn", items(vec![bind::<Echo>(0), bind::<Echo>(0)])),
        ("never named", items(vec![Item::Tell { target: 0, body: b"" }])),
        ("never named", items(vec![call(1, u32::MAX)])),
        ("two calls with the number 7", items(vec![bind::<Hang>(0), again, again])),
        ("has no more", items(vec![bind::<Hang>(0), again, Item::Request { call: 7, body: b"" }])),
        ("never named", items(vec![Item::Consumed { target: 0, tells: u64::MAX, cost: u64::MAX }])),
        (
            "never named",
            items(vec![Item::Undelivered { target: 3, count: u64::MAX, code: 0, text: "" }]),
        ),
    ];
    each_ends_its_link(world(22).await, cases).await;
}

/// The parts of an item that comes in parts, up to its last part.
fn in_parts(whole: &[u8]) -> Vec<u8> {
    let total = u32::try_from(whole.len()).unwrap();
    batch(&[Item::Begin { total }, Item::Part { bytes: whole }])
}

#[tokio::test]
async fn parts_that_do_not_come_to_one_item_end_the_link() {
    let (begin, part) = (|total| Item::Begin { total }, |bytes| Item::Part { bytes });
    // Taken as they claim to be, each would be inside the one before.
    let mut nested = batch(&[Item::Unwatch { watch: 1 }]);
    while nested.len() < 60_000 {
        nested = [batch(&[Item::Unwatch { watch: 1 }]), in_parts(&nested)].concat();
    }
    let cases = vec![
        ("a part of nothing", items(vec![part(b"lost")])),
        ("too long", items(vec![begin(0)])),
        ("too long", items(vec![begin(u32::MAX)])),
        ("within another", items(vec![begin(9), begin(9)])),
        ("does not fit", items(vec![begin(9), part(b"")])),
        ("does not fit", items(vec![begin(9), part(b"12345"), part(b"67890")])),
        ("does not come in parts", raw(in_parts(&batch(&[begin(9)])))),
        ("does not come in parts", raw(in_parts(&batch(&[bind::<Echo>(0)])))),
        (
            "not one item",
            raw(in_parts(&batch(&[Item::Unwatch { watch: 1 }, Item::Unwatch { watch: 1 }]))),
        ),
        ("not one item", raw(in_parts(&nested))),
        ("is unknown", raw(in_parts(&[0x55; 100]))),
    ];
    each_ends_its_link(world(23).await, cases).await;
}

#[tokio::test]
async fn messages_that_were_not_agreed_on_end_the_link() {
    let mut world = world(24).await;
    let announcement = Post::connect(&world.mallory).await.announcement();
    world.mallory.features = 0;
    let mut link = world.mallory.link().await;
    link.say(&announcement).await;
    let reason = link.closes().await.expect("a goodbye");
    assert!(reason.contains("not agreed on"), "{reason}");
    serves_lyon(&world).await;
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn tells_behind_the_name_of_their_target_give_their_credit_back() {
    let world = world(25).await;
    let mut post = Post::begin(&world.mallory).await;
    let body = body(1);
    let tell = Item::Tell { target: 0, body: &body };
    post.send(&[bind::<Echo>(0), tell, tell, tell]).await;
    let consumed = post.until(|item| {
        if let Item::Consumed { target: 0, tells, cost } = item {
            Some((tells, cost))
        } else {
            None
        }
    });
    assert_eq!(consumed.await, (3, 3 * (64 + body.len() as u64)));
    drop(post);
    world.unharmed_by_mallory().await;
}

#[tokio::test]
async fn what_answers_nothing_and_who_is_not_trusted_with_a_name_change_nothing() {
    let mut world = world(26).await;
    let mut post = Post::begin(&world.mallory).await;
    for call in [0, 1, u64::MAX] {
        post.send(&[
            Item::Reply { call, body: b"unasked" },
            Item::RepliesEnd { call },
            Item::Failed { call, code: 200, text: "no\u{1b}[2J" },
            Item::Request { call, body: b"" },
            Item::RequestsEnd { call },
            Item::Cancel { call },
            Item::Credit { call, of_requests: true, cost: u64::MAX },
            Item::Credit { call, of_requests: false, cost: u64::MAX },
            Item::Status { watch: call, up: true, code: 0 },
            Item::Unwatch { watch: call },
        ])
        .await;
    }
    post.link.stands().await;
    let trust = estafette::TrustedPeer {
        inboxes: vec!["in".into()],
        ..estafette::TrustedPeer::new("mallory")
    };
    world.paris.trust().add(world.mallory.id(), trust).unwrap();
    let body = body(1);
    post.send(&[
        bind::<Echo>(0),
        Item::Call { call: 1, target: 0, shape: Shape::Ask, body: &body },
        Item::Watch { watch: 1, name: "target" },
    ])
    .await;
    let refused =
        post.until(
            |item| if let Item::Failed { call: 1, code, .. } = item { Some(code) } else { None },
        );
    assert_eq!(refused.await, estafette::RemoteErrorKind::Forbidden as u8);
    within(serves_lyon(&world)).await;
    drop(post);
    world.honest_delivery().await;
    world.unharmed_by_mallory().await;
}
