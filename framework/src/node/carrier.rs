//! Packages that come in: for this node, which unpacks them, or for another one, for which it keeps them.
//!
//! Invariant: a package lies whole and durable in the spool's folder before it is unpacked or kept; what was unpacked is
//! remembered as a delivery of who packed it, whoever carried it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read};
use std::os::unix::fs::{FileExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use actix::Addr;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::config::NodeConfig;
use super::memory::delivery_key;
use super::outbox::{Deposit, Expected, Given, Kept, Outbox, OutboxEntry, OutboxError, OutboxState};
use super::package::{OpenInbox, OpenedInbox, PackageOffer, UnpackOrder};
use super::shared::NodeShared;
use super::trust::now;
use crate::delivery::{DigestFold, Failure, FailureKind, Subtree, TransferId};
use crate::node::transfer::TransferState;
use crate::pipeline::{
    Committed, Enclosed, Journal, Offer, Placement, Progress, Refusal, Resumed, Sink, SinkError, SourceError, Summary, io_passes, passes,
};
use crate::wire::PeerId;
use crate::wire::package::PackageLabel;

/// Takes in one package.
pub(crate) struct PackageSink {
    shared: Arc<NodeShared>,
    outbox: Addr<Outbox>,
    carrier: PeerId,
    transfer: TransferId,
    /// For how many seconds it is worth delivering, by who brings it.
    remaining: u64,
    journal: Journal,
    path: PathBuf,
    file: Option<File>,
    resumed: Progress,
}

impl PackageSink {
    /// Goes on with what an earlier attempt has left in the spool's folder, if that is still what it was.
    pub(crate) fn open(shared: &Arc<NodeShared>, outbox: Option<Addr<Outbox>>, offer: &Offer, remaining: u64) -> Result<Self, Refusal> {
        let none = || Refusal::new("this node takes no packages: it has no spool with a folder for them");
        let folder = shared.spool.as_ref().and_then(|spool| spool.folder()).ok_or_else(none)?;
        let mut journal = offer
            .journal
            .clone()
            .filter(|journal| !journal.is_passing())
            .ok_or_else(|| Refusal::new("a package has a version, and this one none"))?;
        let path = folder.join(format!("{}-{}.coming", offer.transfer.to_hex(), offer.peer));
        let failed = |error: io::Error| Refusal::for_now(format!("the spool can't be written: {}: {error}", path.display()));
        let file = hold(&path).map_err(failed)?;
        let file = file.ok_or_else(|| Refusal::for_now("an earlier attempt still has this package open; send it again later"))?;
        // Now that the file is ours: an earlier attempt may have noted more until it ended.
        journal.refresh().map_err(failed)?;
        let noted = journal.earlier().and_then(decode_note);
        let resumed = noted.and_then(|noted| verified(&file, &noted, offer.chunk_size));
        let resumed = resumed.unwrap_or_default();
        file.set_len(resumed.length).map_err(failed)?;
        let outbox = outbox.ok_or_else(none)?;
        let (carrier, transfer) = (offer.peer, offer.transfer);
        Ok(Self { shared: Arc::clone(shared), outbox, carrier, transfer, remaining, journal, path, file: Some(file), resumed })
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        let Some(file) = &self.file else { return Err(SinkError::Gone("the package was given up before".into())) };
        file.write_all_at(bytes, offset).map_err(|error| self.failed(error))
    }

    fn failed(&self, error: io::Error) -> SinkError {
        SinkError::Write { what: self.path.display().to_string(), error }
    }

    fn note(&self, progress: &Progress) -> io::Result<()> {
        if let Some(file) = &self.file {
            file.sync_data()?;
            self.journal.note(&encode_note(progress))?;
        }
        Ok(())
    }

    async fn finish(&mut self, summary: Summary) -> Result<Committed, SinkError> {
        let Some(file) = &self.file else { return Err(SinkError::Gone("the package was given up before".into())) };
        file.sync_all().map_err(|error| self.failed(error))?;
        let packages = self.shared.registry.packages_in_use().map_err(|error| SinkError::Refused(Refusal::new(error)))?;
        let header = packages.header(&self.path).map_err(unread)?;
        let label = header.label().clone();
        if label.transfer != self.transfer {
            return Err(SinkError::Refused(Refusal::new("the package is of another delivery than the one that carries it")));
        }
        let committed = if label.receiver == self.shared.peer() { self.unpack().await? } else { self.keep(label, summary).await? };
        // Kept packages have been moved; what is left of others has no use.
        let _ = std::fs::remove_file(&self.path);
        self.file = None;
        Ok(committed)
    }

    /// Opens a package for this node.
    async fn unpack(&self) -> Result<Committed, SinkError> {
        let packages = self.shared.registry.packages_in_use().map_err(|error| SinkError::Refused(Refusal::new(error)))?;
        let header = packages.header(&self.path).map_err(unread)?;
        if header.open(&self.shared.identity).is_ok() {
            // It vouches for its sender: what was delivered before is answered with the same word.
            let PackageLabel { sender, transfer, .. } = *header.label();
            if let Some(arrival) = self.shared.remembered.arrival(sender, transfer) {
                let enclosed = Enclosed {
                    sender,
                    receipt: arrival.receipt.clone(),
                    processed_mac: *arrival.processed_mac.expose(),
                    inbox: arrival.inbox,
                    name: arrival.name,
                };
                return Ok(Committed {
                    place: arrival.receipt.place,
                    files: arrival.receipt.files,
                    skipped: 0,
                    enclosed: Some(Box::new(enclosed)),
                    remarks: Vec::new(),
                });
            }
        }
        let order = UnpackOrder {
            file: self.path.clone(),
            identity: self.shared.identity.clone(),
            registry: self.shared.registry.clone(),
            window: self.shared.config.window,
            now: now(),
            open_inbox: open_inbox(Arc::clone(&self.shared)),
        };
        let unpacked = packages.unpack(order).await.map_err(refused)?;
        let enclosed = Enclosed {
            sender: unpacked.sender,
            receipt: unpacked.receipt,
            processed_mac: unpacked.processed_mac,
            inbox: unpacked.inbox,
            name: unpacked.content.name.to_string(),
        };
        Ok(Committed { enclosed: Some(Box::new(enclosed)), ..unpacked.committed })
    }

    /// Keeps a package for another node, and delivers it there.
    async fn keep(&self, label: PackageLabel, summary: Summary) -> Result<Committed, SinkError> {
        let refuse = |text: String| SinkError::Refused(Refusal::new(text));
        let Some(quota) = self.shared.config.relay else {
            return Err(refuse(format!("this node is no relay, and the package is for {}", label.receiver)));
        };
        if label.sender != self.carrier {
            return Err(refuse("a relay takes packages only from who made them".into()));
        }
        if self.shared.trust.peer(&label.receiver).is_none() {
            let text = format!("the relay does not know the receiver {}, so could not deliver to it: trust it there first", label.receiver);
            return Err(refuse(text));
        }
        let (id, created) = (label.transfer, self.shared.clock.now().passed);
        let kept = self.path.with_file_name(format!("{}.package", id.to_hex()));
        std::fs::rename(&self.path, &kept).map_err(|error| self.failed(error))?;
        if let Some(folder) = kept.parent() {
            File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| self.failed(error))?;
        }
        let entry = OutboxEntry {
            peer: label.receiver,
            via: None,
            relayed_for: Some(label.sender),
            inbox: String::new(),
            addresses: Vec::new(),
            token: None,
            content: Kept::Package { file: kept.file_name().unwrap_or_default().to_string_lossy().into_owned(), bytes: summary.length },
            expected: None::<Expected>,
            name: format!("a package of {}", label.sender.short()),
            length: Some(summary.length),
            chunk_size: None,
            compressed: Some(false),
            stages: Vec::new(),
            created,
            expires: created + self.remaining.min(label.expires.saturating_sub(label.created)),
            tries: 0,
            state: OutboxState::Stored,
            last_failure: None,
            heard: None,
        };
        let state = Arc::new(TransferState::stored(id, label.receiver));
        let deposit = Deposit { id, entry, given: Given::Nothing, state, quota: Some(quota) };
        let stored = self.outbox.send(deposit).await.unwrap_or(Err(OutboxError::None));
        if let Err(error) = stored {
            // Not ours to keep: an entry of the same name that is ours has a file of its own name, which was replaced by the same bytes.
            if !matches!(error, OutboxError::Known(_)) {
                let _ = std::fs::remove_file(&kept);
            }
            return match error {
                // It was kept before its word was: the same word again.
                OutboxError::Known(true) => Ok(Committed { place: "relay".into(), ..Committed::default() }),
                error @ OutboxError::Known(false) => Err(refuse(format!("the relay can't keep it: {error}"))),
                // Its quota, its disk, its end.
                error => Err(SinkError::Refused(Refusal::for_now(format!("the relay can't keep it: {error}")))),
            };
        }
        Ok(Committed { place: "relay".into(), ..Committed::default() })
    }

    fn let_go(&mut self, keep: bool) {
        // Held to the end: another attempt may wait for it, and must not find what is about to go.
        let Some(_held) = self.file.take() else { return };
        if !keep {
            // Neither being there is a fault.
            let _ = std::fs::remove_file(&self.path);
            let _ = self.journal.clear();
        }
    }
}

