//! A delivery that the process with the spool makes for another one, which watches it: one link for
//! both of them.
//!
//! The connection stays until the delivery is over. Who asked cancels it by closing its side, be it
//! that it has died.

use std::io;

use estafette::node::{NodeEvent, TransferEvent};
use estafette::{FailureKind, Node, TransferHandle};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};

use super::desk;
use super::protocol::{Deposit, Reply};
use super::saying::{say, working};
use crate::news::News;

pub(super) async fn carry_out(
    node: &Node,
    deposit: Deposit,
    mut asked: impl AsyncRead + Unpin,
    answers: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut events = node.events();
    // What is to be sent may be read first, for as long as somebody waits for it.
    let sent = tokio::select! {
        sent = working(answers, desk::send(node, deposit, true)) => sent,
        () = closed(&mut asked) => return Ok(()),
    };
    let transfer = match sent {
        Ok(transfer) => Watched(transfer),
        Err(reply) => return say(answers, &reply).await,
    };
    let (id, peer) = (transfer.0.id(), transfer.0.peer());
    say(answers, &Reply::Sending { id: id.to_string(), peer: peer.to_string() }).await?;
    let mut here = true;
    let outcome = loop {
        tokio::select! {
            // What happened is told before how it ended.
            biased;
            Some(event) = events.next() => {
                let NodeEvent::Transfer(TransferEvent { transfer, news, .. }) = event else { continue };
                match News::of(news).filter(|_| transfer == id) {
                    // These are said last.
                    None | Some(News::Delivered(_) | News::Failed(_) | News::LeftOut(_)) => {}
                    Some(news) => say(answers, &Reply::News(news)).await?,
                }
            }
            outcome = transfer.0.delivered() => break outcome,
            () = closed(&mut asked), if here => {
                here = false;
                transfer.0.cancel();
            }
        }
    };
    let status = transfer.0.status();
    let (report, is_begun) = (status.report, status.started);
    if matches!(&outcome, Err(failure) if failure.kind == FailureKind::Shutdown)
        && !is_begun
        && here
    {
        return say(answers, &Reply::Stopping).await;
    }
    say(answers, &Reply::LeftOut(report.into())).await?;
    say(answers, &Reply::News(News::from(outcome))).await
}

/// Cancels the transfer when nobody watches it any more.
struct Watched(TransferHandle);

impl Drop for Watched {
    fn drop(&mut self) {
        // One that is over is over.
        self.0.cancel();
    }
}

/// Waits until who asked has closed their side.
pub(super) async fn closed(asked: &mut (impl AsyncRead + Unpin)) {
    while matches!(asked.read(&mut [0; 64]).await, Ok(1..)) {}
}
