//! Reading and writing of what can only block, a file or a terminal, on threads where that blocks
//! nobody. Where the system gives none, it is an error: tokio's own threads for it panic.

use std::future::Future;
use std::io::{self, Read, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use estafette::node::blocking;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The most bytes that are read or written in one go.
const AT_ONCE: usize = 64 << 10;

type UnderWay<T> = Pin<Box<dyn Future<Output = io::Result<io::Result<T>>> + Send>>;

/// Reads a file that blocks.
pub(crate) struct ReadApart {
    file: Arc<std::fs::File>,
    /// The bytes that are read and not given on yet.
    read: io::Cursor<Vec<u8>>,
    under_way: Option<UnderWay<Vec<u8>>>,
}

impl ReadApart {
    pub(crate) fn new(file: std::fs::File) -> Self {
        Self { file: Arc::new(file), read: io::Cursor::default(), under_way: None }
    }
}

fn some_of(mut file: &std::fs::File) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; AT_ONCE];
    loop {
        match file.read(&mut bytes) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            read => {
                bytes.truncate(read?);
                return Ok(bytes);
            }
        }
    }
}

impl AsyncRead for ReadApart {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { file, read, under_way } = &mut *self;
        if read.position() == read.get_ref().len() as u64 {
            let more = under_way.get_or_insert_with(|| {
                let file = Arc::clone(file);
                Box::pin(blocking(move || some_of(&file)))
            });
            let more = ready!(more.as_mut().poll(context));
            *under_way = None;
            *read = io::Cursor::new(more??);
        }
        let count = read.read(into.initialize_unfilled())?;
        into.advance(count);
        Poll::Ready(Ok(()))
    }
}

/// Writes to what blocks: its own thread hears of an error with the next bytes, or the end.
#[derive(Default)]
pub(crate) struct StdoutApart {
    under_way: Option<UnderWay<()>>,
}

impl StdoutApart {
    fn poll_written(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(under_way) = &mut self.under_way else { return Poll::Ready(Ok(())) };
        let written = ready!(under_way.as_mut().poll(context));
        self.under_way = None;
        Poll::Ready(written.and_then(|written| written))
    }
}

impl AsyncWrite for StdoutApart {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_written(context))?;
        let bytes = bytes[..bytes.len().min(AT_ONCE)].to_vec();
        let count = bytes.len();
        self.under_way = Some(Box::pin(blocking(move || {
            let mut stdout = io::stdout().lock();
            stdout.write_all(&bytes).and_then(|()| stdout.flush())
        })));
        Poll::Ready(Ok(count))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_written(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.poll_flush(context)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use rustix::process::{Resource, Rlimit, getrlimit, getuid, setrlimit};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::turn::Place;

    #[tokio::test]
    async fn a_file_is_read_to_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let bytes: Vec<u8> = (0..3 * AT_ONCE + 17).map(|at| (at / 7) as u8).collect();
        std::fs::write(folder.path().join("file"), &bytes).unwrap();
        let file = std::fs::File::open(folder.path().join("file")).unwrap();
        let mut read = Vec::new();
        ReadApart::new(file).read_to_end(&mut read).await.unwrap();
        assert!(read == bytes);
    }

    /// Set for the program that has no threads left.
    const INSIDE: &str = "ESTAFETTE_NO_THREADS";
    /// Any but the superuser's, for whom there is no limit.
    const NOBODY: u32 = 65_534;

    async fn without_threads(folder: &std::path::Path) {
        std::fs::write(folder.join("file"), "content").unwrap();
        let file = std::fs::File::open(folder.join("file")).unwrap();
        let (place, mut stdout) = (Place::at(folder.join("turn")), StdoutApart::default());
        let maximum = getrlimit(Resource::Nproc).maximum;
        setrlimit(Resource::Nproc, Rlimit { current: Some(0), maximum }).unwrap();
        let read = ReadApart::new(file).read_to_end(&mut Vec::new()).await.unwrap_err();
        stdout.write_all(b"content").await.unwrap();
        let written = stdout.flush().await.unwrap_err();
        for error in [read, written] {
            assert!(error.to_string().contains("the system gives no thread"), "{error}");
        }
        let waited = place.wait().await.unwrap_err();
        assert!(waited.message.contains("the system gives no thread"), "{waited:?}");
    }

    /// The limit is one of all processes of a user, so the test runs in a program of its own.
    #[test]
    fn a_process_without_threads_says_so() {
        if let Some(folder) = std::env::var_os(INSIDE) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            return runtime.block_on(without_threads(folder.as_ref()));
        }
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("program");
        std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        let mut command = Command::new(&program);
        command
            .args(["--exact", "apart::tests::a_process_without_threads_says_so", "--nocapture"])
            .env(INSIDE, folder.path())
            .current_dir("/");
        if getuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let output = command.output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said);
        assert!(output.status.success() && said.contains("1 passed"), "{}: {said}", output.status);
    }
}
