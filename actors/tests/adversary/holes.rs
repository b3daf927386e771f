//! One batch of messages is damaged or lost, and later ones arrive with it: nothing behind the hole
//! is read, and nothing is taken for whole.

use std::cell::RefCell;
use std::sync::Arc;

use actix::{Actor, Context, Handler};
use estafette::node::StageRegistry;
use estafette::node::{EventStream, MemoryStore};
use estafette::pipeline::{Outlet, Parcel, Pipeline, Sealed};
use estafette::remote::{Called, RemoteMessage};
use estafette::wire::message::{Item, Shape};
use estafette::wire::{FEATURE_MESSAGES, HEADER_LENGTH, Suite};
use estafette::{Identity, Node};
use estafette_actors::seal::{Opener, Sealer};
use estafette_actors::standard;
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::peer::Mallory;
use super::post::{Post, batch, bind};
use super::world::{config, link_down, node, within};

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Mark")]
struct Mark(u64);

#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Collect")]
struct Collect(u64);

/// The end of a stream of requests, and an end before that.
const WHOLE: u64 = 1000;
const BROKEN: u64 = 2000;
/// The mark that is told on the next link.
const AFTER: u64 = 3000;
const LOG: [u8; 16] = [7; 16];
/// The error where no actor stands between the socket and whoever reads.
const AT_ONCE: &str = "a batch of messages is damaged: chunk 1 was changed on the way";

#[derive(Clone)]
struct Target(mpsc::UnboundedSender<u64>);

impl Actor for Target {
    type Context = Context<Self>;
}

impl Handler<Mark> for Target {
    type Result = ();

    fn handle(&mut self, Mark(number): Mark, _: &mut Context<Self>) {
        self.0.send(number).unwrap();
    }
}

impl Handler<Called<Collect>> for Target {
    type Result = ();

    fn handle(&mut self, Called { mut requests, replies }: Called<Collect>, _: &mut Context<Self>) {
        let noting = self.0.clone();
        actix::spawn(async move {
            while let Some(request) = requests.next().await {
                let Ok(Collect(number)) = request else { return noting.send(BROKEN).unwrap() };
                noting.send(number).unwrap();
            }
            noting.send(WHOLE).unwrap();
            drop(replies);
        });
    }
}

/// A stage that is an actor of its own, and throws a batch away, as no stage may.
struct Passage(Outlet<Sealed>, Option<u64>);

impl Actor for Passage {
    type Context = Context<Self>;
}

impl Handler<Sealed> for Passage {
    type Result = ();

    fn handle(&mut self, sealed: Sealed, _: &mut Context<Self>) {
        if self.1 != Some(sealed.custody().index()) {
            self.0.send(sealed);
        }
    }
}

/// The standard stages, but what opens stands behind an actor that may lose a batch.
fn staged(loses: Option<u64>) -> StageRegistry {
    let open = Pipeline::new()
        .then_actor("passage", move |outlet| Passage(outlet, loses).start().recipient())
        .then("open", Opener::new);
    standard().sealer(Suite::XSALSA20_POLY1305, Pipeline::new().then("seal", Sealer::new), open)
}

struct World {
    paris: Node,
    mallory: Mallory,
    noted: mpsc::UnboundedReceiver<u64>,
    events: EventStream,
}

impl World {
    async fn new(stages: StageRegistry) -> Self {
        let [paris, mallory] = [Identity::generate(), Identity::generate()];
        let spool = Arc::<MemoryStore>::default();
        let node =
            node("paris", &paris, config()).stages(stages).listen("127.0.0.1:0").spool(spool);
        let node = node.peer("mallory", mallory.peer(), [""; 0]).start().await.unwrap();
        let (noting, noted) = mpsc::unbounded_channel();
        let target = Target(noting);
        node.host("target", move || target.clone())
            .takes::<Mark>()
            .takes_calls::<Collect>()
            .start()
            .await
            .unwrap();
        let mut mallory = Mallory::new(mallory, node.peer(), node.addresses()[0].clone());
        mallory.features = FEATURE_MESSAGES;
        let events = node.events();
        Self { paris: node, mallory, noted, events }
    }

    async fn next(&mut self) -> u64 {
        within(self.noted.recv()).await.unwrap()
    }

