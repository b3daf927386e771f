//! Two nodes that trust each other.

use super::{Network, Random};
use crate::node::{Node, NodeConfig, StartError};
use crate::supervise::StageRegistry;
use crate::wire::Identity;

/// Two nodes on one network: `lyon`, which the tests send from, and `paris`, which they send to.
#[derive(Debug)]
pub struct Pair {
    /// What they meet on.
    pub network: Network,
    /// The node `lyon`; it knows `paris` by that name.
    pub lyon: Node,
    /// The node `paris`; it knows `lyon` by that name.
    pub paris: Node,
    config: NodeConfig,
    identities: [Identity; 2],
}

impl Pair {
    /// Starts both with the same limits. The registries need no transport.
    pub async fn start(seed: u64, config: NodeConfig, lyon: StageRegistry, paris: StageRegistry) -> Result<Self, StartError> {
        let (network, mut random) = (Network::seeded(seed), Random::seeded(seed));
        let identities = [Identity::from_secret(random.secret()), Identity::from_secret(random.secret())];
        let lyon = Self::node(&network, "lyon", &identities[0], "paris", &identities[1], &config, lyon).await?;
        let paris = Self::node(&network, "paris", &identities[1], "lyon", &identities[0], &config, paris).await?;
        Ok(Self { network, lyon, paris, config, identities })
    }

    /// Stops `paris` at once and starts it anew with nothing but its key: what a process that died has lost.
    pub async fn restart_paris(&mut self, registry: StageRegistry) -> Result<(), StartError> {
        let [lyon, paris] = &self.identities;
        self.paris.abort().await;
        self.paris = Self::node(&self.network, "paris", paris, "lyon", lyon, &self.config, registry).await?;
        Ok(())
    }

    async fn node(
        network: &Network,
        name: &str,
        identity: &Identity,
        other: &str,
        known: &Identity,
        config: &NodeConfig,
        registry: StageRegistry,
    ) -> Result<Node, StartError> {
        let registry = registry.transport(network.transport(name));
        let builder = Node::builder().name(name).identity(identity.clone()).listen(name).peer(other, known.peer(), [other]);
        builder.stages(registry).config(config.clone()).start().await
    }
}
