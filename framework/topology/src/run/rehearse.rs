//! A start of a node that is only tried, so that what runs is not ended for one that can't start.

use estafette::Node;
use estafette::node::{OutboxEntry, StageRegistry, StartError};

use super::{RunError, SPOOL_MARK, on_a_thread};
use crate::model::Topology;

impl Topology {
    /// Tries what a start of one of its nodes needs, and starts nothing: its key, its inboxes, the
    /// files of its doors, and the addresses that it and its page listen at. Those at which a
    /// process listens that ends before this node starts are `held`, and not tried.
    pub async fn rehearse(
        &self,
        name: &str,
        registry: &StageRegistry,
        held: &[String],
    ) -> Result<(), RunError> {
        let (topology, own) = (self.clone(), name.to_owned());
        on_a_thread(move || topology.identities(&own)).await??;
        let inboxes = self.inboxes.iter();
        for (inbox, _) in inboxes.filter(|(_, spec)| spec.nodes.iter().any(|node| node == name)) {
            self.make_inbox(name, inbox, registry).await?;
        }
        self.look_at_doors(name, registry).await?;
        for address in self.listened(name) {
            if held.iter().any(|held| port(held) == port(address)) {
                continue;
            }
            let tried = registry.try_listen(address).await;
            tried.map_err(|error| StartError::Listen { address: address.to_owned(), error })?;
        }
        Ok(())
    }

    /// Returns how many deliveries a node that does not run keeps for others, as it is trusted here
    /// whom they are of and for: of others it would let go. Fails with `ResourceBusy` while another
    /// process has its spool.
    pub async fn kept_for_others(
        &self,
        name: &str,
        registry: &StageRegistry,
    ) -> Result<usize, RunError> {
        let path = self.spool_of(name);
        if !path.join(SPOOL_MARK).exists() {
            return Ok(0);
        }
        let (topology, own) = (self.clone(), name.to_owned());
        let (identity, ids) = on_a_thread(move || topology.identities(&own)).await??;
        let (opens, folder) = (registry.clone(), path.clone());
        let spool = on_a_thread(move || opens.open_spool(&folder)).await?;
        let (what, failed) = ("the spool", name.to_owned());
        let spool = spool.map_err(|error| RunError::Io { name: failed, what, path, error })?;
        let node = Node::builder()
            .store(self.trusted(name, &ids)?)
            .identity(identity)
            .stages(registry.clone())
            .relay_ways(self.relay_ways(name, &ids))
            .spool(spool)
            .dormant()
            .start()
            .await?;
        let listed = node.outbox().list().await;
        node.shutdown().await;
        let kept = listed.map_err(|error| RunError::Outbox { name: name.to_owned(), error })?;
        Ok(kept.iter().filter(|(_, entry)| is_kept(entry)).count())
    }

    /// The addresses that a node and its page listen at.
    pub fn listened(&self, name: &str) -> impl Iterator<Item = &str> {
        let node = self.nodes.get(name);
        let page = node.and_then(|node| node.http.as_ref()).map(|http| &*http.listen);
        node.into_iter().flat_map(|node| &node.listen).map(String::as_str).chain(page)
    }

    /// Returns `true` if a node listens where a node of another topology does, so that it can't
    /// start before that one has ended.
    pub fn listens_where(&self, name: &str, other: &Self, node: &str) -> bool {
        // Any free port is nobody's.
        let wanted: Vec<_> = self.listened(name).map(port).filter(|port| *port != "0").collect();
        other.listened(node).any(|held| wanted.contains(&port(held)))
    }
}

/// Returns `true` if somebody else has left it here, and it is not over, or they have not heard how
/// it ended.
fn is_kept(entry: &OutboxEntry) -> bool {
    entry.relayed_for.is_some() && (entry.is_open() || entry.is_unheard())
}

/// The port of an address, as another address of it may be taken with it; or all of one without.
pub(super) fn port(address: &str) -> &str {
    address.rsplit(':').next().unwrap_or(address)
}
