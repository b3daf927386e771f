//! Packages that a host makes and opens, wherever it runs.

use tokio::sync::oneshot;

use super::Node;
use crate::delivery::{Failure, FailureKind};
use crate::node::{PackError, PackOrder, Packed, UnpackOrder, Unpacked};

impl Node {
    /// Puts content into a package, as [`Packages::pack`](crate::node::Packages::pack) of its
    /// registry does; the caller may be on any runtime.
    pub async fn pack(&self, order: PackOrder) -> Result<Packed, PackError> {
        let packages = self.0.shared.registry.packages_in_use()?;
        self.there(packages.pack(order)).await.unwrap_or(Err(PackError::Stopped))
    }

    /// Opens a package, as [`Packages::unpack`](crate::node::Packages::unpack) of its registry
    /// does; the caller may be on any runtime.
    pub async fn unpack(&self, order: UnpackOrder) -> Result<Unpacked, Failure> {
        let packages = self.0.shared.registry.packages_in_use();
        let packages =
            packages.map_err(|error| Failure::new(FailureKind::Stage, error.to_string()))?;
        let stopped = || Failure::new(FailureKind::Shutdown, "the node has been shut down");
        self.there(packages.unpack(order)).await.unwrap_or_else(|| Err(stopped()))
    }

    /// Does work on the node's own thread; `None` where that is gone. The work is dropped with this
    /// future.
    async fn there<T: Send + 'static>(
        &self,
        work: impl Future<Output = T> + Send + 'static,
    ) -> Option<T> {
        let (mut done, is_done) = oneshot::channel();
        let work = async move {
            let outcome = tokio::select! {
                outcome = work => outcome,
                () = done.closed() => return,
            };
            // Whoever waited may have gone in this moment.
            let _ = done.send(outcome);
        };
        if !self.0.shared.arbiter.spawn(work) {
            return None;
        }
        is_done.await.ok()
    }
}
