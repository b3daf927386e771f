//! Bulk lanes of a session: opened when there is bulk, dialled by the side that dialled the link.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use actix::{ActorFutureExt, AsyncContext, Context, Handler, WrapFuture};

use super::Session;
use super::signals::LaneFailed;
use crate::node::dialling;
use crate::node::door::at_the_door;
use crate::node::invitation::{LaneInvitation, LaneReady};
use crate::node::lane::{Attach, Detach, LaneNews, Surrender, TakeOver};
use crate::wire::{Control, SecretBytes};

/// Tickets of one node that may be out at once.
const TICKETS: usize = 4096;
/// The least time between two words on lanes that fail.
const TELL_AGAIN: Duration = Duration::from_secs(60);
/// The wait before a lane that failed is asked for again.
const RETRY: Duration = Duration::from_millis(250);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LanePhase {
    Down,
    Requested(Instant),
    Dialing(Instant),
    Up,
}

/// Failures to open lanes, told once in a while: each lane that fails is asked for again at once.
#[derive(Debug, Default)]
pub(super) struct LaneFailures {
    untold: u64,
    told: Option<Instant>,
}

impl LaneFailures {
    /// Counts one. Returns how many there were since this was last told, if it is to be told now.
    fn count(&mut self, now: Instant) -> Option<u64> {
        self.untold += 1;
        let is_told = self.told.is_some_and(|told| now.duration_since(told) < TELL_AGAIN);
        if is_told {
            return None;
        }
        self.told = Some(now);
        Some(std::mem::take(&mut self.untold))
    }
}

impl Session {
    /// Asks for the lanes that are missing.
    pub(super) fn ensure_lanes(&mut self) {
        let Some(link) = &self.link else { return };
        let (dialed, most) =
            (link.dialed, usize::from(link.lanes).min(self.lane_phases.len()).max(1));
        let patience = LaneInvitation::LIFE + self.shared.config.handshake_timeout;
        let missing: Vec<usize> = (0..most)
            .filter(|&lane| match self.lane_phases[lane] {
                LanePhase::Down => true,
                LanePhase::Requested(since) | LanePhase::Dialing(since) => {
                    since.elapsed() > patience
                }
                LanePhase::Up => false,
            })
            .collect();
        let requested = LanePhase::Requested(Instant::now());
        if !dialed && !missing.is_empty() {
            missing.iter().for_each(|&lane| self.lane_phases[lane] = requested);
            return self.say(Control::LaneWanted);
        }
        for lane in missing {
            self.lane_phases[lane] = requested;
            self.say(Control::LaneRequest { lane: lane as u16 });
        }
    }

    /// The peer, who dialled the link, wants to dial a lane.
    pub(super) fn invite_lane(&mut self, lane: u16, ctx: &mut Context<Self>) {
        if self
            .link
            .as_ref()
            .is_none_or(|link| link.dialed || usize::from(lane) >= self.lanes.len())
        {
            return;
        }
        self.withdraw_invitation(lane);
        let Some(link) = &self.link else { return };
        self.shared.lane_tickets.retain(|_, invitation| invitation.is_fresh());
        if self.shared.lane_tickets.len() >= TICKETS {
            return;
        }
        let random = crate::store::random32();
        let mut id = [0; 16];
        id.copy_from_slice(&random[..16]);
        let secret = SecretBytes::new(crate::store::random32());
        let (epoch, link_hash) = (link.epoch, link.hash);
        let invitation = LaneInvitation {
            session: ctx.address().recipient(),
            epoch,
            lane,
            secret: secret.clone(),
            link_hash,
            issued: Instant::now(),
        };
        self.shared.lane_tickets.insert(id, invitation);
        self.invitations.insert(lane, id);
        self.say(Control::LaneTicket { lane, id, secret });
    }

    fn withdraw_invitation(&mut self, lane: u16) {
        if let Some(id) = self.invitations.remove(&lane) {
            self.shared.lane_tickets.remove(&id);
        }
    }

    /// Tickets of a link that is gone are good for nothing.
    pub(super) fn withdraw_invitations(&mut self) {
        for id in std::mem::take(&mut self.invitations).into_values() {
            self.shared.lane_tickets.remove(&id);
        }
    }

    /// The peer has invited this node to dial a lane.
    pub(super) fn dial_lane(
        &mut self,
        lane: u16,
        id: [u8; 16],
        secret: SecretBytes,
        ctx: &mut Context<Self>,
    ) {
        let Some(link) =
            self.link.as_ref().filter(|link| link.dialed && usize::from(lane) < self.lanes.len())
        else {
            return;
        };
        let (epoch, hash, address) = (link.epoch, link.hash, link.address.clone());
        // Asked for, and once: a peer can't make this node dial without end.
        match &mut self.lane_phases[usize::from(lane)] {
            phase @ LanePhase::Requested(_) => *phase = LanePhase::Dialing(Instant::now()),
            _ => return,
        }
        let (shared, session, peer) = (Arc::clone(&self.shared), ctx.address(), self.peer);
        actix::spawn(async move {
            let at = Arc::clone(&shared);
            let dialing = move || async move {
                dialling::dial_lane(&at, (peer, &address), lane, id, secret.expose(), &hash).await
            };
            match at_the_door(&shared, dialing).await {
                Some(Ok((connection, sealer, opener))) => {
                    session.do_send(LaneReady { epoch, lane, connection, sealer, opener })
                }
                Some(Err(why)) => session.do_send(LaneFailed { epoch, lane, why }),
                None => {}
            }
        });
    }

