//! An inbox that is a folder.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::SystemTime;

use estafette::delivery::{ContentKind, TransferId};
use estafette::pipeline::{Inbox, Journal, Offer, Refusal, Sink, SinkError};
use rustix::fs::Mode;

use super::file::FileSink;
use super::home::{Home, Temporary};
use super::leftovers::Leftovers;
use super::limits::Limits;
use super::name::check_held;
use super::on_conflict::OnConflict;
use super::policy::Policy;
use super::publish::{check_name, exists, replaceable};
use super::resumable_tree::ResumableTree;
use super::resume;
use super::there;
use super::tree::TreeSink;

/// A folder that takes files and trees. Made by [`FileSink::into_dir`].
///
/// A delivery is written to a temporary in the folder, `.estafette-…`, and appears under its name
/// when it is complete, verified and synced, by one rename. Temporaries of a delivery that fails
/// are removed at once, or, where the system lacks something for that, when another delivery of
/// this folder begins or ends. Those of a process that died are removed when a folder of this path
/// is first used again: every temporary is locked (`flock`) while its process lives, so only those
/// whose lock is free are taken for leftovers, and several processes may share a folder. Where a
/// file system knows no such locks, leftovers stay.
///
/// On a file system that keeps less than a POSIX one (exFAT, CIFS, many by FUSE) what arrived
/// stays: modes and times that can't be set are told in
/// [`Committed::remarks`](estafette::pipeline::Committed::remarks), as are entries of a tree whose
/// name or kind can't be held, which are left out. Where it can neither rename without replacing
/// nor give a file a second name, the name is taken by an empty file or folder for a moment.
///
/// A delivery with a [`Journal`] goes on after its process died: its temporary,
/// `.estafette-….keep`, is kept and noted, and the next attempt verifies what it holds before it
/// goes on. Of two attempts at once the later one waits up to ten seconds for the earlier one to
/// end. What turns out to be damaged is renamed to `.estafette-….damaged` and kept for a person,
/// and the delivery begins anew. A kept temporary is removed when its delivery fails or is
/// cancelled; else when it has not changed for 31 days, since no delivery may go on for longer.
/// What is complete and about to become visible is called `.estafette-….whole`, and is not removed
/// for its age: the note that tells of it decides. A tree with a journal needs its size twice for a
/// moment: as the stream it came as, and unpacked.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    on_conflict: OnConflict,
    limits: Limits,
    policy: Policy,
    /// Set if names that begin with a dot are taken.
    dotfiles: bool,
    /// The file system it was on when it was first opened, by the number that this gives itself.
    found_on: OnceLock<u64>,
    leftovers: Leftovers,
}

impl FileSink {
    /// An inbox that puts deliveries, files and trees alike, into the folder at `path`.
    pub fn into_dir(path: impl AsRef<Path>) -> Folder {
        Folder::new(path.as_ref())
    }
}

impl Folder {
    fn new(path: &Path) -> Self {
        // Without a current folder the path stays as it is, and opening it will tell what is wrong.
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
        let (on_conflict, limits, policy, found_on, leftovers) = Default::default();
        Self { path, on_conflict, limits, policy, dotfiles: false, found_on, leftovers }
    }

    /// Sets the policy for a delivery whose name is taken. Default: [`OnConflict::Refuse`].
    #[must_use]
    pub fn on_conflict(mut self, policy: OnConflict) -> Self {
        self.on_conflict = policy;
        self
    }

    /// The longest delivery that is taken, in bytes; for trees, of the tree stream. Default: any
    /// length that leaves [`Folder::keep_free`].
    #[must_use]
    pub fn max_bytes(mut self, bytes: u64) -> Self {
        self.limits.max_bytes = bytes;
        self
    }

    /// Sets how many files, folders and links one tree may have. Default: 10 million.
    #[must_use]
    pub fn max_files(mut self, files: u64) -> Self {
        self.limits.max_files = files;
        self
    }

