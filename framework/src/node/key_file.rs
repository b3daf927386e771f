//! Identities in files.
//!
//! A key file holds the secret key in base32 and a newline, mode 0600; it is refused when others may read it.

use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

use crate::wire::Identity;

/// Why a key file is of no use.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyFileError {
    /// Reading or writing failed.
    #[error("the key file {path} could not be {action}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Read or created.
        action: &'static str,
        /// The cause.
        error: io::Error,
    },
    /// Others than the owner may read or change it.
    #[error(
        "the key file {path} may be read by others (mode {mode:03o}); run `chmod 600 {path}`, and think about whether the key is still secret"
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It does not hold a key.
    #[error("{path} is not a key file: 52 characters of base32 expected")]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

impl Identity {
    /// Reads a key file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let path = path.as_ref();
        let failed = |error| KeyFileError::Io { path: path.to_owned(), action: "read", error };
        let file = fs::File::open(path).map_err(failed)?;
        let malformed = || KeyFileError::Malformed { path: path.to_owned() };
        let metadata = file.metadata().map_err(failed)?;
        if !metadata.is_file() {
            return Err(malformed());
        }
        check_mode(path, &metadata)?;
        let mut text = Zeroizing::new(String::new());
        file.take(1024).read_to_string(&mut text).map_err(failed)?;
        let upper = Zeroizing::new(text.trim().to_ascii_uppercase());
        let bytes = Zeroizing::new(BASE32_NOPAD.decode(upper.as_bytes()).map_err(|_| malformed())?);
        let secret = Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| malformed())?);
        Ok(Self::from_secret(*secret))
    }

    /// Reads a key file, or makes a new key and its file where there is none, with the folders above it.
    pub fn load_or_create(path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let path = path.as_ref();
        match Self::load(path) {
            Err(KeyFileError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
            other => return other,
        }
        match Self::create(path) {
            // Another process was faster: its key is the one.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::load(path),
            other => other.map_err(|error| KeyFileError::Io { path: path.to_owned(), action: "created", error }),
        }
    }

    fn create(path: &Path) -> io::Result<Self> {
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            fs::create_dir_all(folder)?;
        }
        let identity = Self::generate();
        let text = Zeroizing::new(BASE32_NOPAD.encode(identity.secret()).to_ascii_lowercase() + "\n");
        // Written whole beside the target, then linked: nobody ever reads half a key.
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(format!(".{}.new", std::process::id()));
        let temporary = path.with_file_name(name);
        let written = private_file(&temporary).and_then(|mut file| {
            file.write_all(text.as_bytes())?;
            file.sync_all()?;
            fs::hard_link(&temporary, path)
        });
        fs::remove_file(&temporary)?;
        written.map(|()| identity)
    }
}

fn private_file(path: &Path) -> io::Result<fs::File> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

#[cfg(unix)]
fn check_mode(path: &Path, metadata: &fs::Metadata) -> Result<(), KeyFileError> {
    let mode = std::os::unix::fs::MetadataExt::mode(metadata) & 0o777;
    if mode & 0o077 != 0 { Err(KeyFileError::Exposed { path: path.to_owned(), mode }) } else { Ok(()) }
}

#[cfg(not(unix))]
fn check_mode(_: &Path, _: &fs::Metadata) -> Result<(), KeyFileError> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("deep/node.key");
        let made = Identity::load_or_create(&path).unwrap();
        assert_eq!(Identity::load_or_create(&path).unwrap().peer(), made.peer());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no temporary stays");
    }

    #[cfg(unix)]
    #[test]
    fn a_key_others_may_read_is_refused() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        Identity::load_or_create(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(Identity::load(&path), Err(KeyFileError::Exposed { mode: 0o640, .. })));
    }

    #[test]
    fn other_files_are_no_keys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        private_file(&path).unwrap().write_all(b"hello").unwrap();
        assert!(matches!(Identity::load_or_create(&path), Err(KeyFileError::Malformed { .. })));
        // Nobody is to be told to change the mode of a folder.
        assert!(matches!(Identity::load_or_create(folder.path()), Err(KeyFileError::Malformed { .. })));
    }
}
