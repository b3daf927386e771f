//! Packages that come in: for this node, which unpacks them, or for another one, for which it keeps
//! them.
//!
//! Invariant: a package lies whole and durable in the spool's folder before it is unpacked or kept;
//! what was unpacked is remembered as a delivery of who packed it, whoever carried it.

mod commit;
mod note;
mod quota;
mod within;

use self::note::{decode_note, encode_note, verified};
use self::quota::{quota_for, quota_unknown};
pub(crate) use self::within::Within;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use actix::Addr;
use bytes::Bytes;
use futures_util::future::BoxFuture;

use super::coming::{Room, Stamp, available, coming_name, hold};
use super::config::RelayQuota;
use super::ledger::Work;
use super::link_failure::refusal_kind;
use super::memory::delivery_key;
use super::outbox::{Outbox, carried_as};
use super::package::{OpenInbox, OpenedInbox, PackageOffer};
use super::shared::NodeShared;
use crate::delivery::{Failure, FailureKind, TransferId};
use crate::pipeline::{
    Committed, Journal, Offer, Placement, Progress, Refusal, Resumed, Sink, SinkError, SourceError,
    Summary, io_passes, passes,
};
use crate::store::now;
use crate::wire::PeerId;
use crate::wire::package::{PACKAGE_HEADER_LIMIT, PackageLabel};

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
    /// The room it takes, charged to who brings it. Gone with the package, or with it to where it
    /// is kept.
    room: Option<Room>,
    quota: RelayQuota,
    /// Whom it is for, as far as that is known: the offer says so, and then its own label.
    addressee: Option<PeerId>,
    is_labelled: bool,
    /// The delivery in it, for whoever tells of it.
    within: Within,
    /// Bytes since it was looked how much of the disk is left.
    unchecked: u64,
    /// Set once a later attempt can go on with what is here.
    is_noted: bool,
}

/// Bytes between two looks at how much of the disk is left.
const LOOK_EVERY: u64 = 1 << 20;

impl PackageSink {
    /// Goes on with what an earlier attempt has left in the spool's folder, if that is still what
    /// it was. Its room is charged to who brings it before the first byte, by the size that it
    /// is said to have. It is for `addressee`, as its offer says.
    pub(crate) fn open(
        shared: &Arc<NodeShared>,
        outbox: Option<Addr<Outbox>>,
        offer: &Offer,
        (addressee, remaining): (&str, u64),
        within: Within,
    ) -> Result<Self, Refusal> {
        let none =
            || Refusal::new("this node takes no packages: it has no spool with a folder for them");
        let folder = shared.spool.as_ref().and_then(|spool| spool.folder()).ok_or_else(none)?;
        let outbox = outbox.ok_or_else(none)?;
        // Older senders say no more than that it is a package: then its own label tells.
        let addressee = addressee.parse().ok();
        let quota = addressee
            .map_or_else(|| Ok(quota_unknown(shared)), |addressee| quota_for(shared, addressee))?;
        let journal = offer.journal.clone().filter(|journal| !journal.is_passing());
        let mut journal =
            journal.ok_or_else(|| Refusal::new("a package has a version, and this one none"))?;
        let path = folder.join(coming_name(offer.transfer, offer.peer));
        let failed = |error: io::Error| {
            Refusal::for_now(format!("the spool can't be written: {}: {error}", path.display()))
        };
        let file = hold(&path).map_err(failed)?;
        let file = file.ok_or_else(|| {
            Refusal::for_now("an earlier attempt still has this package open; send it again later")
        })?;
        // Now that the file is ours: an earlier attempt may have noted more until it ended.
        journal.refresh().map_err(failed)?;
        let left = shared.stopped.take(offer.peer, offer.transfer);
        let stamp = left.as_ref().and_then(|left| left.stamp);
        let mut sink = Self {
            shared: Arc::clone(shared),
            outbox,
            carrier: offer.peer,
            transfer: offer.transfer,
            remaining,
            is_noted: journal.earlier().is_some(),
            journal,
            path,
            file: Some(file),
            resumed: Progress::default(),
            room: left.map(|left| left.room),
            quota,
            addressee,
            is_labelled: false,
            within,
            unchecked: 0,
        };
        match sink.begin(offer, stamp) {
            Ok(()) => Ok(sink),
            Err(refusal) => {
                // What came before is kept for when there is room.
                sink.let_go(refusal.passing);
                Err(refusal)
            }
        }
    }

