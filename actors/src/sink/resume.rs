//! Goes on where an earlier attempt of a delivery stood, by what it noted.
//!
//! Invariant: a note leads to a file that its user holds locked. So of two attempts the later one
//! waits, and then reads the note anew.

use std::fs::File;
use std::time::{Duration, Instant};

use estafette::delivery::DigestFold;
use estafette::pipeline::{Committed, Journal, Offer, Progress, Refusal, Resumed, Summary};
use rustix::fs::{FileType, Mode};

use super::home::{Home, Kept, Named, Temporary};
use super::note::{Intent, Note, Writing};
use super::partial::{Partial, TransferLock, lock_transfer, release, write_note};
use super::publish::{discard, give_back};
use super::seen;
use super::sparse;
use super::verify::{Damage, verify};

/// The part of a delivery that is there when it is offered.
#[derive(Debug)]
pub(super) enum Found {
    /// A file to go on with, or a new one.
    Partial(Box<Partial>, Box<Resumed>),
    /// All of it, committed.
    Committed(Summary, Committed),
}

/// Finds what there is, or makes a new file of this mode. `check` decides about a delivery that is
/// not committed, by how many bytes are here.
pub(super) fn open(
    home: &Home,
    offer: &Offer,
    journal: &Journal,
    mode: Mode,
    check: &dyn Fn(u64) -> Result<(), Refusal>,
) -> Result<Found, Refusal> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let lock = lock_transfer(offer.transfer);
        let mut journal = journal.clone();
        refresh(&mut journal)?;
        let (noted, outdated) = noted(home, offer, &journal);
        let opening = |journal| Opening { home, offer, mode, journal, check };
        let Some(note) = noted else { return opening(journal).begin(&lock) };
        let place = home.place(note.file().name.as_bytes());
        let kept = home.open_kept(note.file()).map_err(|error| {
            Refusal::for_now(format!("the receiver can't go on with {place}: {error}"))
        })?;
        if !matches!(kept, Kept::Busy) && is_stale(&mut journal)? {
            // An earlier attempt has ended since it was read, and noted how far it came, or what it
            // made.
            continue;
        }
        let opening = opening(journal);
        match kept {
            Kept::Busy if Instant::now() >= deadline => {
                let text = "is still worked on by an earlier attempt of this delivery, in the \
                            receiver or another process; try again later";
                return Err(Refusal::for_now(format!("{place} {text}")));
            }
            Kept::Busy => {
                drop(lock);
                std::thread::sleep(LOOK_AGAIN);
            }
            Kept::Ours(_) if outdated => return opening.outdated(note, &lock),
            Kept::Gone if outdated => return opening.outdated(note, &lock),
            Kept::Ours(file) => {
                drop(lock);
                return opening.go_on(note, file);
            }
            Kept::Gone => return opening.without(note, &lock),
        }
    }
}

/// Removes what a note tells of that nobody will go on with, if it is here and nobody works on it;
/// then the note. What was committed, or may have been, stays, with the note that tells of it.
/// Whether somebody works on it.
pub(super) fn give_up(home: &Home, journal: &Journal) -> bool {
    let Some(Ok(note)) = journal.outdated().map(Note::decode) else { return false };
    let is_made =
        || if let Note::Intent(intent) = &note { was_renamed(home, intent) } else { Ok(false) };
    let kept = home.open_kept(note.file()).and_then(|kept| Ok((is_made()?, kept)));
    let drop_it = || _ = release(home, journal, &note);
    match kept.map(|(is_made, kept)| if is_made { Kept::Gone } else { kept }) {
        Ok(Kept::Ours(_held)) => drop_it(),
        Ok(Kept::Busy) => return true,
        // What was unpacked from it may be here still.
        Ok(Kept::Gone)
            if !is_made().unwrap_or(true)
                && note
                    .staged()
                    .is_some_and(|staged| matches!(home.name_of(staged), Ok(Some(_)))) =>
        {
            drop_it();
        }
        Ok(Kept::Gone) => {}
        Err(error) => {
            let place = home.place(note.file().name.as_bytes());
            tracing::warn!(
                %place, %error,
                "a partial delivery that nobody goes on with can't be opened, so it stays"
            );
        }
    }
    false
}