    /// Takes deliveries whose name begins with a dot, too. They are refused by default: where the
    /// folder is somebody's home, or becomes it, such a file is a setting of a program. What is
    /// inside a folder that is delivered is not looked at.
    #[must_use]
    pub fn dotfiles(mut self, taken: bool) -> Self {
        self.dotfiles = taken;
        self
    }

    /// Makes links of a tree that may lead out of it, absolute ones among them, where the sender
    /// has sent them as such. They are left out by default, with a remark: nothing that is
    /// delivered later is written through them, but other programs follow them.
    #[must_use]
    pub fn outward_links(mut self, made: bool) -> Self {
        self.policy.outward_links = made;
        self
    }

    /// Takes lists of access (POSIX ACLs), where the sender has sent them: they name users and
    /// groups by number, and on this machine these may be others. They are left out by default,
    /// with a remark. Extended attributes of users are always taken.
    #[must_use]
    pub fn access_lists(mut self, taken: bool) -> Self {
        self.policy.access_lists = taken;
        self
    }

    /// Bytes of the file system that deliveries leave free, to within 8 MiB for each delivery under
    /// way. Default: 64 MiB, or a twentieth of a file system that is smaller than 1.25 GiB.
    #[must_use]
    pub fn keep_free(mut self, bytes: u64) -> Self {
        self.limits.keep_free = Some(bytes);
        self
    }

    /// Opens the folder now (makes it, if only the last part of its path is missing), removes
    /// leftovers and writes to it, so that a wrong path is known before the first delivery.
    /// Otherwise this happens at the first delivery.
    pub fn prepare(&self) -> Result<(), Refusal> {
        let home = self.home()?;
        let made = home.create_file(
            TransferId::from_bytes([0; 24]),
            Temporary::Part,
            Mode::RUSR | Mode::WUSR,
        );
        let tried = made.and_then(|(name, _)| home.remove(&name));
        tried.map_err(|error| {
            Refusal::for_now(format!(
                "the receiver can't write to its folder {}: {error}",
                home.place(b"")
            ))
        })
    }

    /// Says why [`Folder::prepare`] would fail, as far as that can be seen without making anything.
    pub fn look(&self) -> Result<(), Refusal> {
        Home::look(&self.path).map_err(|error| self.unopened(&error))
    }

    fn unopened(&self, error: &std::io::Error) -> Refusal {
        Refusal::for_now(format!(
            "the receiver can't open its folder {}: {error}",
            crate::tree::printable(self.path.as_os_str().as_encoded_bytes())
        ))
    }

    /// Returns whether the folder exists. It is made when it is first used.
    pub fn is_there(&self) -> bool {
        self.path.is_dir()
    }

    /// Opened anew for each delivery, so that a folder which was moved away, or whose disk was
    /// unmounted, is noticed: it is not made again.
    fn home(&self) -> Result<Home, Refusal> {
        let place = || crate::tree::printable(self.path.as_os_str().as_encoded_bytes());
        let Some(found_on) = self.found_on.get() else { return self.first_home() };
        let home = Home::open(&self.path, self.leftovers.clone()).map_err(|error| {
            Refusal::for_now(format!(
                "the receiver can't open its folder {} any more: {error}; is its disk mounted?",
                place()
            ))
        })?;
        let is_on = home.file_system().map_err(|error| {
            Refusal::for_now(format!("the receiver can't look at {}: {error}", place()))
        })?;
        if is_on != *found_on {
            let reason = "lies on another disk than when the receiver began: was its disk \
                          unmounted? Mount it, or start the receiver again";
            return Err(Refusal::for_now(format!("the receiver's folder {} {reason}", place())));
        }
        home.sweep(SystemTime::now());
        Ok(home)
    }

    fn first_home(&self) -> Result<Home, Refusal> {
        let failed = |error| self.unopened(&error);
        let home = Home::make(&self.path, self.leftovers.clone()).map_err(failed)?;
        let found_on = home.file_system().map_err(failed)?;
        // Of two that come first, one sweeps.
        if self.found_on.set(found_on).is_ok() {
            home.sweep(SystemTime::now());
        }
        Ok(home)
    }

