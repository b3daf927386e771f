//! Two nodes that trust each other.

use std::sync::Arc;

use super::{Network, Random};
use crate::node::StageRegistry;
use crate::node::{Node, NodeBuilder, NodeConfig, StartError, Store};
use crate::wire::Identity;

/// Two nodes on one network: `lyon`, which the tests send from, and `paris`, which they send to.
#[derive(Debug)]
pub struct Pair {
    /// The network that both nodes are on.
    pub network: Network,
    /// The node `lyon`; it knows `paris` by that name.
    pub lyon: Node,
    /// The node `paris`; it knows `lyon` by that name.
    pub paris: Node,
    config: NodeConfig,
    identities: [Identity; 2],
    spools: [Option<Arc<dyn Store>>; 2],
}

impl Pair {
    /// Starts both with the same limits. The registries need no transport.
    pub async fn start(
        seed: u64,
        config: NodeConfig,
        lyon: StageRegistry,
        paris: StageRegistry,
    ) -> Result<Self, StartError> {
        Self::begin(seed, config, lyon, paris, [None, None]).await
    }

    /// Like [`Pair::start`], with a spool for `paris`, which outlives it.
    pub async fn start_spooled(
        seed: u64,
        config: NodeConfig,
        lyon: StageRegistry,
        paris: StageRegistry,
        spool: Arc<dyn Store>,
    ) -> Result<Self, StartError> {
        Self::begin(seed, config, lyon, paris, [None, Some(spool)]).await
    }

    /// Like [`Pair::start`], with a spool for each, `lyon` first, which outlive them.
    pub async fn start_both_spooled(
        seed: u64,
        config: NodeConfig,
        lyon: StageRegistry,
        paris: StageRegistry,
        spools: [Arc<dyn Store>; 2],
    ) -> Result<Self, StartError> {
        Self::begin(seed, config, lyon, paris, spools.map(Some)).await
    }

    /// Stops `lyon` at once and starts it anew, as [`Pair::restart_paris`] does.
    pub async fn restart_lyon(&mut self, registry: StageRegistry) -> Result<(), StartError> {
        let [lyon, paris] = &self.identities;
        self.lyon.abort().await;
        self.lyon = Self::node(
            &self.network,
            ["lyon", "paris"],
            [lyon, paris],
            &self.config,
            registry,
            self.spools[0].clone(),
        )
        .await?;
        Ok(())
    }

    /// The same, with something else about it.
    pub async fn restart_lyon_with(
        &mut self,
        registry: StageRegistry,
        with: impl FnOnce(NodeBuilder) -> NodeBuilder,
    ) -> Result<(), StartError> {
        let [lyon, paris] = &self.identities;
        self.lyon.abort().await;
        let builder = Self::builder(
            &self.network,
            ["lyon", "paris"],
            [lyon, paris],
            &self.config,
            registry,
            self.spools[0].clone(),
        );
        self.lyon = with(builder).start().await?;
        Ok(())
    }

    /// Stops `paris` at once and starts it anew with nothing but its key, and its spool where it
    /// has one: what a process that died has lost.
    pub async fn restart_paris(&mut self, registry: StageRegistry) -> Result<(), StartError> {
        let [lyon, paris] = &self.identities;
        self.paris.abort().await;
        self.paris = Self::node(
            &self.network,
            ["paris", "lyon"],
            [paris, lyon],
            &self.config,
            registry,
            self.spools[1].clone(),
        )
        .await?;
        Ok(())
    }

    /// The same, with something else about it.
    pub async fn restart_paris_with(
        &mut self,
        registry: StageRegistry,
        with: impl FnOnce(NodeBuilder) -> NodeBuilder,
    ) -> Result<(), StartError> {
        let [lyon, paris] = &self.identities;
        self.paris.abort().await;
        let builder = Self::builder(
            &self.network,
            ["paris", "lyon"],
            [paris, lyon],
            &self.config,
            registry,
            self.spools[1].clone(),
        );
        self.paris = with(builder).start().await?;
        Ok(())
    }

    async fn begin(
        seed: u64,
        config: NodeConfig,
        lyon: StageRegistry,
        paris: StageRegistry,
        spools: [Option<Arc<dyn Store>>; 2],
    ) -> Result<Self, StartError> {
        let (network, mut random) = (Network::seeded(seed), Random::seeded(seed));
        let identities =
            [Identity::from_secret(random.secret()), Identity::from_secret(random.secret())];
        let [one, two] = &identities;
        let lyon =
            Self::node(&network, ["lyon", "paris"], [one, two], &config, lyon, spools[0].clone())
                .await?;
        let paris =
            Self::node(&network, ["paris", "lyon"], [two, one], &config, paris, spools[1].clone())
                .await?;
        Ok(Self { network, lyon, paris, config, identities, spools })
    }

    /// A node of this name and identity that knows the other one.
    async fn node(
        network: &Network,
        names: [&str; 2],
        identities: [&Identity; 2],
        config: &NodeConfig,
        registry: StageRegistry,
        spool: Option<Arc<dyn Store>>,
    ) -> Result<Node, StartError> {
        Self::builder(network, names, identities, config, registry, spool).start().await
    }

    fn builder(
        network: &Network,
        [name, other]: [&str; 2],
        [identity, known]: [&Identity; 2],
        config: &NodeConfig,
        registry: StageRegistry,
        spool: Option<Arc<dyn Store>>,
    ) -> NodeBuilder {
        let registry = registry.transport(network.transport(name));
        let builder = Node::builder().name(name).identity(identity.clone()).listen(name).peer(
            other,
            known.peer(),
            [other],
        );
        let builder = spool.into_iter().fold(builder, |builder, spool| builder.spool(spool));
        builder.stages(registry).config(config.clone())
    }
}
