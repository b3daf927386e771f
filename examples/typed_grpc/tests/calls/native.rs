//! Callers that speak estafette, with the same types, older ones, and newer ones.

use std::process::Command;

use estafette::RemoteMessage;
use estafette::remote::ActorError;
use estafette_typed_grpc::proto::town::v1::{GreetReply, LinesRequest};
use futures_util::TryStreamExt;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::greet;
use crate::world::{soon, world};

#[tokio::test]
async fn a_native_caller_has_the_same_types_and_the_same_actor() {
    let world = world().await;
    let greeter = world.lyon.remote("paris/greeter").unwrap();
    let reply = soon(greeter.ask(greet("Ada"))).await.unwrap().unwrap();
    assert_eq!(reply.text, "Bonjour Ada");
    let error = soon(greeter.ask(greet(""))).await.unwrap().unwrap_err();
    assert_eq!((error.code, &*error.message), (3, "whom? the name is empty"));

    let lines = world.lyon.remote("paris/greeter").unwrap();
    let lines = lines.download(LinesRequest { name: "Ada".into(), times: 3 }).await.unwrap();
    let lines: Vec<_> = soon(lines.try_collect()).await.unwrap();
    assert_eq!(lines[2].as_ref().unwrap().text, "Bonjour Ada, for the 3. time");

    // What a node tells of its actors.
    let told = soon(world.lyon.describe("paris/greeter")).await.unwrap();
    let named = format!("{told:?}");
    assert!(named.contains("town.v1.GreetRequest") && named.contains("town.v1.Word"), "{named}");
    drop(world.paris);
}

/// A `GreetRequest` of a later proto: it has a field before all others, and one that is gone.
#[derive(Clone, PartialEq, Eq, prost::Message)]
struct Later {
    #[prost(uint32, tag = "9")]
    hour: u32,
    #[prost(string, tag = "1")]
    name: String,
}

// As estafette-build writes it.
impl Serialize for Later {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        estafette::__private::pack(&prost::Message::encode_to_vec(self), to)
    }
}

impl<'de> Deserialize<'de> for Later {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        estafette::__private::unpack(from, |packed| <Self as prost::Message>::decode(packed))
    }
}

impl actix::Message for Later {
    type Result = Result<GreetReply, ActorError>;
}

impl RemoteMessage for Later {
    const NAME: &'static str = "town.v1.GreetRequest";
    const VERSION: u32 = 1;
}

#[tokio::test]
async fn nodes_with_two_versions_of_a_proto_understand_each_other() {
    let world = world().await;
    let greeter = world.lyon.remote("paris/greeter").unwrap();
    let reply = soon(greeter.ask(Later { hour: 7, name: "Ada".into() })).await.unwrap().unwrap();
    assert_eq!(reply.text, "Hello Ada");
}

#[test]
fn the_program_runs_to_its_end() {
    let output = Command::new(env!("CARGO_BIN_EXE_estafette-typed-grpc")).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.starts_with("natively: Bonjour Ada\n"), "{said}");
}
