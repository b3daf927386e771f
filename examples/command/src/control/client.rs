//! The side of a command: asks the process that has the spool, or looks for itself where there is
//! none.

use std::io::{self, ErrorKind};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use estafette::node::Store;
use estafette::{PeerId, TransferId};
use tokio::io::{AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::sleep;

use super::conversation::{Conversation, connect, line, reply, try_connect};
use super::protocol::{Deposit, Item, Reply, Request};
use super::{SOCKET, desk, elsewhere};
use crate::arguments::Global;
use crate::call::Broken;
use crate::call::{Call, Heard};
use crate::error::CommandError;
use crate::settings;

/// The longest that a spool may be in use by a process that does not answer: one that starts or
/// stops, or one like this.
const BUSY_MOST: Duration = Duration::from_secs(5);
const BUSY_AGAIN: Duration = Duration::from_millis(25);

/// An answer, and who gave it.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) replies: Vec<Reply>,
    /// Set if a process runs that has the spool, and delivers.
    pub(crate) running: bool,
}

enum Holder {
    Running(Conversation),
    Ours(Arc<dyn Store>),
}

pub(crate) async fn ask(global: &Global, request: Request) -> Result<Answer, CommandError> {
    let start = Instant::now();
    loop {
        match reach(global).await? {
            Holder::Running(conversation) => match &conversation.ask(&request).await?[..] {
                [Reply::Stopping] if start.elapsed() < BUSY_MOST => sleep(BUSY_AGAIN).await,
                [Reply::Stopping] => {
                    return Err(CommandError::io(
                        "the node that runs is about to end, and has not ended yet",
                        "try it again",
                    ));
                }
                replies => return Ok(Answer { replies: replies.to_vec(), running: true }),
            },
            Holder::Ours(spool) => {
                let node = settings::node(global, None)?.spool(spool).dormant().start().await?;
                let answer = desk::answer(&node, request).await;
                node.shutdown().await;
                return Ok(Answer { replies: answer?, running: false });
            }
        }
    }
}

/// Asks the process that has the spool, if there is one that answers; the number of that process,
/// and its answer.
pub(crate) async fn ask_running(
    global: &Global,
    request: &Request,
) -> Result<Option<(u32, Vec<Reply>)>, CommandError> {
    ask_at(&settings::spool_path(global)?, request).await
}

/// The same of the process that has the spool in this folder.
pub(crate) async fn ask_at(
    folder: &Path,
    request: &Request,
) -> Result<Option<(u32, Vec<Reply>)>, CommandError> {
    let Some(stream) = connect(folder).await else { return Ok(None) };
    let conversation =
        Conversation::begin(stream, folder).await.map_err(|error| silent(folder, &error))?;
    let pid = conversation.hello.pid;
    Ok(Some((pid, conversation.ask(request).await?)))
}

/// Has the process whose socket is in this folder reload a topology, and waits until it is done;
/// `None` where nobody listens.
pub(crate) async fn reload_at(
    folder: &Path,
    request: &Request,
) -> Result<Option<Vec<Reply>>, CommandError> {
    let stream = match try_connect(folder).await {
        Ok(stream) => stream,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            let text = format!("the nodes can't be told: {}: {error}", settings::shown(folder));
            return Err(CommandError::io(text, "ask as the user who runs them"));
        }
        Err(_) => return Ok(None),
    };
    let broken = |pid: Option<u32>, error: &io::Error| {
        let who = pid.map_or_else(|| "the process".into(), |pid| format!("process {pid}"));
        let text = format!("{who}, which runs it, has not told to the end what it did: {error}");
        CommandError::io(text, "see whether it runs still, and say `estafette reload` again")
    };
    let begun = Conversation::begin(stream, folder).await;
    let mut conversation = begun.map_err(|error| broken(None, &error))?;
    let pid = conversation.hello.pid;
    let heard = conversation.hear(request).await;
    let mut replies = heard.map_err(|error| broken(Some(pid), &error))?;
    match replies.pop() {
        Some(Reply::Failed(failed)) => Err(failed.into()),
        _ if replies.contains(&Reply::Stopping) => {
            Err(broken(Some(pid), &io::Error::other("it ends")))
        }
        _ => Ok(Some(replies)),
    }
}

/// A delivery that another process makes for this one.
#[derive(Debug)]
pub(crate) struct Sending {
    pub(crate) transfer: TransferId,
    pub(crate) peer: PeerId,
    pub(crate) pid: u32,
    reading: BufReader<OwnedReadHalf>,
    asking: Asking,
}

