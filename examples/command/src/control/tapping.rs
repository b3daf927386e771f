//! News of what passes the routes of a process, told to another one for as long as that listens.

use std::io;
use std::path::Path;

use estafette_topology::{ReplayError, RouteTaps, TapError};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::interval;

use super::protocol::{Reply, Request};
use super::saying::{WORKING, say, working};
use super::sending::closed;
use crate::error::{CommandError, ErrorKind};

pub(super) async fn carry_out(
    taps: Option<&RouteTaps>,
    request: Request,
    mut asked: impl AsyncRead + Unpin,
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let Some(taps) = taps else {
        let error = CommandError::usage(
            "the process that has this key runs no topology",
            "name a topology whose nodes run: `estafette run FILE`",
        );
        return say(to, &Reply::from(error)).await;
    };
    match request {
        Request::Routes => {
            say(to, &Reply::Routes(taps.looks())).await?;
            say(to, &Reply::Done).await
        }
        Request::Tap { route, options } => {
            let tap = taps.tap(&route, &options);
            tell(tap, &mut asked, to, async |tap| tap.next().await.map(Reply::Tap)).await
        }
        Request::Record { route, receiver, folder } => {
            let (receiver, folder) = (receiver.as_deref(), Path::new(&folder));
            let recording = taps.record(&route, receiver, folder).await;
            tell(recording, &mut asked, to, async |it| it.next().await.map(Reply::Recorded)).await
        }
        Request::Replay { route, file } => {
            let replaying = working(to, taps.replay(&route, Path::new(&file)));
            let replayed = tokio::select! {
                replayed = replaying => replayed,
                () = closed(&mut asked) => return Ok(()),
            };
            match replayed {
                Ok(replayed) => {
                    say(to, &Reply::Replayed(replayed)).await?;
                    say(to, &Reply::Done).await
                }
                Err(error) => say(to, &Reply::from(CommandError::from(error))).await,
            }
        }
        _ => Ok(()),
    }
}

/// Tells what comes, one after the other, until nobody listens any more.
async fn tell<T>(
    begun: Result<T, TapError>,
    asked: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut next: impl AsyncFnMut(&mut T) -> Result<Reply, TapError>,
) -> io::Result<()> {
    let mut from = match begun {
        Ok(from) => from,
        Err(error) => return say(to, &Reply::from(CommandError::from(error))).await,
    };
    say(to, &Reply::Tapping).await?;
    let mut gone = std::pin::pin!(closed(asked));
    let mut still = interval(WORKING);
    loop {
        let reply = tokio::select! {
            () = &mut gone => return Ok(()),
            told = next(&mut from) => match told {
                Ok(reply) => reply,
                Err(error) => return say(to, &Reply::from(CommandError::from(error))).await,
            },
            _ = still.tick() => Reply::Working,
        };
        say(to, &reply).await?;
    }
}

impl From<TapError> for CommandError {
    fn from(error: TapError) -> Self {
        match error {
            TapError::Unknown { .. } => {
                Self::usage(error, "`estafette list` shows the routes; a change is reloaded first")
            }
            TapError::Nothing(_) => {
                Self::usage(error, "say what may be seen in its table: tap = \"sizes\"")
            }
            TapError::Recorder { .. } => {
                Self::usage(error, "name who may in its table: tap = { record = \"NODE\" }")
            }
            TapError::NoMore(_) => {
                let hint =
                    "what was recorded is whole; `tap` in its table says for whom more may be";
                Self::new(ErrorKind::Refused, error.to_string(), hint)
            }
            TapError::Folder { .. } => Self::io(error, "name another folder with --into"),
            error => Self::usage(error, "name one of these"),
        }
    }
}

impl From<ReplayError> for CommandError {
    fn from(error: ReplayError) -> Self {
        match error {
            ReplayError::Route(error) => error.into(),
            ReplayError::Send(error) => error.into(),
            ReplayError::Note(_) => Self::io(error, "make room where the node keeps its spool"),
            ReplayError::Registry(_) => Self::usage(error, "use the program that recorded it"),
            error => Self::io(
                error,
                "name a package that was recorded for the node at which this route begins",
            ),
        }
    }
}
