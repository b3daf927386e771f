//! Tests of a node's description of itself, and of who gets to see what of it.

use std::borrow::Cow;

use actix::{Actor, Context, Handler};
use estafette::remote::{Describe, Described, NODE};
use estafette::testing::Network;
use estafette::{Identity, Node, RemoteErrorKind, RemoteMessage, TrustedPeer};
use estafette_actors::sink::MemorySink;
use estafette_actors::standard;
use futures_util::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::actors::{Add, Direct, Note, Sum};
use crate::harness::{config, soon};

/// Looks like something.
#[derive(Debug, Serialize, Deserialize, JsonSchema, RemoteMessage)]
#[remote(name = "test.Shaped", reply = Result<u64, String>, schema)]
struct Shaped {
    /// The article that is wanted.
    article: String,
    #[serde(default, rename = "how many")]
    count: u32,
}

/// A message whose schema is longer than any that is told.
#[derive(Debug, Serialize, Deserialize, RemoteMessage)]
#[remote(name = "test.Long", schema)]
struct Long;

impl JsonSchema for Long {
    fn schema_name() -> Cow<'static, str> {
        "Long".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "description": "x".repeat(20_000) })
    }
}

struct Shaper;

impl Actor for Shaper {
    type Context = Context<Self>;
}

impl Handler<Shaped> for Shaper {
    type Result = Result<u64, String>;

    fn handle(&mut self, shaped: Shaped, _: &mut Context<Self>) -> Self::Result {
        Ok(shaped.count.into())
    }
}

impl Handler<Long> for Shaper {
    type Result = ();

    fn handle(&mut self, _: Long, _: &mut Context<Self>) {}
}

/// `lyon`, and `paris`, which lets it send to these names.
async fn meet(seed: u64, inboxes: &[&str]) -> (Node, Node) {
    let network = Network::seeded(seed);
    let [one, two] = [Identity::generate(), Identity::generate()];
    let here = |name| {
        let stages = standard().transport(network.transport(name));
        Node::builder().name(name).stages(stages).config(config())
    };
    let lyon = here("lyon").identity(one.clone()).peer("paris", two.peer(), ["paris"]);
    let lyon = lyon.start().await.unwrap();
    let paris = here("paris").identity(two).listen("paris").start().await.unwrap();
    let inboxes = inboxes.iter().map(|&name| name.into()).collect();
    paris.trust().add(one.peer(), TrustedPeer { inboxes, ..TrustedPeer::new("lyon") }).unwrap();
    let hosted = paris.host("sum", Sum::default).takes::<Add>().takes_json::<Add>();
    hosted.takes::<Note>().start().await.unwrap();
    paris.host("direct", || Direct).takes_asked::<Add>().start().await.unwrap();
    paris.receive("files", MemorySink::channel(1, 1).0).unwrap();
    (lyon, paris)
}

fn names(described: &[Described]) -> Vec<&str> {
    described.iter().map(|described| described.name.as_str()).collect()
}