    /// Moves the frames of lanes that are down to one that is up.
    pub(super) fn rescue_frames(&mut self, ctx: &mut Context<Self>) {
        let Some(up) = self.lanes.iter().find(|lane| lane.up.load(Ordering::Relaxed)).cloned()
        else {
            return;
        };
        for (lane, phase) in self.lanes.iter().zip(&self.lane_phases) {
            if *phase != LanePhase::Up {
                let (from, to) = (lane.address.clone(), up.address.clone());
                let moved = async move { from.send(Surrender).await }.into_actor(self);
                ctx.spawn(
                    moved.map(move |frames, _, _| to.do_send(TakeOver(frames.unwrap_or_default()))),
                );
            }
        }
    }

    fn lane_is_down(&mut self, lane: u16, epoch: u64, ctx: &mut Context<Self>) {
        if self.link.as_ref().is_none_or(|link| link.epoch != epoch) {
            return;
        }
        if let Some(phase) = self.lane_phases.get_mut(usize::from(lane)) {
            *phase = LanePhase::Down;
        }
        self.rescue_frames(ctx);
        if !self.is_idle() {
            ctx.run_later(RETRY, |session, _| session.ensure_lanes());
        }
    }

    /// Closes a lane that brought a damaged chunk.
    pub(super) fn close_lane(&mut self, lane: u16, ctx: &mut Context<Self>) {
        let (Some(handle), Some(link)) = (self.lanes.get(usize::from(lane)), &self.link) else {
            return;
        };
        handle.address.do_send(Detach);
        let epoch = link.epoch;
        self.lane_is_down(lane, epoch, ctx);
    }
}

impl Handler<LaneReady> for Session {
    type Result = ();

    fn handle(&mut self, ready: LaneReady, _: &mut Context<Self>) {
        let LaneReady { epoch, lane, connection, sealer, opener } = ready;
        let Some(link) = self.link.as_ref().filter(|link| link.epoch == epoch) else { return };
        let Some(handle) = self.lanes.get(usize::from(lane)) else { return };
        handle.address.do_send(Attach {
            epoch,
            connection,
            sealer,
            opener,
            max_frame: link.max_frame,
        });
        let failures = std::mem::take(&mut self.lane_failures.untold);
        if failures > 0 {
            tracing::info!(peer = %self.name, failures, "a bulk lane is open, after more failures");
        }
        // When it has attached it says so, and takes over the frames of lanes that are down.
        self.lane_phases[usize::from(lane)] = LanePhase::Up;
    }
}

impl Handler<LaneFailed> for Session {
    type Result = ();

    fn handle(&mut self, LaneFailed { epoch, lane, why }: LaneFailed, ctx: &mut Context<Self>) {
        if let Some(failures) = self.lane_failures.count(Instant::now()) {
            tracing::warn!(
                peer = %self.name, lane, why, failures,
                "a bulk lane could not be opened; trying again"
            );
        }
        self.lane_is_down(lane, epoch, ctx);
    }
}

impl Handler<LaneNews> for Session {
    type Result = ();

    fn handle(&mut self, news: LaneNews, ctx: &mut Context<Self>) {
        match news {
            LaneNews::Down { lane, why, violation: true, .. } => {
                tracing::error!(peer = %self.name, lane, why, "closing the link");
                self.say(Control::Goodbye { reason: why.clone() });
                self.link_down(&why);
            }
            LaneNews::Down { lane, epoch, why, .. } => {
                tracing::debug!(peer = %self.name, lane, why, "lane down");
                self.lane_is_down(lane, epoch, ctx);
            }
            LaneNews::Acknowledged(acknowledged) => {
                for (stream, indices) in acknowledged {
                    self.say(Control::Received { stream, indices });
                }
            }
            LaneNews::Stranded => self.rescue_frames(ctx),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_that_fail_again_and_again_are_told_once_in_a_minute_with_their_number() {
        let (mut failures, begin) = (LaneFailures::default(), Instant::now());
        let mut told = |seconds| failures.count(begin + Duration::from_secs(seconds));
        assert_eq!(told(0), Some(1));
        assert!((0..59).all(|second| told(second).is_none()));
        assert_eq!(told(60), Some(60));
        assert_eq!(told(61), None);
    }
}