    fn check_target(&self, home: &Home, offer: &Offer) -> Result<(), Refusal> {
        let name = offer.content.name.as_bytes();
        check_name(name)?;
        check_held(home, offer.transfer, name)?;
        check_attributes(offer.content.attributes.as_slice())?;
        if name.starts_with(b".") && !self.dotfiles {
            let shown = crate::tree::printable(name);
            return Err(Refusal::new(format!(
                "{shown} begins with a dot: such names are not taken here; send it under another \
                 one, or in a folder"
            )));
        }
        let unknown = |error| {
            Refusal::because(format!("the receiver can't look at {}", home.place(name)), &error)
        };
        match self.on_conflict {
            OnConflict::Rename => Ok(()),
            OnConflict::Refuse => match home.kind_of(name) {
                Ok(None) => Ok(()),
                Ok(Some(_)) => Err(exists(home, name)),
                Err(error) => Err(unknown(error)),
            },
            OnConflict::Replace | OnConflict::Merge => {
                let is_tree = offer.content.kind == ContentKind::Tree;
                let there = replaceable(home, name, is_tree, self.on_conflict);
                there.map(drop).map_err(SinkError::into_refusal)
            }
        }
    }

    /// Opens a delivery that may go on in a later process.
    fn go_on(
        &self,
        home: Home,
        offer: &Offer,
        journal: &Journal,
    ) -> Result<Box<dyn Sink>, Refusal> {
        let is_tree = offer.content.kind == ContentKind::Tree;
        // A tree is there twice when it is unpacked.
        let times = if is_tree { 2 } else { 1 };
        let found =
            resume::open(&home, offer, journal, FileSink::mode(&offer.content.kind), &|held| {
                self.check_target(&home, offer)?;
                self.limits.check_claim_kept(&offer.content, times, held, &home)
            })?;
        Ok(if is_tree {
            Box::new(ResumableTree::found(
                home,
                offer,
                self.on_conflict,
                self.limits,
                self.policy,
                found,
            ))
        } else {
            Box::new(FileSink::found(
                home,
                offer,
                self.on_conflict,
                (self.limits, self.policy),
                found,
            ))
        })
    }
}

/// Removes, if it may now, what could not be removed before: when its node ends, nothing holds
/// anything any more.
impl Drop for Folder {
    fn drop(&mut self) {
        if !self.leftovers.is_empty() {
            // It sweeps when it is opened; what stays then goes with the next process.
            drop(self.home());
        }
    }
}

impl Inbox for Folder {
    fn discard(&self, journal: &Journal) -> bool {
        self.home().is_ok_and(|home| resume::give_up(&home, journal))
    }

    fn open(&self, offer: &Offer) -> Result<Box<dyn Sink>, Refusal> {
        let home = self.home()?;
        if let Some(there) = there::find(&home, offer) {
            return Ok(Box::new(there));
        }
        if let Some(journal) = &offer.journal {
            return self.go_on(home, offer, journal);
        }
        self.check_target(&home, offer)?;
        self.limits.check_claim(&offer.content, &home)?;
        match offer.content.kind {
            ContentKind::Tree => Ok(Box::new(TreeSink::create(
                home,
                offer,
                self.on_conflict,
                self.limits,
                self.policy,
            )?)),
            _ => Ok(Box::new(FileSink::create(
                home,
                offer,
                self.on_conflict,
                (self.limits, self.policy),
            )?)),
        }
    }
}

/// A sender that keeps to the rules sends no others.
fn check_attributes(attributes: &[(Vec<u8>, Vec<u8>)]) -> Result<(), Refusal> {
    match attributes.iter().find(|(name, _)| !crate::tree::may_travel(name)) {
        None => Ok(()),
        Some((name, _)) => {
            let name = crate::tree::printable(name);
            Err(Refusal::new(format!("it has the attribute {name}, which is not taken")))
        }
    }
}
