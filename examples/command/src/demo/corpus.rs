//! A real input, found on the spot: the sources this was built from where they are at hand, the
//! program itself, and files of the system until there is enough to measure.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Copies the input together into a folder beneath `folder`.
pub(super) fn gather(folder: &Path) -> io::Result<PathBuf> {
    let corpus = folder.join("estafette");
    fs::create_dir(&corpus)?;
    let executable = std::env::current_exe()?;
    let mut size =
        fs::copy(&executable, corpus.join(executable.file_name().unwrap_or("estafette".as_ref())))?;
    let here = std::env::current_dir()?;
    if let Some(project) =
        here.ancestors().find(|folder| folder.join("framework/src/lib.rs").is_file())
    {
        size += copy(project, &corpus.join("sources"), DEPTH)?;
    }
    // Sent, received, and some air.
    let room = rustix::fs::statvfs(folder)
        .map_or(0, |disk| disk.f_bavail.saturating_mul(disk.f_frsize) / 4);
    top_up(&corpus.join("system"), ENOUGH.min(room).saturating_sub(size))?;
    Ok(corpus)
}

/// So much is sent: a second or two of work, and little enough for any temporary folder.
const ENOUGH: u64 = 256 << 20;
/// Folders in which a system keeps text, pictures, programs and libraries.
const SYSTEM: [&str; 4] = ["/usr/share", "/usr/lib", "/usr/bin", "/usr/local"];
/// The largest file that is taken along.
const LARGEST: u64 = 8 << 20;
/// The most entries of one folder that are taken along, and how deep.
const ENTRIES: usize = 500;
const DEPTH: usize = 8;

/// Copies a folder without what is built from it; how many bytes that were.
fn copy(from: &Path, to: &Path, depth: usize) -> io::Result<u64> {
    fs::create_dir(to)?;
    let mut size = 0;
    for entry in fs::read_dir(from)?.take(ENTRIES) {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if name == "target" || name == ".git" {
            continue;
        }
        // What can't be read is left out: it is only a demo's input.
        if kind.is_dir() && depth > 0 {
            size += copy(&entry.path(), &to.join(&name), depth - 1).unwrap_or(0);
        } else if kind.is_file() && entry.metadata()?.len() <= LARGEST {
            size += fs::copy(entry.path(), to.join(&name)).unwrap_or(0);
        }
    }
    Ok(size)
}

/// Takes about `wanted` bytes of the system's files along, one folder after the other and of each a
/// part, so that they are of many kinds.
fn top_up(to: &Path, wanted: u64) -> io::Result<()> {
    if wanted == 0 {
        return Ok(());
    }
    fs::create_dir(to)?;
    let mut names = BTreeSet::new();
    let mut left = wanted;
    for (index, root) in SYSTEM.iter().enumerate() {
        let mut share = left / (SYSTEM.len() - index) as u64;
        let mut waiting = vec![PathBuf::from(root)];
        while let Some(folder) = waiting.pop() {
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            for entry in entries.flatten().take(ENTRIES) {
                let Ok(kind) = entry.file_type() else { continue };
                if kind.is_dir() && waiting.len() < ENTRIES {
                    waiting.push(entry.path());
                } else if kind.is_file() && share > 0 {
                    let taken = take(&entry, to, &mut names, share);
                    (share, left) = (share.saturating_sub(taken), left.saturating_sub(taken));
                }
            }
            if share == 0 {
                break;
            }
        }
    }
    Ok(())
}

fn take(entry: &fs::DirEntry, to: &Path, names: &mut BTreeSet<OsString>, most: u64) -> u64 {
    let length = entry.metadata().map_or(0, |metadata| metadata.len());
    // Files of a few bytes take long to copy and show nothing that the sources do not.
    if !(16 << 10..=LARGEST).contains(&length) || length > most || !names.insert(entry.file_name())
    {
        return 0;
    }
    fs::copy(entry.path(), to.join(entry.file_name())).unwrap_or(0)
}
