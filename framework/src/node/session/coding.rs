//! The cipher suite and the codec of an attempt: those that the link has agreed on
//! when it is offered first.
//!
//! Invariant: an attempt that the receiver was offered keeps both, as its key. What has other ones
//! is another attempt.

use std::sync::Arc;

use super::Session;
use super::outgoing::{OutgoingTransfer, key_of};
use crate::delivery::KeyScope;
use crate::delivery::sending::Event;
use crate::node::codecs::{is_common, stages_of};
use crate::pipeline::{Codec, Compression, SharedCodec, Transfer};
use crate::wire::Suite;

impl OutgoingTransfer {
    /// Takes up an attempt of which the receiver has not heard.
    pub(super) fn begin_with(&mut self, transfer: Arc<Transfer>) {
        let KeyScope { attempt, suite, .. } = transfer.scope;
        let (stream, key, commit) = (transfer.stream, key_of(&transfer), transfer.commitment);
        let stages = stages_of(&self.asked.0, &transfer);
        let opening = &mut self.opening;
        (opening.stream, opening.attempt, opening.suite) = (stream, attempt, suite);
        (opening.key, opening.commit, opening.stages) = (key, commit, stages);
        (self.transfer, self.offered) = (transfer, false);
    }

    /// The codec that its chunks pass.
    fn codec(&self) -> Codec {
        self.transfer.codec.as_ref().map_or(Codec::RAW, |codec| codec.id())
    }
}

impl Session {
    /// Returns the codec of a delivery: as it says itself, else what this node prefers, where the
    /// other end has it and the opening has room for its name.
    pub(super) fn codec_for(
        &self,
        (coders, asked): &(Vec<String>, Option<Compression>),
    ) -> Option<SharedCodec> {
        let registry = &self.shared.registry;
        match asked {
            // Looked up when the delivery began.
            Some(asked) => registry.stages().chosen_codec(*asked).ok().flatten(),
            None => {
                let features = self.link.as_ref().map_or(0, |link| link.features);
                registry.stages().preferred_codec(self.shared.config.compression, features, coders)
            }
        }
    }

    /// A link is coming up: an attempt that the receiver may have begun with goes on as it was, or
    /// is made anew. A receiver that has lost a suite, or a codec, was started again meanwhile,
    /// and knows it no more.
    pub(super) fn renew_outdated(&mut self) {
        let Some(link) = &self.link else { return };
        let (suite, features) = (link.suite, link.features);
        // Every node has the first one.
        let opens = |sealed| [suite, Suite::XSALSA20_POLY1305].contains(&sealed);
        let outdated =
            self.outgoing.iter().filter(|(_, out)| out.offered).filter_map(|(&stream, out)| {
                let was = out.transfer.scope.suite;
                if !opens(was) {
                    return Some((
                        stream,
                        format!("{} opens {suite} now, and no more {was}", self.name),
                    ));
                }
                // What the delivery asks for itself, the receiver takes or refuses.
                let lost = out.asked.1.is_none() && !is_common(out.codec(), features);
                let codec = out.transfer.codec.as_ref().filter(|_| lost)?.name();
                Some((stream, format!("{} does not decompress {codec} any more", self.name)))
            });
        for (stream, why) in outdated.collect::<Vec<_>>() {
            self.send(Event::Outdated(stream, why));
        }
    }

    /// Makes an attempt of which nobody has heard what this link has agreed on.
    pub(super) fn choose_coding(&mut self, stream: u64) {
        let (Some(out), Some(link)) = (self.outgoing.get(&stream), &self.link) else { return };
        let scope = out.transfer.scope;
        let codec = self.codec_for(&out.asked).map_or(Codec::RAW, |codec| codec.id());
        if out.offered || (scope.suite, out.codec()) == (link.suite, codec) {
            return;
        }
        let KeyScope { transfer, attempt, chunk_size, .. } = scope;
        let transfer = self.new_attempt(transfer, attempt, stream, chunk_size, &out.asked);
        if let Some(out) = self.outgoing.get_mut(&stream) {
            out.begin_with(transfer);
        }
    }
}