/// Cancels a delivery that another process makes when it is dropped.
#[derive(Debug)]
pub(crate) struct Asking(
    #[expect(dead_code, reason = "the other process sees when it is closed")]
    Option<OwnedWriteHalf>,
);

impl Sending {
    /// Passes on what the other process tells, at once, until it tells no more.
    pub(crate) fn follow(
        mut self,
        mut tell: impl FnMut(Reply) + std::marker::Send + 'static,
    ) -> Asking {
        tokio::spawn(async move {
            while let Ok(reply) = line(&mut self.reading).await {
                tell(reply);
            }
        });
        self.asking
    }
}

/// A call that another process makes for this one. Dropped, it is cancelled.
pub(crate) struct Talk {
    conversation: Conversation,
    over: bool,
}

impl Talk {
    /// The next part of what it ends in; `None` at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Heard>, Broken> {
        if self.over {
            return Ok(None);
        }
        let heard = reply(&mut self.conversation.reading).await;
        let heard = heard.map_err(|error| Broken::Line(self.conversation.cut_off(&error)))?;
        self.over = !matches!(heard, Reply::Heard(_));
        match heard {
            Reply::Heard(heard) => Ok(Some(heard)),
            Reply::Done => Ok(None),
            Reply::CallFailed(error) => Err(Broken::Call(error)),
            Reply::Failed(failed) => Err(Broken::Line(failed.into())),
            _ => {
                let error = io::Error::other("it answered something else");
                Err(Broken::Line(self.conversation.cut_off(&error)))
            }
        }
    }
}

impl Talk {
    /// The way for its requests; for the first who asks. Dropped, it cancels the call.
    pub(crate) fn requests(&mut self) -> Option<Requests> {
        self.conversation.writing.take().map(Requests)
    }
}

/// The way of requests to a call that another process makes.
pub(crate) struct Requests(OwnedWriteHalf);

impl Requests {
    /// Says one; waits while the actor takes none.
    pub(crate) async fn say(&mut self, item: &Item) -> io::Result<()> {
        let mut line = serde_json::to_vec(item)?;
        line.push(b'\n');
        self.0.write_all(&line).await
    }
}

/// Lets the process that has the spool make a call, if there is one.
pub(crate) async fn call_by_running(
    global: &Global,
    call: &Call,
) -> Result<Option<Talk>, CommandError> {
    let folder = settings::spool_path(global)?;
    let Some(stream) = connect(&folder).await else { return Ok(None) };
    let mut conversation = match Conversation::begin(stream, &folder).await {
        Ok(conversation) => conversation,
        // It stopped this very moment.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(silent(&folder, &error)),
    };
    let asked = conversation.say(&Request::Call(call.clone())).await;
    asked.map_err(|error| conversation.cut_off(&error))?;
    Ok(Some(Talk { conversation, over: false }))
}

/// The words of a process until its end, or for as long as somebody listens.
pub(crate) struct Listening(Conversation);

impl Listening {
    /// The next part of it; `None` at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Reply>, CommandError> {
        let told = reply(&mut self.0.reading).await;
        match told.map_err(|error| self.0.broken(&error))? {
            Reply::Done => Ok(None),
            Reply::Failed(failed) => Err(failed.into()),
            reply => Ok(Some(reply)),
        }
    }
}

/// Listens to the process that has the spool in this folder, if there is one that answers.
pub(crate) async fn listen_at(
    folder: &Path,
    request: &Request,
) -> Result<Option<Listening>, CommandError> {
    let Some(stream) = connect(folder).await else { return Ok(None) };
    let conversation = Conversation::begin(stream, folder).await;
    let mut conversation = conversation.map_err(|error| silent(folder, &error))?;
    let asked = conversation.say(request).await;
    asked.map_err(|error| conversation.broken(&error))?;
    Ok(Some(Listening(conversation)))
}

/// The deeds of the process that has the spool, for a delivery.
#[derive(Debug)]
pub(crate) enum ByRunning {
    Sending(Sending),
    /// It is about to end, and has not begun it.
    Stopping(u32),
    /// There is none.
    Nobody,
}

/// Waits until no process answers that has the spool, or another one does.
pub(crate) async fn ended(global: &Global) {
    let Ok(folder) = settings::spool_path(global) else { return };
    let holder = || async {
        let stream = connect(&folder).await?;
        Conversation::begin(stream, &folder).await.ok().map(|conversation| conversation.hello.pid)
    };
    let first = holder().await;
    while first.is_some() && holder().await == first {
        sleep(BUSY_AGAIN).await;
    }
}

