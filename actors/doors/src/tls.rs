//! TLS of doors: certificates of a server from files, which are read again when they change, and
//! those of clients.
//!
//! Invariant: a certificate of a client that its authority does not vouch for ends the handshake.
//! One that it does vouch for says who the client is by the names of DNS in it, and gives it what
//! the token of such a name leads to, no more.

use std::fs::{File, Permissions};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::RootCertStore;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use tokio_rustls::TlsAcceptor;

/// The interval at which it is looked whether the files are others.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The most certificates of a file.
const CERTIFICATES_MOST: usize = 64;
/// The most names of a client that count.
const NAMES_MOST: usize = 16;

/// The certificates of a door.
#[derive(Debug)]
pub struct Tls {
    files: Files,
    current: Mutex<Current>,
}

#[derive(Clone, Debug)]
struct Files {
    certificates: PathBuf,
    key: PathBuf,
    client_authority: Option<PathBuf>,
}

type Change = (SystemTime, Permissions);

struct Current {
    acceptor: TlsAcceptor,
    changed: Vec<Option<Change>>,
    looked: Instant,
}

/// An error of certificates.
#[derive(Debug, thiserror::Error)]
#[error("{what}, {}: {why}", file.display())]
pub struct TlsError {
    what: &'static str,
    file: PathBuf,
    why: String,
}

/// The names of a client whose certificate was vouched for.
#[derive(Clone, Debug)]
pub(crate) struct ClientNames(pub(crate) Arc<[String]>);

impl Tls {
    /// TLS with the certificates and the key in these files, of PEM; clients may show certificates
    /// of the authority in the third one, and are called by the names in them. Files that change
    /// are read again.
    ///
    /// # Errors
    /// A file can't be read, or is not what it is to be.
    pub fn of_files(
        certificates: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
        client_authority: Option<PathBuf>,
    ) -> Result<Self, TlsError> {
        let files = Files { certificates: certificates.into(), key: key.into(), client_authority };
        let changed = files.changed();
        let acceptor = files.read()?;
        let current = Mutex::new(Current { acceptor, changed, looked: Instant::now() });
        Ok(Self { files, current })
    }

    /// Returns what accepts, after a look at the files if the last one is a while ago. Those that
    /// can't be used are told in the log, and the former ones go on.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.looked.elapsed() >= LOOK_EVERY {
            current.looked = Instant::now();
            let changed = self.files.changed();
            if changed != current.changed {
                current.changed = changed;
                match self.files.read() {
                    Ok(acceptor) => current.acceptor = acceptor,
                    Err(error) => tracing::error!(%error, "a door keeps its former certificates"),
                }
            }
        }
        current.acceptor.clone()
    }
}

impl Files {
    /// Their state, as a look finds it; who may read a file belongs to it.
    fn changed(&self) -> Vec<Option<Change>> {
        let files = [Some(&self.certificates), Some(&self.key), self.client_authority.as_ref()];
        let changed = |file: &PathBuf| {
            let metadata = std::fs::metadata(file).ok()?;
            Some((metadata.modified().ok()?, metadata.permissions()))
        };
        files.into_iter().flatten().map(changed).collect()
    }

    fn read(&self) -> Result<TlsAcceptor, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates("the certificates of the door", &self.certificates)?;
        let unread = |why: &dyn std::fmt::Display| {
            TlsError::of("the key of the door's certificate", &self.key, why)
        };
        let key = key(&self.key).map_err(|why| unread(&why))?;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| unread(&error))?;
        let builder = match &self.client_authority {
            None => builder.with_no_client_auth(),
            Some(file) => builder.with_client_cert_verifier(verifier(file, provider)?),
        };
        let mut config = builder.with_single_cert(chain, key).map_err(|error| unread(&error))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

/// The key in a file that nobody but its owner can read.
fn key(file: &Path) -> Result<PrivateKeyDer<'static>, String> {
    let mut open = File::open(file).map_err(|error| error.to_string())?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        // Of the very file that is read.
        let metadata = open.metadata().map_err(|error| error.to_string())?;
        let mode = metadata.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(format!(
                "others than its owner can read it (its mode is {mode:o}): chmod 600 it"
            ));
        }
    }
    PrivateKeyDer::from_pem_reader(&mut open).map_err(|error| error.to_string())
}