fn refresh(journal: &mut Journal) -> Result<(), Refusal> {
    journal.refresh().map_err(|error| {
        Refusal::for_now(format!("the receiver can't read its note about the delivery: {error}"))
    })
}

/// Returns `true` if the note is another one than when it was read last. With the file locked, or
/// gone, it does not change any more.
fn is_stale(journal: &mut Journal) -> Result<bool, Refusal> {
    let read = |journal: &Journal| {
        (journal.earlier().map(<[u8]>::to_vec), journal.outdated().map(<[u8]>::to_vec))
    };
    let before = read(journal);
    refresh(journal)?;
    Ok(before != read(journal))
}

/// Returns what the journal tells of, and `true` if it is about other content. A note that can't be
/// read is as good as none.
fn noted(home: &Home, offer: &Offer, journal: &Journal) -> (Option<Note>, bool) {
    let (bytes, outdated) = match (journal.earlier(), journal.outdated()) {
        (Some(earlier), _) => (earlier, false),
        (None, Some(outdated)) => (outdated, true),
        (None, None) => return (None, false),
    };
    match Note::decode(bytes) {
        Ok(note) => (Some(note), outdated),
        Err(error) => {
            let (transfer, folder) = (offer.transfer, home.place(b""));
            tracing::error!(
                %transfer, folder, %error,
                "the note about a partial delivery can't be read: its file stays, and it begins \
                 anew"
            );
            (None, false)
        }
    }
}

struct Opening<'a> {
    home: &'a Home,
    offer: &'a Offer,
    mode: Mode,
    journal: Journal,
    check: &'a dyn Fn(u64) -> Result<(), Refusal>,
}

