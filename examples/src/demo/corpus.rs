//! A real input, found on the spot: the sources this was built from where they are at hand, and the program itself.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Copies the input together into a folder beneath `folder`.
pub(super) fn gather(folder: &Path) -> io::Result<PathBuf> {
    let corpus = folder.join("estafette");
    fs::create_dir(&corpus)?;
    let executable = std::env::current_exe()?;
    fs::copy(&executable, corpus.join(executable.file_name().unwrap_or("estafette".as_ref())))?;
    let here = std::env::current_dir()?;
    let project = here.ancestors().find(|folder| folder.join("framework/src/lib.rs").is_file());
    match project {
        Some(project) => copy_sources(project, &corpus.join("sources"))?,
        None => copy_sources(Path::new("/etc"), &corpus.join("etc"))?,
    }
    Ok(corpus)
}

/// The largest file that is taken along.
const LARGEST: u64 = 8 << 20;
/// The most entries of one folder that are taken along, and how deep.
const ENTRIES: usize = 500;
const DEPTH: usize = 8;

fn copy_sources(from: &Path, to: &Path) -> io::Result<()> {
    copy(from, to, DEPTH)
}

fn copy(from: &Path, to: &Path, depth: usize) -> io::Result<()> {
    fs::create_dir(to)?;
    for entry in fs::read_dir(from)?.take(ENTRIES) {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        if name == "target" || name == ".git" {
            continue;
        }
        if kind.is_dir() && depth > 0 {
            // What can't be read is left out: it is only a demo's input.
            let _ = copy(&entry.path(), &to.join(&name), depth - 1);
        } else if kind.is_file() && entry.metadata()?.len() <= LARGEST {
            let _ = fs::copy(entry.path(), to.join(&name));
        }
    }
    Ok(())
}
