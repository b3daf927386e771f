//! `estafette ask`, `tell`, `download`, `upload` and `open`: messages to actors of other nodes, as
//! JSON.

use std::io::Read;
use std::process::ExitCode;

use estafette::remote::JsonRemote;

use crate::arguments::{Ask, Global, Open};
use crate::call::{Broken, Call, Heard, MESSAGE_MOST, Way};
use crate::destination::Given;
use crate::error::{CommandError, ErrorKind};
use crate::line::{Line, explained};
use crate::output::Output;

pub(crate) async fn run(
    global: &Global,
    way: Way,
    options: &Ask,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    addressee(&options.to)?;
    let json = message(&options.content)?;
    let call = Call {
        way,
        to: options.to.clone(),
        message: options.message.name.clone(),
        version: options.message.version,
        json,
        within: options.within.map(millis),
    };
    talk(global, &call, output).await
}

/// The same, with a stream of requests.
pub(crate) async fn open(
    global: &Global,
    way: Way,
    options: &Open,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    addressee(&options.to)?;
    let call = Call {
        way,
        to: options.to.clone(),
        message: options.message.name.clone(),
        version: options.message.version,
        json: String::new(),
        within: options.within.map(millis),
    };
    talk(global, &call, output).await
}

fn millis(within: std::time::Duration) -> u64 {
    within.as_millis().try_into().unwrap_or(u64::MAX)
}

/// Makes a call, and prints what it ends in.
async fn talk(global: &Global, call: &Call, output: &Output) -> Result<ExitCode, CommandError> {
    let mut line = Line::open(global, call, output).await?;
    loop {
        match line.next().await {
            Ok(Some(Heard::Answer(json))) => {
                let printed = match output.answer(call, &json) {
                    Ok(text) => line.print(text).await,
                    Err(error) => Some(Err(error)),
                };
                match printed {
                    Some(Ok(())) => {}
                    Some(Err(error)) => {
                        line.close().await;
                        return unread(&error);
                    }
                    None => return Ok(line.leave(output).await),
                }
            }
            Ok(Some(Heard::Told)) => {
                // Whether it is read or not, it was handled.
                if let Ok(Some(text)) = output.told(call)
                    && line.print(text).await.is_none()
                {
                    return Ok(line.leave(output).await);
                }
            }
            Ok(Some(Heard::Begun | Heard::Description(_))) => {}
            Ok(None) => {
                line.close().await;
                return Ok(ExitCode::SUCCESS);
            }
            Err(Broken::Call(error)) => {
                let error = explained(&mut line, call, error).await;
                line.close().await;
                return Err(error);
            }
            Err(Broken::Line(error)) => {
                line.close().await;
                return Err(error);
            }
        }
    }
}

/// Whoever read the answers has gone: a pipe that ends, as behind `| head`, needs no word.
fn unread(error: &std::io::Error) -> Result<ExitCode, CommandError> {
    if error.kind() == std::io::ErrorKind::BrokenPipe {
        return Ok(ExitCode::from(ErrorKind::Io.exit_code()));
    }
    let text = format!("an answer could not be printed: {error}");
    Err(CommandError::io(text, "it was handled: look where stdout leads to"))
}

/// The actor that a call goes to.
pub(crate) fn addressee(to: &str) -> Result<Given, CommandError> {
    let named = to.split_once('/').filter(|(peer, name)| !peer.is_empty() && !name.is_empty());
    let (peer, name) = named.ok_or_else(|| {
        CommandError::usage(
            format!("{to:?} is no PEER/NAME: a peer, a slash, and the name of an actor there"),
            "`estafette trust list` prints the peers, `estafette describe PEER` the names",
        )
    })?;
    Ok(Given::Peer { peer: peer.into(), inbox: name.into() })
}

/// The message that was given: JSON.
pub(crate) fn message(given: &str) -> Result<String, CommandError> {
    let json = text(given)?;
    // Before anything is sent, so that nobody has to ask whether it was.
    JsonRemote::check(&json).map_err(|why| {
        let hint = "quote it for your shell: '{\"article\":\"tea\"}'; - reads it from stdin, @FILE \
                    from a file";
        CommandError::usage(format!("the message can't be sent: {why}"), hint)
    })?;
    Ok(json)
}

/// Returns what `-` stands for, the text on stdin, and `@FILE`, the text in a file.
fn text(given: &str) -> Result<String, CommandError> {
    let failed = |what: &str, error: std::io::Error| {
        let text = format!("the message could not be read from {what}: {error}");
        CommandError::io(text, "name the file that has it, @FILE, or pipe it in, -")
    };
    let mut text = String::new();
    if let Some(file) = given.strip_prefix('@') {
        let read = std::fs::File::open(file)
            .and_then(|file| file.take(MESSAGE_MOST + 1).read_to_string(&mut text));
        read.map_err(|error| failed(&format!("{file:?}"), error))?;
    } else if given == "-" {
        let read = std::io::stdin().take(MESSAGE_MOST + 1).read_to_string(&mut text);
        read.map_err(|error| failed("stdin", error))?;
    } else {
        given.clone_into(&mut text);
    }
    if text.len() as u64 > MESSAGE_MOST {
        return Err(CommandError::usage(
            format!("the message has more than {MESSAGE_MOST} bytes"),
            "what is larger is content: estafette send",
        ));
    }
    Ok(text)
}
