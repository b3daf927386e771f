//! Files of the outbox: content that was copied, and what is left of it.

use std::collections::HashSet;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use actix::{ActorFutureExt, AsyncContext, Context, WrapFuture};

use super::held::Held;
use super::{NOTE, Outbox, OutboxEntry, may_name};
use crate::delivery::TransferId;
use crate::node::blocking::surely;
use crate::store::{Store, sync_folder};

/// Moves what has come to the name under which it is kept; durable when it is done.
pub(super) async fn move_to(
    spool: &Arc<dyn Store>,
    from: PathBuf,
    file: Option<&str>,
) -> io::Result<()> {
    let name = file.unwrap_or_default().to_owned();
    let spool = Arc::clone(spool);
    let moved = surely(move || {
        let folder = spool.folder().ok_or_else(|| io::Error::other("it has no folder"))?;
        std::fs::rename(&from, folder.join(name))?;
        sync_folder(folder)
    });
    moved.await?
}

/// Removes the note of a copy in parts, by which it was somebody else's before it was delivered,
/// durably. What is left of the folder is nobody's then, whatever dies before it is removed.
pub(super) async fn disown(folder: PathBuf) -> io::Result<()> {
    let disowned = surely(move || {
        let none = |done: io::Result<()>| match done {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            done => done,
        };
        none(std::fs::remove_file(folder.join(NOTE)))?;
        none(sync_folder(&folder))?;
        // It may have been removed, which nobody waited for.
        folder.parent().map_or(Ok(()), sync_folder)
    });
    disowned.await?
}

impl Outbox {
    /// The folder of a delivery whose content is a copy in parts.
    pub(super) fn parts_of(&self, id: TransferId) -> Option<PathBuf> {
        let entry = self.entries.get(&id)?.entry();
        let file = entry.file().filter(|_| entry.is_in_parts())?;
        Some(self.spool.folder()?.join(file))
    }

    /// Removes the package or the copy of a delivery that needs it no more. A node that stops waits
    /// for that as for what is being written.
    pub(super) fn discard_file(&mut self, id: TransferId, ctx: &mut Context<Self>) {
        let Some(entry) = self.entries.get(&id).map(|held| held.entry()) else { return };
        let Some(path) = entry.file().and_then(|file| Some(self.spool.folder()?.join(file))) else {
            return;
        };
        let in_parts = entry.is_in_parts();
        let remove = move || match if in_parts {
            std::fs::remove_dir_all(&path)
        } else {
            std::fs::remove_file(&path)
        } {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(
                    file = %path.display(), %error,
                    "the content of a delivery that is over could not be removed"
                );
            }
            _ => {}
        };
        if entry.is_package() {
            // Who packed it may send it again, under the same name.
            remove();
        } else {
            // A large file takes a while, in which nobody else should have to wait.
            self.writing += 1;
            ctx.spawn(surely(remove).into_actor(self).map(|_, outbox, _| {
                outbox.writing -= 1;
                outbox.look_settled();
            }));
        }
    }

    /// Removes what crashed processes left in the spool's folder: packages and copies that no
    /// record needs were never said to be stored, or have arrived. Those that a record names which
    /// can't be read stay: a newer build may read it.
    pub(super) fn remove_leftovers(&self, unread: &[Vec<u8>]) -> io::Result<()> {
        let Some(folder) = self.spool.folder() else { return Ok(()) };
        let (needed, over): (Vec<_>, Vec<_>) =
            self.entries.values().map(Held::entry).partition(|entry| entry.needs_file());
        let known: HashSet<&str> = needed.into_iter().filter_map(OutboxEntry::file).collect();
        for entry in over.into_iter().filter(|entry| entry.is_in_parts()) {
            // Those without a record are still being made.
            let place = entry.file().map(|file| folder.join(file));
            match place.map_or(Ok(()), std::fs::remove_dir_all) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let mut removed = false;
        for entry in std::fs::read_dir(folder)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let is_half = name.ends_with(".package.new") || name.ends_with(".copy.new");
            if is_half
                || ((name.ends_with(".package") || name.ends_with(".copy"))
                    && !known.contains(name)
                    && !unread.iter().any(|record| may_name(record, name)))
            {
                tracing::info!(
                    file = %path.display(),
                    "removing what a process that died had not stored yet"
                );
                std::fs::remove_file(&path)?;
                removed = true;
            }
        }
        if removed { sync_folder(folder) } else { Ok(()) }
    }
}
