//! A comparison of what arrived with what was sent: every entry, every byte, modes, times and
//! links.

use std::fs::{self, File, Metadata};
use std::io::{BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use estafette_actors::sink::umask;

/// The count of what was found to be the same.
#[derive(Debug, Default)]
pub(super) struct Compared {
    pub(super) files: u64,
    pub(super) others: u64,
    may_miss: usize,
}

/// Compares two files or folders; the difference, if there is one. So many entries were left out
/// and may be missing.
pub(super) fn trees(sent: &Path, arrived: &Path, left_out: usize) -> Result<Compared, String> {
    let mut compared = Compared { may_miss: left_out, ..Compared::default() };
    entry(sent, arrived, &mut compared)?;
    Ok(compared)
}

fn entry(sent: &Path, arrived: &Path, compared: &mut Compared) -> Result<(), String> {
    let unreadable =
        |path: &Path, error: std::io::Error| format!("{} can't be read: {error}", path.display());
    let ours = fs::symlink_metadata(sent).map_err(|error| unreadable(sent, error))?;
    let theirs = fs::symlink_metadata(arrived).map_err(|error| unreadable(arrived, error))?;
    let differs = |what: &str| Err(format!("{} arrived with another {what}", sent.display()));
    if ours.file_type() != theirs.file_type() {
        return differs("type");
    }
    if ours.is_symlink() {
        compared.others += 1;
        return if fs::read_link(sent).ok() == fs::read_link(arrived).ok() {
            Ok(())
        } else {
            differs("target")
        };
    }
    if ours.mode() & 0o777 & !(umask() & 0o077) != theirs.mode() & 0o777 {
        return differs("mode");
    }
    if time(&ours) != time(&theirs) {
        return differs("time");
    }
    if ours.is_dir() {
        compared.others += 1;
        return folder(sent, arrived, compared);
    }
    compared.files += 1;
    if same_bytes(sent, arrived).map_err(|error| unreadable(sent, error))? {
        Ok(())
    } else {
        differs("content")
    }
}

fn time(metadata: &Metadata) -> (i64, i64) {
    (metadata.mtime(), metadata.mtime_nsec())
}

fn folder(sent: &Path, arrived: &Path, compared: &mut Compared) -> Result<(), String> {
    let names = |path: &Path| -> std::io::Result<Vec<_>> {
        let mut names = fs::read_dir(path)?
            .map(|entry| Ok(entry?.file_name()))
            .collect::<std::io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    };
    let (ours, theirs) = (names(sent), names(arrived));
    let (ours, theirs) =
        (ours.map_err(|error| error.to_string())?, theirs.map_err(|error| error.to_string())?);
    if let Some(foreign) = theirs.iter().find(|name| ours.binary_search(name).is_err()) {
        return Err(format!("{} arrived, which was never sent", arrived.join(foreign).display()));
    }
    let missing = ours.len() - theirs.len();
    compared.may_miss = compared.may_miss.checked_sub(missing).ok_or_else(|| {
        format!(
            "{} arrived with {} entries instead of {}",
            sent.display(),
            theirs.len(),
            ours.len()
        )
    })?;
    theirs.iter().try_for_each(|name| entry(&sent.join(name), &arrived.join(name), compared))
}

fn same_bytes(sent: &Path, arrived: &Path) -> std::io::Result<bool> {
    let (mut ours, mut theirs) =
        (BufReader::new(File::open(sent)?), BufReader::new(File::open(arrived)?));
    let (mut a, mut b) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let read = ours.read(&mut a)?;
        if read == 0 {
            return Ok(theirs.read(&mut b)? == 0);
        }
        if theirs.read_exact(&mut b[..read]).is_err() || a[..read] != b[..read] {
            return Ok(false);
        }
    }
}
