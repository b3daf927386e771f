//! Faults of serde in writing or reading a value.

use std::fmt::{self, Display};

use super::{CodecError, DEPTH_LIMIT, FREE_ELEMENTS};

/// The fault, and its place; boxed, since nearly every function returns it and nearly none does.
#[derive(Debug)]
pub(super) struct Fault(Box<(What, Option<String>)>);

#[derive(Debug)]
pub(super) enum What {
    /// The bytes end too early.
    End,
    /// There is no room for more bytes.
    TooLarge,
    TooDeep,
    TooMany,
    /// Kept from being compared any further.
    Enough,
    /// The bytes are asked what they are.
    Undescribed,
    Other(String),
}

impl Fault {
    pub(super) fn other(text: impl Into<String>) -> Self {
        What::Other(text.into()).into()
    }

    /// Says where it is, unless that is known already: what is furthest inside knows best.
    #[cold]
    pub(super) fn within(mut self, place: impl FnOnce() -> Option<String>) -> Self {
        if self.0.1.is_none() {
            self.0.1 = place();
        }
        self
    }

    /// Returns `true` if no bytes could be read.
    pub(super) fn is_unable(&self) -> bool {
        matches!(self.0.0, What::Undescribed)
    }

    pub(super) fn is_end(&self) -> bool {
        matches!(self.0.0, What::End)
    }

    /// Returns the error of reading `given` bytes, of which there may be `limit`.
    #[cold]
    pub(super) fn reading(self, given: usize, limit: usize) -> CodecError {
        match self.0.0 {
            What::End => CodecError::Truncated { given },
            What::TooLarge => CodecError::TooLarge { limit },
            What::TooDeep => CodecError::TooDeep { limit: DEPTH_LIMIT },
            What::TooMany => CodecError::TooMany { limit: FREE_ELEMENTS },
            What::Undescribed => CodecError::Undescribed { reason: self.to_string() },
            _ => CodecError::Malformed { given, reason: self.to_string() },
        }
    }

    /// Returns the error of writing.
    #[cold]
    pub(super) fn writing(self, limit: usize) -> CodecError {
        match self.0.0 {
            What::TooLarge => CodecError::TooLarge { limit },
            What::TooDeep => CodecError::TooDeep { limit: DEPTH_LIMIT },
            What::TooMany => CodecError::TooMany { limit: FREE_ELEMENTS },
            _ => CodecError::Unwritable { reason: self.to_string() },
        }
    }
}

impl From<What> for Fault {
    #[cold]
    fn from(what: What) -> Self {
        Self(Box::new((what, None)))
    }
}

impl From<bincode::error::DecodeError> for Fault {
    #[cold]
    fn from(error: bincode::error::DecodeError) -> Self {
        match error {
            bincode::error::DecodeError::UnexpectedEnd { .. } => What::End.into(),
            bincode::error::DecodeError::LimitExceeded => What::TooLarge.into(),
            other => Self::other(other.to_string()),
        }
    }
}

impl From<bincode::error::EncodeError> for Fault {
    #[cold]
    fn from(error: bincode::error::EncodeError) -> Self {
        match error {
            bincode::error::EncodeError::UnexpectedEnd => What::TooLarge.into(),
            other => Self::other(other.to_string()),
        }
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(place) = &self.0.1 {
            write!(f, "{place}: ")?;
        }
        match &self.0.0 {
            What::End => f.write_str("the bytes end here"),
            What::TooLarge => f.write_str("there is no room for more bytes"),
            What::TooDeep => f.write_str("it is nested too deeply"),
            What::TooMany => f.write_str("it has too many elements"),
            What::Enough => f.write_str("there is more than is compared"),
            What::Undescribed => f.write_str(
                "its `Deserialize` asks the bytes what they are, and they do not say \
                 (`#[serde(untagged)]`, `tag = …`, `flatten`, or a value of any kind, as \
                 `serde_json::Value` is): use a plain enum or struct, or send such a value as a \
                 text",
            ),
            What::Other(text) => f.write_str(text),
        }
    }
}

impl std::error::Error for Fault {}

impl serde::ser::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self::other(message.to_string())
    }
}

impl serde::de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self::other(message.to_string())
    }
}
