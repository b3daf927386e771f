//! The one rename that makes a delivery visible.
//!
//! Invariant: at every moment the target is absent, what it was before, or complete; nothing is
//! replaced unless the policy says so. Where a file system can neither rename without replacing nor
//! give a file a second name, the target is empty for a moment; if the process dies in it, the next
//! attempt gives the name back.

use estafette::pipeline::{Refusal, SinkError};
use rustix::fs::{AtFlags, FileType, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::aside::Aside;
use super::home::{Home, PREFIX};
use super::name::{is_about_name, not_held};
use super::on_conflict::OnConflict;

/// The most names that are tried under [`OnConflict::Rename`].
const NAMES: u32 = 1000;

/// Renames `temporary` to `wanted`, or what the policy makes of it, and tells the name. Not durable
/// before [`Home::sync`].
///
/// `intend` is told each name before it is tried, and once more if it has to be reserved first.
pub(super) fn publish(
    home: &Home,
    temporary: &str,
    wanted: &[u8],
    policy: OnConflict,
    folder: bool,
    intend: impl Fn(&[u8], Taking) -> Result<(), SinkError>,
) -> Result<Vec<u8>, SinkError> {
    let failed = |error: Errno| {
        // Without the temporary nothing is there that could be renamed: no matter of the name.
        let is_there = || matches!(home.kind_of(temporary.as_bytes()), Ok(Some(_)));
        if is_about_name(error) || error == Errno::NOENT && is_there() {
            return SinkError::Refused(not_held(home, wanted, error));
        }
        SinkError::Write { what: home.place(wanted), error: error.into() }
    };
    match policy {
        OnConflict::Refuse => {
            intend(wanted, Taking::AtOnce)?;
            match rename_new(home, temporary, wanted, folder, &intend)? {
                Ok(()) => Ok(wanted.to_vec()),
                Err(Errno::EXIST) => Err(SinkError::Refused(exists(home, wanted))),
                Err(error) => Err(failed(error)),
            }
        }
        OnConflict::Rename => {
            for number in 0..NAMES {
                let name = numbered(wanted, number, folder);
                // An intention may cost a sync: none for a name that is taken.
                if matches!(home.kind_of(&name), Ok(Some(_))) {
                    continue;
                }
                intend(&name, Taking::AtOnce)?;
                match rename_new(home, temporary, &name, folder, &intend)? {
                    Ok(()) => return Ok(name),
                    Err(Errno::EXIST) => {}
                    Err(error) => return Err(failed(error)),
                }
            }
            let reason = format!(
                "{} exists already, and so do {} numbered names for it",
                home.place(wanted),
                NAMES - 1
            );
            Err(SinkError::Refused(Refusal::new(reason)))
        }
        OnConflict::Replace | OnConflict::Merge => {
            let there = replaceable(home, wanted, folder, policy)?;
            intend(wanted, Taking::AtOnce)?;
            // No plain rename replaces a folder that holds something, nor anything by a folder.
            let renamed = if folder || there == Some(FileType::Directory) {
                swap(home, temporary, wanted, folder, &intend)?
            } else {
                rename(home, temporary.as_bytes(), wanted)
            };
            renamed.map(|()| wanted.to_vec()).map_err(failed)
        }
    }
}

/// The way in which a name is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taking {
    /// By the rename itself.
    AtOnce,
    /// By something empty, which the rename replaces.
    Reserved,
}

/// The refusal for a name that is taken.
pub(super) fn exists(home: &Home, name: &[u8]) -> Refusal {
    Refusal::new(format!(
        "{} exists already, and the receiver keeps what is there; send it under another name",
        home.place(name)
    ))
}

/// Refuses what the policy may not replace: a folder by a file where what a folder has stays; a link
/// by a folder, as where it leads may be somebody's wish; and anything that is none of these. Returns
/// what is there.
pub(super) fn replaceable(
    home: &Home,
    name: &[u8],
    folder: bool,
    policy: OnConflict,
) -> Result<Option<FileType>, SinkError> {
    let there =
        home.kind_of(name).map_err(|error| SinkError::Write { what: home.place(name), error })?;
    match there {
        None | Some(FileType::RegularFile) => Ok(there),
        Some(FileType::Directory) if folder || policy == OnConflict::Replace => Ok(there),
        Some(FileType::Symlink) if !folder => Ok(there),
        Some(FileType::Directory) => Err(SinkError::Refused(Refusal::new(format!(
            "{} is a folder, and a file would take all that is in it away, which `merge` keeps; \
             move that folder away, or send the file under another name",
            home.place(name)
        )))),
        Some(other) => {
            let (kind, new) = (described(other), if folder { "a folder" } else { "a file" });
            Err(SinkError::Refused(Refusal::new(format!(
                "{} is {kind}, which {new} does not replace",
                home.place(name)
            ))))
        }
    }
}

fn described(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a folder",
        FileType::RegularFile => "a file",
        FileType::Symlink => "a symbolic link",
        _ => "a device, a socket or a pipe",
    }
}

