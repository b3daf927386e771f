//! Stock clients of gRPC, and natives, call an actor on another node that has the types of a proto.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod host;
mod native;
mod odd;
#[path = "../../../../actors/doors/tests/grpc/python.rs"]
mod python;
mod world;

use std::time::Duration;

use estafette::RemoteErrorKind;
use estafette_doors::grpc::{Methods, Protos, Service};
use estafette_typed_grpc::proto::google::protobuf::Empty;
use estafette_typed_grpc::proto::town::v1::guest::Stay;
use estafette_typed_grpc::proto::town::v1::{
    Enrolled, ForgetRequest, GreetReply, GreetRequest, Guest, Language, Line, LinesRequest, Said,
    Word,
};
use futures_util::{StreamExt, TryStreamExt, stream};
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::world::{Heard, soon, world};

fn greet(name: &str) -> GreetRequest {
    GreetRequest { name: name.into(), language: Language::French.into() }
}

fn guest(name: &str, stay: Option<Stay>) -> Guest {
    Guest { name: name.into(), stay, badge: vec![0, 255] }
}

/// The code of an error, whether it was handled, and its reason.
fn told(status: &Status) -> (Code, String, String) {
    let handled = status.metadata().get("estafette-handled").unwrap().to_str().unwrap();
    let reason = status.get_details_error_info().unwrap().reason;
    (status.code(), handled.to_owned(), reason)
}

fn is(code: Code, handled: &str, reason: &str) -> (Code, String, String) {
    (code, handled.to_owned(), reason.to_owned())
}

#[tokio::test]
async fn a_client_of_tonic_calls_each_shape_of_an_rpc() {
    let world = world().await;
    let mut client = world.client("paris/greeter").await;
    let reply: GreetReply = client.unary("Greet", greet("Ada"), None).await.unwrap();
    assert_eq!(reply.text, "Bonjour Ada");
    assert!(reply.at.unwrap().seconds > 0);

    let request = LinesRequest { name: "Ada".into(), times: 1000 };
    let lines = client.download::<_, Line>("Lines", request, None).await.unwrap();
    let lines: Vec<_> = soon(lines.try_collect()).await.unwrap();
    let expected = (1..=1000).map(|time| format!("Bonjour Ada, for the {time}. time"));
    assert!(lines.into_iter().map(|line| line.text).eq(expected));

    let guests = [("Ada", Some(Stay::Nights(3))), ("Grace", Some(Stay::Room("7".into())))];
    let guests = stream::iter(guests.map(|(name, stay)| guest(name, stay)));
    let enrolled: Enrolled = client.upload("Enrol", guests).await.unwrap();
    assert_eq!((enrolled.guests, enrolled.nights["Ada"], enrolled.nights["Grace"]), (2, 3, 1));

    // Each word is said when the one before has been answered.
    let (said, words) = tokio::sync::mpsc::channel::<Word>(1);
    let words = stream::unfold(words, async |mut words| Some((words.recv().await?, words)));
    let mut answers = client.open::<_, Said>("Talk", words).await.unwrap();
    for text in ["one", "two"] {
        said.send(Word { text: text.into() }).await.unwrap();
        let answer = soon(answers.message()).await.unwrap().unwrap();
        assert_eq!(answer.text, text.to_uppercase());
    }
    drop(said);
    assert!(soon(answers.message()).await.unwrap().is_none());
}

#[tokio::test]
async fn an_actors_own_error_has_its_code_its_text_and_its_details() {
    let world = world().await;
    let mut client = world.client("paris/greeter").await;
    let error = client.unary::<_, GreetReply>("Greet", greet(""), None).await.unwrap_err();
    assert_eq!(told(&error), is(Code::InvalidArgument, "yes", "OTHER"));
    assert_eq!(error.message(), "whom? the name is empty");

    // A client that has the proto as it is sends `Empty`; the actor has a type of its own.
    let error = client.unary::<_, Empty>("Forget", Empty {}, None).await.unwrap_err();
    assert_eq!(told(&error), is(Code::Unimplemented, "yes", "OTHER"));
    let error = client.unary::<_, Empty>("Forget", ForgetRequest {}, None).await.unwrap_err();
    assert_eq!(error.message(), "nobody is forgotten here");

    // In the midst of a stream.
    let words = ["one", ""].map(|text| Word { text: text.into() });
    let mut said = client.open::<_, Said>("Talk", stream::iter(words)).await.unwrap();
    assert_eq!(soon(said.message()).await.unwrap().unwrap().text, "ONE");
    let error = soon(said.message()).await.unwrap_err();
    assert_eq!(told(&error), is(Code::InvalidArgument, "yes", "OTHER"));

    let mut client = world.client("paris/patient").await;
    let error = client.unary::<_, GreetReply>("Greet", greet("wrong"), None).await.unwrap_err();
    assert_eq!(told(&error), is(Code::FailedPrecondition, "yes", "OTHER"));
    assert!(error.get_details_help().is_some(), "its own detail, beside ours");
}

