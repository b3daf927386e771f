//! The folders that deliveries have gone to, kept beside the spool: one that is missing later is a
//! disk that is not mounted.

use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use crate::arguments::Global;
use crate::error::CommandError;
use crate::settings;

/// The number that are remembered; the oldest is forgotten first.
const REMEMBERED: usize = 64;

/// Refuses a folder that took deliveries before and is not there now: it would be made on the wrong
/// disk.
pub(crate) fn check(global: &Global, into: &Path) -> Result<(), CommandError> {
    let absolute = std::path::absolute(into).unwrap_or_else(|_| into.to_owned());
    if absolute.exists() || !read(&list(global)?).contains(&absolute) {
        return Ok(());
    }
    let folder = settings::shown(&absolute);
    Err(CommandError::io(
        format!("{folder} took deliveries before, and is not there now: is its disk mounted?"),
        format!("mount it; or, to begin anew: mkdir {folder}"),
    ))
}

/// Remembers a folder that is there.
pub(crate) fn remember(global: &Global, into: &Path) {
    let absolute = std::path::absolute(into).unwrap_or_else(|_| into.to_owned());
    let Ok(list) = list(global) else { return };
    let mut known = read(&list);
    if known.contains(&absolute) {
        return;
    }
    known.push(absolute);
    let from = known.len().saturating_sub(REMEMBERED);
    if let Err(error) = write(&list, &known[from..]) {
        tracing::warn!(
            %error,
            "it could not be noted where deliveries go: should the folder vanish, it will be made \
             again"
        );
    }
}

fn list(global: &Global) -> Result<PathBuf, CommandError> {
    Ok(settings::spool_path(global)?.join("folders"))
}

/// Paths may hold any byte but 0.
fn read(list: &Path) -> Vec<PathBuf> {
    let bytes = std::fs::read(list).unwrap_or_default();
    let paths = bytes.split(|byte| *byte == 0).filter(|path| !path.is_empty());
    paths.map(|path| std::ffi::OsString::from_vec(path.to_vec()).into()).collect()
}

fn write(list: &Path, paths: &[PathBuf]) -> io::Result<()> {
    let folder = list.parent().unwrap_or(Path::new("."));
    let (path, mut file) = new_file(folder)?;
    for known in paths {
        file.write_all(known.as_os_str().as_bytes())?;
        file.write_all(&[0])?;
    }
    file.sync_all()?;
    std::fs::rename(path, list)
}

fn new_file(folder: &Path) -> io::Result<(PathBuf, std::fs::File)> {
    let path = folder.join(format!("folders.{}.new", std::process::id()));
    let file = std::fs::OpenOptions::new().write(true).create(true).truncate(true).open(&path)?;
    Ok((path, file))
}