fn rename(home: &Home, from: &[u8], to: &[u8]) -> Result<(), Errno> {
    rustix::fs::renameat(home.dir(), from, home.dir(), to)
}

/// Renames unless `to` exists.
fn rename_new(
    home: &Home,
    from: &str,
    to: &[u8],
    folder: bool,
    intend: &impl Fn(&[u8], Taking) -> Result<(), SinkError>,
) -> Result<Result<(), Errno>, SinkError> {
    match rustix::fs::renameat_with(home.dir(), from, home.dir(), to, RenameFlags::NOREPLACE) {
        Err(error) if is_unknown(error) => {}
        done => return Ok(done),
    }
    if !folder {
        match link_new(home, from, to) {
            // File systems, and users, without second names.
            Err(
                Errno::PERM
                | Errno::ACCESS
                | Errno::NOTSUP
                | Errno::NOSYS
                | Errno::INVAL
                | Errno::MLINK,
            ) => {}
            done => return Ok(done),
        }
    }
    intend(to, Taking::Reserved)?;
    Ok(rename_reserved(home, from, to, folder))
}

/// Tells of a file system that may know no renames but the plain one, or a sandbox that may not let
/// it do another one: old filters of system calls answer so for what they have never heard of. Where
/// nothing may be renamed at all, what is tried next says so.
fn is_unknown(error: Errno) -> bool {
    matches!(error, Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::PERM | Errno::ACCESS)
}

/// The same by a second name.
fn link_new(home: &Home, from: &str, to: &[u8]) -> Result<(), Errno> {
    rustix::fs::linkat(home.dir(), from, home.dir(), to, AtFlags::empty())?;
    rustix::fs::unlinkat(home.dir(), from, AtFlags::empty())
}

/// The same by reserving the name, which is empty for a moment.
fn rename_reserved(home: &Home, from: &str, to: &[u8], folder: bool) -> Result<(), Errno> {
    reserve(home, to, folder)?;
    match rename(home, from.as_bytes(), to) {
        // Not every file system renames a folder to one that is there, empty as it may be.
        Err(
            Errno::EXIST
            | Errno::NOTEMPTY
            | Errno::INVAL
            | Errno::PERM
            | Errno::ACCESS
            | Errno::NOTSUP,
        ) if folder => {
            rustix::fs::unlinkat(home.dir(), to, AtFlags::REMOVEDIR)?;
            rename(home, from.as_bytes(), to)
        }
        Err(error) => {
            give_back(home, to);
            Err(error)
        }
        Ok(()) => Ok(()),
    }
}

fn reserve(home: &Home, name: &[u8], folder: bool) -> Result<(), Errno> {
    if folder {
        return rustix::fs::mkdirat(home.dir(), name, Mode::RWXU);
    }
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(home.dir(), name, flags, Mode::RUSR | Mode::WUSR).map(drop)
}

/// Removes a name that was reserved and came to nothing. What has content by now is somebody
/// else's.
pub(super) fn give_back(home: &Home, name: &[u8]) {
    let Ok(there) = rustix::fs::statat(home.dir(), name, AtFlags::SYMLINK_NOFOLLOW) else { return };
    let removed = match FileType::from_raw_mode(there.st_mode) {
        FileType::RegularFile if there.st_size == 0 => {
            rustix::fs::unlinkat(home.dir(), name, AtFlags::empty())
        }
        // Only an empty one goes.
        FileType::Directory => rustix::fs::unlinkat(home.dir(), name, AtFlags::REMOVEDIR),
        _ => return,
    };
    if let Err(error) = removed
        && !matches!(error, Errno::NOENT | Errno::NOTEMPTY | Errno::EXIST)
    {
        tracing::warn!(
            place = %home.place(name), %error,
            "a name that was reserved for a delivery could not be given back"
        );
    }
}

/// Swaps what is staged with what is there, of which one or both are folders: that then bears the
/// temporary's name, and is removed.
fn swap(
    home: &Home,
    staged: &str,
    target: &[u8],
    folder: bool,
    intend: &impl Fn(&[u8], Taking) -> Result<(), SinkError>,
) -> Result<Result<(), Errno>, SinkError> {
    match rustix::fs::renameat_with(home.dir(), staged, home.dir(), target, RenameFlags::EXCHANGE) {
        Err(Errno::NOENT) => rename_new(home, staged, target, folder, intend),
        Err(error) if is_unknown(error) && matches!(home.kind_of(target), Ok(None)) => {
            rename_new(home, staged, target, folder, intend)
        }
        Err(error) if is_unknown(error) => Ok(replace_by_two(home, staged, target, |_| {})),
        // What was there is removed only once its successor is there for good.
        done => Ok(done.and_then(|()| settle(home, staged))),
    }
}

