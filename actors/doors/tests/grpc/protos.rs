//! Clients of a proto, which the door has read when it started, and of `estafette.v1`; reflection
//! and health.

use std::collections::BTreeSet;

use estafette_actors::source::BytesSource;
use estafette_doors::grpc::{Methods, Protos, Service};

use crate::client;
use crate::python::{python, start, workspace};
use crate::serve::{Door, open};
use crate::world::{World, soon, world};

/// A door for the protos of the example and of the tests.
pub(crate) async fn door(world: &World) -> Door {
    let folders =
        [workspace().join("examples/greeter"), workspace().join("actors/doors/tests/grpc")];
    let files = [folders[0].join("greeter.proto"), folders[1].join("shop.proto")];
    let protos = Protos::compile(files, folders).unwrap();
    let greeter = Service::to("paris/typed").takes("SayHello", "greeter.SayHello");
    let shop = Service::to("paris/shop").takes("Buy", "shop.Order");
    let methods = Methods::new()
        .service(&protos, "helloworld.Greeter", &greeter)
        .and_then(|methods| methods.service(&protos, "shop.Shop", &shop))
        .and_then(|methods| {
            methods.service(&protos, "shop.Counter", &Service::to("paris/counter"))
        });
    open(world, methods.unwrap()).await
}

#[tokio::test]
async fn a_client_of_a_proto_reads_the_answers_of_an_actor_that_has_never_heard_of_it() {
    let Some(python) = python() else { return };
    let world = world().await;
    let door = door(&world).await;
    let arguments = [&*door.address, &door.token, "Ada", "3"];
    let output = soon(start(&python, "greeter_proto.py", &arguments).wait_with_output()).await;
    let output = output.unwrap();
    let lines: String = (1..=3).map(|n| format!("Bonjour Ada, for the {n}. time\n")).collect();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!((String::from_utf8(output.stdout).unwrap(), &*error), (lines, ""));
}

#[tokio::test]
async fn each_kind_of_method_becomes_its_way_and_an_actor_s_error_a_status() {
    let world = world().await;
    let door = door(&world).await;
    let Some(said) = client(&door, &["protos"]).await else { return };
    let expected = "unary: 6\n\
                    its own error: UNKNOWN of nothing? yes OTHER\n\
                    wrong bytes: INVALID_ARGUMENT no UNDECODABLE\n\
                    stream of requests: 18446744073709551615\n\
                    both: 1\n\
                    both: 3\n";
    assert_eq!(said, expected);
}

#[tokio::test]
async fn any_actor_is_reached_by_its_name_and_only_where_the_token_leads() {
    let world = world().await;
    let door = door(&world).await;
    let Some(said) = client(&door, &["named"]).await else { return };
    let expected = "ask: {\"Ok\":3}\n\
                    ask: bytes\n\
                    tell: True\n\
                    deliver: STATE_STORED\n\
                    deliver: STATE_DELIVERED\n\
                    deliver: STATE_PROCESSED\n\
                    ids: 1\n\
                    download: Bonjour Ada, for the 1. time\n\
                    download: Bonjour Ada, for the 2. time\n\
                    download: Bonjour Ada, for the 3. time\n\
                    upload: onetwo\n\
                    upload: onetwo\n\
                    open: 1\n\
                    open: 3\n\
                    no target: INVALID_ARGUMENT no TARGET\n\
                    no actor: INVALID_ARGUMENT no TARGET\n\
                    no payload: INVALID_ARGUMENT no PAYLOAD\n\
                    no json: INVALID_ARGUMENT no NO_JSON\n\
                    raw for json: INVALID_ARGUMENT no PAYLOAD\n\
                    no right: PERMISSION_DENIED no FORBIDDEN\n\
                    no name: NOT_FOUND no NO_SUCH_NAME\n";
    assert_eq!(said, expected);
}

