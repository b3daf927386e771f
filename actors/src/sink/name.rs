//! Names that a file system can't hold: found out before anything is written under them.

use estafette::delivery::TransferId;
use estafette::pipeline::Refusal;
use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::home::{Home, Temporary};

/// Names of so many bytes or fewer are held everywhere, if their characters are.
const SHORT: usize = 100;

/// Refuses a name that this file system can't hold, for good: no later try would do better.
///
/// It is tried out in a folder that nobody else sees, unless it is a name that is held everywhere.
/// What else goes wrong is left to the delivery itself.
pub(super) fn check_held(home: &Home, transfer: TransferId, name: &[u8]) -> Result<(), Refusal> {
    if is_plain(name) {
        return Ok(());
    }
    match try_out(home, transfer, name) {
        Ok(Err(error)) if is_about_name(error) || error == Errno::NOENT => {
            Err(not_held(home, name, error))
        }
        _ => Ok(()),
    }
}

/// The refusal for a name that can't be held.
pub(super) fn not_held(home: &Home, name: &[u8], error: Errno) -> Refusal {
    Refusal::new(format!(
        "{} can't be made: the file system there holds no such name ({}); send it under another \
         name",
        home.place(name),
        std::io::Error::from(error)
    ))
}

/// Returns `true` if an error of making something in a folder that is there is about its name.
pub(super) fn is_about_name(error: Errno) -> bool {
    matches!(error, Errno::INVAL | Errno::ILSEQ | Errno::NAMETOOLONG)
}

/// Returns `true` for a name that FAT, exFAT, NTFS and shares of Windows hold, too.
fn is_plain(name: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(name) else { return false };
    let is_odd = |character: char| character.is_control() || "\"*/:<>?\\|".contains(character);
    text.len() <= SHORT && !text.contains(is_odd) && !text.ends_with(['.', ' '])
}

/// Makes a file of that name, and removes it again.
fn try_out(home: &Home, transfer: TransferId, name: &[u8]) -> std::io::Result<Result<(), Errno>> {
    let (temporary, folder) = home.create_tree(transfer, Temporary::Tree)?;
    let flags = OFlags::CREATE | OFlags::EXCL | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(&folder, name, flags, Mode::RUSR | Mode::WUSR).map(drop);
    if made.is_ok() {
        rustix::fs::unlinkat(&folder, name, AtFlags::empty())?;
    }
    // One that stays is removed as what a process has left that died.
    rustix::fs::unlinkat(home.dir(), &*temporary, AtFlags::REMOVEDIR)?;
    Ok(made)
}
