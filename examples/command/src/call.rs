//! One call of an actor on another node, as the command makes it: by its own node, or by the one
//! that runs with its key.

use std::time::Duration;

use estafette::remote::{Description, JsonDownload, JsonRemote, JsonUpload, RemoteError};
use estafette::{Node, RemoteErrorKind};
use futures_util::StreamExt;
use serde::{Deserialize, Serialize};

use crate::error::CommandError;

/// The most bytes of a message.
pub(crate) const MESSAGE_MOST: u64 = 1 << 20;

/// The call that is asked for.
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
    /// A stream of requests, and one answer.
    Upload,
    /// Streams both ways.
    Open,
    Describe,
}

/// A part of what a call ends in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Heard {
    /// It takes requests now.
    Begun,
    /// JSON.
    Answer(String),
    Told,
    Description(Box<Description>),
}

/// The answers of a call, as they come. Dropped before their end, they cancel the call.
#[derive(Debug)]
pub(crate) enum Answers {
    One(Option<Heard>),
    Many(JsonDownload),
    /// Of a call that takes requests, which are taken out first.
    Both(JsonDownload, Option<JsonUpload>),
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

    /// The actor that is called.
    pub(crate) async fn remote(&self, node: &Node) -> Result<JsonRemote, RemoteError> {
        refresh(node).await?;
        let remote = node.remote_json(&self.to, &self.message, self.version)?;
        Ok(match self.within.map(Duration::from_millis) {
            Some(within) => remote.within(within),
            None => remote,
        })
    }

    /// Makes it; an ask is over then.
    pub(crate) async fn make(&self, node: &Node) -> Result<Answers, RemoteError> {
        if self.way == Way::Describe {
            refresh(node).await?;
            let description = node.describe(&self.to).await?;
            return Ok(Answers::One(Some(Heard::Description(Box::new(description)))));
        }
        let remote = self.remote(node).await?;
        let both = |(upload, download)| Answers::Both(download, Some(upload));
        Ok(match self.way {
            Way::Download => Answers::Many(remote.download(&self.json).await?),
            Way::Upload => both(remote.upload().await?),
            Way::Open => both(remote.open().await?),
            Way::Tell => Answers::One(remote.ask(&self.json).await.map(|_| Some(Heard::Told))?),
            _ => Answers::One(Some(Heard::Answer(remote.ask(&self.json).await?))),
        })
    }
}

/// Looks anew at whom the node trusts: another process may have just added the peer.
async fn refresh(node: &Node) -> Result<(), RemoteError> {
    let trust = node.trust().clone();
    let refreshed = estafette::node::blocking(move || trust.refresh()).await;
    refreshed
        .map_err(|error| error.to_string())
        .and_then(|read| read.map_err(|error| error.to_string()))
        .map_err(|why| RemoteError::new(RemoteErrorKind::Storage, why))
}

impl Answers {
    pub(crate) async fn next(&mut self) -> Option<Result<Heard, RemoteError>> {
        match self {
            Self::One(heard) => heard.take().map(Ok),
            Self::Many(replies) | Self::Both(replies, _) => {
                replies.next().await.map(|reply| reply.map(Heard::Answer))
            }
        }
    }

    /// The way for its requests, if it takes any; for the first who asks.
    pub(crate) fn requests(&mut self) -> Option<JsonUpload> {
        match self {
            Self::Both(_, upload) => upload.take(),
            _ => None,
        }
    }
}

/// The reason why nothing more comes.
pub(crate) enum Broken {
    /// The call has failed.
    Call(RemoteError),
    /// The command has.
    Line(CommandError),
}