/// The same by two renames. Should the process die between them, whoever opens the folder next gives
/// what was there its name back.
fn replace_by_two(
    home: &Home,
    staged: &str,
    target: &[u8],
    done: impl Fn(u8),
) -> Result<(), Errno> {
    let aside = Aside::note(home, staged, target);
    let aside = aside.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    done(1);
    if let Err(error) = rename(home, target, aside.old().as_bytes()) {
        aside.forget(home);
        return Err(error);
    }
    done(2);
    if let Err(error) = rename(home, staged.as_bytes(), target) {
        if rename(home, aside.old().as_bytes(), target).is_ok() {
            aside.forget(home);
        }
        return Err(error);
    }
    done(3);
    settle(home, aside.old())?;
    done(4);
    aside.forget(home);
    Ok(())
}

/// Makes what was renamed durable and removes what it replaced.
fn settle(home: &Home, replaced: &str) -> Result<(), Errno> {
    home.sync().map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    discard(home, replaced);
    Ok(())
}

pub(super) fn discard(home: &Home, old: &str) {
    if let Err(error) = home.remove(old) {
        tracing::warn!(
            place = %home.place(old.as_bytes()), %error,
            "could not remove a temporary: it is tried again later"
        );
    }
}

/// `name` with a number before its extension; number 0 is `name` itself. Stays within what a file
/// name may have.
fn numbered(name: &[u8], number: u32, folder: bool) -> Vec<u8> {
    if number == 0 {
        return name.to_vec();
    }
    let dot = name
        .iter()
        .rposition(|&byte| byte == b'.')
        .filter(|&at| at > 0 && !folder && name.len() - at < 32);
    let (stem, extension) = name.split_at(dot.unwrap_or(name.len()));
    let number = format!(" ({number})");
    let mut kept = stem.len().min(255 - number.len() - extension.len());
    // A character of UTF-8 is not cut in two.
    while kept > 0 && kept < stem.len() && stem[kept] & 0xc0 == 0x80 {
        kept -= 1;
    }
    [&stem[..kept], number.as_bytes(), extension].concat()
}

/// Refuses names that look like our temporaries: they would be cleaned away as such.
pub(super) fn check_name(name: &[u8]) -> Result<(), Refusal> {
    if !name.starts_with(PREFIX) {
        return Ok(());
    }
    Err(Refusal::new(format!(
        "names that begin with {} are kept for temporaries; send it under another name",
        crate::tree::printable(PREFIX)
    )))
}

#[cfg(test)]
mod tests {
    use estafette::delivery::TransferId;

    use super::super::home::Temporary;
    use super::super::leftovers::Leftovers;
    use super::*;

    #[test]
    fn numbers_stand_before_the_extension() {
        let text = |name: &[u8], number, folder| {
            String::from_utf8(numbered(name, number, folder)).unwrap()
        };
        assert_eq!(text(b"photo.jpg", 0, false), "photo.jpg");
        assert_eq!(text(b"photo.jpg", 2, false), "photo (2).jpg");
        assert_eq!(text(b".profile", 1, false), ".profile (1)");
        assert_eq!(text(b"v1.2", 1, true), "v1.2 (1)");
    }

    #[test]
    fn a_process_that_dies_at_any_step_leaves_the_old_or_the_new_and_nothing_else() {
        let transfer = TransferId::from_bytes([1; 24]);
        let (mut folders, kinds) = (tempfile::tempdir().unwrap(), [false, true]);
        for (dies_at, is_folder) in (1..=4).flat_map(|step| kinds.map(|kind| (step, kind))) {
            folders = tempfile::tempdir().unwrap();
            let (place, target) = (folders.path(), folders.path().join("target"));
            let fill = |path: &std::path::Path, text: &str| {
                let file = if is_folder { path.join("file") } else { path.to_owned() };
                std::fs::write(file, text).unwrap();
            };
            if is_folder {
                std::fs::create_dir(&target).unwrap();
            }
            fill(&target, "old");
            let open = || Home::open(place, Leftovers::default()).unwrap();
            let home = open();
            let (staged, _) = home.create_tree(transfer, Temporary::Tree).unwrap();
            if !is_folder {
                std::fs::remove_dir(place.join(&staged)).unwrap();
            }
            fill(&place.join(&staged), "new");
            let dies = |step| assert_ne!(step, dies_at, "the process dies");
            let swap = || replace_by_two(&home, &staged, b"target", dies);
            let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(swap));
            assert!(died.is_err());
            drop(home);
            open().sweep(std::time::SystemTime::now());
            let read = if is_folder { target.join("file") } else { target };
            let there = std::fs::read_to_string(read).unwrap();
            assert_eq!(there, if dies_at < 3 { "old" } else { "new" }, "{dies_at} {is_folder}");
            let names = std::fs::read_dir(place).unwrap();
            let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, ["target"], "{dies_at} {is_folder}");
        }
        drop(folders);
    }

    #[test]
    fn a_numbered_name_is_never_too_long_nor_cut_inside_a_character() {
        let long = "ä".repeat(127) + "a";
        let name = numbered(long.as_bytes(), 999, false);
        assert!(name.len() <= 255 && std::str::from_utf8(&name).is_ok());
    }
}
