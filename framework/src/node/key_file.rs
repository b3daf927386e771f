//! Identities in files.
//!
//! A key file holds the secret key in base32 and a newline, mode 0600; it is refused when others
//! may read it, own it, or put another one in its place. It is a file itself: a symbolic link is
//! not followed, a pipe is not waited for. Where file systems keep no modes, folders above
//! have to keep others out ([`super::key_place`]).

use std::fs::{self, DirBuilder};
use std::io::{self, Read, Write};
use std::path::Path;

use data_encoding::BASE32_NOPAD;
use zeroize::Zeroizing;

use super::key_error::KeyFileError;
use super::key_place::{
    check_folder, check_mode, check_owner, folder_of, open_options, private_file,
};
use crate::wire::Identity;

impl Identity {
    /// Reads a key file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let path = path.as_ref();
        let failed = |error| KeyFileError::Io { path: path.to_owned(), action: "read", error };
        let malformed = || KeyFileError::Malformed { path: path.to_owned() };
        // Looked at before it is opened, for a clear word, and opened in a way that neither follows
        // a link nor waits.
        check_kind(path, &fs::symlink_metadata(path).map_err(failed)?)?;
        let file = open_options().read(true).open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        check_kind(path, &metadata)?;
        check_owner(path, &metadata)?;
        check_folder(path)?;
        check_mode(path, &metadata)?;
        let mut text = Zeroizing::new(String::new());
        file.take(1024).read_to_string(&mut text).map_err(failed)?;
        if text.is_empty() {
            return Err(KeyFileError::Empty { path: path.to_owned() });
        }
        let upper = Zeroizing::new(text.trim().to_ascii_uppercase());
        let bytes = Zeroizing::new(BASE32_NOPAD.decode(upper.as_bytes()).map_err(|_| malformed())?);
        let secret =
            Zeroizing::new(<[u8; 32]>::try_from(bytes.as_slice()).map_err(|_| malformed())?);
        Ok(Self::from_secret(*secret))
    }

    /// Reads a key file, or makes a new key and its file where there is none, with the folders
    /// above it.
    pub fn load_or_create(path: impl AsRef<Path>) -> Result<Self, KeyFileError> {
        let path = path.as_ref();
        match Self::load(path) {
            Err(KeyFileError::Io { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
            // Another process may be making it where names can only be reserved.
            Err(KeyFileError::Empty { .. }) => {
                let _maker = lock_folder(path);
                return Self::load(path);
            }
            other => return other,
        }
        match Self::create(path) {
            // Another process was faster: its key is the one.
            Err(KeyFileError::Io { error, .. }) if error.kind() == io::ErrorKind::AlreadyExists => {
                let _maker = lock_folder(path);
                Self::load(path)
            }
            other => other,
        }
    }

    /// The same, of a node that has made `kept`, such as its spool, since it has this key: where
    /// that is there and the key is not, the key is missing, and another one would be of no use for
    /// what is kept.
    pub fn load_or_create_unless(
        path: impl AsRef<Path>,
        kept: impl AsRef<Path>,
    ) -> Result<Self, KeyFileError> {
        let (path, kept) = (path.as_ref(), kept.as_ref());
        // In this order: another process may be making the key now, and then what it keeps.
        if kept.exists() && is_absent(path) {
            return Err(KeyFileError::Gone { path: path.to_owned(), kept: kept.to_owned() });
        }
        Self::load_or_create(path)
    }

    fn create(path: &Path) -> Result<Self, KeyFileError> {
        let failed = |error| KeyFileError::Io { path: path.to_owned(), action: "created", error };
        if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
            make_folders(folder).map_err(failed)?;
        }
        check_folder(path)?;
        // Written whole beside the target, then named: nobody ever reads half a key.
        let mut name = path.file_name().unwrap_or_default().to_owned();
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| failed(io::Error::other(error)))?;
        name.push(format!(".{:016x}.new", u64::from_le_bytes(random)));
        let temporary = path.with_file_name(name);
        let file = private_file(&temporary).map_err(failed)?;
        let made = Self::write_new(path, &temporary, file);
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(failed(error)),
            _ => made,
        }
    }

    fn write_new(path: &Path, temporary: &Path, mut file: fs::File) -> Result<Self, KeyFileError> {
        let failed = |error| KeyFileError::Io { path: path.to_owned(), action: "created", error };
        // Before there is anything to read in it.
        check_mode(path, &file.metadata().map_err(failed)?)?;
        let identity = Self::generate();
        let text =
            Zeroizing::new(BASE32_NOPAD.encode(identity.secret()).to_ascii_lowercase() + "\n");
        let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
        written.and_then(|()| publish(temporary, path)).map_err(failed)?;
        Ok(identity)
    }
}

fn is_absent(path: &Path) -> bool {
    fs::symlink_metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Gives the file its name, unless that is taken.
fn publish(temporary: &Path, path: &Path) -> io::Result<()> {
    match fs::hard_link(temporary, path) {
        Err(error) if has_no_links(&error) => publish_reserved(temporary, path)?,
        done => done?,
    }
    // Before anything is kept under this key: a spool must not outlive it. Where a folder can't be
    // synced, the name lasts as the file system has it.
    for folder in folder_of(path).ancestors().take(2) {
        let folder = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let _ = fs::File::open(folder).and_then(|folder| folder.sync_all());
    }
    Ok(())
}

/// The same by reserving the name, which is empty for a moment: who finds it so waits for the lock.
fn publish_reserved(temporary: &Path, path: &Path) -> io::Result<()> {
    let _maker = lock_folder(path);
    private_file(path)?;
    fs::rename(temporary, path).inspect_err(|_| {
        // It is this one's, and empty.
        let _ = fs::remove_file(path);
    })
}

/// File systems, and users, without second names.
fn has_no_links(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidInput, PermissionDenied, TooManyLinks, Unsupported};
    matches!(error.kind(), PermissionDenied | Unsupported | InvalidInput | TooManyLinks)
}

