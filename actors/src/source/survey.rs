//! The length and version of a tree, found by a walk over it before any of its files is read.

use std::sync::Arc;

use estafette::pipeline::{SourceError, SourceReport};

use super::grounds::Grounds;
use super::holes::FileContent;
use super::left_behind::LeftBehind;
use super::options::ReadOptions;
use super::version::{is_settled, now};
use super::walk::{Roots, State, Step, Walk};
use crate::tree::{Entry, TreeWriter};

/// The most entries that are looked at; a tree with more of them is sent without a length, and
/// can't be told from a later state of itself.
const COUNTED: u64 = 200_000;

/// Length and version of a tree, where they can be told.
#[derive(Clone, Debug, Default)]
pub(super) struct Survey {
    /// Bytes of the stream if nothing changes.
    pub(super) length: Option<u64>,
    /// Bytes of these that are no holes, if there are holes.
    pub(super) data: Option<u64>,
    /// The mark that tells this state of the tree from any other.
    pub(super) version: Option<[u8; 32]>,
    /// The mark that tells this state of what is quiet in it from any other.
    pub(super) quiet: Option<[u8; 32]>,
    /// The first entry that is too young for a version, or what else there is none for.
    pub(super) unsettled: Option<String>,
    /// The folders that it is read from.
    pub(super) grounds: Grounds,
}

impl Survey {
    /// Walks over all entries, without their content.
    pub(super) fn of(roots: Arc<Roots>, options: Arc<ReadOptions>) -> Self {
        let by_options = options.to_items_of_content().concat();
        // What changes during the walk is too young.
        let walk = Walk::new(Arc::clone(&roots), Arc::clone(&options));
        let survey = Self::walk(walk, now()).unwrap_or_else(|_| match *roots {
            Roots::Folder(_) => Self { grounds: Grounds::of_unread_folder(), ..Self::default() },
            Roots::Given(_) => Self::default(),
        });
        let with_options = |mark: [u8; 32]| match by_options.is_empty() {
            true => mark,
            false => *blake3::Hasher::new_keyed(&mark).update(&by_options).finalize().as_bytes(),
        };
        let (version, quiet) = (survey.version.map(with_options), survey.quiet.map(with_options));
        // Attributes are read only with what they belong to, so how long all is can't be told; but
        // that it takes so much. What is being written is left out when it comes to that.
        let (length, data) = match survey.length {
            length if options.xattrs || options.settled => (None, survey.data.or(length)),
            length => (length, survey.data),
        };
        Self { length, data, version, quiet, ..survey }
    }

    fn walk(mut walk: Walk, now: i64) -> Result<Self, SourceError> {
        let mut hasher = blake3::Hasher::new_derive_key("estafette 2026 tree version");
        let mut quiet = blake3::Hasher::new_derive_key("estafette 2026 quiet tree version");
        let (mut length, mut unsettled) = (TreeWriter::FRAME, None);
        let (mut left, mut holes, mut grounds) = (LeftBehind::default(), 0_u64, Grounds::default());
        for _ in 0..COUNTED {
            match walk.next()? {
                Some(Step::Entry(entry, state)) => {
                    length = length.saturating_add(entry.encoded_length());
                    let is_settled = is_settled_at(&entry, &state, now);
                    if !is_settled && unsettled.is_none() {
                        unsettled = Some(walk.real_path(entry.path()));
                    }
                    left.entry(&entry, &state);
                    grounds.entry(&entry, &state);
                    holes = holes.saturating_add(holes_of(&walk, &entry, &state));
                    take_entry(&mut hasher, &entry, &state);
                    take_quiet(&mut quiet, &entry, &state, is_settled);
                    if let Entry::File { path, mode, .. } = &entry
                        && walk.is_forbidden(path, *mode)
                    {
                        take(&mut hasher, b"forbidden");
                        take(&mut quiet, b"forbidden");
                    }
                }
                Some(Step::Skipped(skipped)) => {
                    left.skipped(walk.path_in_tree(&skipped.path), &skipped.reason);
                    for hasher in [&mut hasher, &mut quiet] {
                        take(hasher, b"skipped");
                        take(hasher, skipped.path.as_bytes());
                        take(hasher, skipped.reason.as_bytes());
                    }
                }
                None => {
                    let mut report = SourceReport::default();
                    left.tell(&mut report);
                    grounds.end(walk.unread());
                    length = length.saturating_add(
                        report.remarks.iter().map(|line| TreeWriter::remark_length(line)).sum(),
                    );
                    let unread = walk.unread().paths().map(TreeWriter::unread_length).sum();
                    length = length.saturating_add(unread);
                    return Ok(Self {
                        length: Some(length),
                        data: (holes > 0).then(|| length.saturating_sub(holes)),
                        version: unsettled.is_none().then(|| *hasher.finalize().as_bytes()),
                        quiet: Some(*quiet.finalize().as_bytes()),
                        unsettled: unsettled.map(|path| format!("{path} is being written")),
                        grounds,
                    });
                }
            }
        }
        grounds.end_early();
        let unsettled = Some(format!("it has more than {COUNTED} entries"));
        Ok(Self { unsettled, grounds, ..Self::default() })
    }
}

/// Returns `true` if an entry can't change without a trace any more.
pub(super) fn is_settled_at(entry: &Entry, state: &State, now: i64) -> bool {
    is_settled(state.changed, now) || is_settled(entry.mtime(), now)
}