#[tokio::test]
async fn what_does_not_reach_an_actor_has_the_words_of_every_door() {
    let world = world().await;
    let mut client = world.client("paris/nobody").await;
    let error = client.unary::<_, GreetReply>("Greet", greet("Ada"), None).await.unwrap_err();
    assert_eq!(told(&error), is(Code::NotFound, "no", "NO_SUCH_NAME"));

    // The door sees that nobody is there, long before the client's time is over.
    let mut client = world.client("away/greeter").await;
    let hour = Some(Duration::from_secs(3600));
    let error = client.unary::<_, GreetReply>("Greet", greet("Ada"), hour).await.unwrap_err();
    assert_eq!(told(&error), is(Code::Unavailable, "no", "UNREACHABLE"));
    assert!(error.message().contains("away"), "{error}");

    // It takes no such message.
    let mut client = world.client("paris/patient").await;
    let words = stream::iter([Word { text: "one".into() }]);
    let mut said = client.open::<_, Said>("Talk", words).await.unwrap();
    let error = soon(said.message()).await.unwrap_err();
    assert_eq!(told(&error), is(Code::Unimplemented, "no", "NO_SUCH_MESSAGE"));

    // A field of another type than the proto has.
    let mut client = world.client("paris/greeter").await;
    let wrong = prost_types::Timestamp { seconds: 1, nanos: 0 };
    let error = client.unary::<_, GreetReply>("Greet", wrong, None).await.unwrap_err();
    assert_eq!(told(&error), is(Code::InvalidArgument, "no", "UNDECODABLE"));
    assert!(error.message().contains("town.v1.GreetRequest"), "{error}");

    let much = greet(&"a".repeat(4 << 20));
    let error = client.unary::<_, GreetReply>("Greet", much, None).await.unwrap_err();
    assert_eq!(told(&error), is(Code::ResourceExhausted, "no", "FULL"));
    assert!(error.message().contains("4194304 are allowed"), "{error}");
}

#[tokio::test]
async fn a_door_that_reads_the_proto_when_it_starts_leads_to_the_same_actor() {
    let world = world().await;
    let folder = python::workspace().join("examples/typed_grpc/proto");
    let protos = Protos::compile([folder.join("greeter.proto")], [folder]).unwrap();
    let service: Service = "typed:paris/greeter".parse().unwrap();
    assert_eq!(service, Service::to("paris/greeter").typed());
    let service = service.takes("Forget", "town.v1.ForgetRequest");
    let methods = Methods::new().service(&protos, "town.v1.Greeter", &service).unwrap();
    let mut client = world.door_of(methods).await.client().await;
    let reply: GreetReply = client.unary("Greet", greet("Ada"), None).await.unwrap();
    assert_eq!(reply.text, "Bonjour Ada");
    let error = client.unary::<_, Empty>("Forget", Empty {}, None).await.unwrap_err();
    assert_eq!(error.message(), "nobody is forgotten here");
    let wrong = "typed:paris".parse::<Service>().unwrap_err().to_string();
    assert!(wrong.contains("write peer/name"), "{wrong}");
}

#[tokio::test]
async fn deadlines_cancels_and_requests_that_break_off_reach_the_actor() {
    let mut world = world().await;
    let mut client = world.client("paris/patient").await;
    // Long enough for a machine that is busy to bring the request to the actor.
    let limit = Some(Duration::from_secs(5));
    let error = client.unary::<_, GreetReply>("Greet", greet("Ada"), limit).await.unwrap_err();
    assert!(matches!(error.code(), Code::DeadlineExceeded | Code::Cancelled), "{error}");
    assert_eq!(soon(world.heard.recv()).await, Some(Heard::Request("Ada".into())));
    assert_eq!(soon(world.heard.recv()).await, Some(Heard::Closed));

    let request = LinesRequest { name: "Grace".into(), times: 1 };
    let mut lines = client.download::<_, Line>("Lines", request.clone(), limit).await.unwrap();
    assert_eq!(soon(world.heard.recv()).await, Some(Heard::Request("Grace".into())));
    let error = soon(lines.message()).await.unwrap_err();
    assert_eq!(told(&error), is(Code::DeadlineExceeded, "unknown", "DEADLINE"));
    assert_eq!(soon(world.heard.recv()).await, Some(Heard::Closed));

    // A client that has enough.
    let lines = client.download::<_, Line>("Lines", request, None).await.unwrap();
    assert_eq!(soon(world.heard.recv()).await, Some(Heard::Request("Grace".into())));
    drop(lines);
    assert_eq!(soon(world.heard.recv()).await, Some(Heard::Closed));

    // One that goes away before its last request.
    let guests = stream::iter([guest("half", None)]).chain(stream::pending());
    let call = tokio::spawn(async move { client.upload::<_, Enrolled>("Enrol", guests).await });
    assert_eq!(soon(world.heard.recv()).await, Some(Heard::Request("half".into())));
    call.abort();
    let broke = Heard::Broke(RemoteErrorKind::Cancelled);
    assert_eq!(soon(world.heard.recv()).await, Some(broke));
}

#[tokio::test]
async fn a_stock_client_in_python_calls_it_and_is_told_of_errors() {
    let Some(python) = python::python() else { return };
    let world = world().await;
    let door = world.door("paris/greeter").await;
    let client = python::start(&python, "greeter_typed.py", &[&door.address, &door.token]);
    let output = soon(client.wait_with_output()).await.unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    let expected = "greeted: Guten Tag Ada\n\
                    1000 lines, the last: Bonjour Ada, for the 1000. time\n\
                    2 guests: [('Ada', 3), ('Grace', 1)]\n\
                    said: ['ONE', 'TWO']\n\
                    INVALID_ARGUMENT: whom? the name is empty (OTHER, handled: yes)\n";
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected, "{error}");
}
