//! A file on its way to the disk.
//!
//! Invariant: under its own name it is whole and durable; until then it is `<name>.new`, which is
//! removed when it comes to nothing, and replaced by the next attempt where a process died.

use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// A file that appears when it is whole.
#[derive(Debug)]
pub(crate) struct NewFile {
    target: PathBuf,
    temporary: PathBuf,
    file: BufWriter<File>,
    bytes: u64,
    published: bool,
}

impl NewFile {
    pub(crate) fn create(target: &Path) -> io::Result<Self> {
        let mut name = target
            .file_name()
            .ok_or_else(|| io::Error::from(io::ErrorKind::InvalidFilename))?
            .to_owned();
        name.push(".new");
        let temporary = target.with_file_name(name);
        match std::fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        Ok(Self {
            target: target.to_owned(),
            temporary,
            file: BufWriter::with_capacity(64 << 10, file),
            bytes: 0,
            published: false,
        })
    }

    #[cfg(test)]
    pub(crate) fn with_file(mut self, file: File) -> Self {
        self.file = BufWriter::new(file);
        self
    }

    /// The path that it will have.
    pub(crate) fn target(&self) -> &Path {
        &self.target
    }

    /// Opens it for reading, as far as it was written.
    pub(crate) fn reader(&self) -> io::Result<File> {
        File::open(&self.temporary)
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes)?;
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    /// Writes as much of `bytes` as the system takes at once, and gathers nothing.
    pub(crate) fn write_through(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.flush()?;
        let count = self.file.get_mut().write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    /// Lets what is written pass the system's cache by, or not: if so, it must lie, and go, where
    /// blocks of the disk begin.
    pub(crate) fn pass_cache(&self, passes: bool) -> io::Result<()> {
        #[cfg(target_os = "linux")]
        return {
            let flags =
                if passes { rustix::fs::OFlags::DIRECT } else { rustix::fs::OFlags::empty() };
            Ok(rustix::fs::fcntl_setfl(self.file.get_ref(), flags)?)
        };
        #[cfg(not(target_os = "linux"))]
        return if passes { Err(io::ErrorKind::Unsupported.into()) } else { Ok(()) };
    }

    /// Makes it durable under its own name; how many bytes it has.
    pub(crate) fn publish(mut self) -> io::Result<u64> {
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        std::fs::rename(&self.temporary, &self.target)?;
        // From here on it is the target that must not be left when something fails.
        self.temporary.clone_from(&self.target);
        let folder = self
            .target
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        sync_folder(folder)?;
        self.published = true;
        Ok(self.bytes)
    }
}

/// Makes the names in a folder durable, as far as its file system can: some don't sync folders.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    match rustix::fs::fsync(File::open(folder)?) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP | Errno::BADF) => Ok(()),
        synced => Ok(synced?),
    }
}

impl Drop for NewFile {
    fn drop(&mut self) {
        if !self.published
            && let Err(error) = std::fs::remove_file(&self.temporary)
        {
            tracing::warn!(
                file = %self.temporary.display(), %error,
                "a file that came to nothing could not be removed"
            );
        }
    }
}