/// An entry, unless it is being written: a folder in which names come and go all the time is there
/// as long as it is.
fn take_quiet(hasher: &mut blake3::Hasher, entry: &Entry, state: &State, is_settled: bool) {
    match entry {
        _ if is_settled => take_entry(hasher, entry, state),
        Entry::Root { mode, .. } => {
            take_entry(hasher, &Entry::Root { mode: *mode, mtime: 0 }, state);
        }
        Entry::Folder { path, mode, .. } => {
            let folder = Entry::Folder { path: path.clone(), mode: *mode, mtime: 0 };
            take_entry(hasher, &folder, state);
        }
        _ => {}
    }
}

/// Bytes of a file that are holes.
fn holes_of(walk: &Walk, entry: &Entry, state: &State) -> u64 {
    let Entry::File { path, .. } = entry else { return 0 };
    if !state.has_holes {
        return 0;
    }
    let opened = walk.open_file(path).and_then(|file| Ok((file.metadata()?, file)));
    let Ok((metadata, file)) = opened else { return 0 };
    let data = FileContent::new(file, &metadata).data_length();
    data.map_or(0, |data| metadata.len().saturating_sub(data))
}

fn take_entry(hasher: &mut blake3::Hasher, entry: &Entry, state: &State) {
    let none: &[u8] = &[];
    let (kind, path, mode, mtime, size, target) = match entry {
        Entry::Root { mode, mtime } => (&b"root"[..], none, *mode, *mtime, 0, none),
        Entry::Folder { path, mode, mtime } => {
            (&b"folder"[..], path.as_bytes(), *mode, *mtime, 0, none)
        }
        Entry::File { path, mode, mtime, size } => {
            (&b"file"[..], path.as_bytes(), *mode, *mtime, *size, none)
        }
        Entry::Link { path, mtime, target } => {
            (&b"link"[..], path.as_bytes(), 0, *mtime, 0, &target[..])
        }
        Entry::OutwardLink { path, mtime, target } => {
            (&b"outward"[..], path.as_bytes(), 0, *mtime, 0, &target[..])
        }
        Entry::HardLink { path, target } => {
            (&b"hard link"[..], path.as_bytes(), 0, 0, 0, target.as_bytes())
        }
    };
    [kind, path, target].into_iter().for_each(|bytes| take(hasher, bytes));
    for number in [u64::from(mode), mtime as u64, size, state.device, state.inode] {
        hasher.update(&number.to_le_bytes());
    }
}

/// With its length, so that no two lists of fields are the same bytes.
fn take(hasher: &mut blake3::Hasher, bytes: &[u8]) {
    hasher.update(&(bytes.len() as u64).to_le_bytes()).update(bytes);
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::path::Path;
    use std::time::UNIX_EPOCH;

    use super::*;
    use crate::source::FileVersion;

    /// The version as of an hour from now.
    fn version(folder: &Path) -> Option<[u8; 32]> {
        let later = now() + 3600 * 1_000_000_000;
        Survey::walk(Walk::new(Arc::new(Roots::Folder(folder.into())), Arc::default()), later)
            .unwrap()
            .version
    }

    #[test]
    fn every_change_to_a_tree_is_another_version_and_no_change_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("deep")).unwrap();
        fs::write(path("deep/file"), "some").unwrap();
        symlink("deep", path("link")).unwrap();
        let changes: [&dyn Fn(); 8] = [
            &|| fs::write(path("deep/file"), "longer").unwrap(),
            &|| {
                fs::File::options()
                    .write(true)
                    .open(path("deep/file"))
                    .unwrap()
                    .set_modified(UNIX_EPOCH)
                    .unwrap()
            },
            &|| fs::set_permissions(path("deep/file"), fs::Permissions::from_mode(0o600)).unwrap(),
            &|| fs::rename(path("deep/file"), path("deep/other")).unwrap(),
            &|| fs::remove_file(path("link")).unwrap(),
            &|| symlink("deep/other", path("link")).unwrap(),
            &|| fs::create_dir(path("empty")).unwrap(),
            &|| {
                rustix::fs::mkfifoat(rustix::fs::CWD, path("fifo"), rustix::fs::Mode::RWXU).unwrap()
            },
        ];
        let mut seen = vec![version(folder.path()).unwrap()];
        for (number, change) in changes.iter().enumerate() {
            change();
            let now = version(folder.path()).unwrap();
            assert_eq!(version(folder.path()), Some(now));
            assert!(!seen.contains(&now), "change {number} makes no difference");
            seen.push(now);
        }
    }

    #[test]
    fn what_may_be_read_again_is_another_version() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "some").unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o040)).unwrap();
        // Its owner may not, as a class of its own; whoever may all reads it.
        let forbidden = std::thread::scope(|scope| {
            let work = || {
                let none = rustix::thread::CapabilitySet::empty();
                let sets = rustix::thread::CapabilitySets {
                    effective: none,
                    permitted: none,
                    inheritable: none,
                };
                rustix::thread::set_capabilities(None, sets).unwrap();
                version(folder.path()).unwrap()
            };
            scope.spawn(work).join().unwrap()
        });
        fs::set_permissions(&file, fs::Permissions::from_mode(0o040)).unwrap();
        let allowed = version(folder.path()).unwrap();
        assert_eq!(forbidden != allowed, rustix::process::geteuid().is_root());
    }

    #[test]
    fn a_tree_that_was_changed_just_now_has_a_length_and_no_version() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("new"), "x").unwrap();
        // By the clock of the file system itself, however slow this test runs.
        let at = FileVersion::of(&fs::metadata(folder.path().join("new")).unwrap()).changed;
        let survey = |now| {
            Survey::walk(
                Walk::new(Arc::new(Roots::Folder(folder.path().into())), Arc::default()),
                now,
            )
            .unwrap()
        };
        assert!(survey(at).length.is_some() && survey(at).version.is_none());
        assert!(survey(at + 1_999_999_999).version.is_none());
        assert!(survey(at + 2_000_000_000).version.is_some());
    }
}
