//! The health service, with the truth of `/readyz`.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use estafette::{Node, PeerId};
use futures_util::stream::{BoxStream, StreamExt, unfold};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use super::method::Route;
use super::naming::SERVICE;
use super::status::full;

/// The interval at which the status is looked at for those who watch.
const LOOK: Duration = Duration::from_secs(1);
/// The most bytes of a request: the name of a service is all of it.
const REQUEST_MOST: usize = 1 << 10;
/// The most who may watch at once.
const WATCHES: usize = 64;

/// The answers to whether something is ready: the node under the empty name, and that of
/// `estafette.v1`; a service, whose peers must be linked, too, under its own.
pub(super) struct Ready(Arc<Asked>);

struct Asked {
    node: Node,
    /// The peers behind each service, by their names here.
    services: HashMap<String, Vec<Arc<str>>>,
    watches: Arc<Semaphore>,
}

/// The service.
pub(super) fn service(node: &Node, routes: &HashMap<String, Route>) -> HealthServer<Ready> {
    let mut services = HashMap::<String, Vec<Arc<str>>>::new();
    // Whom it calls, each request says.
    services.insert(SERVICE.trim_matches('/').to_owned(), Vec::new());
    for (path, route) in routes {
        let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
        let peers = services.entry(service.to_owned()).or_default();
        if !peers.contains(&route.peer) {
            peers.push(Arc::clone(&route.peer));
        }
    }
    let watches = Arc::new(Semaphore::new(WATCHES));
    HealthServer::new(Ready(Arc::new(Asked { node: node.clone(), services, watches })))
        .max_decoding_message_size(REQUEST_MOST)
}

impl Asked {
    /// Returns its status; `None` if there is no such service.
    async fn status(&self, service: &str) -> Option<ServingStatus> {
        let peers = match service {
            "" => &Vec::new(),
            service => self.services.get(service)?,
        };
        let find = |peer: &Arc<str>| self.node.trust().find(peer).ok().map(|found| found.0);
        let needed: Option<Vec<PeerId>> = peers.iter().map(find).collect();
        // A peer that is trusted no more is as one that is not there.
        let Some(needed) = needed else { return Some(ServingStatus::NotServing) };
        let is_ready = self.node.snapshot_with(&needed).await.unready(&needed).is_empty();
        Some(if is_ready { ServingStatus::Serving } else { ServingStatus::NotServing })
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[tonic::async_trait]
impl Health for Ready {
    type WatchStream = BoxStream<'static, Result<HealthCheckResponse, Status>>;

    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let service = request.into_inner().service;
        let status = self.0.status(&service).await;
        status.map(|status| Response::new(response(status))).ok_or_else(|| {
            let shown: String = service.chars().take(100).collect();
            Status::not_found(format!("this door has no service {shown:?}"))
        })
    }

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let place = Arc::clone(&self.0.watches).try_acquire_owned();
        let place = place.map_err(|_| full("as many watch as may"))?;
        let watching =
            Watching { asked: Arc::clone(&self.0), service: request.into_inner().service, place };
        Ok(Response::new(unfold((watching, None), next).boxed()))
    }
}

/// Somebody who watches a service.
struct Watching {
    asked: Arc<Asked>,
    service: String,
    place: OwnedSemaphorePermit,
}

type Told = (Watching, Option<ServingStatus>);

/// Waits until there is something else to tell than what was told.
async fn next((watching, told): Told) -> Option<(Result<HealthCheckResponse, Status>, Told)> {
    let Watching { asked, service, place } = &watching;
    debug_assert_eq!(place.num_permits(), 1);
    loop {
        // A service that is not there may be watched: the protocol says so.
        let status = asked.status(service).await.unwrap_or(ServingStatus::ServiceUnknown);
        if told != Some(status) {
            return Some((Ok(response(status)), (watching, Some(status))));
        }
        tokio::time::sleep(LOOK).await;
    }
}