/// Opens a package's file for this attempt alone; `None` if another one doesn't let go of it.
///
/// Who finishes removes or moves the file while holding it, so what was waited for may by then have no name any more: what
/// counts is the file that bears the name once it is held.
fn hold(path: &Path) -> io::Result<Option<File>> {
    let start = std::time::Instant::now();
    while start.elapsed() <= LET_GO {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
        match file.try_lock() {
            Ok(()) => {
                let (held, named) = (file.metadata()?, std::fs::metadata(path));
                if named.is_ok_and(|named| (named.dev(), named.ino()) == (held.dev(), held.ino())) {
                    return Ok(Some(file));
                }
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(std::time::Duration::from_millis(10)),
            Err(TryLockError::Error(error)) => return Err(error),
        }
    }
    Ok(None)
}

/// Decides about what is in a package, as a session does about what comes by itself.
fn open_inbox(shared: Arc<NodeShared>) -> OpenInbox {
    Box::new(move |offer: &PackageOffer| {
        let PackageOffer { sender, transfer, chunk_size, inbox, content, token, version, created, expires } = offer.clone();
        if let Some(token) = token
            && let Err(reason) = shared.trust.redeem(sender, &sender.short(), token.expose())
            && !shared.trust.allows(&sender, &inbox)
        {
            return Err(Failure::new(FailureKind::Untrusted, format!("the package was refused: {reason}")));
        }
        if !shared.trust.allows(&sender, &inbox) {
            let text = format!("its sender may not deliver to {inbox:?}: the receiver must trust it beforehand, or give it a ticket");
            return Err(Failure::new(FailureKind::Untrusted, text));
        }
        let Some(place) = shared.directory.inbox(&inbox) else {
            return Err(Failure::new(FailureKind::Refused, format!("there is no inbox {inbox:?} here")));
        };
        let spool = shared.spool.clone().ok_or_else(|| Failure::new(FailureKind::Refused, "this node has no spool"))?;
        let life = expires.saturating_sub(created).min(NodeConfig::EXPIRY_MOST.as_secs());
        let until = shared.clock.now().certain + life;
        let journal = Journal::open(spool, inner_key(sender, transfer), until, Some(version), chunk_size);
        let journal = journal.map_err(|error| Failure::new(FailureKind::Io, format!("the receiver's spool can't be read: {error}")))?;
        let offer = Offer { peer: sender, transfer, content, chunk_size, journal: Some(journal) };
        let sink = place.open(&offer).map_err(|refusal| Failure::new(refusal.kind(), refusal.reason))?;
        Ok(OpenedInbox { sink, journalled: true })
    })
}

/// How the journal of what is in a package is keyed: apart from that of the package itself.
pub(crate) fn inner_key(sender: PeerId, transfer: TransferId) -> Vec<u8> {
    let mut key = delivery_key(sender, transfer);
    key.push(b'p');
    key
}

/// A package that came can't be read again.
fn unread(error: SourceError) -> SinkError {
    let passing = matches!(&error, SourceError::Read { error, .. } if io_passes(error));
    SinkError::Refused(Refusal { reason: error.to_string(), passing })
}

fn refused(failure: Failure) -> SinkError {
    match failure.kind {
        FailureKind::Io => SinkError::Write { what: "the content of a package".into(), error: io::Error::other(failure.message) },
        // It came whole, so it was made like this.
        FailureKind::Integrity => SinkError::Refused(Refusal::new(failure.message)),
        kind => SinkError::Refused(Refusal { reason: failure.message, passing: passes(kind) }),
    }
}

/// `chunks u64 ‖ length u64 ‖ digest`.
fn encode_note(progress: &Progress) -> Vec<u8> {
    [&progress.chunks.to_le_bytes()[..], &progress.length.to_le_bytes(), &progress.digest.to_bytes()].concat()
}

fn decode_note(note: &[u8]) -> Option<Progress> {
    let (chunks, rest) = note.split_first_chunk::<8>()?;
    let (length, digest) = rest.split_first_chunk::<8>()?;
    let digest = DigestFold::from_bytes(digest)?;
    Some(Progress { chunks: u64::from_le_bytes(*chunks), length: u64::from_le_bytes(*length), digest })
}

/// What is noted, if the file still holds just that.
fn verified(file: &File, noted: &Progress, chunk_size: u32) -> Option<Progress> {
    let (mut fold, mut reader) = (DigestFold::default(), io::BufReader::with_capacity(chunk_size as usize, file).take(noted.length));
    let mut chunk = vec![0; chunk_size as usize];
    for index in 0..noted.chunks {
        let expected = (noted.length - (index * u64::from(chunk_size)).min(noted.length)).min(u64::from(chunk_size)) as usize;
        reader.read_exact(&mut chunk[..expected]).ok()?;
        fold.insert(index, Subtree::of(index, chunk_size, &chunk[..expected]));
    }
    let same = fold.to_bytes() == noted.digest.to_bytes();
    if !same {
        tracing::error!("a package that had arrived in part is not what it was: it begins anew");
    }
    same.then(|| noted.clone())
}

impl Sink for PackageSink {
    fn placement(&self) -> Placement {
        Placement::Anywhere
    }

    fn write<'a>(&'a mut self, offset: u64, bytes: &'a Bytes) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(std::future::ready(self.write_at(offset, bytes)))
    }

    fn commit<'a>(&'a mut self, summary: &'a Summary) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(self.finish(*summary))
    }

    fn abort(&mut self, _reason: &str) {
        self.let_go(false);
    }

    fn resumed(&self) -> Resumed {
        Resumed::Chunks(self.resumed.clone())
    }

    fn checkpoint<'a>(&'a mut self, progress: &'a Progress) -> BoxFuture<'a, Result<(), SinkError>> {
        let noted = self.note(progress).map_err(|error| self.failed(error));
        Box::pin(std::future::ready(noted))
    }

    fn suspend(&mut self, _reason: &str) {
        self.let_go(true);
    }
}

impl std::fmt::Debug for PackageSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackageSink").field("path", &self.path).finish_non_exhaustive()
    }
}

/// How long an earlier attempt may take to let go.
const LET_GO: std::time::Duration = std::time::Duration::from_secs(10);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use super::*;

    #[test]
    fn who_waited_for_a_package_that_was_finished_gets_a_new_file_with_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("package.coming");
        let first = hold(&path).unwrap().unwrap();
        // It has the file open before the first one is done with it, as a second attempt would.
        let early = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || hold(&path).unwrap().unwrap()
        });
        assert!(early.try_lock().is_err());
        std::fs::remove_file(&path).unwrap();
        drop(first);
        let second = waiting.join().unwrap();
        let named = std::fs::metadata(&path).unwrap();
        assert_eq!(named.ino(), second.metadata().unwrap().ino());
        assert_ne!(named.ino(), early.metadata().unwrap().ino());
    }
}
