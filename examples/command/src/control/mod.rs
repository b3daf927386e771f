//! The control socket, by which one command asks the process that has the spool: a Unix socket in
//! the spool's folder. Where the file system of that has no sockets (FAT, exFAT), it lies in a folder
//! for such things, and `control.at` in the spool's folder says where.
//!
//! ```text
//! estafette outbox … ──┬── KEY.spool/control.sock ──▶ server ──▶ desk ──▶ the node of `estafette node`
//!                      └── nobody has the spool ─────────────▶ desk ──▶ a dormant node of its own
//! ```
//!
//! An attached `estafette send` goes by the first way only: without a process that runs it needs no
//! spool.
//!
//! Both ways end at the same desk, so both give the same answers. Each connection carries one
//! question and its answers, as lines of JSON; the news of a delivery, as long as it takes. Who may
//! open the socket, which is its owner's alone, may do all that the owner of the key may.

mod calling;
mod client;
mod conversation;
mod desk;
mod protocol;
mod reloading;
mod saying;
mod sending;
mod server;
mod tapping;

use std::ffi::OsString;
use std::io::{self, Read};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

pub(crate) use self::client::{
    ByRunning, Listening, Requests, Sending, Talk, ask, ask_at, ask_running, call_by_running,
    ended, free_spool, listen_at, reload_at, send_by_running, spool_fault, take_spool,
};
pub(crate) use self::desk::answer;
pub(crate) use self::protocol::{Deposit, Item, Outcome, Reply, Request};
pub(crate) use self::reloading::{Asked, reloads};
pub(crate) use self::server::{Server, Topological};

const SOCKET: &str = "control.sock";
/// The file that says where the socket is, if it is elsewhere.
const ELSEWHERE: &str = "control.at";

/// The path of the socket of the spool in `folder`, if that is elsewhere.
fn elsewhere(folder: &Path) -> Option<PathBuf> {
    let mut text = Vec::new();
    let file = std::fs::File::open(folder.join(ELSEWHERE)).ok()?;
    file.take(4096).read_to_end(&mut text).ok()?;
    let path = PathBuf::from(OsString::from_vec(text));
    // It was made by who says so, and nobody else may put one there.
    let lies_in = std::fs::symlink_metadata(path.parent()?).ok()?;
    let is_private = lies_in.is_dir() && lies_in.mode() & 0o077 == 0;
    let own = rustix::process::geteuid();
    (path.is_absolute() && is_private && (own.is_root() || lies_in.uid() == own.as_raw()))
        .then_some(path)
}

/// A path to `name` in `folder` that is short enough for a socket's address, and what keeps it
/// good.
fn short(folder: &Path, name: &str) -> io::Result<(PathBuf, Option<std::fs::File>)> {
    /// The most bytes of a socket's path on Linux, but for the NUL at its end.
    const LONGEST: usize = 107;
    use std::os::fd::AsRawFd;
    let path = folder.join(name);
    if path.as_os_str().len() <= LONGEST {
        return Ok((path, None));
    }
    let folder = std::fs::File::open(folder)?;
    Ok((PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name), Some(folder)))
}
