//! The content to send: paths, read as a person wants it, or a stream.

use std::fs::File;
use std::io::{self, IsTerminal, PipeReader, PipeWriter};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use estafette::pipeline::Source;
use estafette_actors::source::{self, ReadFirst, ReadOptions, ReaderSource, from_paths_with};
use rustix::fs::{Mode, OFlags};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use crate::apart::ReadApart;
use crate::arguments::{Links, Reading};
use crate::error::CommandError;
use crate::limited::Limited;
use crate::output::{self, Output};
use crate::pieces::{self, Pieces};
use crate::settings;
use crate::streams::was_closed;

impl Reading {
    fn options(&self) -> ReadOptions {
        let links = match self.links {
            Links::Keep => source::Links::Keep,
            Links::Skip => source::Links::Skip,
            Links::Follow => source::Links::Follow,
        };
        let options = ReadOptions::default().links(links).xattrs(self.xattrs);
        let options = self.called.iter().fold(options, ReadOptions::name);
        self.exclude.iter().fold(options, ReadOptions::exclude)
    }

    /// Tells of patterns that fit nothing here, as far as that is seen from their beginnings:
    /// those that begin with the path, or the name, of what is sent.
    pub(crate) fn remark_on_patterns(&self, paths: &[PathBuf], output: &Output) {
        let is_there = |first: &str| {
            // A folder among several is at the top itself.
            let named = |path: &Path| path.file_name().is_some_and(|name| name == first);
            paths.iter().any(|path| path.join(first).symlink_metadata().is_ok())
                || (paths.len() > 1 && paths.iter().any(|path| named(path)))
        };
        for pattern in &self.exclude {
            let path = pattern.trim_start_matches("./").trim_matches('/');
            let is_of_paths =
                ["/", "./"].iter().any(|start| pattern.starts_with(start)) || path.contains('/');
            let first = path.split('/').next().unwrap_or_default();
            if is_of_paths && !first.contains(['*', '?']) && !is_there(first) {
                output.remark(&format!(
                    "nothing is left out by --exclude {pattern}: a pattern with a / begins at \
                     the top of what is sent, where there is no {first}"
                ));
            }
        }
    }

    /// The source that these paths are.
    pub(crate) fn open(&self, paths: &[PathBuf]) -> Result<Box<dyn Source>, CommandError> {
        let called = |name| self.called.as_ref().unwrap_or(name);
        match (&self.stream, &self.pieces, paths) {
            (Some(name), _, [path]) => open_stream(path, called(name)),
            (_, Some(name), [path]) => open_pieces(path, called(name)),
            _ => Ok(from_paths_with(paths, &self.options())?),
        }
    }

    /// Tells of what is no files.
    pub(crate) fn is_stream(&self) -> bool {
        self.stream.is_some() || self.pieces.is_some()
    }

    /// The source as it is sent: read beforehand, if that is wanted, and no faster than it may be.
    /// Reading ends when this is dropped.
    pub(crate) async fn prepare(
        &self,
        mut source: Box<dyn Source>,
    ) -> Result<Box<dyn Source>, CommandError> {
        if self.skip_existing {
            source = Box::new(read_first(source).await?);
        }
        Ok(match self.limit {
            Some(rate) => Box::new(Limited::new(source, rate)),
            None => source,
        })
    }
}

/// Reads a source where that may block, until it is read or nobody waits for it any more.
async fn read_first(source: Box<dyn Source>) -> Result<ReadFirst<Box<dyn Source>>, CommandError> {
    let (waiting, mut gone) = oneshot::channel::<()>();
    let runtime = tokio::runtime::Handle::current();
    let reading = estafette::node::blocking(move || {
        runtime.block_on(async {
            tokio::select! {
                biased;
                _ = &mut gone => None,
                read = ReadFirst::new(source) => Some(read),
            }
        })
    });
    let read = reading.await.map_err(|error| CommandError::io(error, "the log (-v) says more"))?;
    drop(waiting);
    Ok(read.ok_or_else(|| CommandError::cancelled("nobody waits for it any more"))??)
}