#[tokio::test]
async fn a_node_says_which_names_take_which_messages_and_how() {
    let (lyon, _paris) = meet(911, &["*"]).await;
    let all = soon(lyon.describe("paris")).await.unwrap();
    assert_eq!(names(&all.names), ["direct", "files", "sum"]);
    assert_eq!(all.more, None);
    let [_, files, sum] = &all.names[..] else { panic!("{all:?}") };
    assert!(files.inbox && files.takes.is_empty());
    assert!(sum.up && !sum.inbox && !sum.cut);
    let [add, note] = &sum.takes[..] else { panic!("{sum:?}") };
    assert_eq!(
        (&*add.message, add.version, &add.forms[..]),
        ("test.Add", 1, &["native".into(), "json".into()][..])
    );
    // Without a spool nothing is delivered.
    assert_eq!(add.ways, ["ask", "tell"]);
    assert_eq!((&*note.message, &note.forms[..]), ("test.Note", &["native".into()][..]));
    // One name alone; and in the words of those who have no types.
    assert_eq!(soon(lyon.describe("paris/sum")).await.unwrap().names, std::slice::from_ref(sum));
    let json = lyon.remote_json(&format!("paris/{NODE}"), "estafette.Describe", 1).unwrap();
    let answer = soon(json.ask(r#"{"name":"sum"}"#)).await.unwrap();
    let answer: serde_json::Value = serde_json::from_str(&answer).unwrap();
    assert_eq!(answer["names"][0]["takes"][0]["message"], "test.Add");
    let refused = soon(json.ask(r#"{"nmae":"sum"}"#)).await.unwrap_err();
    assert!(refused.message.contains("unknown field `nmae`"), "{refused}");
    let end = soon(soon(json.download("{}")).await.unwrap().next()).await.unwrap().unwrap_err();
    assert_eq!(end.kind, RemoteErrorKind::NoSuchMessage);
}

#[tokio::test]
async fn a_type_that_says_how_it_looks_is_described_with_its_schemas() {
    let (lyon, paris) = meet(914, &["*"]).await;
    paris.host("shaper", || Shaper).takes::<Shaped>().takes::<Long>().start().await.unwrap();
    let described = soon(lyon.describe("paris/shaper")).await.unwrap();
    let [shaped, long] = &described.names[0].takes[..] else { panic!("{described:?}") };
    let schema = |text: &Option<String>| -> serde_json::Value {
        serde_json::from_str(text.as_ref().unwrap()).unwrap()
    };
    let message = schema(&shaped.schema);
    assert_eq!(message["required"], serde_json::json!(["article"]));
    assert_eq!(message["properties"]["how many"]["minimum"], 0);
    assert_eq!(message["properties"]["article"]["description"], "The article that is wanted.");
    assert!(schema(&shaped.answer_schema)["oneOf"].is_array());
    assert_eq!((&long.schema, long.answer_schema.is_some()), (&None, true));
    let json = lyon.remote_json("paris/shaper", "test.Shaped", 1).unwrap();
    let answer = soon(json.ask(r#"{"article":"tea","how many":2}"#)).await.unwrap();
    assert_eq!(answer, r#"{"Ok":2}"#);
}

#[tokio::test]
async fn what_a_peer_may_not_send_to_looks_as_if_it_were_not_there() {
    let (lyon, paris) = meet(912, &["sum", "gone", "sum"]).await;
    assert_eq!(names(&soon(lyon.describe("paris")).await.unwrap().names), ["sum"]);
    for hidden in ["paris/direct", "paris/files", "paris/gone", "paris/nobody", "paris/estafette"] {
        let answer = soon(lyon.describe(hidden)).await.unwrap();
        assert_eq!(answer, Default::default(), "{hidden}");
    }
    // Its rights may grow and shrink while the link is up.
    let nothing = TrustedPeer { inboxes: vec![], ..TrustedPeer::new("lyon") };
    paris.trust().add(lyon.peer(), nothing).unwrap();
    assert_eq!(soon(lyon.describe("paris")).await.unwrap(), Default::default());
    let other = TrustedPeer { inboxes: vec!["direct".into()], ..TrustedPeer::new("lyon") };
    paris.trust().add(lyon.peer(), other).unwrap();
    assert_eq!(names(&soon(lyon.describe("paris")).await.unwrap().names), ["direct"]);
}

#[tokio::test]
async fn many_names_are_told_of_in_several_answers_each_once() {
    let (lyon, paris) = meet(913, &["*"]).await;
    for number in 0..1000 {
        paris.receive(&format!("inbox {number:04}"), MemorySink::channel(1, 1).0).unwrap();
    }
    let node = lyon.remote::<Describe>("paris/estafette").unwrap();
    let page = soon(node.ask(Describe::default())).await.unwrap();
    assert_eq!((page.names.len(), page.more.as_deref()), (256, Some("inbox 0253")));
    let all = soon(lyon.describe("paris")).await.unwrap();
    assert_eq!(all.names.len(), 1003);
    assert!(all.names.windows(2).all(|two| two[0].name < two[1].name) && all.more.is_none());
    assert!(paris.directory().unregister("inbox 0500"));
    assert_eq!(soon(lyon.describe("paris")).await.unwrap().names.len(), 1002);
}
