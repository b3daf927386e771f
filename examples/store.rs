//! A store of one's own: all records in one file of JSON. Here it holds whom a node trusts, over a
//! restart. One that is to be a spool makes several changes at once, and has a folder.
//!
//! `cargo run -p estafette-examples --example store`

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use estafette::node::Store;
use estafette::{Identity, Node, TrustedPeer};
use estafette_actors::standard;

/// Tables, and their records.
type Records = BTreeMap<String, Vec<(Vec<u8>, Vec<u8>)>>;

#[derive(Debug)]
struct JsonStore(PathBuf, Mutex<Records>);

impl JsonStore {
    fn open(path: &Path) -> io::Result<Self> {
        let text = if path.exists() { fs::read(path)? } else { b"{}".to_vec() };
        Ok(Self(path.into(), Mutex::new(serde_json::from_slice(&text)?)))
    }

    /// Everything of it or nothing: the new file takes the place of the old one when it is on the
    /// disk, and the records in memory follow.
    fn change(&self, change: impl FnOnce(&mut Records)) -> io::Result<()> {
        let mut records = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        let mut changed = records.clone();
        change(&mut changed);
        let new = self.0.with_extension("new");
        fs::write(&new, serde_json::to_vec_pretty(&changed)?)?;
        File::open(&new)?.sync_all()?;
        fs::rename(new, &self.0)?;
        File::open(self.0.parent().unwrap_or(Path::new(".")))?.sync_all()?;
        *records = changed;
        Ok(())
    }
}

impl Store for JsonStore {
    fn load(&self, table: &str) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        let records = self.1.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(records.get(table).cloned().unwrap_or_default())
    }

    fn put(&self, table: &str, key: &[u8], value: &[u8]) -> io::Result<()> {
        self.change(|records| {
            let table = records.entry(table.into()).or_default();
            table.retain(|(known, _)| known != key);
            table.push((key.into(), value.into()));
        })
    }

    fn remove(&self, table: &str, key: &[u8]) -> io::Result<()> {
        self.change(|records| records.entry(table.into()).or_default().retain(|(k, _)| k != key))
    }
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("paris.json");
    let lyon = Identity::generate().peer();
    let node = || JsonStore::open(&path).map(|store| Node::builder().store(Arc::new(store)));
    let first = node()?.stages(standard()).start().await?;
    first.trust().add(lyon, TrustedPeer::new("lyon"))?;
    first.shutdown().await;
    let second = node()?.stages(standard()).start().await?;
    println!(
        "{} is still trusted, by {} bytes",
        second.trust().label(&lyon),
        path.metadata()?.len()
    );
    second.shutdown().await;
    Ok(())
}
