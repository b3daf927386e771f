//! Acknowledgements: those that the lane says together, and those that it hears.

use std::sync::atomic::Ordering;

use actix::{AsyncContext, Context, Handler};

use super::messages::{AcknowledgeAgain, AcknowledgeCopy, Acknowledged, Flush, LaneNews};
use super::socket::{self, Outbound};
use super::{CONTROLS, LOOK_AGAIN, Lane, SAY_AFTER};
use crate::pipeline::Parcel;
use crate::wire::Control;

impl Handler<Flush> for Lane {
    type Result = ();

    fn handle(&mut self, _: Flush, ctx: &mut Context<Self>) {
        let Some(connection) = &mut self.connection else {
            self.unsaid = 0;
            // The sender would have to send again what is here: the link tells it.
            let acknowledged = std::mem::take(&mut self.acknowledged).into_iter();
            let acknowledged = acknowledged.flat_map(|(stream, set)| {
                set.to_wire().into_iter().map(move |indices| (stream, indices))
            });
            return self.session.do_send(LaneNews::Acknowledged(acknowledged.collect()));
        };
        if connection.controls.load(Ordering::Relaxed) >= CONTROLS {
            self.unsaid = SAY_AFTER + 1;
            ctx.run_later(LOOK_AGAIN, |lane, ctx| lane.handle(Flush, ctx));
            return;
        }
        self.unsaid = 0;
        for (stream, indices) in std::mem::take(&mut self.acknowledged) {
            for indices in indices.to_wire() {
                if let Ok(frame) =
                    connection.sealer.seal_control(&Control::Received { stream, indices })
                {
                    let waiting = socket::Waiting::count(&connection.controls);
                    let _ = connection.queue.send(Outbound::Control { frame, waiting });
                }
            }
        }
    }
}

impl Handler<Acknowledged> for Lane {
    type Result = ();

    fn handle(&mut self, Acknowledged { stream, indices }: Acknowledged, _: &mut Context<Self>) {
        for &(start, end) in indices.as_slice() {
            let acked: Vec<_> =
                self.retained.range((stream, start)..(stream, end)).map(|(&key, _)| key).collect();
            for retained in acked.iter().filter_map(|key| self.retained.remove(key)) {
                let custody = retained.sealed.custody();
                custody.finish(custody.content_length());
                if !custody.is_trailer() {
                    custody.transfer().acknowledge(custody.index());
                } else if !custody.transfer().is_closed() {
                    self.trailers.insert(stream, retained.sealed);
                }
            }
        }
    }
}

impl Handler<AcknowledgeAgain> for Lane {
    type Result = ();

    fn handle(
        &mut self,
        AcknowledgeAgain { stream, index }: AcknowledgeAgain,
        ctx: &mut Context<Self>,
    ) {
        self.acknowledge(stream, index, ctx);
    }
}

impl Handler<AcknowledgeCopy> for Lane {
    type Result = ();

    fn handle(
        &mut self,
        AcknowledgeCopy { stream, index, trailer }: AcknowledgeCopy,
        ctx: &mut Context<Self>,
    ) {
        if self.copies.is_empty() {
            ctx.run_later(LOOK_AGAIN, Self::look_at_copies);
        }
        self.copies.insert((stream, index, trailer));
    }
}