fn verifier(
    file: &Path,
    provider: Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let what = "the certificates of the authority of clients";
    let mut roots = RootCertStore::empty();
    for certificate in certificates(what, file)? {
        roots.add(certificate).map_err(|error| TlsError::of(what, file, &error))?;
    }
    // Who has none shows a token.
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let verifier = verifier.allow_unauthenticated().build();
    verifier.map_err(|error| TlsError::of(what, file, &error))
}

fn certificates(what: &'static str, file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(file)
        .and_then(|all| all.take(CERTIFICATES_MOST).collect::<Result<Vec<_>, _>>());
    let read = read.map_err(|error| TlsError::of(what, file, &error))?;
    if read.is_empty() {
        return Err(TlsError::of(what, file, &"there is none in it, of PEM"));
    }
    Ok(read)
}

impl TlsError {
    fn of(what: &'static str, file: &Path, why: &dyn std::fmt::Display) -> Self {
        Self { what, file: file.to_owned(), why: why.to_string() }
    }
}

impl ClientNames {
    /// The names in the certificate of a client, which was vouched for; `None` if it showed none.
    pub(crate) fn of(certificates: Option<&[CertificateDer<'_>]>) -> Option<Self> {
        let certificate = webpki::EndEntityCert::try_from(certificates?.first()?).ok()?;
        let names = certificate.valid_dns_names().take(NAMES_MOST).map(str::to_owned);
        Some(Self(names.collect()))
    }
}

impl std::fmt::Debug for Current {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Current").field("changed", &self.changed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use rcgen::{CertificateParams, KeyPair};

    use super::*;

    /// A certificate and its key, written at this time.
    fn write(folder: &Path, certificate: Option<&str>, at: u64) {
        let key = KeyPair::generate().unwrap();
        let made = CertificateParams::new(vec!["door".into()]).unwrap().self_signed(&key).unwrap();
        let texts = [
            ("pem", certificate.map_or_else(|| made.pem(), Into::into)),
            ("key", key.serialize_pem()),
        ];
        for (ending, text) in texts {
            let path = folder.join("door").with_extension(ending);
            std::fs::write(&path, text).unwrap();
            readable(&path, 0o600);
            let file = std::fs::File::options().write(true).open(path).unwrap();
            file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(at)).unwrap();
        }
    }

    fn readable(file: &Path, mode: u32) {
        let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
        std::fs::set_permissions(file, permissions).unwrap();
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_until_they_can_not() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        write(folder.path(), None, 1);
        readable(&file("door.key"), 0o644);
        let open = || Tls::of_files(file("door.pem"), file("door.key"), None);
        let why = open().unwrap_err().to_string();
        assert!(why.contains("door.key") && why.contains("644") && why.contains("chmod 600"));
        readable(&file("door.key"), 0o600);
        let tls = open().unwrap();
        let looked = || {
            tls.current.lock().unwrap().looked = Instant::now().checked_sub(LOOK_EVERY).unwrap();
            Arc::clone(tls.acceptor().config())
        };
        let first = looked();
        write(folder.path(), None, 2);
        readable(&file("door.key"), 0o640);
        assert!(Arc::ptr_eq(&first, &looked()), "the new one can be read by others");
        readable(&file("door.key"), 0o600);
        assert!(!Arc::ptr_eq(&first, &looked()), "that it can't any more is noticed");
    }

    #[test]
    fn files_that_change_are_read_again_and_broken_ones_change_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str| folder.path().join(name);
        write(folder.path(), None, 1);
        let tls = Tls::of_files(file("door.pem"), file("door.key"), None).unwrap();
        // The time to look has come.
        let looked = || {
            tls.current.lock().unwrap().looked = Instant::now().checked_sub(LOOK_EVERY).unwrap();
            Arc::clone(tls.acceptor().config())
        };
        let first = looked();
        assert!(Arc::ptr_eq(&first, &looked()), "it is the same");
        write(folder.path(), Some("no certificate"), 2);
        assert!(Arc::ptr_eq(&first, &looked()), "it is the same still");
        write(folder.path(), None, 3);
        assert!(!Arc::ptr_eq(&first, &looked()), "it is another one");
    }
}
