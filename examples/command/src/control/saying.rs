//! Lines of answers, said to who may take long to hear them.

use std::io;
use std::time::Duration;

use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::time::timeout;

use super::protocol::Reply;

/// For each line of the answer to be taken.
const LINE_MOST: Duration = Duration::from_secs(10);
/// So often it is said that an answer is worked on: more often than who waits for one loses
/// patience.
pub(super) const WORKING: Duration = Duration::from_secs(1);

/// Works on it, and says so now and then: a process that says nothing is taken for one that hangs.
pub(super) async fn working<T>(
    to: &mut (impl AsyncWriteExt + Unpin),
    work: impl Future<Output = T>,
) -> T {
    working_within(to, LINE_MOST, work).await
}

/// The same, with as long for each line to be taken.
pub(super) async fn working_within<T>(
    to: &mut (impl AsyncWriteExt + Unpin),
    limit: Duration,
    work: impl Future<Output = T>,
) -> T {
    let (mut work, mut hears) = (std::pin::pin!(work), true);
    loop {
        match timeout(WORKING, &mut work).await {
            Ok(done) => return done,
            // What was asked for is done, even if nobody waits for the word of it any more.
            Err(_) => hears = hears && say_within(to, limit, &Reply::Working).await.is_ok(),
        }
    }
}

/// Says it, as a line of JSON.
pub(super) async fn say(
    to: &mut (impl AsyncWriteExt + Unpin),
    what: &impl Serialize,
) -> io::Result<()> {
    say_within(to, LINE_MOST, what).await
}

/// Says it to somebody who may take so long to hear it.
pub(super) async fn say_within(
    to: &mut (impl AsyncWriteExt + Unpin),
    limit: Duration,
    what: &impl Serialize,
) -> io::Result<()> {
    let mut line = serde_json::to_vec(what).map_err(io::Error::other)?;
    line.push(b'\n');
    timeout(limit, to.write_all(&line)).await?
}
