//! A recording that goes out again by a route, as the route is now.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use estafette::delivery::{Failure, FailureKind};
use estafette::node::{
    Destination, OpenedInbox, PackageOffer, RegistryError, SendError, SendOptions, UnpackOrder,
    blocking,
};
use estafette::pipeline::SourceError;
use estafette::{PeerId, TransferId};
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, oneshot};

use super::pipe::{GONE, PipeSink, PipeSource, pipe};
use super::record::label;
use super::{RouteTaps, TapError};
use crate::model::{Shows, Target};
use crate::run::route::Route;

/// Bytes of a package between its file and the outbox.
const ROOM: usize = 8 << 20;

/// A delivery that was made of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// The id of the delivery.
    pub transfer: String,
    /// Its name, printable, where names may be seen.
    pub name: Option<String>,
    /// The target: `NODE/INBOX`.
    pub to: String,
}

/// A recording that can't be sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReplayError {
    /// There is no such route.
    #[error(transparent)]
    Route(#[from] TapError),
    /// The program opens no packages.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The file can't be read.
    #[error("{}: {error}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The cause.
        error: SourceError,
    },
    /// It is not for this node, or damaged, or of a stranger.
    #[error("{}: {}", file.display(), failure.message)]
    Package {
        /// The file.
        file: PathBuf,
        /// The cause.
        failure: Failure,
    },
    /// It can't be noted that it is one of the route.
    #[error("it can't be noted of which route it is: {0}")]
    Note(io::Error),
    /// It can't be stored.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl RouteTaps {
    /// Sends what was recorded in `file` by a route, to the target for which it passed, with the
    /// coders, the codec, the rate, the relay and the expiry that the route has now; filters were
    /// passed before it was recorded. The recording has to be for this node, by this one or one
    /// that it trusts. It is one delivery, stored as a whole when this returns, or none; another
    /// replay is another one.
    pub async fn replay(&self, route: &str, file: &Path) -> Result<Replayed, ReplayError> {
        let route = self.find(route)?;
        let packages = self.registry.packages_in_use()?;
        let place = file.to_owned();
        let header = blocking(move || packages.header(&place)).await;
        let header = header.unwrap_or_else(|error| {
            let (what, why) = ("the package".into(), error.to_string());
            Err(SourceError::Unsuitable { what, why })
        });
        let of = |error| ReplayError::File { file: file.to_owned(), error };
        // A recording is as good as it was: when it was made counts for now.
        let made = header.map_err(of)?.label().created;
        let (opened, is_open) = oneshot::channel();
        let (taps, on) = (self.clone(), route.clone());
        let unpacking = self.node.unpack(UnpackOrder {
            file: file.to_owned(),
            identity: self.identity.clone(),
            stages: self.registry.stages().clone(),
            window: ROOM,
            now: made,
            open_inbox: Box::new(move |offer| taps.open(&on, offer, opened)),
        });
        let id = TransferId::random();
        let options = SendOptions { copy: true, ..route.options(id) };
        let sending = async {
            // It is not opened: unpacking says why.
            let Ok(((target, peer), source)) = is_open.await else { return Ok(String::new()) };
            let to = target.to_string();
            let adopted = self.memory.adopt(id, &route.name, &to).await;
            adopted.map_err(ReplayError::Note)?;
            let place = Destination::Peer(peer, target.inbox);
            let sent = self.node.send_with(place, source, options).await;
            if sent.is_err()
                && let Err(error) = self.memory.abandon(id).await
            {
                tracing::warn!(%error, "a note of a replay could not be removed");
            }
            sent.map(|_| to).map_err(ReplayError::Send)
        };
        let (unpacked, to) = match tokio::join!(unpacking, sending) {
            (Ok(unpacked), Ok(to)) => (unpacked, to),
            // It broke off since it could not be stored.
            (Err(failure), Err(error)) if failure.message.contains(GONE) => {
                return Err(error);
            }
            (Err(failure), _) => {
                return Err(ReplayError::Package { file: file.to_owned(), failure });
            }
            (Ok(_), Err(error)) => return Err(error),
        };
        let is_shown = self.shows(&route.name) >= Shows::Names;
        let name = is_shown.then(|| unpacked.content.name.to_string());
        Ok(Replayed { transfer: id.to_string(), name, to })
    }

    /// Decides about a recording: who made it, and where it goes.
    fn open(
        &self,
        route: &Route,
        offer: &PackageOffer,
        opened: oneshot::Sender<((Target, PeerId), PipeSource)>,
    ) -> Result<OpenedInbox, Failure> {
        let sender = offer.sender;
        if sender != self.identity.peer() && self.node.trust().peer(&sender).is_none() {
            let why = format!("it was recorded by {sender}, whom this node does not trust");
            return Err(Failure::new(FailureKind::Untrusted, why));
        }
        let mut targets = route.targets.iter();
        let found = targets.find(|(target, _)| label(&target.to_string()) == offer.inbox);
        let target = found.cloned().ok_or_else(|| {
            let (to, name) = (&offer.inbox, &route.name);
            let why = format!("it was on its way to {to:?}, where the route `{name}` does not go");
            Failure::new(FailureKind::Refused, why)
        })?;
        let (feed, source) = pipe(offer.content.clone(), Arc::new(Semaphore::new(ROOM)));
        opened.send((target, source)).map_err(|_| Failure::new(FailureKind::Shutdown, GONE))?;
        Ok(OpenedInbox { sink: Box::new(PipeSink(feed)), journalled: false })
    }
}
