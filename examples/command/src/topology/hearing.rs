//! All that the process of a node says, and how it ends.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::Child;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::child::Said;

/// The longest line of a process that is read whole, in bytes.
const LINE_MOST: u64 = 1 << 20;
/// The time for what a process has said last: something that it started may hold its output open for
/// as long as it likes.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// Hears all that a process says, and then how it ended. It is reaped at once when it ends.
pub(super) async fn hear(name: String, mut child: Child, said: mpsc::Sender<(String, Said)>) {
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let out = async {
        if let Some(stdout) = stdout {
            forward(&name, stdout, false, &said).await;
        }
    };
    let log = async {
        if let Some(stderr) = stderr {
            forward(&name, stderr, true, &said).await;
        }
    };
    let mut lines = Box::pin(async { tokio::join!(out, log) });
    let ended = tokio::select! {
        ended = child.wait() => {
            // Its number may be another one's from here on. Whoever listens may be gone.
            let _ = said.send((name.clone(), Said::Gone)).await;
            let _ = timeout(LAST_WORDS, lines.as_mut()).await;
            ended
        }
        _ = lines.as_mut() => child.wait().await,
    };
    drop(lines);
    let ended = ended.ok();
    // One that has not come so far as to hear it has begun nothing that could be cut off.
    let by_term = |status: &ExitStatus| status.signal() == Some(Signal::TERM.as_raw());
    let begun = ended.filter(|status| !by_term(status));
    let code = begun.map_or_else(|| ended.map(|_| 0), |status| status.code());
    // Whoever listens may be gone.
    let _ = said.send((name, Said::Ended(code))).await;
}

/// Hands on each line, until there are no more.
async fn forward(
    name: &str,
    from: impl tokio::io::AsyncRead + Unpin,
    from_log: bool,
    said: &mpsc::Sender<(String, Said)>,
) {
    let mut from = BufReader::new(from);
    loop {
        let mut line = Vec::new();
        // A longer one is told in pieces.
        let read = (&mut from).take(LINE_MOST).read_until(b'\n', &mut line).await;
        if !matches!(read, Ok(1..)) {
            return;
        }
        let text = String::from_utf8_lossy(&line).trim_end_matches('\n').to_owned();
        if said.send((name.to_owned(), Said::Line { from_log, text })).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use tokio::process::Command;

    use super::*;

    #[tokio::test]
    async fn one_that_ends_is_reaped_though_what_it_has_started_holds_its_output() {
        let mut shell = Command::new("sh");
        shell.args(["-c", "sleep 600 & echo $!; exit 3"]).kill_on_drop(true);
        let child = shell.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (said, mut heard) = mpsc::channel(8);
        let hears = tokio::spawn(hear("lyon".into(), child, said));
        let (mut lines, mut is_gone) = (Vec::new(), false);
        let code = loop {
            match heard.recv().await.unwrap().1 {
                Said::Line { text, .. } => lines.push(text),
                Said::Gone => is_gone = true,
                Said::Ended(code) => break code,
                _ => panic!("it says nothing else"),
            }
        };
        hears.await.unwrap();
        assert_eq!((code, is_gone, lines.len()), (Some(3), true, 1));
        // It runs on, and had the output until here.
        let holds = rustix::process::Pid::from_raw(lines[0].parse().unwrap()).unwrap();
        rustix::process::kill_process(holds, Signal::KILL).unwrap();
    }
}