/// Lets the process that has the spool send this, if there is one.
pub(crate) async fn send_by_running(
    global: &Global,
    deposit: Deposit,
) -> Result<ByRunning, CommandError> {
    let folder = settings::spool_path(global)?;
    let Some(stream) = connect(&folder).await else { return Ok(ByRunning::Nobody) };
    let mut conversation = match Conversation::begin(stream, &folder).await {
        Ok(conversation) => conversation,
        // It stopped this very moment.
        Err(error) if error.kind() == ErrorKind::UnexpectedEof => return Ok(ByRunning::Nobody),
        Err(error) => return Err(silent(&folder, &error)),
    };
    let answer = conversation.say(&Request::Send(deposit)).await;
    let answer = match answer {
        Ok(()) => reply(&mut conversation.reading).await,
        Err(error) => Err(error),
    };
    let answer = match answer {
        // It has ended, and what it had not said that it began has not begun.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe
            ) =>
        {
            return Ok(ByRunning::Stopping(conversation.hello.pid));
        }
        answer => answer,
    };
    match answer.map_err(|error| conversation.broken(&error))? {
        Reply::Sending { id, peer } => {
            let named = id.parse().ok().zip(peer.parse().ok());
            let (transfer, peer) = named
                .ok_or_else(|| conversation.broken(&io::Error::other("it names no delivery")))?;
            let Conversation { reading, writing, hello, .. } = conversation;
            Ok(ByRunning::Sending(Sending {
                transfer,
                peer,
                pid: hello.pid,
                reading,
                asking: Asking(writing),
            }))
        }
        Reply::Stopping => Ok(ByRunning::Stopping(conversation.hello.pid)),
        Reply::Failed(failed) => Err(failed.into()),
        _ => Err(conversation.broken(&io::Error::other("it answered something else"))),
    }
}

/// The spool, if no process has it.
pub(crate) async fn free_spool(global: &Global) -> Result<Option<Arc<dyn Store>>, CommandError> {
    match reach(global).await? {
        Holder::Ours(spool) => Ok(Some(spool)),
        Holder::Running(_) => Ok(None),
    }
}

/// The spool for a process that is to keep it.
pub(crate) async fn take_spool(global: &Global) -> Result<Arc<dyn Store>, CommandError> {
    match reach(global).await? {
        Holder::Ours(spool) => Ok(spool),
        Holder::Running(Conversation { hello, folder, .. }) => {
            let text = format!(
                "the spool {} is in use by process {}",
                settings::shown(&folder),
                hello.pid
            );
            Err(CommandError::io(
                text,
                "stop that one, or give this one a spool of its own with --spool",
            ))
        }
    }
}

async fn reach(global: &Global) -> Result<Holder, CommandError> {
    // Makes the folder that the spool lies in, too.
    settings::identity(global)?;
    let folder = settings::spool_path(global)?;
    let start = Instant::now();
    loop {
        if let Some(stream) = connect(&folder).await {
            match Conversation::begin(stream, &folder).await {
                Ok(conversation) => return Ok(Holder::Running(conversation)),
                // It stopped this very moment.
                Err(error)
                    if error.kind() == ErrorKind::UnexpectedEof && start.elapsed() < BUSY_MOST => {}
                Err(error) => return Err(silent(&folder, &error)),
            }
        }
        let place = folder.clone();
        let opened = estafette::node::blocking(move || settings::spool(&place)).await;
        match opened.and_then(|opened| opened) {
            Ok(spool) => return Ok(Holder::Ours(spool)),
            Err(error)
                if error.kind() == ErrorKind::ResourceBusy && start.elapsed() < BUSY_MOST =>
            {
                sleep(BUSY_AGAIN).await
            }
            Err(error) if error.kind() == ErrorKind::ResourceBusy => {
                return Err(silent(&folder, &error));
            }
            Err(error) => {
                return Err(spool_fault(error));
            }
        }
    }
}

/// A spool that can't be opened.
pub(crate) fn spool_fault(error: io::Error) -> CommandError {
    CommandError::io(error, "`estafette doctor` looks at it; --spool names another folder")
}

fn silent(folder: &Path, error: &io::Error) -> CommandError {
    let socket = elsewhere(folder).unwrap_or_else(|| folder.join(SOCKET));
    let socket = settings::shown(&socket);
    let text = format!(
        "a process has the spool {}, and does not answer at {socket}: {error}",
        settings::shown(folder)
    );
    CommandError::io(
        text,
        "see whether it hangs or is stopped, and end it if so; --spool names another folder",
    )
}
