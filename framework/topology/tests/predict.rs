//! The calculation of what routes will do, and the dry path of a delivery: checked against each
//! other, against the limits of the topology, and against bytes on a real socket.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

use std::path::Path;
use std::time::Duration;

use estafette::TransferNews;
use estafette::node::{Direction, NodeEvent, TransferEvent};
use estafette_actors::standard;
use estafette_topology::{Bound, Document, Full, Prediction, Step, StepKind, Topology};

/// Nothing here takes longer unless it hangs.
const HANGS: Duration = Duration::from_secs(60);

const TEXT: &str = r#"
    [node.lyon]
    line = { speed = "1MiB", latency = "20ms" }
    [node.paris]
    listen = "127.0.0.1:7411"
    line = "4MiB"
    relay = { packages = 100, bytes = "1GiB" }
    [node.brest]
    listen = "127.0.0.1:7412"
    line = { speed = "8MiB", latency = "10ms" }
    [inbox.letters]
    node = ["paris", "brest"]
    sink = { folder = "in-{node}" }
    [route.post]
    from = "lyon"
    source = { paths = "letter" }
    to = "paris/letters"
    expected = { bytes = "10MiB", every = "1m", ratio = 0.5 }
"#;

fn topology(text: &str) -> Topology {
    let document = Document::parse("topology.toml", text);
    let report = document.check(&standard());
    assert!(report.is_empty(), "{report}");
    document.topology().clone()
}

fn one(text: &str) -> Prediction {
    let mut predictions = topology(text).predictions(&standard());
    assert_eq!(predictions.len(), 1);
    predictions.remove(0)
}

fn near(one: f64, other: f64) -> bool {
    (one - other).abs() <= other.abs() * 1e-9
}

#[test]
fn a_delivery_takes_what_is_sent_over_the_speed_of_the_slowest_part() {
    let post = one(TEXT);
    // 40 chunks of 256 KiB and the end, 56 bytes each more.
    assert_eq!((post.bytes, post.wire_bytes), (10 << 20, (5 << 20) + 41 * 56));
    let way = &post.ways[0];
    assert_eq!((way.from.as_str(), way.to.as_str()), ("lyon", "paris"));
    assert_eq!((way.speed, way.bound_by), (f64::from(1 << 20), Bound::Sender));
    let seconds = post.wire_bytes as f64 / f64::from(1 << 20) + 0.02;
    assert!(near(post.seconds.unwrap(), seconds), "{post:?}");
    assert!(near(way.busy, seconds / 60.0), "{post:?}");
    // A small window has to be granted again and again.
    let slow = one(&TEXT.replace("latency = \"20ms\" }", "latency = \"2s\" }"));
    let window = f64::from(6 << 20) / 4.0;
    assert_eq!(slow.ways[0].bound_by, Bound::Sender);
    let far = TEXT.replace("1MiB\", latency = \"20ms\"", "1GiB\", latency = \"2s\"");
    let far = one(&far.replace("\"4MiB\"", "\"1GiB\""));
    assert_eq!((far.ways[0].speed, far.ways[0].bound_by), (window, Bound::Window));
    // Nothing is said of lines.
    let unsaid = TEXT.replace("line = { speed = \"1MiB\", latency = \"20ms\" }", "");
    let unsaid = one(&unsaid.replace("line = \"4MiB\"", ""));
    assert_eq!((unsaid.seconds, unsaid.ways.len()), (None, 0));
}

#[test]
fn a_receiver_may_be_away_until_something_is_full_or_over() {
    let away = |text: &str| {
        let away = one(text).away;
        (away.bound_by, away.limit, away.seconds)
    };
    // References take no room: after a day they expire.
    assert_eq!(away(TEXT), (Full::Expires, 86_400, 86_400.0));
    let long = TEXT.replace("to = \"paris", "expires = \"30d\"\nto = \"paris");
    let few = long.replace("[node.lyon]", "[node.lyon]\nlimits = { outbox = 100 }");
    assert_eq!(away(&few), (Full::Outbox, 100, 6000.0));
    // What has no reference lies in the spool.
    let text = long.replace("{ paths = \"letter\" }", "{ text = { name = \"a\", text = \"b\" } }");
    let (bound_by, limit, seconds) = away(&text);
    let wire = one(&text).wire_bytes;
    assert_eq!((bound_by, limit), (Full::OutboxBytes, 16 << 30));
    assert!(near(seconds, ((16_u64 << 30) / wire) as f64 * 60.0));
    // A relay keeps so many, or so much.
    let relayed = long.replace("to = \"paris/letters\"", "via = \"paris\"\nto = \"brest/letters\"");
    assert_eq!(away(&relayed), (Full::RelayPackages, 100, 6000.0));
    let (bound_by, limit, seconds) = away(&relayed.replace("packages = 100, ", ""));
    assert_eq!((bound_by, limit), (Full::RelayBytes, 1 << 30));
    assert!(near(seconds, ((1_u64 << 30) / wire) as f64 * 60.0));
    let ways = one(&relayed).ways;
    assert_eq!(ways.len(), 2);
    assert!(near(one(&relayed).seconds.unwrap(), ways[0].seconds + ways[1].seconds));
}

