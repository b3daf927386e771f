//! The control socket, by which one command asks the process that has the spool: a Unix socket in
//! the spool's folder.
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
mod desk;
mod protocol;
mod sending;
mod server;
mod tapping;

use std::io;
use std::path::{Path, PathBuf};

pub(crate) use self::client::{
    ByRunning, Listening, Requests, Sending, Talk, ask, ask_at, ask_running, call_by_running,
    ended, free_spool, listen_at, send_by_running, spool_fault, take_spool,
};
pub(crate) use self::desk::answer;
pub(crate) use self::protocol::{Deposit, Item, Reply, Request};
pub(crate) use self::server::Server;

const SOCKET: &str = "control.sock";

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
