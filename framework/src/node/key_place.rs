//! The place of a key file, and a check that nobody else has power over it there.
//!
//! Invariant: no key is read or made where anybody but its owner and the superuser can read it or
//! exchange it. Modes say so or, on file systems that keep none, folders above that let nobody else
//! pass.

use std::fs;
use std::path::Path;

use super::key_error::KeyFileError;

/// A file of somebody else is changed by them whenever they like; the superuser may do so anyway.
#[cfg(target_os = "linux")]
pub(super) fn check_owner(path: &Path, metadata: &fs::Metadata) -> Result<(), KeyFileError> {
    let (owner, own) =
        (std::os::unix::fs::MetadataExt::uid(metadata), rustix::process::geteuid().as_raw());
    if owner == own {
        return Ok(());
    }
    let what = format!(
        "it belongs to the user {owner}, and this program runs as {own}: run it as that user, or \
         make a key of your own"
    );
    Err(KeyFileError::Unsafe { path: path.to_owned(), what })
}

/// Refuses a folder that others may write to: they could put another key there.
#[cfg(target_os = "linux")]
pub(super) fn check_folder(path: &Path) -> Result<(), KeyFileError> {
    use std::os::unix::fs::MetadataExt;
    let folder = folder_of(path);
    let failed = |error| KeyFileError::Io {
        path: folder.to_owned(),
        action: "looked for in its folder",
        error,
    };
    let (metadata, own) =
        (fs::metadata(folder).map_err(failed)?, rustix::process::geteuid().as_raw());
    let shown = folder.display();
    let what = match metadata.mode() {
        _ if ![own, 0].contains(&metadata.uid()) => {
            format!(
                "its folder {shown} belongs to the user {}, who could exchange it: use another \
                 folder",
                metadata.uid()
            )
        }
        mode if mode & 0o022 != 0 && mode & 0o1000 == 0 => match modes_are_kept(path) {
            true => format!(
                "others may write to its folder {shown} (mode {:03o}) and exchange it: run `chmod \
                 go-w {shown}`",
                mode & 0o777
            ),
            false if is_out_of_reach(folder) => return Ok(()),
            false => no_modes(mode),
        },
        _ => return Ok(()),
    };
    Err(KeyFileError::Unsafe { path: path.to_owned(), what })
}

/// Refuses a file that others may read: they would have the key.
#[cfg(unix)]
pub(super) fn check_mode(path: &Path, metadata: &fs::Metadata) -> Result<(), KeyFileError> {
    let mode = std::os::unix::fs::MetadataExt::mode(metadata) & 0o777;
    if mode & 0o077 == 0 {
        Ok(())
    } else if modes_are_kept(path) {
        Err(KeyFileError::Exposed { path: path.to_owned(), mode })
    } else if is_out_of_reach(folder_of(path)) {
        Ok(())
    } else {
        Err(KeyFileError::Unsafe { path: path.to_owned(), what: no_modes(mode) })
    }
}

#[cfg(unix)]
fn no_modes(mode: u32) -> String {
    format!(
        "its file system keeps no modes, so that others may read or exchange it (mode {:03o}), \
         and no folder above keeps them out: mount it with umask=077, or below a folder of mode \
         700, or keep the key elsewhere",
        mode & 0o777
    )
}

/// Returns `true` if what is made for its owner alone is so in this folder, or nothing can be made
/// there.
#[cfg(unix)]
fn modes_are_kept(path: &Path) -> bool {
    let mut random = [0; 8];
    if getrandom::fill(&mut random).is_err() {
        return true;
    }
    let probe =
        folder_of(path).join(format!(".estafette-{:016x}.probe", u64::from_le_bytes(random)));
    let Ok(file) = private_file(&probe) else { return true };
    let mode = file.metadata().map(|metadata| std::os::unix::fs::MetadataExt::mode(&metadata));
    // What is left there is empty.
    let _ = fs::remove_file(&probe);
    mode.is_ok_and(|mode| mode & 0o077 == 0)
}

/// Returns `true` if a folder above lets nobody else pass. A group of the superuser's alone may: a
/// list of single users beside it (an ACL) is shown as that group's rights.
#[cfg(unix)]
fn is_out_of_reach(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(folder) = folder.canonicalize() else { return false };
    let keeps_out = |metadata: fs::Metadata| {
        let mode = metadata.mode();
        let owner = [rustix::process::geteuid().as_raw(), 0].contains(&metadata.uid());
        owner && mode & 0o001 == 0 && (mode & 0o010 == 0 || metadata.gid() == 0)
    };
    folder.ancestors().any(|folder| fs::metadata(folder).is_ok_and(keeps_out))
}

#[cfg(not(target_os = "linux"))]
pub(super) fn check_owner(_: &Path, _: &fs::Metadata) -> Result<(), KeyFileError> {
    Ok(())
}

#[cfg(not(target_os = "linux"))]
pub(super) fn check_folder(_: &Path) -> Result<(), KeyFileError> {
    Ok(())
}

#[cfg(not(unix))]
pub(super) fn check_mode(_: &Path, _: &fs::Metadata) -> Result<(), KeyFileError> {
    Ok(())
}

/// The folder that it lies in.
pub(super) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A new file that is nobody else's, as far as the file system keeps that.
pub(super) fn private_file(path: &Path) -> std::io::Result<fs::File> {
    let mut options = open_options();
    // Never one that somebody has put there.
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Opens neither what a symbolic link leads to nor, waiting, a pipe.
pub(super) fn open_options() -> fs::OpenOptions {
    #[allow(unused_mut, reason = "elsewhere there are no such flags")]
    let mut options = fs::OpenOptions::new();
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::OFlags;
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, flags.bits() as i32);
    }
    options
}