/// Held by whoever makes a key in this folder; waits for others. `None` where there are no such
/// locks.
fn lock_folder(path: &Path) -> Option<fs::File> {
    let folder = fs::File::open(folder_of(path)).ok()?;
    folder.lock().ok()?;
    Some(folder)
}

fn make_folders(folder: &Path) -> io::Result<()> {
    let mut builder = DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

fn check_kind(path: &Path, metadata: &fs::Metadata) -> Result<(), KeyFileError> {
    let kind = metadata.file_type();
    let what = match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_dir() => return Err(KeyFileError::Malformed { path: path.to_owned() }),
        _ if kind.is_symlink() => {
            "it is a symbolic link, which somebody else may turn elsewhere: name the file that it \
             leads to"
        }
        _ => "it is a pipe, a socket or a device, and no file: name a file",
    };
    Err(KeyFileError::Unsafe { path: path.to_owned(), what: what.into() })
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

    #[test]
    fn a_key_that_was_there_is_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        let [path, kept] = ["node.key", "kept"].map(|name| folder.path().join(name));
        let made = Identity::load_or_create_unless(&path, &kept).unwrap();
        fs::write(&kept, "").unwrap();
        assert_eq!(Identity::load_or_create_unless(&path, &kept).unwrap().peer(), made.peer());
        fs::remove_file(&path).unwrap();
        let error = Identity::load_or_create_unless(&path, &kept).unwrap_err();
        assert!(matches!(error, KeyFileError::Gone { .. }), "{error}");
        assert!(!path.exists());
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

    #[cfg(target_os = "linux")]
    #[test]
    fn what_others_have_power_over_is_no_key_file() {
        use std::os::unix::fs::{PermissionsExt, symlink};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        let made = Identity::load_or_create(&path).unwrap();
        let refused = |path: &Path, word: &str| {
            let error = Identity::load_or_create(path).unwrap_err();
            assert!(
                matches!(error, KeyFileError::Unsafe { .. }) && error.to_string().contains(word),
                "{error}"
            );
        };
        // A link, to a key and to nothing.
        let (link, dangling) = (folder.path().join("link"), folder.path().join("dangling"));
        symlink(&path, &link).unwrap();
        symlink(folder.path().join("elsewhere"), &dangling).unwrap();
        refused(&link, "symbolic link");
        refused(&dangling, "symbolic link");
        assert!(!folder.path().join("elsewhere").exists(), "no key is made where a link leads");
        // A pipe that nobody writes to is not waited for.
        let pipe = folder.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        refused(&pipe, "pipe");
        // A folder that others write to, with a key in it or none.
        for (mode, fine) in [(0o777, false), (0o775, false), (0o1777, true), (0o755, true)] {
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
            let new = folder.path().join(format!("new{mode:o}"));
            if fine {
                assert_eq!(Identity::load(&path).unwrap().peer(), made.peer());
                Identity::load_or_create(&new).unwrap();
            } else {
                refused(&path, "chmod go-w");
                refused(&new, "chmod go-w");
                assert!(!new.exists());
            }
        }
        // Where this test may give files away, somebody else's is refused.
        if std::os::unix::fs::chown(&path, Some(65_534), None).is_ok() {
            refused(&path, "belongs to the user 65534");
        }
    }

    #[test]
    fn a_name_that_is_reserved_is_taken_by_nobody_else_and_an_empty_file_is_no_key() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        let new = |name: &str| {
            let temporary = folder.path().join(name);
            private_file(&temporary).unwrap().write_all(name.as_bytes()).unwrap();
            temporary
        };
        publish_reserved(&new("first"), &path).unwrap();
        assert_eq!(
            publish_reserved(&new("second"), &path).unwrap_err().kind(),
            io::ErrorKind::AlreadyExists
        );
        assert_eq!(fs::read_to_string(&path).unwrap(), "first");
        // What is left of one that died in between is no key, and no new one takes its place
        // unasked.
        fs::write(&path, "").unwrap();
        assert!(matches!(Identity::load_or_create(&path), Err(KeyFileError::Empty { .. })));
        // While somebody is making it, it is waited for.
        let lock = lock_folder(&path).unwrap();
        let waiting = std::thread::spawn({
            let path = path.clone();
            move || Identity::load_or_create(path).unwrap().peer()
        });
        let made = Identity::load_or_create(folder.path().join("other.key")).unwrap();
        fs::rename(folder.path().join("other.key"), &path).unwrap();
        drop(lock);
        assert_eq!(waiting.join().unwrap(), made.peer());
    }

    #[test]
    fn other_files_are_no_keys() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("node.key");
        private_file(&path).unwrap().write_all(b"hello").unwrap();
        assert!(matches!(Identity::load_or_create(&path), Err(KeyFileError::Malformed { .. })));
        // Nobody is to be told to change the mode of a folder.
        assert!(matches!(
            Identity::load_or_create(folder.path()),
            Err(KeyFileError::Malformed { .. })
        ));
    }
}
