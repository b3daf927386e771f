//! Files and folders of the benches' content, and what the file system does with them by itself.
//!
//! Invariant: everything here is in a folder of its own that goes when the bench ends.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use crate::corpus::Corpus;

/// The target folder of this build, which is on disk wherever the system keeps its temporaries.
///
/// # Errors
/// When the bench does not know its own file.
pub fn disk() -> Result<PathBuf> {
    let program = std::env::current_exe().context("finding the bench's own file")?;
    Ok(program.parent().context("the bench's own file has no folder")?.to_owned())
}

/// Writes a file of `bytes` of content and syncs it, so that none of that is left to do when a
/// measurement begins.
///
/// # Errors
/// When it can't be written.
pub fn file(path: &Path, corpus: &Corpus, bytes: u64) -> Result<()> {
    let mut file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    for piece in corpus.pieces(bytes, PIECE) {
        file.write_all(&piece).with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(file.sync_all()?)
}

/// Makes a folder of `count` files of `length` bytes, a hundred to a folder, each with other
/// content.
///
/// # Errors
/// When it can't be written.
pub fn folder(path: &Path, corpus: &Corpus, count: usize, length: usize) -> Result<()> {
    let mut buffer = vec![0; length];
    for number in 0..count {
        let within = path.join(format!("{:03}", number / 100));
        if number % 100 == 0 {
            fs::create_dir_all(&within).with_context(|| format!("making {}", within.display()))?;
        }
        corpus.copy((number * length) as u64, &mut buffer);
        fs::write(within.join(format!("{number}.bin")), &buffer).context("writing a small file")?;
    }
    Ok(rustix::fs::syncfs(File::open(path)?)?)
}

/// Copies as the file system itself does: reads a file, writes it to another one and syncs that, as
/// `dd conv=fsync` does; seconds.
///
/// # Errors
/// When it can't.
pub fn copy(from: &Path, to: &Path) -> Result<f64> {
    let started = Instant::now();
    let (mut from, mut to) = (File::open(from)?, File::create(to)?);
    let mut buffer = vec![0; PIECE];
    loop {
        match from.read(&mut buffer)? {
            0 => break,
            read => to.write_all(&buffer[..read])?,
        }
    }
    to.sync_all()?;
    Ok(started.elapsed().as_secs_f64())
}

/// Checks that two files, or two folders with all that is in them, hold the same.
///
/// # Errors
/// When they do not, or can't be read.
pub fn compare(one: &Path, other: &Path) -> Result<()> {
    if one.is_dir() {
        let names = |path: &Path| -> Result<Vec<PathBuf>> {
            let entries = fs::read_dir(path)?.map(|entry| Ok(entry?.file_name().into()));
            let mut names = entries.collect::<std::io::Result<Vec<PathBuf>>>()?;
            names.sort();
            Ok(names)
        };
        let within = names(one)?;
        ensure!(
            within == names(other)?,
            "{} and {} have other entries",
            one.display(),
            other.display()
        );
        return within.iter().try_for_each(|name| compare(&one.join(name), &other.join(name)));
    }
    let (mut one_file, mut other_file) = (File::open(one)?, File::open(other)?);
    ensure!(
        one_file.metadata()?.len() == other_file.metadata()?.len(),
        "{} and {} differ in length",
        one.display(),
        other.display()
    );
    let (mut left, mut right) = (vec![0; PIECE], vec![0; PIECE]);
    loop {
        let read = one_file.read(&mut left)?;
        other_file.read_exact(&mut right[..read])?;
        ensure!(left[..read] == right[..read], "{} and {} differ", one.display(), other.display());
        if read == 0 {
            return Ok(());
        }
    }
}

const PIECE: usize = 256 << 10;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::Kind;

    #[test]
    fn what_differs_is_seen() {
        let home = tempfile::tempdir().unwrap();
        let (one, other) = (home.path().join("one"), home.path().join("other"));
        let corpus = Corpus::generate(Kind::Random, 1, 300_000);
        for path in [&one, &other] {
            folder(path, &corpus, 201, 1000).unwrap();
            file(&path.join("large"), &corpus, 700_000).unwrap();
        }
        compare(&one, &other).unwrap();
        copy(&one.join("large"), &other.join("large")).unwrap();
        compare(&one, &other).unwrap();
        let spoilt = other.join("002/200.bin");
        let mut bytes = fs::read(&spoilt).unwrap();
        bytes[999] ^= 1;
        fs::write(&spoilt, bytes).unwrap();
        assert!(compare(&one, &other).unwrap_err().to_string().contains("200.bin"));
        fs::remove_file(&spoilt).unwrap();
        assert!(compare(&one, &other).unwrap_err().to_string().contains("entries"));
    }
}
