//! Deliveries whose files are gone.

use std::path::PathBuf;

use estafette::Node;
use estafette::TransferId;
use estafette::node::{OutboxEntry, blocking};

use crate::error::CommandError;
use crate::finding::{Finding, Severity};
use crate::{entry, settings};

/// Looks at what a node has to deliver.
pub(crate) async fn examine(node: &Node) -> Result<Vec<Finding>, CommandError> {
    let entries = node.outbox().list().await?;
    let looked = blocking(move || gone(&entries)).await;
    let gone = looked.map_err(|error| CommandError::io(error, "the log (-v) says more"))?;
    let failed = node.spool_failure().map(|why| {
        let advice = "look after the disk, then stop and start the process: until then it stores \
                      nothing, and takes no delivery";
        Finding::new(
            Severity::Damage,
            "the spool of the process",
            format!("it has failed: {why}"),
            advice,
        )
    });
    Ok(failed.into_iter().chain(gone).collect())
}

pub(crate) fn gone(entries: &[(TransferId, OutboxEntry)]) -> Vec<Finding> {
    let open = entries.iter().filter(|(_, entry)| entry.is_open());
    open.flat_map(|(id, entry)| {
        missing(entry).into_iter().map(move |(path, error)| finding(*id, &path, &error))
    })
    .collect()
}

fn missing(entry: &OutboxEntry) -> Vec<(PathBuf, std::io::Error)> {
    entry::paths(entry)
        .into_iter()
        .filter_map(|path| std::fs::symlink_metadata(&path).err().map(|error| (path, error)))
        .collect()
}

fn finding(id: TransferId, path: &std::path::Path, error: &std::io::Error) -> Finding {
    let what = format!(
        "the delivery {id:.16} is to be read from {}, which can't be: {error}",
        settings::shown(path)
    );
    let advice = format!("put it back, or take the delivery out: estafette outbox cancel {id:.16}");
    Finding::new(Severity::Warning, format!("outbox {id:.16}"), what, advice)
}
