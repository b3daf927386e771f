//! Reloads that another process asks for: handed on to who has the topology, and told when they are
//! over.

use std::ffi::OsString;
use std::io;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use tokio::io::AsyncWrite;
use tokio::sync::{mpsc, oneshot};

use super::protocol::Reply;
use super::saying::{say, working};
use crate::error::CommandError;

/// Reloads that wait to be looked at: more than connections that are served at a time.
const WAITING: usize = 64;

/// A reload that was asked for.
#[derive(Debug)]
pub(crate) struct Asked {
    /// The file of the topology, absolute.
    pub(crate) file: PathBuf,
    /// The way of the answer.
    pub(crate) answer: oneshot::Sender<Result<Vec<Reply>, CommandError>>,
}

impl Asked {
    /// Tells what has come of it; whoever asked may be gone.
    pub(crate) fn tell(self, answer: Result<Vec<Reply>, CommandError>) {
        drop(self.answer.send(answer));
    }
}

/// A way of reloads that are asked for.
pub(crate) fn reloads() -> (mpsc::Sender<Asked>, mpsc::Receiver<Asked>) {
    mpsc::channel(WAITING)
}

pub(super) async fn carry_out(
    reloads: &mpsc::Sender<Asked>,
    file: Vec<u8>,
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let (answer, answered) = oneshot::channel();
    let asked = Asked { file: OsString::from_vec(file).into(), answer };
    let over = async {
        // An error means that it ends.
        let _ = reloads.send(asked).await;
        answered.await.unwrap_or_else(|_| Ok(vec![Reply::Stopping]))
    };
    match working(to, over).await {
        Ok(replies) => {
            for reply in &replies {
                say(to, reply).await?;
            }
            say(to, &Reply::Done).await
        }
        Err(error) => say(to, &Reply::from(error)).await,
    }
}
