//! The things that go along with a message beside its body.

use std::sync::Arc;

use super::trace::TraceContext;

/// The most bytes of the text that says for whom a message is sent; one that is longer is not said.
pub const ON_BEHALF_LIMIT: usize = 256;

/// The things that go along with a message beside its body.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Along {
    /// The trace it belongs to.
    pub trace: Option<TraceContext>,
    /// For whom it is sent, by the word of the node that sends it: at most [`ON_BEHALF_LIMIT`]
    /// bytes, and one at least, none of them of a control character.
    pub on_behalf: Option<Arc<str>>,
}

impl Along {
    /// The same; `None`, if nothing goes along.
    pub fn any(self) -> Option<Self> {
        (self.trace.is_some() || self.on_behalf.is_some()).then_some(self)
    }

    /// For whom it is sent, if that is said.
    pub fn on_behalf(&self) -> Option<&str> {
        self.on_behalf.as_deref()
    }

    /// The same, on behalf of somebody; of nobody, if that text may not be said: a part of it could
    /// be the name of somebody else.
    pub(crate) fn on_behalf_of(self, who: &str) -> Self {
        Self { on_behalf: may_be_said(who).then(|| who.into()), ..self }
    }

    /// The most bytes that it takes.
    pub(crate) fn most(&self) -> usize {
        let trace = self.trace.as_ref().map_or(0, |trace| 32 + trace.state.len());
        trace + self.on_behalf.as_ref().map_or(0, |who| 8 + who.len())
    }
}

/// Returns `true` if a message may say that it is sent for somebody of this name.
pub(super) fn may_be_said(who: &str) -> bool {
    (1..=ON_BEHALF_LIMIT).contains(&who.len()) && !who.chars().any(char::is_control)
}
