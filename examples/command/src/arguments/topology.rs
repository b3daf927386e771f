//! `estafette run`, `validate`, `reload`, `test`, `list` and `graph`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::switch::Switch;

#[derive(Clone, Debug, Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub(crate) topology: TopologyFile,
    /// Run this node alone, in this process [default: all nodes of this machine, each in a process
    /// of its own]
    #[arg(long, value_name = "NAME", env = "ESTAFETTE_NODE", hide_env = true)]
    pub(crate) node: Option<String>,
    /// End as soon as what the routes send once, and what goes on from there, is delivered
    #[arg(long, env = "ESTAFETTE_ONCE", hide_env = true, value_parser = Switch)]
    pub(crate) once: bool,
    /// End when stdin does: whoever started this process has died
    #[arg(long, hide = true)]
    pub(crate) with_parent: bool,
    /// The file with the text that whoever started this process has accepted, which counts instead
    /// of that of the topology
    #[arg(long, hide = true)]
    pub(crate) accepted: Option<PathBuf>,
    /// A file with the text that counts until the topology is reloaded
    #[arg(long, hide = true)]
    pub(crate) applied: Option<PathBuf>,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TestOptions {
    #[command(flatten)]
    pub(crate) topology: TopologyFile,
    /// Only tests whose names have this in them
    #[arg(value_name = "NAME")]
    pub(crate) name: Option<String>,
    /// The seed of all that is random about it [default: a random one, which is printed]
    #[arg(long, value_name = "NUMBER", env = "ESTAFETTE_SEED", hide_env = true)]
    pub(crate) seed: Option<u64>,
    /// Break so many connections while they carry something
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=10_000), env = "ESTAFETTE_CUTS", hide_env = true)]
    pub(crate) cuts: u64,
    /// Let nodes die so many times, and start them again
    #[arg(long, value_name = "COUNT", default_value_t = 0, value_parser = clap::value_parser!(u64).range(..=1_000), env = "ESTAFETTE_KILLS", hide_env = true)]
    pub(crate) kills: u64,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TopologyFile {
    /// The topology, a file of TOML
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TopOptions {
    /// A topology, all of whose nodes of this machine are shown [default: the node of --key]
    #[arg(value_name = "FILE")]
    pub(crate) topology: Option<PathBuf>,
    /// The time from one look to the next
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = every, env = "ESTAFETTE_EVERY", hide_env = true)]
    pub(crate) every: Duration,
    /// Show one page, and end
    #[arg(long, env = "ESTAFETTE_TOP_ONCE", hide_env = true, value_parser = Switch)]
    pub(crate) once: bool,
}

/// A tenth of a second at least: a look costs a node a snapshot.
fn every(text: &str) -> Result<Duration, String> {
    match crate::units::parse_duration(text)? {
        every if every < Duration::from_millis(100) => Err("100ms at least".into()),
        every => Ok(every),
    }
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TraceOptions {
    #[command(flatten)]
    pub(crate) topology: TopologyFile,
    /// The node that would send it
    #[arg(value_name = "NODE")]
    pub(crate) node: String,
    /// The name of the delivery: a file, a folder, an entry
    #[arg(value_name = "NAME")]
    pub(crate) name: String,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct GraphOptions {
    #[command(flatten)]
    pub(crate) topology: TopologyFile,
    /// Draw how it is at this moment: rates and states of the nodes of this machine that run it
    #[arg(long, env = "ESTAFETTE_LIVE", hide_env = true, value_parser = Switch)]
    pub(crate) live: bool,
    /// The form of the drawing [default: as the name of --output ends, or svg]
    #[arg(long, value_name = "FORMAT", env = "ESTAFETTE_FORMAT", hide_env = true)]
    pub(crate) format: Option<GraphFormat>,
    /// The file that it is written to, and replaced by it [default: stdout]
    #[arg(long, value_name = "FILE", env = "ESTAFETTE_OUTPUT", hide_env = true)]
    pub(crate) output: Option<PathBuf>,
}

/// A form of drawings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum GraphFormat {
    /// A picture, for light and dark pages
    Svg,
    /// For Graphviz
    Dot,
    /// For pages that draw it themselves
    Mermaid,
    /// For programs
    Json,
}

impl GraphFormat {
    /// The form that a file of this name has.
    pub(crate) fn of(file: &Path) -> Option<Self> {
        match file.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "svg" => Some(Self::Svg),
            "dot" | "gv" => Some(Self::Dot),
            "mmd" | "mermaid" => Some(Self::Mermaid),
            "json" => Some(Self::Json),
            _ => None,
        }
    }

    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Svg => "svg",
            Self::Dot => "dot",
            Self::Mermaid => "mermaid",
            Self::Json => "json",
        }
    }
}
