//! Messages that are stored until they are handled, as a node that has them tells of them.

use estafette::Node;
use estafette::remote::{LetterId, LetterInfo, LetterState};
use serde::{Deserialize, Serialize};

use crate::call::Call;
use crate::error::CommandError;

/// A message that is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Letter {
    pub(crate) id: String,
    /// PEER/NAME.
    pub(crate) to: String,
    /// The name of the type.
    pub(crate) message: String,
    pub(crate) state: State,
    /// In seconds since the Unix epoch; `None` of one that was processed before it was looked at.
    pub(crate) created: Option<u64>,
    pub(crate) expires: Option<u64>,
    /// The reason why it is dead.
    pub(crate) error: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Stored,
    Delivered,
    Processed,
    Dead,
}

impl State {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Stored => "stored",
            Self::Delivered => "delivered",
            Self::Processed => "processed",
            Self::Dead => "dead",
        }
    }
}

/// The end of a type's name where its messages are JSON.
const JSON: &str = "+json";

impl Letter {
    pub(crate) fn new(node: &Node, info: &LetterInfo) -> Self {
        let peer = node.trust().peer(&info.peer);
        let peer = peer.map_or_else(|| info.peer.to_string(), |peer| peer.name);
        let (state, error) = match &info.state {
            LetterState::Stored => (State::Stored, None),
            LetterState::Delivered => (State::Delivered, None),
            LetterState::Processed => (State::Processed, None),
            LetterState::Dead(why) => (State::Dead, Some(why.to_string())),
            _ => (State::Stored, None),
        };
        Self {
            id: info.id.to_string(),
            to: format!("{peer}/{}", info.name),
            message: info.message.strip_suffix(JSON).unwrap_or(&info.message).to_owned(),
            state,
            created: Some(info.created),
            expires: Some(info.expires),
            error,
        }
    }

    /// One that is not kept any more.
    fn processed(id: LetterId, call: &Call) -> Self {
        Self {
            id: id.to_string(),
            to: call.to.clone(),
            message: call.message.clone(),
            state: State::Processed,
            created: None,
            expires: None,
            error: None,
        }
    }
}

/// Stores a message.
pub(crate) async fn store(node: &Node, call: &Call) -> Result<Letter, CommandError> {
    let delivery = call.remote(node).await?.deliver(&call.json).await?;
    let id = delivery.id();
    let kept =
        node.letters().list().iter().find(|info| info.id == id).map(|info| Letter::new(node, info));
    Ok(kept.unwrap_or_else(|| Letter::processed(id, call)))
}

/// Waits until a message was processed.
pub(crate) async fn processed(node: &Node, id: &str) -> Result<(), CommandError> {
    if let Some(delivery) = node.letters().find(parse(id)?) {
        delivery.processed().await?;
    }
    Ok(())
}

/// Forgets one that is dead.
pub(crate) async fn forget(node: &Node, id: &str) -> Result<(), CommandError> {
    if node.letters().forget(parse(id)?).await? {
        return Ok(());
    }
    let text = format!("there is no dead message {id} here");
    Err(CommandError::usage(text, "`estafette outbox messages` lists them, with their states"))
}

fn parse(id: &str) -> Result<LetterId, CommandError> {
    id.parse().map_err(|error| {
        CommandError::usage(error, "give the whole id, as `estafette outbox messages` prints it")
    })
}
