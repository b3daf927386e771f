//! `Watch` of `estafette.v1`: how a node, or an actor of it, comes and goes.

use estafette::remote::{Presence, RemoteError, Watch};
use futures_util::stream::{StreamExt, unfold};
use prost::Message;
use tonic::{Code, Status};

use super::call::Requests;
use super::ending::{Answers, in_time};
use super::method::actor;
use super::naming::Naming;
use super::own::{self, WatchRequest, WatchResponse};
use super::payload::read;
use super::status::{self, not_handled};
use crate::room::Held;

/// Tells how it is, and each change of that, as long as its client listens, and may.
pub(super) async fn watch(naming: Naming, mut requests: Requests) -> Result<Answers, Status> {
    let WatchRequest { who } = read(&requests.only(naming.deadline).await?)?;
    let failed = |error: RemoteError| status::of(&error);
    let (access, pass) = (&naming.access, &naming.pass);
    let who = if who.contains('/') {
        let wrong = |text: String| not_handled(Code::InvalidArgument, "TARGET", &text);
        let (peer, name) = actor(&who).map_err(wrong)?;
        access.reach(pass, peer, name).map_err(failed)?.address()
    } else {
        access.reach_peer(pass, &who).map_err(failed)?.to_string()
    };
    let place = naming.shared.watches.take(&pass.name, 1);
    let place = place.ok_or_else(|| status::full("as many watch as may, by this token or all"))?;
    let watch = access.node().watch(&who).map_err(failed)?;
    Ok(in_time(unfold((watch, place, true), next).boxed(), &naming))
}

type Watching = (Watch, Held, bool);

async fn next(
    (mut watch, place, is_first): Watching,
) -> Option<(Result<bytes::Bytes, Status>, Watching)> {
    let now = if is_first { watch.now().clone() } else { watch.changed().await };
    let (presence, reason) = match now {
        Presence::Up => (own::Presence::Up, String::new()),
        Presence::Down { kind } => (own::Presence::Down, status::reason(kind)),
    };
    let said = WatchResponse { presence: presence.into(), reason };
    Some((Ok(said.encode_to_vec().into()), (watch, place, false)))
}
