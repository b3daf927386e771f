//! A sink of your own: it counts the words of what is delivered, and keeps nothing else. Its inbox
//! is a kind, so that settings make it: in the configuration of a program with this registry,
//! `[[inbox]]` with `kind = "words"`.
//!
//! `cargo run -p estafette-examples --example custom_sink`

use std::convert::Infallible;

use bytes::Bytes;
use estafette::pipeline::{Committed, Offer, Placement, Refusal, SinkError, Summary};
use estafette::prelude::*;
use estafette_actors::{source::BytesSource, standard};
use futures_util::future::{BoxFuture, ready};
use serde::Deserialize;
use serde_json::json;

/// The inbox, and its settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Words {
    #[serde(with = "estafette::node::units::size")]
    most: u64,
}

/// One delivery.
#[derive(Debug, Default)]
struct Count {
    words: u64,
    in_word: bool,
}

impl Inbox for Words {
    fn open(&self, offer: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        match offer.content.length {
            Some(length) if length <= self.most => Ok(Box::new(Count::default())),
            _ => Err(Refusal::new(format!("only {} bytes at most are counted", self.most))),
        }
    }
}

impl Sink for Count {
    fn placement(&self) -> Placement {
        Placement::InOrder
    }

    fn write<'a>(&'a mut self, _: u64, bytes: &'a Bytes) -> BoxFuture<'a, Result<(), SinkError>> {
        for byte in bytes {
            let starts = !byte.is_ascii_whitespace() && !self.in_word;
            self.words += u64::from(starts);
            self.in_word = !byte.is_ascii_whitespace();
        }
        Box::pin(ready(Ok(())))
    }

    fn commit<'a>(&'a mut self, _: &'a Summary) -> BoxFuture<'a, Result<Committed, SinkError>> {
        let place = format!("{} words", self.words);
        Box::pin(ready(Ok(Committed { place, ..Committed::default() })))
    }

    fn abort(&mut self, _reason: &str) {}
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let registry = standard().inbox_kind("words", |settings: Words| Ok::<_, Infallible>(settings));
    let inbox = registry.inbox_of("words", json!({ "most": "1MiB" }))?.make()?;
    let paris = Node::builder().listen("127.0.0.1:0").stages(registry).receive("words", inbox);
    let (paris, lyon) = (paris.start().await?, Node::builder().stages(standard()).start().await?);

    let letter = BytesSource::new("letter", "Dear Paris, all is well here.")?;
    let sent = lyon.send(paris.ticket("words")?, letter).await?;
    let receipt = sent.delivered().await?;
    println!("Paris has counted {}", receipt.place);
    assert_eq!(receipt.place, "6 words");
    lyon.shutdown().await;
    paris.shutdown().await;
    Ok(())
}
