//! A call that the process with the spool makes for another one: one link for both of them.
//!
//! The connection stays until the call is over. Who asked cancels it by closing its side, be it
//! that it has died. Until then it may take an answer when it likes: its own reader may pause, and
//! what is not taken holds back the rest.

use std::io;
use std::time::Duration;

use estafette::remote::{JsonUpload, RemoteError};
use estafette::{Node, RemoteErrorKind};
use futures_util::{Stream, StreamExt, stream};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWrite};

use super::protocol::{Item, Reply, Request};
use super::saying::{say_within, working_within};
use super::sending::closed;
use crate::call::{Call, Heard};

/// For each line to be taken: as long as whoever asked is there.
const WHILE_THERE: Duration = Duration::MAX;

pub(super) async fn carry_out(
    node: &Node,
    call: &Call,
    mut asked: impl AsyncBufRead + Unpin,
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let made = tokio::select! {
        made = working_within(to, WHILE_THERE, call.make(node)) => made,
        // Nothing is sent before it is said that requests are taken.
        () = closed(&mut asked) => return Ok(()),
    };
    let mut answers = match made {
        Ok(answers) => answers,
        Err(error) => return say_within(to, WHILE_THERE, &Reply::CallFailed(error)).await,
    };
    let requests = answers.requests();
    if requests.is_some() {
        say_within(to, WHILE_THERE, &Reply::Heard(Heard::Begun)).await?;
    }
    let answers = stream::unfold(answers, |mut answers| async {
        answers.next().await.map(|heard| (heard, answers))
    });
    let unsent = tokio::select! {
        told = tell(answers, to) => return told,
        unsent = take(requests, asked) => unsent,
    };
    match unsent {
        Some(error) => say_within(to, WHILE_THERE, &Reply::CallFailed(error)).await,
        None => Ok(()),
    }
}

/// Gives the actor what whoever asked sends. Returns when they have closed their side, or with what
/// can't be sent.
async fn take(
    requests: Option<JsonUpload>,
    mut asked: impl AsyncBufRead + Unpin,
) -> Option<RemoteError> {
    if let Some(mut requests) = requests {
        loop {
            let mut line = Vec::new();
            let mut bounded = (&mut asked).take(Request::LIMIT);
            if !matches!(bounded.read_until(b'\n', &mut line).await, Ok(1..)) {
                return None;
            }
            match serde_json::from_slice(&line) {
                Ok(Item::Json(json)) => match requests.send(&json).await {
                    Ok(()) => {}
                    Err(error) if error.kind == RemoteErrorKind::Unencodable => return Some(error),
                    // The answers say why.
                    Err(_) => break,
                },
                Ok(Item::Done) => {
                    requests.finish();
                    break;
                }
                Err(error) => {
                    let text = format!("a request was not understood: {error}");
                    return Some(RemoteError::new(RemoteErrorKind::Unencodable, text));
                }
            }
        }
    }
    closed(&mut asked).await;
    None
}

/// Tells all of them, each as it comes.
async fn tell(
    answers: impl Stream<Item = Result<Heard, RemoteError>>,
    to: &mut (impl AsyncWrite + Unpin),
) -> io::Result<()> {
    let mut answers = std::pin::pin!(answers);
    loop {
        let reply = match working_within(to, WHILE_THERE, answers.next()).await {
            Some(Ok(heard)) => Reply::Heard(heard),
            Some(Err(error)) => Reply::CallFailed(error),
            None => Reply::Done,
        };
        say_within(to, WHILE_THERE, &reply).await?;
        if !matches!(reply, Reply::Heard(_)) {
            return Ok(());
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::BufReader;
    use tokio::net::UnixStream;
    use tokio::time::sleep;

    use super::*;

    /// The clock stands still but while all wait: the pauses take no time.
    #[tokio::test(start_paused = true)]
    async fn who_pauses_hears_all_answers_and_each_on_its_line() {
        const ANSWERS: usize = 3000;
        let (mut here, there) = UnixStream::pair().unwrap();
        let answers = stream::iter(0..ANSWERS).then(|number| async move {
            // The node says that it works on some.
            sleep(Duration::from_secs((number % 1000 == 999).into()) * 5).await;
            Ok(Heard::Answer(format!("{number}{}", " ".repeat(1000))))
        });
        let read = async {
            let (mut lines, mut heard) = (BufReader::new(there).lines(), 0);
            loop {
                let line = lines.next_line().await.unwrap().unwrap();
                match serde_json::from_str(&line).unwrap() {
                    Reply::Heard(Heard::Answer(answer)) => {
                        assert_eq!(answer.trim(), heard.to_string());
                        heard += 1;
                    }
                    Reply::Working => {}
                    Reply::Done => break heard,
                    other => panic!("{other:?}"),
                }
                // Longer than anybody else is waited for, with more to come than the socket holds.
                if heard % 1000 == 1 {
                    sleep(Duration::from_secs(3600)).await;
                }
            }
        };
        let tell = async move {
            let told = tell(answers, &mut here).await;
            // Whoever still reads hears that no more comes.
            drop(here);
            told
        };
        let (told, heard) = tokio::join!(tell, read);
        assert_eq!((told.unwrap(), heard), ((), ANSWERS));
    }
}