#[tokio::test]
async fn what_is_sent_is_what_was_calculated() {
    let place = tempfile::tempdir().unwrap();
    let here = |path: &str| place.path().join(path);
    let length = 3_000_000_u64;
    // Bytes that are as they are, whatever compresses them.
    let mut random = estafette::testing::Random::seeded(15);
    let content: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
    std::fs::write(here("letter"), &content).unwrap();
    let text = format!(
        "state = \"state\"\n[node.lyon]\n[node.paris]\nlisten = \"unix:{}\"\n[inbox.letters]\nnode = \
         \"paris\"\nsink = {{ folder = \"in\" }}\n[route.post]\nfrom = \"lyon\"\nsource = {{ paths = \
         \"letter\" }}\nto = \"paris/letters\"\ncodec = \"off\"\nchunk_size = \"16KiB\"\nexpected = {{ \
         bytes = {length}, every = 60 }}\n",
        here("paris.sock").display()
    );
    std::fs::write(here("t.toml"), text).unwrap();
    let topology = Topology::load(here("t.toml"), &standard()).unwrap();
    let calculated = topology.predictions(&standard()).remove(0).wire_bytes;
    let paris = topology.start("paris", standard()).await.unwrap();
    let lyon = topology.start("lyon", standard()).await.unwrap();
    let mut events = paris.node().events_since_start().unwrap();
    let arrives = async {
        loop {
            if let NodeEvent::Transfer(TransferEvent {
                direction: Direction::Incoming,
                news: TransferNews::Delivered { .. },
                ..
            }) = events.next().await.unwrap()
            {
                return;
            }
        }
    };
    tokio::time::timeout(HANGS, arrives).await.unwrap();
    let sent = lyon.node().snapshot().await.totals.sent_bytes;
    // Besides it, keys and control messages.
    assert!((calculated..calculated + 20_000).contains(&sent), "{sent} and {calculated}");
    lyon.shutdown().await;
    paris.shutdown().await;
}

fn kinds(steps: &[Step], node: &str) -> Vec<StepKind> {
    steps.iter().filter(|step| step.node == node).map(|step| step.step).collect()
}

#[test]
fn a_trace_walks_to_the_last_inbox_and_around_no_circle() {
    use StepKind::{Chunk, Codec, Inbox, Link, Open, Relay, Seal, Source, Store, Trust};
    let chain = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/topologies/chain.toml");
    let chain = Topology::load(chain, &standard()).unwrap();
    let steps = chain.trace(&standard(), "lyon", "input");
    assert_eq!(steps.iter().map(|step| step.depth).max(), Some(3), "{steps:?}");
    assert_eq!(steps.iter().filter(|step| step.step == Inbox).count(), chain.routes.len());
    // What comes back to where it was goes on there once.
    let back = "[route.back]\nfrom = \"brest\"\nsource = { inbox = \"letters\" }\nto = \"paris/letters\"\n\
                [route.forth]\nfrom = \"paris\"\nsource = { inbox = \"letters\" }\nto = \"brest/letters\"\n";
    let circle = Document::parse("topology.toml", format!("{TEXT}{back}"));
    let steps = circle.topology().trace(&standard(), "lyon", "letter");
    assert_eq!(steps.iter().filter(|step| step.step == Inbox).count(), 3, "{steps:?}");

    let relayed = TEXT.replace("to = \"paris/letters\"", "via = \"paris\"\nto = \"brest/letters\"");
    let steps = topology(&relayed).trace(&standard(), "lyon", "letter");
    assert_eq!(kinds(&steps, "lyon"), [Source, Store, Chunk, Codec, Seal, Link]);
    assert_eq!(kinds(&steps, "paris"), [Relay, Link]);
    assert_eq!(kinds(&steps, "brest"), [Trust, Open, Inbox]);
    assert!(steps.iter().all(|step| step.fails.is_none()));
    assert!(steps.iter().any(|step| step.does.contains("100 packages")), "{steps:?}");
    // Another name is not sent, nor anything from elsewhere.
    assert!(topology(&relayed).trace(&standard(), "lyon", "other").is_empty());
    assert!(topology(&relayed).trace(&standard(), "paris", "letter").is_empty());
}

#[test]
fn a_trace_says_where_a_delivery_ends() {
    let each = TEXT.replace("{ paths = \"letter\" }", "{ each = \"out\" }");
    let ends = |text: &str, name: &str| {
        let steps = topology(text).trace(&standard(), "lyon", name);
        let last = steps.last().unwrap().clone();
        (last.step, last.fails)
    };
    for unfinished in [".letter", "letter.part", "letter~"] {
        let (step, fails) = ends(&each, unfinished);
        assert!(step == StepKind::Source && fails.unwrap().contains("left alone"));
    }
    let hidden = TEXT.replace("\"letter\"", "\".letter\"");
    let (step, fails) = ends(&hidden, ".letter");
    assert!(step == StepKind::Inbox && fails.unwrap().contains("dotfiles"));
    let taken = "{ folder = { into = \"in-{node}\", dotfiles = true } }";
    let (step, fails) = ends(&hidden.replace("{ folder = \"in-{node}\" }", taken), ".letter");
    assert_eq!((step, fails), (StepKind::Inbox, None));
}

#[test]
fn a_queue_that_hardly_ever_gets_anything_is_calculated() {
    let queue =
        TEXT.replace("to = \"paris/letters\"", "to = [\"paris/letters\", \"brest/letters\"]");
    let queue = queue.replace("source = { paths = \"letter\" }", "source = { each = \"letters\" }");
    let mut queue = topology(&queue.replace("expected =", "deliver = \"one\"\n    expected ="));
    queue.routes.get_mut("post").unwrap().expected.as_mut().unwrap().every = Duration::MAX;
    let predictions = queue.predictions(&standard());
    assert_eq!(predictions.len(), 2);
    assert!(predictions.iter().all(|post| post.seconds.unwrap().is_finite()));
}
