//! The name of the token for which a door asks, as the actor hears it.

#![allow(clippy::unwrap_used, reason = "a test that fails says so")]

mod support;

use actix::{Actor, Context, Handler};
use estafette::RemoteMessage;
use estafette::remote::{Asked, Called};
use futures_util::StreamExt;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use support::{World, within};
use tokio::sync::mpsc;

/// For whom am I here?
#[derive(Debug, Serialize, Deserialize, JsonSchema, RemoteMessage)]
#[remote(name = "shop.Who", reply = Option<String>, json, schema)]
struct Who {}

/// Tells it by its answer, and besides.
struct Porter(mpsc::UnboundedSender<Option<String>>);

impl Actor for Porter {
    type Context = Context<Self>;
}

impl Handler<Asked<Who>> for Porter {
    type Result = ();

    fn handle(&mut self, Asked { reply, .. }: Asked<Who>, _: &mut Context<Self>) {
        let who = reply.on_behalf().map(ToOwned::to_owned);
        self.0.send(who.clone()).unwrap();
        reply.send(&who);
    }
}

impl Handler<Called<Who>> for Porter {
    type Result = ();

    fn handle(&mut self, mut called: Called<Who>, _: &mut Context<Self>) {
        actix::spawn(async move {
            let who = called.replies.on_behalf().map(ToOwned::to_owned);
            while let Some(Ok(Who {})) = called.requests.next().await {
                called.replies.send(&who).await.unwrap();
            }
            called.replies.finish();
        });
    }
}

#[tokio::test]
async fn an_actor_hears_which_token_a_door_asks_for_whichever_way() {
    const JSON: &str = "Content-Type: application/json";
    let world = World::new().await;
    let paris = world.paris.as_ref().unwrap();
    let (seen, mut heard) = mpsc::unbounded_channel();
    let calls = seen.clone();
    let porter = paris.host("porter", move || Porter(seen.clone()));
    porter.takes_asked::<Who>().start().await.unwrap();
    let calls = paris.host("calls", move || Porter(calls.clone()));
    calls.takes_calls::<Who>().start().await.unwrap();
    let till = world.client();
    let other = till.with(Some(&world.token("Käthe's", "paris/*", None)));
    for (client, name) in [(&till, "till"), (&other, "Käthe's")] {
        let asked = client.post("/v1/ask/paris/porter/shop.Who", "{}").await;
        assert_eq!((asked.status, asked.json()), (200, name.into()), "{asked:?}");
        let told = client.post("/v1/tell/paris/porter/shop.Who", "{}").await;
        assert_eq!(told.status, 202, "{told:?}");
        let wait = [JSON, "Prefer: wait=60"];
        let stored = client.ask("POST", "/v1/deliver/paris/porter/shop.Who", &wait, b"{}").await;
        assert_eq!(stored.status, 200, "{stored:?}");
        let id = format!("ce-id: {name}").replace('\u{e4}', "ae");
        let event = ["ce-specversion: 1.0", "ce-source: /", "ce-type: shop.Who", &id];
        let event = [&event[..], &wait].concat();
        let event = client.ask("POST", "/v1/events/paris/porter", &event, b"{}").await;
        assert_eq!(event.status, 200, "{event:?}");
        for _ in 0..4 {
            assert_eq!(within(heard.recv()).await, Some(Some(name.to_owned())));
        }
        let lines = client.post("/v1/download/paris/calls/shop.Who", "{}").await;
        assert_eq!((lines.status, lines.body), (200, format!("\"{name}\"\n")));
    }
    // Who asks without a door says nothing of the kind.
    let plain = world.lyon.remote::<Who>("paris/porter").unwrap();
    assert_eq!(within(plain.ask(Who {})).await, Ok(None));
}