impl Opening<'_> {
    /// Makes a new file, and notes it in place of what was noted.
    fn begin(self, _: &TransferLock) -> Result<Found, Refusal> {
        (self.check)(0)?;
        let partial = Partial::create(self.home, self.offer.transfer, self.mode, self.journal);
        let partial = partial.map_err(|error| {
            Refusal::because(
                format!("the receiver can't write to {}", self.home.place(b"")),
                &error,
            )
        })?;
        Ok(Found::Partial(Box::new(partial), Box::new(Resumed::Nothing)))
    }

    /// Begins anew, when what was noted is removed.
    fn replace(self, old: &Note, lock: &TransferLock) -> Result<Found, Refusal> {
        if !release(self.home, &self.journal, old) {
            let place = self.home.place(old.file().name.as_bytes());
            return Err(Refusal::for_now(format!(
                "the receiver can't remove {place}, which an earlier attempt has left"
            )));
        }
        self.begin(lock)
    }

    /// Goes on from a note about other content, which may have been committed all the same.
    fn outdated(self, note: Note, lock: &TransferLock) -> Result<Found, Refusal> {
        match &note {
            Note::Intent(intent) if self.was_renamed(intent)? => self.committed(intent),
            _ => self.replace(&note, lock),
        }
    }

    /// The file is not there.
    fn without(self, note: Note, lock: &TransferLock) -> Result<Found, Refusal> {
        if let Note::Intent(intent) = &note
            && self.was_renamed(intent)?
        {
            return self.committed(intent);
        }
        if note.length() > 0 {
            let place = self.home.place(note.file().name.as_bytes());
            tracing::error!(
                transfer = %self.offer.transfer, %place,
                "what had arrived of a delivery is gone: it begins anew"
            );
        }
        self.replace(&note, lock)
    }

    /// The file is there, and ours.
    fn go_on(self, note: Note, file: File) -> Result<Found, Refusal> {
        if let Note::Intent(intent) = &note
            && self.was_renamed(intent)?
        {
            return self.committed(intent);
        }
        // Taken back before it is taken for what somebody else has put there.
        if let Note::Intent(Intent { reserved: true, target, .. }) = &note {
            give_back(self.home, target);
        }
        let held = sparse::taken(&file).map_or(0, |taken| taken.min(note.length()));
        if let Err(refusal) = (self.check)(held) {
            // The sender comes back for what is a matter of the moment.
            if !refusal.passing {
                let _lock = lock_transfer(self.offer.transfer);
                let _ = release(self.home, &self.journal, &note);
            }
            return Err(refusal);
        }
        let (transfer, chunk_size) = (self.offer.transfer, self.offer.chunk_size);
        let known = match &note {
            Note::Writing(Writing { length, digest, .. }) if seen::is_unchanged(&file, *length) => {
                DigestFold::from_bytes(digest)
            }
            _ => None,
        };
        if known.is_none() && !self.journal.may_verify(note.length()) {
            return Err(Refusal::for_now(TOO_OFTEN));
        }
        let verified = match (known, &note) {
            (Some(known), _) => Ok(known),
            (None, Note::Writing(Writing { length, digest, .. })) => {
                verify(&file, chunk_size, *length, |fold| fold.to_bytes() == *digest)
            }
            (None, Note::Intent(Intent { summary, .. })) => {
                verify(&file, chunk_size, summary.length, |fold| {
                    fold.finish() == Some(summary.digest)
                })
            }
        };
        let digest = match verified {
            Ok(digest) => digest,
            Err(damage) => return self.begin_without(&note, &damage),
        };
        // What lies behind it may be of other content.
        let cut = file.metadata().and_then(|there| {
            if there.len() == note.length() { Ok(()) } else { file.set_len(note.length()) }
        });
        cut.map_err(|error| {
            Refusal::because(
                format!(
                    "the receiver can't go on with {}",
                    self.home.place(note.file().name.as_bytes())
                ),
                &error,
            )
        })?;
        let progress = Progress { chunks: digest.in_order(), length: note.length(), digest };
        let mut partial = Partial::reopened(transfer, file, &note, &progress, self.journal);
        partial.go_back(self.home, &note).map_err(Refusal::for_now)?;
        let resumed =
            if progress.chunks > 0 { Resumed::Chunks(progress) } else { Resumed::Nothing };
        Ok(Found::Partial(Box::new(partial), Box::new(resumed)))
    }

    /// Sets the file aside for a person to look at, and begins anew.
    fn begin_without(self, note: &Note, damage: &Damage) -> Result<Found, Refusal> {
        let (home, transfer, journal) = (self.home, self.offer.transfer, self.journal.clone());
        let place = home.place(note.file().name.as_bytes());
        let lock = lock_transfer(transfer);
        // Not an intent any more: without its file, that would tell that it was carried out. And
        // nothing to go on with.
        let nothing = Note::Writing(Writing::nothing(note.file().clone(), note.staged().cloned()));
        write_note(&journal, nothing).map_err(|error| {
            Refusal::for_now(format!("the receiver can't change its note about {place}: {error}"))
        })?;
        note.staged().into_iter().for_each(|old| _ = home.remove_kept(old));
        let aside = home
            .name_of(note.file())
            .and_then(|name| name.map_or(Ok(None), |name| home.set_aside(&name).map(Some)));
        match aside.and_then(|name| home.sync().map(|()| name)) {
            Ok(name) => {
                let kept = name.map(|name| home.place(name.as_bytes()));
                tracing::error!(
                    %transfer, %place, %damage, kept,
                    "what had arrived of a delivery is damaged: it begins anew"
                );
            }
            Err(error) => {
                tracing::error!(
                    %transfer, %place, %damage, %error,
                    "what had arrived of a delivery is damaged: it begins anew"
                )
            }
        }
        self.begin(&lock).inspect_err(|_| forget(home, &journal, note))
    }

    /// Returns `true` if the rename that was intended was made.
    fn was_renamed(&self, intent: &Intent) -> Result<bool, Refusal> {
        let place = self.home.place(&intent.target);
        let made = was_renamed(self.home, intent);
        let made = made.map_err(|error| {
            Refusal::for_now(format!("the receiver can't look at {place}: {error}"))
        })?;
        if made && !is_target(self.home, intent).unwrap_or(false) {
            tracing::warn!(
                transfer = %self.offer.transfer, %place,
                "it was delivered before, and somebody has moved it since"
            );
        }
        Ok(made)
    }

    /// It was committed, and only the word of it was lost.
    fn committed(self, intent: &Intent) -> Result<Found, Refusal> {
        self.home.sync().map_err(|error| {
            Refusal::for_now(format!(
                "the receiver can't make {} durable: {error}",
                self.home.place(&intent.target)
            ))
        })?;
        // A second name of the file, or the stream that the folder was unpacked from.
        self.home.remove_kept(&intent.file);
        let is_there = is_target(self.home, intent).unwrap_or(false);
        for kind in [Temporary::Keep, Temporary::Whole] {
            let name = kind.named(&moved(intent).name);
            // What it replaced has its name now.
            if is_there || is_other(intent, self.home.kind_of(name.as_bytes()).ok().flatten()) {
                discard(self.home, &name);
            }
        }
        // After a loss of power nothing may come back, since the note is forgotten when this is
        // remembered.
        self.home.sync().map_err(|error| {
            Refusal::for_now(format!(
                "the receiver can't make {} durable: {error}",
                self.home.place(&intent.target)
            ))
        })?;
        // A note does not say it.
        let path = Some(self.home.path_of(&intent.target));
        Ok(Found::Committed(intent.summary, Committed { path, ..intent.committed.clone() }))
    }
}

