//! Any client of gRPC, and a program that speaks estafette, call one actor on another node.
//!
//! `cargo run -p estafette-typed-grpc`
//!
//! The client is `examples/python/greeter_typed.py`; it runs by itself where there is a Python with
//! grpcio. With `stay`, the door stays open for yours.

use std::path::Path;
use std::sync::Arc;

use anyhow::ensure;
use estafette::node::MemoryStore;
use estafette::{Identity, Node};
use estafette_actors::standard;
use estafette_doors::grpc::{Methods, grpc};
use estafette_doors::{Access, Tokens, serve};
use estafette_typed_grpc::Greeter;
use estafette_typed_grpc::proto::town::v1 as town;
use tokio::process::Command;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let (lyon_key, paris_key) = (Identity::generate(), Identity::generate());
    let (lyon_id, paris_id) = (lyon_key.peer(), paris_key.peer());
    let paris = Node::builder().name("paris").identity(paris_key).listen("127.0.0.1:0");
    let paris = paris.peer("lyon", lyon_id, [""; 0]).stages(standard()).start().await?;
    // All rpcs of the service: an actor that lacks one does not compile.
    town::Greeter::taken_by(paris.host("greeter", || Greeter)).start().await?;

    let lyon = Node::builder().name("lyon").identity(lyon_key);
    let lyon = lyon.peer("paris", paris_id, [paris.addresses()[0].clone()]);
    let lyon = lyon.stages(standard()).start().await?;

    // Natively: the same types, the same actor.
    let greeter = lyon.remote::<town::GreetRequest>("paris/greeter")?;
    let request =
        town::GreetRequest { name: "Ada".into(), language: town::Language::French.into() };
    let reply = greeter.ask(request).await??;
    println!("natively: {}", reply.text);
    ensure!(reply.text == "Bonjour Ada", "another greeting: {reply:?}");

    // By gRPC.
    let tokens = Tokens::load(Arc::new(MemoryStore::default()))?;
    let token = tokens.add("example", &["paris/greeter".parse()?], None, None)?;
    let methods = Methods::new().typed::<town::Greeter>("paris/greeter")?;
    let door = serve(grpc(&Access::of(&lyon, &tokens), methods), "127.0.0.1:0").await?;
    let address = door.address().to_string();

    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let python = here.join("../../target/python/bin/python3");
    if std::env::args().nth(1).as_deref() == Some("stay") {
        println!("python examples/python/greeter_typed.py {address} {}", token.text());
        tokio::signal::ctrl_c().await?;
    } else if python.exists() {
        let client = here.join("../python/greeter_typed.py");
        let said =
            Command::new(&python).arg(client).args([&address, token.text()]).output().await?;
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
