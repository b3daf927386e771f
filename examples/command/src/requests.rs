//! Requests of a call that takes many: each line of stdin is one.

use std::fs::File;
use std::os::fd::AsFd;

use estafette::RemoteErrorKind;
use estafette::remote::{JsonRemote, JsonUpload};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::sync::oneshot;

use crate::apart::ReadApart;
use crate::call::MESSAGE_MOST;
use crate::control;
use crate::error::CommandError;

/// The way that requests take.
pub(crate) enum To {
    /// To an actor, by a node of this process.
    Actor(JsonUpload),
    /// To the process that makes the call.
    Process(control::Requests),
}

/// Lines of stdin that are given to a call. Dropped, it gives no more, and the call is cancelled
/// unless all were given.
pub(crate) struct Giving {
    task: tokio::task::JoinHandle<()>,
    wrong: oneshot::Receiver<CommandError>,
}

impl Giving {
    /// Begins to read stdin.
    pub(crate) fn begin(to: To) -> Result<Self, CommandError> {
        let stdin = std::io::stdin().as_fd().try_clone_to_owned().map(File::from);
        let stdin = stdin.map_err(|error| unread(&error))?;
        let (tell, wrong) = oneshot::channel();
        let task = tokio::spawn(give(BufReader::new(ReadApart::new(stdin)), to, tell));
        Ok(Self { task, wrong })
    }

    /// Waits for what goes wrong with a request; for ever, where nothing does. May be dropped while
    /// it waits.
    pub(crate) async fn wrong(&mut self) -> CommandError {
        match (&mut self.wrong).await {
            Ok(error) => error,
            // It says so, or goes on.
            Err(_) => std::future::pending().await,
        }
    }
}

impl Drop for Giving {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Gives each line, then says that there are no more. Ends at what is wrong alone: what keeps the
/// call is dropped with the task.
async fn give(mut lines: BufReader<ReadApart>, mut to: To, tell: oneshot::Sender<CommandError>) {
    let mut number = 0_u64;
    loop {
        let request = next(&mut lines, &mut number).await;
        let given = match request {
            Ok(Some(json)) => to.put(json).await,
            Ok(None) => break,
            Err(error) => Err(error),
        };
        match given {
            Ok(true) => {}
            // The call is over, and its answers say why.
            Ok(false) => return std::future::pending().await,
            Err(error) => {
                // Said before the call is given up.
                let _ = tell.send(error);
                return;
            }
        }
    }
    let _kept = to.finish().await;
    // Until the call is over.
    std::future::pending().await
}

/// The next line that has something in it, which is JSON.
async fn next(
    lines: &mut BufReader<ReadApart>,
    number: &mut u64,
) -> Result<Option<String>, CommandError> {
    loop {
        let mut line = Vec::new();
        let read = lines.take(MESSAGE_MOST + 1).read_until(b'\n', &mut line).await;
        if read.map_err(|error| unread(&error))? == 0 {
            return Ok(None);
        }
        *number += 1;
        if line.len() as u64 > MESSAGE_MOST {
            return Err(CommandError::usage(
                format!("line {number} of stdin has more than {MESSAGE_MOST} bytes"),
                "what is larger is content: estafette send",
            ));
        }
        let text = line.trim_ascii();
        if text.is_empty() {
            continue;
        }
        let wrong = |why: String| {
            let hint = "each line is a request, in JSON: `jq -c .` makes one line of each value";
            CommandError::usage(format!("line {number} of stdin can't be sent: {why}"), hint)
        };
        let text =
            std::str::from_utf8(text).map_err(|error| wrong(format!("it is no JSON: {error}")))?;
        JsonRemote::check(text).map_err(wrong)?;
        return Ok(Some(text.to_owned()));
    }
}

fn unread(error: &std::io::Error) -> CommandError {
    let text = format!("stdin can't be read: {error}");
    CommandError::io(text, "pipe the requests in, one to a line")
}

impl To {
    /// Gives one more; waits while the actor takes none. Returns false if the call is over.
    async fn put(&mut self, json: String) -> Result<bool, CommandError> {
        match self {
            Self::Actor(upload) => match upload.send(&json).await {
                Ok(()) => Ok(true),
                Err(error) if error.kind == RemoteErrorKind::Unencodable => Err(error.into()),
                Err(_) => Ok(false),
            },
            Self::Process(requests) => Ok(requests.say(&control::Item::Json(json)).await.is_ok()),
        }
    }

    /// Says that there are no more. Returns what must be kept until the call is over.
    async fn finish(self) -> Option<control::Requests> {
        match self {
            Self::Actor(upload) => {
                upload.finish();
                None
            }
            Self::Process(mut requests) => {
                // Where it is gone, the answers say so.
                let _ = requests.say(&control::Item::Done).await;
                Some(requests)
            }
        }
    }
}