    /// Takes its room, and finds out what is here of it.
    fn begin(&mut self, offer: &Offer, stamp: Option<Stamp>) -> Result<(), Refusal> {
        let announced = offer.content.length.unwrap_or(0);
        self.take_room(announced)?;
        let Some(file) = &self.file else { return Ok(()) };
        let failed = |error: io::Error| {
            Refusal::for_now(format!(
                "the spool can't be written: {}: {error}",
                self.path.display()
            ))
        };
        let here = file.metadata().map_err(failed)?.len();
        self.check_disk(announced.saturating_sub(here))?;
        if let Some(noted) = self.journal.earlier().and_then(decode_note) {
            let is_unchanged = stamp.is_some() && Stamp::of(file) == stamp;
            if !is_unchanged
                && !self.shared.ledger.account(self.carrier).spend(
                    Work::Verified,
                    noted.length,
                    std::time::Instant::now(),
                )
            {
                return Err(Refusal::for_now(TOO_MUCH_VERIFIED));
            }
            self.resumed = if is_unchanged {
                noted
            } else {
                verified(file, &noted, offer.chunk_size).unwrap_or_default()
            };
        }
        if here != self.resumed.length {
            file.set_len(self.resumed.length).map_err(failed)?;
        }
        // Its header may be among what is here.
        if self.resumed.length > 0
            && let Ok(packages) = self.shared.registry.packages_in_use()
            && let Ok(header) = packages.header(&self.path)
        {
            self.within.look(&header, &self.shared.identity);
        }
        Ok(())
    }

    /// Makes its room so large, if its sender may have so much; what that sender has left here of
    /// other packages goes for it.
    fn take_room(&mut self, bytes: u64) -> Result<(), Refusal> {
        loop {
            let taken = match &mut self.room {
                Some(room) => room.grow_to(bytes, self.quota),
                None => Room::take(&self.shared.ledger.account(self.carrier), self.quota, bytes)
                    .map(|room| self.room = Some(room)),
            };
            let Err(full) = taken else { return Ok(()) };
            let spool = self.shared.spool.as_deref();
            if !spool.is_some_and(|spool| self.shared.stopped.drop_oldest(self.carrier, spool)) {
                return Err(Refusal::for_now(format!(
                    "{} can't keep it: {full}; send it again when there is room",
                    self.who()
                )));
            }
        }
    }

    /// Whose package is left, and why: each once, since it ends with that.
    fn tell_refusal(&self, error: &SinkError) {
        let peer = self.shared.trust.label(&self.carrier);
        tracing::warn!(peer, transfer = %self.transfer, %error, "a package is not taken");
    }

