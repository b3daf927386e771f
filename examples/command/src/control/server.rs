//! The side of the process that has the spool.
//!
//! Bounded: so many connections at a time, the others wait to be accepted; so long a question; so
//! long to ask it, and to take each line of the answer, but for those of calls. An answer may take
//! as long as it takes, and whoever asked hears meanwhile that it is worked on.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use estafette::Node;
use estafette_topology::RouteTaps;
use rustix::io::Errno;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

use super::protocol::{Hello, Reply, Request};
use super::reloading::Asked;
use super::saying::{say, working};
use super::{ELSEWHERE, SOCKET, calling, desk, reloading, sending, short, tapping};
use crate::error::{CommandError, ErrorKind};

/// Connections at a time.
const CONNECTIONS: usize = 16;
/// Deliveries at a time that are made for others who watch them.
const SENDS: usize = 64;
/// For the question: shorter than who waits for a place is patient.
const QUESTION_MOST: Duration = Duration::from_secs(2);
/// For the last answers of a process that ends.
const LAST_ANSWERS: Duration = Duration::from_secs(3);
/// The wait after a failed `accept`: most often the process has run out of file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// After so long nobody is kept waiting any more: sooner than who asks takes the process for one
/// that hangs.
const ACCEPT_WITHIN: Duration = Duration::from_secs(3);

/// The parts that questions are about.
#[derive(Clone)]
struct Served {
    /// Of the process that starts those of all nodes of a topology there is none.
    node: Option<Node>,
    of: Topological,
    sends: Arc<Semaphore>,
}

/// The parts of a topology that questions are about, if there is one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Topological {
    /// Its routes.
    pub(crate) taps: Option<RouteTaps>,
    /// The way to who reloads it.
    pub(crate) reloads: Option<mpsc::Sender<Asked>>,
}

/// Answers until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    /// Files that are removed when it ends.
    made: Vec<PathBuf>,
    /// The folder of a socket that is not in the spool's.
    _elsewhere: Option<TempDir>,
    serving: tokio::task::JoinHandle<()>,
    places: Arc<Semaphore>,
}

impl Server {
    /// Whoever calls this has the spool in `folder`: a socket that is there was left by a process
    /// that is dead.
    pub(crate) fn start(folder: &Path, node: &Node) -> Result<Self, CommandError> {
        Self::start_with(folder, Some(node), Topological::default())
    }

    /// The same, of a node of a topology, or of the process that has started those of its nodes: in
    /// a folder that is that one's alone.
    pub(crate) fn start_with(
        folder: &Path,
        node: Option<&Node>,
        of: Topological,
    ) -> Result<Self, CommandError> {
        let path = folder.join(SOCKET);
        let unmade = |error: &io::Error, hint: &str| {
            let place = crate::settings::shown(folder);
            CommandError::io(format!("no control socket can be made in {place}: {error}"), hint)
        };
        // One that says where another process had it is of one that is dead, too.
        let _ = std::fs::remove_file(folder.join(ELSEWHERE));
        let (listener, made, elsewhere) = match listen(folder, &path) {
            Ok(listener) => (listener, vec![path], None),
            Err(error) if has_no_sockets(&error) => {
                let (listener, there) = listen_elsewhere(folder).map_err(|second| {
                    let hint = "choose a folder on another disk with --spool: this one's file \
                                system has no sockets";
                    unmade(
                        &io::Error::new(error.kind(), format!("{error}, nor elsewhere: {second}")),
                        hint,
                    )
                })?;
                (listener, vec![folder.join(ELSEWHERE)], Some(there))
            }
            Err(error) => {
                let hint = "let this user write there, or choose another folder with --spool";
                return Err(unmade(&error, hint));
            }
        };
        let places = Arc::new(Semaphore::new(CONNECTIONS));
        let sends = Arc::new(Semaphore::new(SENDS));
        let served = Served { node: node.cloned(), of, sends };
        Ok(Self {
            made,
            _elsewhere: elsewhere,
            serving: tokio::spawn(serve(listener, served, Arc::clone(&places))),
            places,
        })
    }

