//! Plain TCP by tokio: no security, no frames. The reference that shows what the loopback and the
//! kernel leave to everybody.

use anyhow::Result;

use super::stream;
use crate::check::Check;
use crate::contender::Contender;
use crate::side::{Side, Usage};

pub(crate) const PLAIN: Contender = Contender {
    name: "raw",
    about: "plain TCP, tokio; no security",
    check: Check::Compare,
    receive,
    send,
};

fn receive(side: Side) -> Result<Usage> {
    stream::block_on(async {
        let listener = stream::listen().await?;
        side.announce(&listener.local_addr()?.to_string());
        stream::receive(&side, stream::accept(&listener).await?).await
    })
}

fn send(side: Side, address: &str) -> Result<Usage> {
    stream::block_on(async { stream::send(&side, stream::connect(address).await?).await })
}
