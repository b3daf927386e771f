//! `estafette run`, `validate` and `list`.

use std::path::PathBuf;

use clap::Args;

#[derive(Clone, Debug, Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub(crate) topology: TopologyFile,
    /// Run this node alone, in this process [default: all nodes of this machine, each in a process
    /// of its own]
    #[arg(long, value_name = "NAME", env = "ESTAFETTE_NODE", hide_env = true)]
    pub(crate) node: Option<String>,
    /// End as soon as what the routes send once, and what goes on from there, is delivered
    #[arg(long, env = "ESTAFETTE_ONCE", hide_env = true, value_parser = clap::builder::FalseyValueParser::new())]
    pub(crate) once: bool,
    /// End when stdin does: whoever started this process has died
    #[arg(long, hide = true)]
    pub(crate) with_parent: bool,
}

#[derive(Clone, Debug, Args)]
pub(crate) struct TopologyFile {
    /// The topology, a file of TOML
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,
}
