//! The service.

use actix::{Actor, Context, Handler};
use estafette::remote::{Called, RemoteError, Replies};
use estafette::{Node, PeerId};
use estafette_actors::standard;
use futures_util::StreamExt;

use crate::{Line, SayHello};

struct Greeter;

impl Actor for Greeter {
    type Context = Context<Self>;
}

impl Handler<Called<SayHello>> for Greeter {
    type Result = ();

    fn handle(
        &mut self,
        Called { mut requests, mut replies }: Called<SayHello>,
        _: &mut Context<Self>,
    ) {
        // A task of its own, so that a caller who reads slowly keeps nobody waiting.
        actix::spawn(async move {
            match requests.next().await {
                Some(Ok(SayHello { name, .. })) if name.is_empty() => {
                    replies.fail("whom? the name is empty")
                }
                // An error means that the caller has gone, or has heard enough.
                Some(Ok(hello)) => {
                    drop(greet(&hello, &mut replies).await.map(|()| replies.finish()))
                }
                Some(Err(_)) | None => {}
            }
        });
    }
}

async fn greet(hello: &SayHello, replies: &mut Replies<Line>) -> Result<(), RemoteError> {
    for time in 1..=hello.times {
        // Waits while the caller has as many as it can take.
        replies
            .send(&Line { text: format!("Bonjour {}, for the {time}. time", hello.name) })
            .await?;
    }
    Ok(())
}

pub(crate) async fn run(client: PeerId, stays: bool) -> anyhow::Result<()> {
    let node = Node::builder()
        .name("greeter")
        .listen("127.0.0.1:0")
        .peer("client", client, [""; 0])
        .stages(standard());
    let node = node.start().await?;
    node.host("greeter", || Greeter).takes_calls::<SayHello>().start().await?;
    println!("{} {}", node.peer(), node.addresses()[0]);
    if stays {
        tokio::signal::ctrl_c().await?;
    } else {
        // Serves its one client as long as that is there.
        let mut client = node.watch("client")?;
        client.up().await;
        client.down().await;
    }
    node.shutdown().await;
    Ok(())
}