    /// Takes no more questions, and answers those that were asked.
    pub(crate) async fn finish(self) {
        self.serving.abort();
        // Whoever does not take the answer is not waited for.
        let _ = timeout(LAST_ANSWERS, self.places.acquire_many(CONNECTIONS as u32)).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
        // One that is left there is replaced by the next process.
        self.made.iter().for_each(|made| drop(std::fs::remove_file(made)));
    }
}

/// Made under another name, so that nobody finds it before it is the owner's alone.
fn listen(folder: &Path, path: &Path) -> io::Result<UnixListener> {
    let new = folder.join("control.new");
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let (short, _folder) = short(folder, "control.new")?;
    let listener = UnixListener::bind(short)?;
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600))?;
    std::fs::rename(&new, path)?;
    Ok(listener)
}

/// Returns `true` if a file system has no room for anything but files and folders: FAT and exFAT,
/// by the kernel or by FUSE, and many shares.
fn has_no_sockets(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error().map(Errno::from_raw_os_error),
        Some(Errno::IO | Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL)
    )
}

/// The socket of a spool whose file system has none, in a folder that is this user's alone.
fn listen_elsewhere(folder: &Path) -> io::Result<(UnixListener, TempDir)> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let place = runtime.filter(|place| place.is_absolute() && place.is_dir());
    let made = tempfile::Builder::new()
        .prefix("estafette-")
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(place.unwrap_or_else(std::env::temp_dir))?;
    // Some make an empty file where a socket was to be.
    let _ = std::fs::remove_file(folder.join("control.new"));
    let path = made.path().join(SOCKET);
    let listener = listen(made.path(), &path)?;
    let new = folder.join("control.at.new");
    std::fs::write(&new, path.as_os_str().as_encoded_bytes())?;
    std::fs::rename(&new, folder.join(ELSEWHERE))?;
    Ok((listener, made))
}

