//! `estafette tap`, `record` and `replay`.

use std::path::PathBuf;

use clap::Args;
use clap::builder::RangedU64ValueParser;
use estafette_topology::TapOptions as Tap;

use super::topology::TopologyFile;

#[derive(Clone, Debug, Args)]
pub(crate) struct TapOptions {
    #[command(flatten)]
    pub(crate) topology: TopologyFile,
    /// The route
    #[arg(value_name = "ROUTE")]
    pub(crate) route: String,
    /// The stage behind which to look: digest, a coder of the route, compress or seal [default:
    /// source, the content before all of them]
    #[arg(value_name = "STAGE")]
    pub(crate) stage: Option<String>,
    /// Show so many pieces in a second at most
    #[arg(long, value_name = "COUNT", default_value_t = 10, value_parser = RangedU64ValueParser::<u32>::new().range(1..=u64::from(Tap::SAMPLES_MOST)), env = "ESTAFETTE_SAMPLES", hide_env = true)]
    pub(crate) samples: u32,
    /// Show so many bytes of each piece, where the topology lets content be seen
    #[arg(long, value_name = "COUNT", default_value_t = 64, value_parser = RangedU64ValueParser::<usize>::new().range(1..=Tap::BYTES_MOST as u64), env = "ESTAFETTE_BYTES", hide_env = true)]
    pub(crate) bytes: usize,
    /// End after so many pieces [default: Ctrl-C ends it]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..), env = "ESTAFETTE_COUNT", hide_env = true)]
    pub(crate) count: Option<u64>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct RecordOptions {
    #[command(flatten)]
    pub(crate) topology: TopologyFile,
    /// The route
    #[arg(value_name = "ROUTE")]
    pub(crate) route: String,
    /// The folder for packages, one for each delivery; made if it is not there
    #[arg(long, value_name = "DIR", env = "ESTAFETTE_INTO", hide_env = true)]
    pub(crate) into: PathBuf,
    /// The node that alone can open what is recorded [default: the first one that the route names]
    #[arg(long = "for", value_name = "NODE", env = "ESTAFETTE_FOR", hide_env = true)]
    pub(crate) receiver: Option<String>,
    /// End after so many deliveries [default: Ctrl-C ends it]
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..), env = "ESTAFETTE_COUNT", hide_env = true)]
    pub(crate) count: Option<u64>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct ReplayOptions {
    #[command(flatten)]
    pub(crate) topology: TopologyFile,
    /// The route
    #[arg(value_name = "ROUTE")]
    pub(crate) route: String,
    /// The packages that were recorded, for the node at which the route begins
    #[arg(value_name = "PACKAGE", required = true)]
    pub(crate) packages: Vec<PathBuf>,
}
