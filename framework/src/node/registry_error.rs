//! Errors of registries.

use crate::wire::Suite;

/// An error of finding or combining the parts of a registry.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RegistryError {
    /// A standard part was never registered.
    #[error(
        "no {what} is registered; `.stages(estafette_actors::standard())` brings the standard ones"
    )]
    Missing {
        /// The part that is missing.
        what: &'static str,
    },
    /// A coder that the transfer names is not known here.
    #[error("the stage {name:?} is not registered here; known are: {known}")]
    UnknownStage {
        /// The name asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A codec that a transfer names is not known here.
    #[error("the codec {name} is not registered here; known are: {known}")]
    UnknownCodec {
        /// Its name or its number.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A codec, or a coder, that could be taken for something else.
    #[error("{what} can't be registered: {why}")]
    Unfit {
        /// The codec or the coder, by its name.
        what: String,
        /// The reason.
        why: &'static str,
    },
    /// A codec that a node is to prefer, and of which no other node can say that it has it.
    #[error(
        "the codec {name:?} can't be preferred: it has the number {number}, and those below 32 \
         alone are announced to other nodes; give it one of 16 to 31, or ask for it with each \
         delivery"
    )]
    Unannounced {
        /// Its name.
        name: String,
        /// Its number.
        number: u8,
    },
    /// More stages than an opening names.
    #[error("{given} stages are asked for, codec included, and {limit} are the most")]
    TooManyStages {
        /// The number of stages that is asked for.
        given: usize,
        /// The limit.
        limit: usize,
    },
    /// More different chains of stages than a lane keeps.
    #[error(
        "transfers with {limit} different lists of stages have run on this link already; use \
         fewer different lists"
    )]
    TooManyChains {
        /// The limit.
        limit: usize,
    },
    /// The coders of a transfer make its chunks longer than they may.
    #[error(
        "the stages {names} make a chunk longer by up to {growth} bytes, for chunks of \
         {chunk_size} bytes {limit} are allowed; use larger chunks"
    )]
    Grows {
        /// Their names.
        names: String,
        /// The growth that they declare, in bytes.
        growth: u32,
        /// The size of the chunks.
        chunk_size: u32,
        /// The most there may be.
        limit: u32,
    },
    /// The cipher suite is not known here.
    #[error(
        "it is sealed with {suite}, and this node has {known}: the other suite needs a processor \
         or a build that this node does not have"
    )]
    UnknownSuite {
        /// The suite.
        suite: Suite,
        /// The suites that this node has.
        known: String,
    },
}

impl RegistryError {
    /// The words of a receiver that lacks it: with what to do, which is done at either end.
    pub fn to_sender(&self) -> String {
        match self {
            Self::UnknownStage { .. } => {
                format!("{self}; run a program at the receiver that has it, or send without it")
            }
            Self::UnknownCodec { .. } => format!(
                "{self}; send with one of these (`--compress`, `SendOptions::compression`), or run \
                 a program at the receiver that has it"
            ),
            other => other.to_string(),
        }
    }
}
