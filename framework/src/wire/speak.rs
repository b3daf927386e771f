//! Control messages through a channel: encoded and sealed, opened and decoded.

use super::codec::CodecError;
use super::{Control, ControlOpener, ControlSealer, LinkError};

/// An error of sealing or understanding a control message. The link is of no more use after it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpeakError {
    /// The channel refused it.
    #[error(transparent)]
    Link(#[from] LinkError),
    /// The message is malformed.
    #[error(transparent)]
    Codec(#[from] CodecError),
}

impl ControlSealer {
    /// The whole frame for `control`.
    pub fn seal_control(&mut self, control: &Control) -> Result<Vec<u8>, SpeakError> {
        Ok(self.seal(&control.encode()?)?)
    }
}

impl ControlOpener {
    /// The message in the body of the next control frame.
    pub fn open_control(&mut self, body: &[u8]) -> Result<Control, SpeakError> {
        Ok(Control::decode(&self.open(body)?)?)
    }
}

impl Control {
    /// Returns the name of the message, for errors.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Hello { .. } => "Hello",
            Self::Welcome { .. } => "Welcome",
            Self::Refuse { .. } => "Refuse",
            Self::Ping { .. } => "Ping",
            Self::Pong { .. } => "Pong",
            Self::LaneRequest { .. } => "LaneRequest",
            Self::LaneWanted => "LaneWanted",
            Self::LaneTicket { .. } => "LaneTicket",
            Self::Open(_) => "Open",
            Self::Accept { .. } => "Accept",
            Self::Reject { .. } => "Reject",
            Self::Grant { .. } => "Grant",
            Self::Received { .. } => "Received",
            Self::Lost { .. } => "Lost",
            Self::Delivered { .. } => "Delivered",
            Self::Done { .. } => "Done",
            Self::Fail { .. } => "Fail",
            Self::Pause { .. } => "Pause",
            Self::Unpause { .. } => "Unpause",
            Self::Goodbye { .. } => "Goodbye",
            Self::Processed { .. } => "Processed",
            Self::Passed { .. } => "Passed",
            Self::Heard { .. } => "Heard",
            Self::Messages { .. } => "Messages",
            Self::Unknown { .. } => "Unknown",
            Self::Waiting { .. } => "Waiting",
            Self::Process { .. } => "Process",
            Self::Remarks { .. } => "Remarks",
        }
    }
}
