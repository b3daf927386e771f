//! Secrets, and the signatures that are made by them, as Standard Webhooks has them.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use data_encoding::BASE64;
use ring::hmac;

/// The text that stands before a secret.
const PREFIX: &str = "whsec_";
/// The fewest and the most bytes of a secret.
const SHORTEST: usize = 24;
const LONGEST: usize = 64;
/// The most secrets of a webhook: the new one, and the one before it.
pub(super) const SECRETS_MOST: usize = 2;
/// A longer file holds no secret.
const FILE_MOST: u64 = 1024;

/// An error of a secret.
#[derive(Debug, thiserror::Error)]
#[error("the secret in {}: {why}", file.display())]
pub struct SecretError {
    file: PathBuf,
    why: String,
}

/// The secrets in files, which are read again when they change.
#[derive(Debug)]
pub(super) struct Secrets {
    files: Vec<PathBuf>,
    current: Mutex<Current>,
}

#[derive(Debug)]
struct Current {
    keys: Arc<[hmac::Key]>,
    changed: Vec<Option<SystemTime>>,
}

impl Secrets {
    /// Reads them. It blocks.
    pub(super) fn of_files(files: &[PathBuf]) -> Result<Self, SecretError> {
        let changed = changed(files);
        let keys = read_all(files)?;
        Ok(Self { files: files.to_vec(), current: Mutex::new(Current { keys, changed }) })
    }

    /// The keys, after a look at their files. What can't be used is told in the log, and the former
    /// ones go on. It blocks.
    pub(super) fn keys(&self) -> Arc<[hmac::Key]> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        let changed = changed(&self.files);
        if changed != current.changed {
            current.changed = changed;
            match read_all(&self.files) {
                Ok(keys) => current.keys = keys,
                Err(error) => tracing::error!(%error, "a webhook keeps its former secrets"),
            }
        }
        Arc::clone(&current.keys)
    }
}

fn changed(files: &[PathBuf]) -> Vec<Option<SystemTime>> {
    let changed = |file: &PathBuf| std::fs::metadata(file).and_then(|file| file.modified()).ok();
    files.iter().map(changed).collect()
}

fn read_all(files: &[PathBuf]) -> Result<Arc<[hmac::Key]>, SecretError> {
    files.iter().map(|file| read(file)).collect()
}

fn read(path: &Path) -> Result<hmac::Key, SecretError> {
    let wrong = |why: String| SecretError { file: path.to_owned(), why };
    let file = std::fs::File::open(path).map_err(|error| wrong(error.to_string()))?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Of the very file that is read.
        let metadata = file.metadata().map_err(|error| wrong(error.to_string()))?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(wrong(format!(
                "others than its owner can read it (its mode is {mode:o}): chmod 600 it"
            )));
        }
    }
    let mut text = String::new();
    file.take(FILE_MOST).read_to_string(&mut text).map_err(|error| wrong(error.to_string()))?;
    parse(text.trim()).map_err(wrong)
}

fn parse(text: &str) -> Result<hmac::Key, String> {
    let wanted = || {
        format!(
            "{PREFIX} and {SHORTEST} to {LONGEST} bytes as base64 are wanted: `echo \
             whsec_$(openssl rand -base64 32)` makes one"
        )
    };
    let encoded = text.strip_prefix(PREFIX).ok_or_else(wanted)?;
    let bytes = BASE64.decode(encoded.as_bytes()).map_err(|_| wanted())?;
    if !(SHORTEST..=LONGEST).contains(&bytes.len()) {
        return Err(wanted());
    }
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &bytes))
}

/// The value of `webhook-signature`: one signature by each key, that of the newest first.
pub(super) fn signature(keys: &[hmac::Key], id: &str, timestamp: u64, body: &[u8]) -> String {
    let mut value = String::new();
    for key in keys {
        let mut context = hmac::Context::with_key(key);
        context.update(format!("{id}.{timestamp}.").as_bytes());
        context.update(body);
        let space = if value.is_empty() { "" } else { " " };
        // Writing to a text does not fail.
        let _ = write!(value, "{space}v1,{}", BASE64.encode(context.sign().as_ref()));
    }
    value
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use std::slice::from_ref;

    use super::*;

    #[test]
    fn the_example_of_the_standard_is_signed_as_there() {
        // <https://github.com/standard-webhooks/standard-webhooks>, libraries, test vectors.
        let key = parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let body = br#"{"test": 2432232314}"#;
        let signed = signature(from_ref(&key), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let both =
            signature(&[key.clone(), key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(both, format!("{signed} {signed}"));
    }

    #[test]
    fn what_is_no_secret_is_refused_and_one_that_others_can_read() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let written = |text: &str, mode| {
            std::fs::write(&file, text).unwrap();
            std::fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
            read(&file).map(drop).map_err(|error| error.to_string())
        };
        let good = format!("{PREFIX}{}\n", BASE64.encode(&[7; 32]));
        written(&good, 0o600).unwrap();
        let why = written(&good, 0o640).unwrap_err();
        assert!(why.contains("chmod 600") && why.contains("640"), "{why}");
        let short = format!("{PREFIX}{}", BASE64.encode(&[7; 23]));
        for bad in ["", "secret", "whsec_", "whsec_%%%%", &short] {
            let why = written(bad, 0o600).unwrap_err();
            assert!(why.contains("24 to 64 bytes") && why.contains("secret"), "{why}");
        }
    }

    #[test]
    fn a_secret_that_changes_is_read_again_and_what_can_t_be_used_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        let mut age = 0;
        let mut write = |text: &str| {
            age += 1;
            std::fs::write(&file, text).unwrap();
            use std::os::unix::fs::PermissionsExt;
            std::fs::set_permissions(&file, PermissionsExt::from_mode(0o600)).unwrap();
            let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(age);
            std::fs::File::options().append(true).open(&file).unwrap().set_modified(time).unwrap();
        };
        let secret = |byte| format!("{PREFIX}{}", BASE64.encode(&[byte; 32]));
        write(&secret(1));
        let secrets = Secrets::of_files(from_ref(&file)).unwrap();
        let sign = || signature(&secrets.keys(), "a", 1, b"{}");
        let first = sign();
        write(&secret(2));
        let second = sign();
        assert_ne!(first, second);
        write("nonsense");
        assert_eq!(sign(), second);
        write(&secret(1));
        assert_eq!(sign(), first);
    }
}
