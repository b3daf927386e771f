//! Which cipher suite the chunks of an attempt are sealed with: what the link has agreed on when it
//! is offered first.
//!
//! Invariant: an attempt that the receiver was offered keeps its suite, as its key. Another suite is
//! another attempt.

use std::sync::Arc;

use super::Session;
use super::outgoing::{OutgoingTransfer, key_of};
use crate::delivery::KeyScope;
use crate::delivery::sending::Event;
use crate::pipeline::Transfer;
use crate::wire::Suite;

impl OutgoingTransfer {
    /// Takes up an attempt of which the receiver has not heard.
    pub(super) fn begin_with(&mut self, transfer: Arc<Transfer>) {
        let KeyScope { attempt, suite, .. } = transfer.scope;
        let (stream, key, commit) = (transfer.stream, key_of(&transfer), transfer.commitment);
        let opening = &mut self.opening;
        (opening.stream, opening.attempt, opening.suite) = (stream, attempt, suite);
        (opening.key, opening.commit) = (key, commit);
        (self.transfer, self.offered) = (transfer, false);
    }
}

impl Session {
    /// A link is coming up: an attempt that the receiver may have begun with is sealed as it was, or
    /// made anew. A receiver whose suites have changed was started again meanwhile, and knows it
    /// no more.
    pub(super) fn renew_outdated(&mut self) {
        let Some(suite) = self.link.as_ref().map(|link| link.suite) else { return };
        // Every node has the first one.
        let opens = |sealed| [suite, Suite::XSALSA20_POLY1305].contains(&sealed);
        let outdated = self
            .outgoing
            .iter()
            .filter(|(_, out)| out.offered && !opens(out.transfer.scope.suite))
            .map(|(&stream, out)| (stream, out.transfer.scope.suite));
        for (stream, was) in outdated.collect::<Vec<_>>() {
            let why = format!("{} opens {suite} now, and no more {was}", self.name);
            self.send(Event::Outdated(stream, why));
        }
    }

    /// Seals an attempt of which nobody has heard with what this link has agreed on.
    pub(super) fn choose_suite(&mut self, stream: u64) {
        let (Some(out), Some(link)) = (self.outgoing.get(&stream), &self.link) else { return };
        let scope = out.transfer.scope;
        if out.offered || scope.suite == link.suite {
            return;
        }
        let transfer = self.new_attempt(
            scope.transfer,
            scope.attempt,
            stream,
            scope.chunk_size,
            out.compression,
            &out.opening.stages,
        );
        if let Some(out) = self.outgoing.get_mut(&stream) {
            out.begin_with(transfer);
        }
    }
}
