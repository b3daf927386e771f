//! One question to the process that has a spool, and its answers.

use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::error::Elapsed;
use tokio::time::timeout;

use super::protocol::{Hello, Reply, Request};
use super::{SOCKET, elsewhere, short};
use crate::error::CommandError;

/// The longest that a process that has taken a connection may take to say who it is.
const HELLO_MOST: Duration = Duration::from_secs(5);
/// The longest that it may say nothing until its answer: it says so if it works on it.
const SILENT_MOST: Duration = Duration::from_secs(10);

/// `None` where nobody listens.
pub(super) async fn connect(folder: &Path) -> Option<UnixStream> {
    try_connect(folder).await.ok()
}

pub(super) async fn try_connect(folder: &Path) -> io::Result<UnixStream> {
    let (path, _folder) = short(folder, SOCKET)?;
    match UnixStream::connect(path).await {
        Ok(stream) => Ok(stream),
        Err(error) => match elsewhere(folder) {
            Some(path) => UnixStream::connect(path).await,
            None => Err(error),
        },
    }
}

/// A connection to the process that has the spool.
pub(super) struct Conversation {
    pub(super) reading: BufReader<OwnedReadHalf>,
    /// `None`: something else writes there.
    pub(super) writing: Option<OwnedWriteHalf>,
    pub(super) hello: Hello,
    pub(super) folder: PathBuf,
}

impl Conversation {
    pub(super) async fn begin(stream: UnixStream, folder: &Path) -> io::Result<Self> {
        let (reading, writing) = stream.into_split();
        let mut reading = BufReader::new(reading);
        let hello = timeout(HELLO_MOST, line(&mut reading))
            .await
            .map_err(|_| io::Error::other("it says nothing"))??;
        Ok(Self { reading, writing: Some(writing), hello, folder: folder.to_owned() })
    }

    pub(super) async fn ask(mut self, request: &Request) -> Result<Vec<Reply>, CommandError> {
        let mut replies = self.hear(request).await.map_err(|error| self.broken(&error))?;
        match replies.pop() {
            Some(Reply::Failed(failed)) => Err(failed.into()),
            _ => Ok(replies),
        }
    }

    /// A call of which no more is heard.
    pub(super) fn cut_off(&self, error: &io::Error) -> CommandError {
        let Hello { pid, version } = &self.hello;
        let text = format!(
            "process {pid} (release {version}), which has the spool, made the call, and did not \
             tell to the end what came of it: {error}"
        );
        let hint = "whether it was handled is not known: ask again only what may be done twice";
        CommandError::io(text, hint)
    }

    pub(super) fn broken(&self, error: &io::Error) -> CommandError {
        let Hello { pid, version } = &self.hello;
        if error.kind() == ErrorKind::TimedOut {
            let text = format!("process {pid}, which has the spool, does not answer: {error}");
            return CommandError::io(
                text,
                "see whether it hangs or is stopped, and end it if so; look at the outbox before \
                 you ask again",
            );
        }
        let text = format!(
            "process {pid} (release {version}), which has the spool, did not answer to the end: \
             {error}"
        );
        CommandError::io(
            text,
            "look at the outbox before you ask again; use the same release on both sides",
        )
    }

    pub(super) async fn say(&mut self, request: &Request) -> io::Result<()> {
        let mut question = serde_json::to_vec(request)?;
        question.push(b'\n');
        let writing = self.writing.as_mut().ok_or(ErrorKind::NotConnected)?;
        timeout(SILENT_MOST, writing.write_all(&question)).await.map_err(silence)?
    }

    /// All parts of the answer, the last one included.
    pub(super) async fn hear(&mut self, request: &Request) -> io::Result<Vec<Reply>> {
        self.say(request).await?;
        let mut replies = Vec::new();
        loop {
            replies.push(match request {
                // For as long as it takes, which may be days: whoever waits for it ends it.
                Request::Await(_) | Request::Processed(_) => line(&mut self.reading).await?,
                _ => reply(&mut self.reading).await?,
            });
            if matches!(replies.last(), Some(Reply::Done | Reply::Failed(_))) {
                return Ok(replies);
            }
        }
    }
}

/// The next part of an answer, of a process that lives.
pub(super) async fn reply(from: &mut BufReader<OwnedReadHalf>) -> io::Result<Reply> {
    loop {
        match timeout(SILENT_MOST, line(from)).await.map_err(silence)?? {
            Reply::Working => {}
            reply => return Ok(reply),
        }
    }
}

fn silence(_: Elapsed) -> io::Error {
    io::Error::new(
        ErrorKind::TimedOut,
        format!("it has neither said nor heard anything for {} seconds", SILENT_MOST.as_secs()),
    )
}

pub(super) async fn line<T: DeserializeOwned>(
    from: &mut BufReader<OwnedReadHalf>,
) -> io::Result<T> {
    let mut line = Vec::new();
    if from.read_until(b'\n', &mut line).await? == 0 {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&line)?)
}
