//! From arguments to a node: its key, its trust, its limits.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use estafette::node::{FileStore, NodeConfig, StageRegistry, Store, suggested_name};
use estafette::pipeline::{ChunkCodec, Compression};
use estafette::wire::LinkConfig;
use estafette::{Identity, Node, NodeBuilder};
use estafette_actors::spool::Spool;

use crate::arguments::Global;
use crate::error::CommandError;

/// The inbox of `--into`.
pub(crate) const INBOX: &str = "files";

/// The key file in use.
pub(crate) fn key_path(global: &Global) -> Result<PathBuf, CommandError> {
    key_file(global.key.as_deref())
}

/// The one that was given, or the one of this user.
pub(crate) fn key_file(given: Option<&Path>) -> Result<PathBuf, CommandError> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    let set = |name| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
    let config = config.ok_or_else(|| {
        CommandError::usage(
            "neither XDG_CONFIG_HOME nor HOME says where the key is",
            "name a file with --key",
        )
    })?;
    Ok(config.join("estafette/node.key"))
}

/// Reads the key, or makes one where its node has not begun yet.
pub(crate) fn identity(global: &Global) -> Result<Identity, CommandError> {
    Ok(Identity::load_or_create_unless(key_path(global)?, spool_mark(global)?)?)
}

/// The file that each spool has from its beginning on, which is made when the key is there.
pub(crate) fn spool_mark(global: &Global) -> Result<PathBuf, CommandError> {
    Ok(spool_path(global)?.join("FORMAT"))
}

/// The folder of the trust that belongs to this key.
pub(crate) fn trust_path(global: &Global) -> Result<PathBuf, CommandError> {
    Ok(trust_path_of(key_path(global)?))
}

/// The same, of the key in this file.
pub(crate) fn trust_path_of(key: PathBuf) -> PathBuf {
    let mut folder = key.into_os_string();
    folder.push(".trust");
    folder.into()
}

/// The store of the trust that belongs to this key.
pub(crate) fn store(global: &Global) -> Result<Arc<FileStore>, CommandError> {
    store_of(key_path(global)?)
}

/// The same, of the key in this file.
pub(crate) fn store_of(key: PathBuf) -> Result<Arc<FileStore>, CommandError> {
    let opened = FileStore::open(trust_path_of(key));
    let opened = opened.map_err(|error| {
        CommandError::io(
            format!("the trust folder can't be opened: {error}"),
            "name another key with --key",
        )
    })?;
    Ok(Arc::new(opened))
}

/// The folder of the spool: beside the key, unless another one was given.
pub(crate) fn spool_path(global: &Global) -> Result<PathBuf, CommandError> {
    if let Some(path) = &global.spool {
        return Ok(path.clone());
    }
    let mut folder = key_path(global)?.into_os_string();
    folder.push(".spool");
    Ok(folder.into())
}

/// The spool in that folder; an error of the kind `ResourceBusy` while another process has it.
pub(crate) fn spool(folder: &Path) -> io::Result<Arc<dyn Store>> {
    Ok(Arc::new(Spool::open(folder)?))
}

/// Of `--compress`: chunks go as they are.
pub(crate) const OFF: &str = "off";

/// The compression that `--compress` names; `None` without it: the node's configuration counts.
pub(crate) fn compression(
    registry: &StageRegistry,
    how: Option<&str>,
) -> Result<Option<Compression>, CommandError> {
    let Some(how) = how else { return Ok(None) };
    if how == OFF {
        return Ok(Some(Compression::Off));
    }
    let found = registry.stages().codecs().find(|codec| codec.name() == how);
    found.map(|codec| Some(codec.id().into())).ok_or_else(|| {
        let known: Vec<_> = registry.stages().codecs().map(ChunkCodec::name).collect();
        CommandError::usage(
            format!("there is no codec {how:?} here"),
            format!("--compress takes off, {}", known.join(", ")),
        )
    })
}

/// A node with this user's key and trust.
pub(crate) fn node(
    global: &Global,
    patience: Option<Duration>,
) -> Result<NodeBuilder, CommandError> {
    node_with(global, config(global, patience)?)
}

/// The same, with a configuration of its own.
pub(crate) fn node_with(global: &Global, config: NodeConfig) -> Result<NodeBuilder, CommandError> {
    Ok(Node::builder()
        .identity(identity(global)?)
        .store(store(global)?)
        .stages(global.program.registry.clone())
        .config(config))
}

pub(crate) fn config(
    global: &Global,
    patience: Option<Duration>,
) -> Result<NodeConfig, CommandError> {
    let mut config = NodeConfig { drain_for: global.drain, ..global.limits.clone() };
    if let Some(patience) = patience {
        (config.dial_for, config.reconnect_for) = (patience, patience);
        // A silent peer is found out within the patience, too; a broken connection tells at once.
        let default = config.link;
        let dead_after = default.dead_after().min(patience).max(Duration::from_secs(1));
        let heartbeat = default.heartbeat().min(dead_after / 3);
        config.link = LinkConfig::new(heartbeat, dead_after, default.renew_after())
            .map_err(|error| CommandError::usage(error, "choose another --patience"))?;
    }
    Ok(config)
}

/// The name of a node: that of its host, where that can be a name.
pub(crate) fn default_name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname")
        .or_else(|_| std::fs::read_to_string("/etc/hostname"));
    let name = name.map(|name| name.trim().to_owned()).unwrap_or_default();
    suggested_name(&name).unwrap_or_else(|| "estafette".into())
}

/// `path` for a person.
pub(crate) fn shown(path: &Path) -> String {
    crate::units::printable(&path.to_string_lossy())
}

/// The key that is there already, if there is one that can be read.
pub(crate) fn existing_identity(global: &Global) -> Option<Identity> {
    Identity::load(key_path(global).ok()?).ok()
}
