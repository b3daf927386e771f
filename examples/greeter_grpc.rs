//! Clients of gRPC, in any language, call a service that knows nothing of gRPC, on another node.
//!
//! `cargo run -p estafette-examples --example greeter_grpc`
//!
//! ```text
//! client ══gRPC══▶ lyon: a door ══estafette══▶ paris: Greeter
//! ```
//! The clients are `examples/python/greeter_raw.py`, which sends bytes, and `greeter_proto.py`, which
//! has a proto; they run by themselves where there is a Python with grpcio. With `stay`, the door
//! stays open for yours.

use std::path::Path;
use std::sync::Arc;

use actix::{Actor, Context, Handler};
use anyhow::ensure;
use estafette::node::MemoryStore;
use estafette::remote::{Called, Raw, RawReply};
use estafette::{Identity, Node, RemoteMessage};
use estafette_actors::standard;
use estafette_doors::grpc::{Method, Methods, Protos, Service, Way, grpc};
use estafette_doors::{Access, Tokens, serve};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};
use tokio::process::Command;

/// Answered with a stream of lines. As JSON it is what the proto calls a `HelloRequest`.
#[derive(Serialize, Deserialize, RemoteMessage)]
#[remote(name = "greeter.SayHello", reply = Line, json)]
struct SayHello {
    name: String,
    times: u32,
}

#[derive(Serialize, Deserialize)]
struct Line {
    text: String,
}

struct Greeter;

impl Actor for Greeter {
    type Context = Context<Self>;
}

fn line(name: &str, time: u32) -> String {
    format!("Bonjour {name}, for the {time}. time")
}

impl Handler<Called<SayHello>> for Greeter {
    type Result = ();

    fn handle(&mut self, mut called: Called<SayHello>, _: &mut Context<Self>) {
        actix::spawn(async move {
            let Some(Ok(SayHello { name, times })) = called.requests.next().await else { return };
            for time in 1..=times {
                // Waits for a client that reads slowly; an error means that it is gone.
                if called.replies.send(&Line { text: line(&name, time) }).await.is_err() {
                    return;
                }
            }
            called.replies.finish();
        });
    }
}

/// Bytes: the name, and lines.
impl Handler<Called<Raw>> for Greeter {
    type Result = ();

    fn handle(&mut self, mut called: Called<Raw>, _: &mut Context<Self>) {
        actix::spawn(async move {
            let Some(Ok(Raw { body, .. })) = called.requests.next().await else { return };
            let name = String::from_utf8_lossy(&body);
            for time in 1..=3 {
                if called.replies.send(&RawReply(line(&name, time).into())).await.is_err() {
                    return;
                }
            }
            called.replies.finish();
        });
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (lyon_key, paris_key) = (Identity::generate(), Identity::generate());
    let (lyon_id, paris_id) = (lyon_key.peer(), paris_key.peer());
    let paris = Node::builder().name("paris").identity(paris_key).listen("127.0.0.1:0");
    let paris = paris.peer("lyon", lyon_id, [""; 0]).stages(standard()).start().await?;
    let hosted = paris.host("greeter", || Greeter);
    hosted.takes_calls::<Raw>().takes_calls::<SayHello>().start().await?;

    let lyon = Node::builder().name("lyon").identity(lyon_key);
    let lyon = lyon.peer("paris", paris_id, [paris.addresses()[0].clone()]);
    let lyon = lyon.stages(standard()).start().await?;
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let protos = Protos::compile([here.join("greeter/greeter.proto")], [here.join("greeter")])?;
    let service = Service::to("paris/greeter").takes("SayHello", "greeter.SayHello");
    let methods = Methods::new()
        .method("/raw.Greeter/SayHello", &Method::raw("paris/greeter", Way::Download))?
        .service(&protos, "helloworld.Greeter", &service)?;
    let tokens = Tokens::load(Arc::new(MemoryStore::default()))?;
    let token = tokens.add("example", &["paris/greeter".parse()?], None, None)?;
    let door = serve(grpc(&Access::of(&lyon, &tokens), methods), "127.0.0.1:0").await?;
    let address = door.address().to_string();

    let python = here.join("../target/python/bin/python3");
    if std::env::args().nth(1).as_deref() == Some("stay") {
        println!("python examples/python/greeter_proto.py {address} {} Ada 3", token.text());
        tokio::signal::ctrl_c().await?;
    } else if python.exists() {
        let client = |program: &str| {
            let mut command = Command::new(&python);
            command.arg(here.join("python").join(program)).args([&address, token.text()]);
            command
        };
        let said = client("greeter_proto.py").args(["Ada", "1000"]).output().await?;
        let said = String::from_utf8(said.stdout)?;
        println!("{} lines, the last: {:?}", said.lines().count(), said.lines().last());
        ensure!(said.lines().eq((1..=1000).map(|time| line("Ada", time))), "other lines");
        let said =
            client("greeter_raw.py").args(["Grace", "/raw.Greeter/SayHello"]).output().await?;
        print!("{}", String::from_utf8_lossy(&said.stdout));
        ensure!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    } else {
        println!("no Python with grpcio in target/python: say `stay`, and bring your own client");
    }
    door.stop().await;
    lyon.shutdown().await;
    paris.shutdown().await;
    Ok(())
}