    /// Sends these in one write, the one of that number damaged; why the link ended.
    async fn send(&mut self, batches: &[&[Item<'_>]], damaged: usize) -> String {
        let mut post = Post::begin(&self.mallory).await;
        let mut frames: Vec<Vec<u8>> =
            batches.iter().map(|items| post.batch(&batch(items))).collect();
        if let Some(byte) =
            frames.get_mut(damaged).and_then(|frame| frame.get_mut(HEADER_LENGTH + 20))
        {
            *byte ^= 4;
        }
        post.link.channel.say_bytes(&frames.concat()).await;
        within(link_down(&mut self.events, self.mallory.id())).await
    }

    /// Returns what reached the actor before something that is told on another link.
    async fn reached(&mut self) -> Vec<u64> {
        let mut post = Post::begin(&self.mallory).await;
        post.send(&[bind::<Mark>(0), Item::Tell { target: 0, body: &body(&Mark(AFTER)) }]).await;
        let mut reached = Vec::new();
        loop {
            match self.next().await {
                AFTER => break,
                number => reached.push(number),
            }
        }
        reached
    }
}

fn body<M: RemoteMessage>(message: &M) -> Vec<u8> {
    let mut bytes = Vec::new();
    estafette::wire::codec::encode_message(message, &mut bytes).unwrap();
    bytes
}

/// Batches 0, 1 and 2 of each kind of message; only 0 may be heard of, and what was begun there is
/// broken.
async fn nothing_behind(stages: impl Fn() -> StageRegistry, damaged: usize, wanted: &str) {
    let at_once = wanted == AT_ONCE;
    let [one, two, three] = [1, 2, 3].map(|number| body(&Mark(number)));
    let (bind, collect) = (bind::<Mark>(0), super::post::bind::<Collect>(1));
    let tell = |body| Item::Tell { target: 0, body };
    let ask = |call, body| Item::Call { call, target: 0, shape: Shape::Ask, body };
    let open = Item::Call { call: 9, target: 1, shape: Shape::Requests, body: &[] };
    let request = |body| Item::Request { call: 9, body };
    let letter = |number, before, body| Item::Deliver {
        log: LOG,
        number,
        before,
        target: 0,
        expires: u64::MAX,
        body,
    };
    // A message in parts: the whole of it, less what is lost, would be another one.
    let parts = batch(&[tell(&one), tell(&two), tell(&three)]);
    let (begin, part) = (Item::Begin { total: parts.len() as u32 / 3 * 2 }, |nth: usize| {
        let third = parts.len() / 3;
        Item::Part { bytes: &parts[nth * third..(nth + 1) * third] }
    });
    let kinds: [(&[&[Item<'_>]], &[u64]); 5] = [
        (&[&[bind, tell(&one)], &[tell(&two)], &[tell(&three)]], &[1]),
        (&[&[bind, ask(1, &one)], &[ask(2, &two)], &[ask(3, &three)]], &[1]),
        (
            &[
                &[collect, open, request(&one)],
                &[request(&two)],
                &[request(&three), Item::RequestsEnd { call: 9 }],
            ],
            &[1, BROKEN],
        ),
        // Whatever it says of the one before it.
        (&[&[bind, letter(1, 0, &one)], &[letter(2, 1, &two)], &[letter(3, 1, &three)]], &[1]),
        (&[&[bind, tell(&one)], &[begin, part(0)], &[part(1), part(2)]], &[1]),
    ];
    for (nth, (batches, reached)) in kinds.into_iter().enumerate() {
        let mut world = World::new(stages()).await;
        let why = world.send(batches, damaged).await;
        assert!(why.contains(wanted), "kind {nth}: {why}");
        let (letters, calls) = (
            matches!(batches[0][1], Item::Deliver { .. }),
            !matches!(batches[0][1], Item::Tell { .. } | Item::Deliver { .. }),
        );
        // A letter is stored first. Where stages are actors, the link may end before what came
        // whole has passed them.
        let mut there = if letters && at_once { vec![world.next().await] } else { vec![] };
        there.extend(world.reached().await);
        // A call ends with its link, and may have done so before the actor had it.
        assert!(there == reached || calls || !at_once, "kind {nth}: {there:?}");
        assert!(there.iter().all(|number| reached.contains(number)), "kind {nth}: {there:?}");
        world.paris.abort().await;
    }
}

#[tokio::test]
async fn nothing_behind_a_damaged_batch_is_read() {
    nothing_behind(standard, 1, AT_ONCE).await;
}

#[tokio::test]
async fn nothing_behind_a_damaged_batch_is_read_where_stages_are_actors() {
    nothing_behind(|| staged(None), 1, "batch").await;
}

#[tokio::test]
async fn nothing_behind_a_batch_that_a_stage_has_lost_is_read() {
    nothing_behind(|| staged(Some(1)), usize::MAX, "lost").await;
}

#[tokio::test]
async fn a_letter_whose_predecessor_was_left_out_ends_the_link_and_both_come_again() {
    let mut world = World::new(standard()).await;
    let bodies = [1, 2, 3].map(|number| body(&Mark(number)));
    let letter = |number: u64, before| Item::Deliver {
        log: LOG,
        number,
        before,
        target: 0,
        expires: u64::MAX,
        body: &bodies[number as usize - 1],
    };
    let why = world.send(&[&[bind::<Mark>(0), letter(1, 0)], &[letter(3, 2)]], usize::MAX).await;
    assert!(why.contains("follows letter 2"), "{why}");
    assert_eq!(world.next().await, 1);
    let mut post = Post::begin(&world.mallory).await;
    post.send(&[bind::<Mark>(0), letter(2, 0), letter(3, 2)]).await;
    assert_eq!([world.next().await, world.next().await], [2, 3]);
    let heard = RefCell::new(Vec::new());
    let all = |item: Item<'_>| {
        if let Item::Taken { number, code, .. } = item {
            heard.borrow_mut().push((number, code));
        }
        (heard.borrow().len() == 4).then_some(())
    };
    post.until(all).await;
    let mut heard = heard.into_inner();
    heard.sort_unstable();
    assert_eq!(
        heard,
        [(2, 0), (2, 1), (3, 0), (3, 1)],
        "each is stored, then handled, and said to be so by itself"
    );
    world.paris.shutdown().await;
}
