//! Connections and listeners over Unix sockets, between programs of one machine.
//!
//! Addresses are paths. A listener makes the file of its socket, and removes it at its end; one
//! that a process left behind when it died is replaced. Who may open the file may connect, and is
//! then asked for its key as anybody else.

use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf, absolute};

use estafette::node::{Connection, Listener, Streamed, Transport};
use futures_util::future::BoxFuture;
use tokio::net::{UnixListener, UnixStream};

/// The transport over Unix sockets.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unix;

impl Transport for Unix {
    fn check(&self, address: &str) -> Result<(), String> {
        let path = socket_path(address).map_err(|error| error.to_string())?;
        // Who dials it runs in another folder, or in this one at another time.
        match Path::new(address).is_absolute() {
            true => Ok(()),
            false => Err(format!("unix:{address} names no folder: say unix:{}", path.display())),
        }
    }

    fn dial<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            let stream = UnixStream::connect(socket_path(address)?).await?;
            Ok(connection(stream, format!("unix:{address}")))
        })
    }

    fn listen<'a>(&'a self, address: &'a str) -> BoxFuture<'a, io::Result<Box<dyn Listener>>> {
        Box::pin(async move {
            let path = socket_path(address)?;
            remove_stale(&path).await?;
            let listener = UnixListener::bind(&path)?;
            let made = inode(&path)?;
            Ok(Box::new(Acceptor { listener, path, made }) as Box<dyn Listener>)
        })
    }
}

fn connection(stream: UnixStream, remote: String) -> Box<dyn Connection> {
    let moved = |stream: UnixStream| UnixStream::from_std(stream.into_std()?);
    Box::new(Streamed::new(stream, remote).rebinding(moved))
}

#[derive(Debug)]
struct Acceptor {
    listener: UnixListener,
    path: PathBuf,
    /// The file that it made: somebody may have put another one in its place.
    made: (u64, u64),
}

impl Listener for Acceptor {
    fn address(&self) -> String {
        // It came as text, and an absolute path of text is text, or was refused.
        self.path.to_string_lossy().into_owned()
    }

    fn accept<'a>(&'a mut self) -> BoxFuture<'a, io::Result<Box<dyn Connection>>> {
        Box::pin(async move {
            let (stream, _) = self.listener.accept().await?;
            // Of a socket nobody knows more than whose process is at its other end.
            let user = stream.peer_cred()?.uid();
            Ok(connection(stream, format!("unix:user {user}")))
        })
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        if inode(&self.path).is_ok_and(|there| there == self.made) {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// Removes a socket at which nobody listens any more. Of two that start at once, the second may
/// take the place of the first: a path has one listener, as a port has.
async fn remove_stale(path: &Path) -> io::Result<()> {
    let Ok(there) = path.symlink_metadata() else { return Ok(()) };
    let taken =
        |what: &str| io::Error::new(io::ErrorKind::AddrInUse, format!("{} {what}", path.display()));
    if !there.file_type().is_socket() {
        return Err(taken("is there, and is no socket"));
    }
    match UnixStream::connect(path).await {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            std::fs::remove_file(path)
        }
        _ => Err(taken("is another program's socket")),
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    path.symlink_metadata().map(|there| (there.dev(), there.ino()))
}

/// The path of a socket, absolute, as others dial it from other folders.
fn socket_path(address: &str) -> io::Result<PathBuf> {
    /// The most bytes of a socket's address, without the NUL at its end.
    const MOST: usize = 107;
    let invalid = |why: String| io::Error::new(io::ErrorKind::InvalidInput, why);
    if address.is_empty() || address.contains('\0') {
        let form = format!("\"unix:{}\"", address.escape_debug());
        return Err(invalid(format!(
            "{form} is no address: the path of a socket is wanted, such as unix:/run/paris.sock"
        )));
    }
    let path = absolute(address)?;
    match path.to_str() {
        Some(text) if text.len() <= MOST => Ok(path),
        Some(text) => Err(invalid(format!(
            "the path {text} is too long for a socket: it has {} bytes of at most {MOST}",
            text.len()
        ))),
        None => Err(invalid("the folder in which this program runs has no name of text".into())),
    }
}
