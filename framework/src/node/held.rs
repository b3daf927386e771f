//! A count of what a node holds at one moment, for tests: after an attack it must be the same as
//! before.

use actix::{Context, Handler, Message, ResponseFuture};

use super::door::CountHalfOpen;
use super::hub::Hub;
use super::shared::NodeShared;

/// A count of what a node holds for its peers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Peers with a session.
    pub sessions: usize,
    /// Connections in their handshake.
    pub half_open: usize,
    /// Lane tickets that are out.
    pub lane_tickets: usize,
    /// Transfers that run, of both directions.
    pub running: usize,
    /// Bytes of the pools that are taken.
    pub bytes: usize,
}

/// Counts peers with a session, and connections in their handshake.
#[derive(Debug, Message)]
#[rtype(result = "(usize, usize)")]
pub(crate) struct Census;

impl Handler<Census> for Hub {
    type Result = ResponseFuture<(usize, usize)>;

    fn handle(&mut self, _: Census, _: &mut Context<Self>) -> Self::Result {
        let (sessions, door) = self.census();
        Box::pin(async move {
            let half_open = match door {
                Some(door) => door.send(CountHalfOpen).await.unwrap_or_default(),
                None => 0,
            };
            (sessions, half_open)
        })
    }
}

impl Held {
    pub(super) fn of(shared: &NodeShared, (sessions, half_open): (usize, usize)) -> Self {
        let ways = [&shared.rooms.incoming, &shared.rooms.outgoing];
        let running = ways.iter().map(|way| way.running().0).sum();
        let bytes = ways.iter().map(|way| way.bytes().0).sum();
        Self { sessions, half_open, lane_tickets: shared.lane_tickets.len(), running, bytes }
    }
}
