//! One call of an actor on another node, as the command makes it: by its own node, or by the one
//! that runs with its key.

use std::time::Duration;

use estafette::remote::{Description, JsonDownload, RemoteError};
use estafette::{Node, RemoteErrorKind};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

/// What is asked for.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) way: Way,
    /// PEER/NAME; of a description, PEER alone, too.
    pub(crate) to: String,
    /// The name of the type.
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) version: u32,
    #[serde(default)]
    pub(crate) json: String,
    /// In milliseconds.
    #[serde(default)]
    pub(crate) within: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Way {
    Ask,
    /// An ask whose answer is thrown away: so what goes wrong is heard of.
    Tell,
    Download,
    Describe,
}

/// A part of what a call ends in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Heard {
    /// JSON.
    Answer(String),
    Told,
    Description(Box<Description>),
}

/// What a call ends in, as it comes. Dropped before its end, it cancels the call.
#[derive(Debug)]
pub(crate) enum Answers {
    One(Option<Heard>),
    Many(JsonDownload),
}

impl Call {
    /// The description of a peer, or of a name there.
    pub(crate) fn describe(what: &str) -> Self {
        Self {
            way: Way::Describe,
            to: what.into(),
            message: String::new(),
            version: 0,
            json: String::new(),
            within: None,
        }
    }

    /// Makes it; an ask is over then.
    pub(crate) async fn make(&self, node: &Node) -> Result<Answers, RemoteError> {
        // Another process may have just added the peer.
        let trust = node.trust().clone();
        let refreshed = estafette::node::blocking(move || trust.refresh()).await;
        refreshed
            .map_err(|error| error.to_string())
            .and_then(|read| read.map_err(|error| error.to_string()))
            .map_err(|why| RemoteError::new(RemoteErrorKind::Storage, why))?;
        if self.way == Way::Describe {
            let description = node.describe(&self.to).await?;
            return Ok(Answers::One(Some(Heard::Description(Box::new(description)))));
        }
        let remote = node.remote_json(&self.to, &self.message, self.version)?;
        let remote = match self.within.map(Duration::from_millis) {
            Some(within) => remote.within(within),
            None => remote,
        };
        Ok(match self.way {
            Way::Download => Answers::Many(remote.download(&self.json).await?),
            Way::Tell => Answers::One(remote.ask(&self.json).await.map(|_| Some(Heard::Told))?),
            _ => Answers::One(Some(Heard::Answer(remote.ask(&self.json).await?))),
        })
    }
}

impl Answers {
    pub(crate) async fn next(&mut self) -> Option<Result<Heard, RemoteError>> {
        match self {
            Self::One(heard) => heard.take().map(Ok),
            Self::Many(replies) => replies.next().await.map(|reply| reply.map(Heard::Answer)),
        }
    }
}