    fn who(&self) -> &'static str {
        if self.addressee == Some(self.shared.peer()) { "the receiver" } else { "the relay" }
    }

    /// Refuses so many bytes more if the disk has no room for them.
    fn check_disk(&self, bytes: u64) -> Result<(), Refusal> {
        let Some(folder) = self.path.parent() else { return Ok(()) };
        let available = available(folder).map_err(|error| {
            Refusal::for_now(format!("the space left for the spool is unknown: {error}"))
        })?;
        let free = available.kept_free(self.shared.config.spool_free);
        if bytes.checked_add(free).is_some_and(|needed| needed <= available.bytes) {
            return Ok(());
        }
        let text = format!(
            "{bytes} bytes more are needed, {} are left on its disk, and {free} are kept free \
             (`spool_free`)",
            available.bytes
        );
        Err(Refusal::for_now(format!(
            "{} can't keep it: {text}; send it again when there is room",
            self.who()
        )))
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), SinkError> {
        let end = offset.saturating_add(bytes.len() as u64);
        if self.room.as_ref().is_none_or(|room| room.bytes() < end) {
            self.take_room(end).map_err(SinkError::Refused)?;
        }
        self.unchecked += bytes.len() as u64;
        if self.unchecked >= LOOK_EVERY {
            self.unchecked = 0;
            self.check_disk(bytes.len() as u64).map_err(SinkError::Refused)?;
        }
        let Some(file) = &self.file else {
            return Err(SinkError::Gone("the package was given up before".into()));
        };
        file.write_all_at(bytes, offset).map_err(|error| self.failed(error))?;
        if !self.is_labelled && offset < PACKAGE_HEADER_LIMIT as u64 {
            self.look_at_label()
        } else {
            Ok(())
        }
    }

    /// Decides by the package's own label as soon as it is here: an offer may say something else,
    /// or nothing.
    fn look_at_label(&mut self) -> Result<(), SinkError> {
        let packages = self
            .shared
            .registry
            .packages_in_use()
            .map_err(|error| SinkError::Refused(Refusal::new(error)))?;
        // It is not all here yet.
        let Ok(header) = packages.header(&self.path) else { return Ok(()) };
        self.is_labelled = true;
        self.check_label(header.label())?;
        self.within.look(&header, &self.shared.identity);
        Ok(())
    }

    fn check_label(&mut self, label: &PackageLabel) -> Result<(), SinkError> {
        let refuse = |text: &str| Err(SinkError::Refused(Refusal::new(text)));
        // A relay has an id of its own for it, made of its sender's key and of that sender's id.
        if ![label.transfer, carried_as(label.sender, label.transfer)].contains(&self.transfer) {
            return refuse("the package is of another delivery than the one that carries it");
        }
        if self.addressee.is_some_and(|addressee| addressee != label.receiver) {
            return refuse("the package is for somebody else than its offer said");
        }
        if label.receiver != self.shared.peer()
            && label.sender != self.carrier
            && !self.shared.ways.may_bring(self.carrier)
        {
            let text = "a relay takes packages only from who made them, or from a relay that it \
                        was told to take them from";
            return Err(SinkError::Refused(self.shared.ways.refusal(text)));
        }
        self.quota = quota_for(&self.shared, label.receiver).map_err(SinkError::Refused)?;
        self.addressee = Some(label.receiver);
        Ok(())
    }

    fn failed(&self, error: io::Error) -> SinkError {
        SinkError::Write { what: self.path.display().to_string(), error }
    }

    fn note(&mut self, progress: &Progress) -> io::Result<()> {
        if let Some(file) = &self.file {
            file.sync_data()?;
            self.journal.note(&encode_note(progress))?;
            self.is_noted = true;
        }
        Ok(())
    }

    fn let_go(&mut self, keep: bool) {
        // Held to the end: another attempt may wait for it, and must not find what is about to go.
        let Some(held) = self.file.take() else { return };
        // A peer that was revoked meanwhile comes back with nothing.
        if keep
            && self.is_noted
            && self.shared.trust.knows(&self.carrier)
            && let Some(room) = self.room.take()
        {
            return self.shared.stopped.put(
                (self.carrier, self.transfer),
                self.path.clone(),
                &held,
                room,
            );
        }
        // Neither being there is a fault. Where the removal does not outlive the power, the next
        // start finds no note, and removes it.
        let _ = std::fs::remove_file(&self.path);
        let _ = self.journal.clear();
        self.room = None;
    }
}

/// The refusal of a sender that offers partial deliveries again and again.
pub(crate) const TOO_MUCH_VERIFIED: &str = "what is here of it has to be read again before it \
                                            goes on, and so much was read for this sender of late \
                                            that it has to wait; send it again later";

/// Decides about what is in a package, as a session does about what comes by itself.
fn open_inbox(shared: Arc<NodeShared>) -> OpenInbox {
    Box::new(move |offer: &PackageOffer| {
        let &PackageOffer { sender, transfer, chunk_size, version, .. } = offer;
        let spool = shared
            .spool
            .clone()
            .ok_or_else(|| Failure::new(FailureKind::Refused, "this node has no spool"))?;
        let until = shared.clock.now().certain + offer.life(now());
        let journal =
            Journal::open(spool, inner_key(sender, transfer), until, Some(version), chunk_size);
        let journal = journal.map_err(|error| {
            Failure::new(FailureKind::Io, format!("the receiver's spool can't be read: {error}"))
        })?;
        let had_begun = journal.earlier().or(journal.outdated()).is_some();
        may_come(&shared, offer).map_err(|barred| untrusted(barred, had_begun))?;
        // The share of who packed it, whoever carried it.
        if let Err(full) = shared.remembered.reserve(sender, shared.clock.now()) {
            let text = format!(
                "the receiver remembers as many deliveries as it may, until some expire: {full}; \
                 try again later"
            );
            return Err(Failure::new(FailureKind::Busy, text));
        }
        let Some(place) = shared.directory.inbox(&offer.inbox) else {
            return Err(Refusal::no_inbox(&offer.inbox, had_begun).into());
        };
        let content = offer.content.clone();
        let offer =
            Offer { chunk_size, journal: Some(journal), ..Offer::new(sender, transfer, content) };
        let opened = place.open(&offer);
        // Who else carries it may have brought it meanwhile: its note is exchanged for the memory
        // of it in one write.
        let remembered = shared.remembered.look_again(sender, transfer);
        let remembered = remembered.map_err(|error| {
            Failure::new(FailureKind::Io, format!("the receiver's spool can't be read: {error}"))
        })?;
        let is_committed = |sink: &dyn Sink| matches!(sink.resumed(), Resumed::Committed(..));
        match opened {
            Ok(mut sink) if remembered && !is_committed(&*sink) => {
                sink.abort("it was delivered before");
                Err(Failure::new(FailureKind::Busy, DELIVERED_MEANWHILE))
            }
            Err(_) if remembered => Err(Failure::new(FailureKind::Busy, DELIVERED_MEANWHILE)),
            opened => Ok(OpenedInbox { sink: opened?, journalled: true }),
        }
    })
}