#[tokio::test]
async fn content_is_sent_followed_listed_and_received_and_presence_watched() {
    let world = world().await;
    let door = door(&world).await;
    let content = b"0123456789".repeat(30_000);
    let sent = world.paris.send("lyon/files", BytesSource::new("arrived", content).unwrap()).await;
    soon(sent.unwrap().delivered()).await.unwrap();
    // Paris is done with whatever arrives there.
    let paris = world.paris.clone();
    let done = tokio::spawn(async move {
        loop {
            for (peer, id, _) in paris.arrivals() {
                paris.processed(peer, id).await.unwrap();
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    });
    let said = client(&door, &["contents"]).await;
    done.abort();
    let Some(said) = said else { return };
    let expected = "watch: paris is there\n\
                    watch: paris/shop is there\n\
                    watch: NO_SUCH_NAME\n\
                    no right: PERMISSION_DENIED no FORBIDDEN\n\
                    send: STATE_STORED STATE_DELIVERED STATE_PROCESSED\n\
                    send: paris/files one 2097152 32\n\
                    again: True\n\
                    follow: STATE_DELIVERED STATE_PROCESSED\n\
                    outbox: 2 1\n\
                    arrival: arrived paris 300000 False\n\
                    receive: arrived 300000 True\n\
                    receive: b'56789' b'3456'\n\
                    receive: b''\n\
                    processed: True\n\
                    processed: True\n\
                    open: 0\n\
                    no parcel: INVALID_ARGUMENT no TARGET\n\
                    two parcels: INVALID_ARGUMENT no TARGET\n\
                    large part: INVALID_ARGUMENT no PART\n\
                    too long: INVALID_ARGUMENT no LENGTH\n\
                    too short: INVALID_ARGUMENT no LENGTH\n\
                    other length: ALREADY_EXISTS no CONFLICT\n\
                    no right: PERMISSION_DENIED no FORBIDDEN\n\
                    wrong key: INVALID_ARGUMENT no KEY\n\
                    wrong name: INVALID_ARGUMENT no NAME\n\
                    no transfer: NOT_FOUND no NO_SUCH_TRANSFER\n\
                    wrong page: INVALID_ARGUMENT no PAGE\n\
                    large page: INVALID_ARGUMENT no PAGE\n\
                    other inbox: PERMISSION_DENIED no FORBIDDEN\n\
                    wrong page: INVALID_ARGUMENT no PAGE\n\
                    no arrival: NOT_FOUND no NO_SUCH_ARRIVAL\n\
                    behind: OUT_OF_RANGE no NO_SUCH_PART\n\
                    too late: DEADLINE_EXCEEDED\n\
                    not to be ended: PERMISSION_DENIED no FORBIDDEN\n";
    assert_eq!(said, expected);
    // Of what was refused, or broke off, nothing is there.
    let stored = async || {
        let stored = world.lyon.outbox().list().await.unwrap();
        stored.into_iter().map(|(_, entry)| entry.name).collect::<BTreeSet<_>>()
    };
    soon(async {
        while stored().await != BTreeSet::from(["one", "three", "two"].map(str::to_owned)) {}
    })
    .await;
}

#[tokio::test]
async fn reflection_tells_both_ways_what_there_is_and_health_whether_it_can_be_had() {
    let world = world().await;
    let door = door(&world).await;
    let Some(said) = client(&door, &["reflection"]).await else { return };
    let services = "estafette.v1.NodeService grpc.health.v1.Health \
                    grpc.reflection.v1.ServerReflection grpc.reflection.v1alpha.ServerReflection \
                    helloworld.Greeter shop.Counter shop.Shop";
    let expected = format!(
        "v1: {services}\n\
         v1alpha: {services}\n\
         fields of shop.Order: article pieces\n\
         without a token: UNAUTHENTICATED no UNAUTHENTICATED\n\
         the node: SERVING\n\
         by name: SERVING\n\
         shop.Shop: SERVING\n\
         nothing: NOT_FOUND\n"
    );
    assert_eq!(said, expected);
}

#[tokio::test]
async fn health_says_that_a_service_whose_peer_is_gone_can_not_be_had() {
    let world = world().await;
    let door = door(&world).await;
    let Some(python) = python() else { return };
    let mut client = start(&python, "client.py", &[&door.address, &door.token, "watch"]);
    let mut said =
        tokio::io::AsyncBufReadExt::lines(tokio::io::BufReader::new(client.stdout.take().unwrap()));
    // The link comes about with the first who needs it, or before.
    while soon(said.next_line()).await.unwrap().unwrap() != "SERVING" {}
    world.paris.shutdown().await;
    assert_eq!(soon(said.next_line()).await.unwrap().unwrap(), "NOT_SERVING");
}

#[test]
fn what_is_wrong_with_protos_and_services_is_said_in_full() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    };
    let compile = |path| Protos::compile([path], [folder.path()]);
    let broken = write("broken.proto", "syntax = \"proto3\";\nmessage A {\n  strin b = 1\n}\n");
    let error = compile(broken).unwrap_err().to_string();
    assert!(error.contains("broken.proto") && error.contains('4'), "{error}");
    let error = compile(write("endless.proto", "message A {")).unwrap_err().to_string();
    assert!(error.contains("endless.proto") && error.contains("end of file"), "{error}");
    let missing = compile(folder.path().join("none.proto")).unwrap_err().to_string();
    assert!(missing.contains("none.proto"), "{missing}");
    let empty = write("empty.proto", "syntax = \"proto3\";\nmessage A {}\n");
    assert!(compile(empty).unwrap_err().to_string().contains("no service"));
    assert!(Protos::decode(b"no set").is_err());

    let shop = workspace().join("actors/doors/tests/grpc/shop.proto");
    let protos = Protos::compile([&shop], [shop.parent().unwrap()]).unwrap();
    let wrong = |name: &str, service: &Service| {
        Methods::new().service(&protos, name, service).unwrap_err().to_string()
    };
    let service = Service::to("paris/shop");
    assert!(wrong("shop.Sop", &service).contains("shop.Shop, shop.Counter"));
    assert!(wrong("shop.Shop", &Service::to("shop")).contains("peer/name"));
    assert!(wrong("shop.Shop", &service.clone().takes("Sell", "x")).contains("no method \"Sell\""));
    assert!(wrong("shop.Shop", &service.takes("Buy", "x@y")).contains("no type and version"));
}
