//! A call that the process with the spool makes for another one: one link for both of them.
//!
//! The connection stays until the call is over. Who asked cancels it by closing its side, be it
//! that it has died.

use std::io;

use estafette::Node;
use tokio::io::{AsyncRead, AsyncWrite};

use super::protocol::Reply;
use super::sending::closed;
use super::server::{say, working};
use crate::call::Call;

pub(super) async fn carry_out(
    node: &Node,
    call: &Call,
    mut asked: impl AsyncRead + Unpin,
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let begun = tokio::select! {
        begun = working(to, call.make(node)) => begun,
        () = closed(&mut asked) => return Ok(()),
    };
    let mut answers = match begun {
        Ok(answers) => answers,
        Err(error) => return say(to, &Reply::CallFailed(error)).await,
    };
    loop {
        let heard = tokio::select! {
            heard = working(to, answers.next()) => heard,
            () = closed(&mut asked) => return Ok(()),
        };
        match heard {
            Some(Ok(heard)) => say(to, &Reply::Heard(heard)).await?,
            Some(Err(error)) => return say(to, &Reply::CallFailed(error)).await,
            None => return say(to, &Reply::Done).await,
        }
    }
}
