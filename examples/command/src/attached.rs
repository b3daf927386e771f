//! `estafette send` where a process with the same spool runs, and so with the same key: that one
//! sends, this one watches.

use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use estafette::node::{Direction, Trust};
use tokio::time::Instant;

use crate::arguments::Global;
use crate::control::{Reply, Sending};
use crate::ending::{exit_code, finishing, unsure};
use crate::error::{CommandError, ErrorKind};
use crate::left_out::{DELIVERED, LeftOut};
use crate::monitor::{About, Monitor};
use crate::output::Output;
use crate::settings;
use crate::signals::Signals;

/// Longer than anybody waits: no signal has come yet.
pub(crate) const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);

/// The longest wait for the word of the other process that it has let go of it.
const LETS_GO_MOST: Duration = Duration::from_secs(10);

/// The outcome of a delivery by another process.
pub(crate) enum Attached {
    Ended(ExitCode),
    /// The process of this number is about to end, and has begun nothing of it.
    Stopping(u32),
}

pub(crate) async fn run(
    global: &Global,
    sending: Sending,
    signals: &mut Signals,
    output: &Output,
) -> Result<Attached, CommandError> {
    let (mut monitor, feed) = Monitor::fed(Trust::load(settings::store(global)?)?, output);
    let Sending { transfer, peer, pid, .. } = sending;
    let about = About { transfer, peer, direction: Direction::Outgoing };
    let left_out = Arc::<Mutex<LeftOut>>::default();
    let stopping = Arc::<AtomicBool>::default();
    let (noted, is_stopping) = (Arc::clone(&left_out), Arc::clone(&stopping));
    let mut asking = Some(sending.follow(move |reply| match reply {
        Reply::News(news) => feed.tell(about, news),
        Reply::LeftOut(left_out) => {
            *noted.lock().unwrap_or_else(PoisonError::into_inner) = left_out
        }
        Reply::Stopping => is_stopping.store(true, Ordering::Release),
        _ => {}
    }));
    let (mut asked, mut deadline) = (0, Instant::now() + NEVER);
    let ended = loop {
        tokio::select! {
            ended = monitor.next() => match ended {
                Some(ended) => break ended,
                None if stopping.load(Ordering::Acquire) && asked == 0 => return Ok(Attached::Stopping(pid)),
                None => return Err(left_alone(pid).about(transfer, peer)),
            },
            () = signals.next() => {
                asked += 1;
                match asked {
                    1 => {
                        output.remark(&finishing(global));
                        deadline = Instant::now() + global.drain.min(NEVER);
                    }
                    2 if asking.take().is_some() => deadline = Instant::now() + LETS_GO_MOST,
                    2 => {}
                    _ => return Err(unsure().about(transfer, peer)),
                }
            }
            () = tokio::time::sleep_until(deadline) => match asking.take() {
                Some(_) => deadline = Instant::now() + LETS_GO_MOST,
                None => return Err(has_it_still(pid).about(transfer, peer)),
            },
        }
    };
    let concluded = monitor.conclude(&ended);
    let left_out = std::mem::take(&mut *left_out.lock().unwrap_or_else(PoisonError::into_inner));
    left_out.tell((transfer, peer), DELIVERED, output);
    exit_code(&ended, concluded, &left_out, asked > 0).map(Attached::Ended)
}

/// A process that hangs is not waited for: whoever sends signals wants an end.
fn has_it_still(pid: u32) -> CommandError {
    let text = format!(
        "stopped by a signal; process {pid}, which sends it, does not say that it has let go of \
         it, and has it still"
    );
    CommandError::new(
        ErrorKind::Cancelled,
        text,
        "look why that process hangs: it lets go of it, or has delivered it, when it goes on",
    )
}

fn left_alone(pid: u32) -> CommandError {
    let text = format!("process {pid}, which sent it, has ended before it was delivered");
    CommandError::new(
        ErrorKind::Unreachable,
        text,
        "send again, by a node of its own or by one that runs then; the log of that one says more",
    )
}