async fn serve(listener: UnixListener, served: Served, places: Arc<Semaphore>) {
    let keep = || std::fs::File::open("/dev/null").ok();
    let (mut spare, mut failing) = (keep(), None::<Instant>);
    loop {
        let place =
            Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) => {
                failing = None;
                let served = served.clone();
                tokio::spawn(async move {
                    // Whoever asked may be gone before the answer is.
                    if let Err(error) = attend(stream, &served, place).await {
                        tracing::debug!(%error, "a question was not answered to its end");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accepting a question failed; trying again");
                // Without a descriptor nobody could be told so: one is kept for that.
                if failing.get_or_insert_with(Instant::now).elapsed() > ACCEPT_WITHIN {
                    drop(spare.take());
                    if let Ok(Ok((stream, _))) = timeout(ACCEPT_AGAIN, listener.accept()).await {
                        let _ = refuse(stream, &error).await;
                    }
                    spare = keep();
                }
                tokio::time::sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}

/// Answers whatever is asked with why nothing can be done.
async fn refuse(mut stream: UnixStream, why: &io::Error) -> io::Result<()> {
    let (reading, mut writing) = stream.split();
    say(
        &mut writing,
        &Hello { pid: std::process::id(), version: env!("CARGO_PKG_VERSION").into() },
    )
    .await?;
    let mut reading = BufReader::new(reading.take(Request::LIMIT));
    timeout(QUESTION_MOST, reading.read_until(b'\n', &mut Vec::new())).await??;
    let text = format!("the node that runs can't take the question: {why}");
    say(
        &mut writing,
        &Reply::from(CommandError::io(
            text,
            "try it again; `ulimit -n` is the limit of its open files",
        )),
    )
    .await
}

/// Returns `true` for what goes on until somebody ends it, or something happens.
const fn takes_long(request: &Request) -> bool {
    matches!(
        request,
        Request::Send(_)
            | Request::Call(_)
            | Request::Routes
            | Request::Tap { .. }
            | Request::Record { .. }
            | Request::Replay { .. }
            | Request::Await(_)
            | Request::Processed(_)
    )
}

async fn attend(
    mut stream: UnixStream,
    Served { node, of, sends }: &Served,
    place: OwnedSemaphorePermit,
) -> io::Result<()> {
    let (reading, mut writing) = stream.split();
    say(
        &mut writing,
        &Hello { pid: std::process::id(), version: env!("CARGO_PKG_VERSION").into() },
    )
    .await?;
    let mut line = Vec::new();
    let mut reading = BufReader::new(reading.take(Request::LIMIT));
    timeout(QUESTION_MOST, reading.read_until(b'\n', &mut line)).await??;
    let request = serde_json::from_slice(&line);
    if let (Ok(Request::Reload(file)), Some(reloads)) = (&request, &of.reloads) {
        drop(place);
        return reloading::carry_out(reloads, file.clone(), &mut writing).await;
    }
    let Some(node) = node else {
        return say(&mut writing, &Reply::from(no_node())).await;
    };
    let _long = match &request {
        Ok(request) if takes_long(request) => {
            let Ok(long) = sends.try_acquire() else {
                return say(&mut writing, &Reply::from(too_many())).await;
            };
            // The others need not wait for it.
            drop(place);
            Some(long)
        }
        _ => None,
    };
    let answer = match request {
        Ok(Request::Send(deposit)) => {
            sending::carry_out(node, deposit, reading, &mut writing).await?;
            Ok(Vec::new())
        }
        Ok(Request::Call(call)) => {
            // Of its requests, each is bounded.
            reading.get_mut().set_limit(u64::MAX);
            return calling::carry_out(node, &call, reading, &mut writing).await;
        }
        Ok(
            request @ (Request::Routes
            | Request::Tap { .. }
            | Request::Record { .. }
            | Request::Replay { .. }),
        ) => {
            return tapping::carry_out(of.taps.as_ref(), request, reading, &mut writing).await;
        }
        Ok(request @ (Request::Await(_) | Request::Processed(_))) => {
            tokio::select! {
                answer = desk::answer(node, request) => answer,
                () = sending::closed(&mut reading) => return Ok(()),
            }
        }
        Ok(request) => working(&mut writing, desk::answer(node, request)).await,
        Err(error) => Err(CommandError::usage(
            format!("the question was not understood: {error}"),
            "use the same release on both sides",
        )),
    };
    say_all(&mut writing, answer).await
}

/// Says what a request has led to.
async fn say_all(
    to: &mut (impl AsyncWriteExt + Unpin),
    answer: Result<Vec<Reply>, CommandError>,
) -> io::Result<()> {
    match answer {
        Ok(replies) => {
            for reply in &replies {
                say(to, reply).await?;
            }
            say(to, &Reply::Done).await
        }
        Err(error) => say(to, &Reply::from(error)).await,
    }
}

fn no_node() -> CommandError {
    CommandError::usage(
        "this process runs no node, but those of a topology in processes of their own",
        "ask one of them, by its spool",
    )
}

fn too_many() -> CommandError {
    let text = format!("the node that runs sends for {SENDS} others already");
    CommandError::new(
        ErrorKind::Refused,
        text,
        "wait until one of them is done, or send with --detach",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_takes_long_is_said_to_be_worked_on_and_done_even_if_nobody_hears_it() {
        let (mut here, there) = tokio::io::duplex(64);
        let (finish, finished) = tokio::sync::oneshot::channel();
        let work = working(&mut here, async { finished.await.unwrap() });
        let watch = async {
            let mut said = String::new();
            BufReader::new(there).read_line(&mut said).await.unwrap();
            // From now on whatever is said fails.
            finish.send(7).unwrap();
            said
        };
        assert_eq!(tokio::join!(work, watch), (7, "\"working\"\n".to_owned()));
    }
}