/// The file or folder that an intended rename is about.
fn moved(intent: &Intent) -> &Named {
    intent.staged.as_ref().unwrap_or(&intent.file)
}

/// Returns `true` if what was to be renamed bears its name.
fn is_target(home: &Home, intent: &Intent) -> std::io::Result<bool> {
    home.is_inode(&intent.target, moved(intent).inode)
}

/// Returns `true` if what has the name of what was to be renamed is what that has replaced, as one
/// of them is a folder.
fn is_other(intent: &Intent, there: Option<FileType>) -> bool {
    match there {
        Some(FileType::Directory) => intent.staged.is_none(),
        Some(FileType::RegularFile) => intent.staged.is_some(),
        _ => false,
    }
}

/// Returns `true` if the rename that was intended was made: its target is the inode it was for, or
/// what was to be renamed is not there any more.
fn was_renamed(home: &Home, intent: &Intent) -> std::io::Result<bool> {
    if is_target(home, intent)? {
        return Ok(true);
    }
    // By its names, which are random; the inode says nothing here, since not every file system
    // keeps its number.
    for kind in [Temporary::Keep, Temporary::Whole] {
        let there = home.kind_of(kind.named(&moved(intent).name).as_bytes())?;
        if there.is_some() && !is_other(intent, there) {
            return Ok(false);
        }
    }
    // That nothing is there tells so only of the folder in which it was: a disk may be unmounted,
    // or a folder have another name.
    match intent.folder {
        Some(folder) if folder != home.id()? => Err(std::io::Error::other(format!(
            "it is another folder than the one in which the delivery was about to appear, as {}; \
             put that one back, so that it can be told whether it did",
            intent.committed.place
        ))),
        _ => Ok(true),
    }
}

/// Removes a note about what is gone.
fn forget(home: &Home, journal: &Journal, note: &Note) {
    if let Err(error) = journal.clear() {
        let place = home.place(note.file().name.as_bytes());
        tracing::warn!(
            %place, %error,
            "the note about a delivery that was refused stays until the delivery expires"
        );
    }
}

/// The longest that an attempt waits for an earlier one, which is ending on another thread.
const PATIENCE: Duration = Duration::from_secs(10);
/// A lock of another process sends no word when it is free.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// The text for a sender that offers a partial delivery again and again.
const TOO_OFTEN: &str = "what is here of it has to be read again before it goes on, and so much \
                         was read for this sender of late that it has to wait; send it again later";

#[cfg(test)]
mod tests;