/// The number of an open stream that `-`, or what a shell makes of `<(command)`, stands for. A pipe
/// that lies in a folder is none.
pub(crate) fn stream(paths: &[PathBuf]) -> Result<Option<u32>, CommandError> {
    let [path] = paths else {
        return match paths.iter().any(|path| path.as_os_str() == "-") {
            true => Err(CommandError::usage(
                "`-`, a stream, is sent alone",
                "send it and the files one after the other; a file called - is ./-",
            )),
            false => Ok(None),
        };
    };
    let text = path.to_string_lossy();
    let number = match &*text {
        "-" if was_closed(io::stdin()) => {
            return Err(CommandError::usage(
                "stdin is closed, so that there is nothing to send",
                "pipe it in: cat FILE | estafette send - TICKET; nothing at all is `< /dev/null`",
            ));
        }
        "-" => return Ok(Some(0)),
        "/dev/stdin" => Some(0),
        text => text
            .strip_prefix("/dev/fd/")
            .or_else(|| text.strip_prefix("/proc/self/fd/"))
            .and_then(|number| number.parse().ok()),
    };
    let is_stream =
        |path: &Path| path.metadata().is_ok_and(|there| !there.is_file() && !there.is_dir());
    Ok(number.filter(|_| is_stream(path)))
}

/// The place of a stream that is open here, for whichever process reads it.
pub(crate) enum HandedOver {
    AsItIs(PathBuf),
    /// Moved by this process, as [`pieces`] has it.
    InPieces(PathBuf),
}

/// Returns where a stream that is open here can be read.
pub(crate) fn handed_over(number: u32) -> Result<HandedOver, CommandError> {
    /// The place to read stdin from once it is moved: a node that runs is asked first, and then it
    /// may be this process that sends it.
    static MOVED: OnceLock<PathBuf> = OnceLock::new();
    let own = |number: i64| PathBuf::from(format!("/proc/{}/fd/{number}", std::process::id()));
    if let Some(path) = MOVED.get().filter(|_| number == 0) {
        return Ok(HandedOver::InPieces(path.clone()));
    }
    let path = own(number.into());
    if number != 0 || opens_again(&path) {
        return Ok(HandedOver::AsItIs(path));
    }
    let failed = |error: io::Error| {
        CommandError::io(
            format!("stdin can't be read: {error}"),
            "pipe it in: cat | estafette send - TICKET",
        )
    };
    let (reading, writing) = io::pipe().map_err(failed)?;
    let path = own(reading.as_raw_fd().into());
    std::thread::Builder::new()
        .name("stdin".into())
        .spawn(move || pump(writing, reading))
        .map_err(failed)?;
    Ok(HandedOver::InPieces(MOVED.get_or_init(|| path).clone()))
}

/// Tells of a stdin that, opened a second time, is the same at the same place. A socket can't be
/// opened, nor may be a pipe that another user has made (`sudo -u`), and a file would begin anew.
fn opens_again(path: &Path) -> bool {
    let is_begun = rustix::fs::tell(io::stdin()).is_ok_and(|at| at > 0);
    !is_begun && rustix::fs::open(path, READING, Mode::empty()).is_ok()
}

/// Moves stdin into a pipe, whose other end stays open as long.
fn pump(writing: PipeWriter, reading: PipeReader) {
    if let Err(error) = pieces::write(io::stdin().lock(), writing) {
        tracing::warn!(%error, "nobody takes what is read from stdin");
    }
    // Nothing else may get the number of the other end: it may be opened yet.
    std::mem::forget(reading);
}

/// The flags to open a stream with. Without NONBLOCK, opening a pipe whose writer has gone would wait for
/// another one.
const READING: OFlags =
    OFlags::RDONLY.union(OFlags::NONBLOCK).union(OFlags::NOCTTY).union(OFlags::CLOEXEC);

/// Opens a pipe by which a stream comes in pieces.
fn open_pieces(path: &Path, name: &str) -> Result<Box<dyn Source>, CommandError> {
    let failed = |error| unreadable(path, &error);
    let pipe = pipe::Receiver::from_file(open(path)?).map_err(failed)?;
    Ok(Box::new(ReaderSource::new(name, Pieces::new(pipe))?))
}

fn open(path: &Path) -> Result<File, CommandError> {
    match rustix::fs::open(path, READING, Mode::empty()) {
        Ok(file) => Ok(file.into()),
        Err(error) => Err(unreadable(path, &error.into())),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> CommandError {
    CommandError::io(
        format!("{} can't be read: {error}", settings::shown(path)),
        "keep the command that reads it running until it is sent",
    )
}

fn open_stream(path: &Path, name: &str) -> Result<Box<dyn Source>, CommandError> {
    let failed = |error| unreadable(path, &error);
    let file = open(path)?;
    if file.metadata().map_err(failed)?.file_type().is_fifo() {
        return Ok(Box::new(ReaderSource::new(
            name,
            pipe::Receiver::from_file(file).map_err(failed)?,
        )?));
    }
    rustix::fs::fcntl_setfl(file.as_fd(), OFlags::empty()).map_err(|error| failed(error.into()))?;
    if file.is_terminal() {
        output::prompt("What is to be sent, then Ctrl-D:");
    }
    Ok(Box::new(ReaderSource::new(name, ReadApart::new(file))?))
}