const DELIVERED_MEANWHILE: &str =
    "it was delivered this moment by somebody else who carries it; ask again";

/// Decides whether who packed it may deliver here.
fn may_come(shared: &NodeShared, offer: &PackageOffer) -> Result<(), Failure> {
    let PackageOffer { sender, inbox, token, .. } = offer;
    if let Some(token) = token
        && let Err(reason) = shared.trust.redeem(*sender, &sender.short(), token.expose())
        && !shared.trust.allows(sender, inbox)
    {
        return Err(Failure::new(
            refusal_kind(&reason),
            format!("the package was refused: {reason}"),
        ));
    }
    let why = || {
        format!(
            "its sender may not deliver to {inbox:?}: the receiver must trust it beforehand, or \
             give it a ticket"
        )
    };
    shared.trust.admission(sender, Some(inbox)).map_err(|barred| barred.failure(why))
}

/// The failure of one whose sender is not trusted. What `had_begun` may have been committed, and
/// its process have died before that was remembered: that is not told as a refusal.
fn untrusted(barred: Failure, had_begun: bool) -> Failure {
    if !had_begun || passes(barred.kind) {
        return barred;
    }
    let text = format!(
        "{}; it had begun to come when its sender was trusted, so it may be here: trust it again \
         to find out",
        barred.message
    );
    Failure::new(FailureKind::Busy, text)
}

/// Returns the key of the journal of what is in a package: apart from that of the package itself.
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
        FailureKind::Io => SinkError::Write {
            what: "the content of a package".into(),
            error: io::Error::other(failure.message),
        },
        // It came whole, so it was made like this.
        FailureKind::Integrity => SinkError::Refused(Refusal::new(failure.message)),
        kind => SinkError::Refused(Refusal { reason: failure.message, passing: passes(kind) }),
    }
}

impl Sink for PackageSink {
    fn placement(&self) -> Placement {
        Placement::Anywhere
    }

    fn write<'a>(
        &'a mut self,
        offset: u64,
        bytes: &'a Bytes,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        let written = self.write_at(offset, bytes).inspect_err(|error| self.tell_refusal(error));
        Box::pin(std::future::ready(written))
    }

    fn commit<'a>(
        &'a mut self,
        summary: &'a Summary,
    ) -> BoxFuture<'a, Result<Committed, SinkError>> {
        Box::pin(async move {
            self.finish(*summary).await.inspect_err(|error| self.tell_refusal(error))
        })
    }

    fn abort(&mut self, _reason: &str) {
        self.let_go(false);
    }

    fn resumed(&self) -> Resumed {
        Resumed::Chunks(self.resumed.clone())
    }

    fn checkpoint<'a>(
        &'a mut self,
        progress: &'a Progress,
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        let noted = self.note(progress).map_err(|error| self.failed(error));
        Box::pin(std::future::ready(noted))
    }

    fn suspend(&mut self, _reason: &str) {
        self.let_go(true);
    }
}

impl Drop for PackageSink {
    /// Whose assembler panicked: a later attempt may go on with what was noted.
    fn drop(&mut self) {
        self.let_go(true);
    }
}

impl std::fmt::Debug for PackageSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PackageSink").field("path", &self.path).finish_non_exhaustive()
    }
}
