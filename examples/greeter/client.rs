//! The client.

use std::process::Stdio;

use anyhow::Context;
use estafette::{Identity, Node, RemoteErrorKind};
use estafette_actors::standard;
use futures_util::{StreamExt, TryStreamExt};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

use crate::{Line, SayHello};

const TIMES: u32 = 1000;

pub(crate) async fn run() -> anyhow::Result<()> {
    let identity = Identity::generate();
    let (mut server, id, address) = start_server(&identity).await?;
    let node = Node::builder()
        .name("client")
        .identity(identity)
        .peer("greeter", id.parse()?, [address])
        .stages(standard())
        .start()
        .await?;
    let greeter = node.remote::<SayHello>("greeter/greeter")?;

    let lines = greeter.download(SayHello { name: "Ada".into(), times: TIMES }).await?;
    let lines: Vec<Line> = lines.try_collect().await?;
    println!("{} lines, the last: {:?}", lines.len(), lines[lines.len() - 1].text);
    for (number, line) in (1..=TIMES).zip(&lines) {
        assert_eq!(line.text, format!("Bonjour Ada, for the {number}. time"));
    }
    assert_eq!(lines.len(), TIMES as usize);

    // Whoever has heard enough drops the stream, and the server hears of it.
    let mut lines = greeter.download(SayHello { name: "Grace".into(), times: u32::MAX }).await?;
    println!("{:?}, and that is enough", lines.next().await.context("a line")??.text);
    drop(lines);

    // What goes wrong is the last thing of the stream.
    let error = greeter
        .download(SayHello { name: String::new(), times: 1 })
        .await?
        .next()
        .await
        .context("an error")?
        .expect_err("there is nobody to greet");
    println!("and without a name: {error}");
    assert_eq!(error.kind, RemoteErrorKind::Other);

    node.shutdown().await;
    anyhow::ensure!(server.wait().await?.success(), "the server failed");
    Ok(())
}

/// Starts this program as the server, which says who it is, and where.
async fn start_server(client: &Identity) -> anyhow::Result<(Child, String, String)> {
    let mut command = Command::new(std::env::current_exe()?);
    let command = command
        .args(["serve", &client.peer().to_string()])
        .stdout(Stdio::piped())
        .kill_on_drop(true);
    let mut server = command.spawn().context("the server could not be started")?;
    let said = BufReader::new(server.stdout.take().context("its output")?)
        .lines()
        .next_line()
        .await?
        .context("the server ended at once")?;
    let (id, address) =
        said.split_once(' ').context("the server said something else than who and where it is")?;
    Ok((server, id.into(), address.into()))
}
