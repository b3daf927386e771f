//! A recording that goes out again by a route, as the route is now.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use estafette::TransferId;
use estafette::delivery::{Failure, FailureKind};
use estafette::node::{
    Destination, OpenedInbox, PackageOffer, RegistryError, SendError, SendOptions, UnpackOrder,
    blocking,
};
use estafette::pipeline::SourceError;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, oneshot};

use super::pipe::{GONE, PipeSink, PipeSource, pipe};
use super::{RouteTaps, TapError};
use crate::model::{Deliver, Target};
use crate::run::route::Route;

/// Bytes of a package between its file and the outbox.
const ROOM: usize = 8 << 20;

/// A delivery that was made of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// The id of the delivery.
    pub transfer: String,
    /// Its name, printable.
    pub name: String,
    /// Where it goes.
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
    /// It can't be stored.
    #[error(transparent)]
    Send(#[from] SendError),
}

impl RouteTaps {
    /// Sends what was recorded in `file` by a route, to its targets, with the coders, the codec,
    /// the rate, the relay and the expiry that it has now; filters were passed before it was
    /// recorded. The recording has to be for this node, by this one or one that it trusts. Returns
    /// when all is stored.
    pub async fn replay(&self, route: &str, file: &Path) -> Result<Vec<Replayed>, ReplayError> {
        let route = self.find(route)?;
        let mut targets: Vec<_> = route.targets.iter().collect();
        if route.spec.deliver == Deliver::One {
            let notes = self.memory.beginning(&format!("{}\n", route.name));
            let load = route.load(&notes).await;
            targets.sort_by_key(|(target, _)| load.get(target).copied().unwrap_or(0));
            targets.truncate(1);
        }
        let mut replayed = Vec::new();
        for (target, peer) in targets {
            let to = Destination::Peer(*peer, target.inbox.clone());
            replayed.push(self.replay_to(&route, target, to, file).await?);
        }
        Ok(replayed)
    }

    async fn replay_to(
        &self,
        route: &Route,
        target: &Target,
        to: Destination,
        file: &Path,
    ) -> Result<Replayed, ReplayError> {
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
        let trusted = self.clone();
        let unpacking = self.node.unpack(UnpackOrder {
            file: file.to_owned(),
            identity: self.identity.clone(),
            registry: self.registry.clone(),
            window: ROOM,
            now: made,
            open_inbox: Box::new(move |offer| trusted.open(offer, opened)),
        });
        let id = TransferId::random();
        self.memory.adopt(id, &route.name, &target.to_string());
        let options = SendOptions { copy: true, ..route.options(id) };
        let sending = async {
            // It is not opened: unpacking says why.
            let Ok(source) = is_open.await else { return Ok(()) };
            self.node.send_with(to, source, options).await.map(drop)
        };
        let (unpacked, sent) = tokio::join!(unpacking, sending);
        let unpacked = match (unpacked, sent) {
            (Ok(unpacked), Ok(())) => unpacked,
            // It broke off since it could not be stored.
            (Err(failure), Err(error)) if failure.message.contains(GONE) => {
                return Err(error.into());
            }
            (Err(failure), _) => {
                return Err(ReplayError::Package { file: file.to_owned(), failure });
            }
            (Ok(_), Err(error)) => return Err(error.into()),
        };
        let (transfer, name) = (id.to_string(), unpacked.content.name.to_string());
        Ok(Replayed { transfer, name, to: target.to_string() })
    }

    /// Decides about a recording: who made it.
    fn open(
        &self,
        offer: &PackageOffer,
        opened: oneshot::Sender<PipeSource>,
    ) -> Result<OpenedInbox, Failure> {
        let sender = offer.sender;
        if sender != self.identity.peer() && self.node.trust().peer(&sender).is_none() {
            let why = format!("it was recorded by {sender}, whom this node does not trust");
            return Err(Failure::new(FailureKind::Untrusted, why));
        }
        let (feed, source) = pipe(offer.content.clone(), Arc::new(Semaphore::new(ROOM)));
        opened.send(source).map_err(|_| Failure::new(FailureKind::Shutdown, GONE))?;
        Ok(OpenedInbox { sink: Box::new(PipeSink(feed)), journalled: false })
    }
}
