//! The end of a call by its time, or with its token.

use bytes::Bytes;
use estafette::remote::Handled;
use futures_util::future::BoxFuture;
use futures_util::stream::{BoxStream, StreamExt};
use tonic::{Code, Status};

use super::deadline::Deadline;
use super::naming::Naming;
use super::status::{self, not_handled};
use crate::Refusal;

/// The answers to a call, and its status.
pub(super) type Answers = BoxStream<'static, Result<Bytes, Status>>;

/// The outcome, within the time of the call; else that this is over, and nothing was handled.
pub(super) async fn within<T>(
    deadline: Option<Deadline>,
    work: impl Future<Output = T>,
) -> Result<T, Status> {
    tokio::select! {
        biased;
        done = work => Ok(done),
        () = Deadline::passed(deadline) => Err(over()),
    }
}

fn over() -> Status {
    not_handled(Code::DeadlineExceeded, "DEADLINE", "the time of the call is over")
}

/// Answers until the time of the call is over, or its token is none any more: what was done stays
/// done.
pub(super) fn in_time(answers: Answers, naming: &Naming) -> Answers {
    let (tokens, pass) = (naming.access.tokens().clone(), naming.pass.clone());
    until(answers, naming.deadline, Box::pin(async move { tokens.ended(&pass).await }))
}

/// The same, where somebody else says that the token has ended, or nobody.
pub(super) fn until(
    answers: Answers,
    deadline: Option<Deadline>,
    ended: BoxFuture<'static, Refusal>,
) -> Answers {
    let end = async move {
        Err(tokio::select! {
            biased;
            refusal = ended => no_longer(refusal),
            () = Deadline::passed(deadline) => status::after(&over(), Handled::Unknown),
        })
    };
    crate::ending::until(answers, end).boxed()
}

/// The status of a call whose token is none any more: what was done stays done.
pub(super) fn no_longer(refusal: Refusal) -> Status {
    status::after(&status::refused(refusal), Handled::Unknown)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test that fails says so")]

    use std::time::Duration;

    use futures_util::future::{pending, ready};
    use futures_util::stream::repeat;
    use tokio::task::yield_now;
    use tokio::time::sleep;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_stream_ends_with_its_token_and_its_time_whether_it_is_quiet_or_never_is() {
        let quiet = || futures_util::stream::pending().boxed();
        let busy = || repeat(Bytes::new()).then(async |one| Ok((yield_now().await, one).1)).boxed();
        let deadline = || {
            let headers = [(http::HeaderName::from_static("grpc-timeout"), "1S".parse().unwrap())];
            Deadline::of(&headers.into_iter().collect()).unwrap()
        };
        let later = async {
            sleep(Duration::from_secs(5)).await;
            Refusal::Expired
        };
        for (mut answers, code) in [
            (until(quiet(), None, Box::pin(later)), Code::Unauthenticated),
            (until(busy(), None, Box::pin(ready(Refusal::Unknown))), Code::Unauthenticated),
            (until(quiet(), deadline(), Box::pin(pending())), Code::DeadlineExceeded),
        ] {
            let status = loop {
                if let Err(status) = answers.next().await.unwrap() {
                    break status;
                }
            };
            assert_eq!(status.code(), code, "{status}");
            assert_eq!(status.metadata().get(crate::HANDLED).unwrap(), "unknown");
            assert!(answers.next().await.is_none());
        }
        assert_eq!(within(deadline(), ready(7)).await.unwrap(), 7);
        let late = within(deadline(), pending::<()>()).await.unwrap_err();
        assert_eq!(late.code(), Code::DeadlineExceeded);
    }
}
