//! A call on its way to another node, and what comes back.

use std::process::ExitCode;

use estafette::RemoteErrorKind;
use estafette::remote::RemoteError;

use crate::arguments::Global;
use crate::call::{Answers, Broken, Call, Heard};
use crate::control::Talk;
use crate::destination::Given;
use crate::error::{CommandError, ErrorKind};
use crate::output::{Output, print_apart};
use crate::requests::{Giving, To};
use crate::signals::Signals;
use crate::turn::{Place, Turn};
use crate::{control, instead, settings};

/// The way to another node: by a node that runs with this key, or by one of this command.
pub(crate) struct Line<'a> {
    global: &'a Global,
    signals: Signals,
    by: By,
    /// Requests on their way to it.
    giving: Option<Giving>,
}

enum By {
    Running(Talk),
    Alone(Box<Alone>),
}

struct Alone {
    node: estafette::Node,
    answers: Result<Answers, Option<RemoteError>>,
    _turn: Option<Turn>,
}

impl<'a> Line<'a> {
    /// Makes a call.
    pub(crate) async fn open(
        global: &'a Global,
        call: &Call,
        output: &Output,
    ) -> Result<Self, CommandError> {
        let mut signals = Signals::new()?;
        loop {
            // A second node with this key would take the place of its links, and it of ours.
            if let Some(talk) = control::call_by_running(global, call).await? {
                return Ok(Self { global, signals, by: By::Running(talk), giving: None });
            }
            let (peer, name) = call.to.split_once('/').unwrap_or((&call.to, "estafette"));
            let given = Given::Peer { peer: peer.into(), inbox: name.into() };
            let turn = match Place::new(global, &given)? {
                None => None,
                Some(place) => match place.take()? {
                    Some(turn) => Some(turn),
                    None => {
                        output.remark(
                            "another command is linked with it by this key: waiting for its end; \
                             `estafette node`, running with this key, does several at once",
                        );
                        tokio::select! {
                            waited = place.wait() => { waited?; continue }
                            () = signals.next() => return Err(not_sent()),
                        }
                    }
                },
            };
            let node = settings::node(global, None)?.name(settings::default_name()).start().await?;
            let mut answers = tokio::select! {
                answers = call.make(&node) => answers,
                () = signals.next() => {
                    node.stop().await;
                    return Err(stopped());
                }
            };
            let requests = answers.as_mut().ok().and_then(Answers::requests);
            let alone = Alone { node, answers: answers.map_err(Some), _turn: turn };
            let giving = requests.map(|requests| Giving::begin(To::Actor(requests))).transpose()?;
            return Ok(Self { global, signals, by: By::Alone(Box::new(alone)), giving });
        }
    }

    /// The next part of the answer; `None` at its end.
    pub(crate) async fn next(&mut self) -> Result<Option<Heard>, Broken> {
        let next = async {
            match &mut self.by {
                By::Running(talk) => talk.next().await,
                By::Alone(alone) => match &mut alone.answers {
                    Ok(answers) => answers.next().await.transpose().map_err(Broken::Call),
                    Err(error) => error.take().map_or(Ok(None), |error| Err(Broken::Call(error))),
                },
            }
        };
        let wrong = async {
            match &mut self.giving {
                Some(giving) => giving.wrong().await,
                None => std::future::pending().await,
            }
        };
        let next = tokio::select! {
            biased;
            // What is wrong with a request ends the call: that its answers end, too, says less.
            wrong = wrong => Err(Broken::Line(wrong)),
            () = self.signals.next() => Err(Broken::Line(stopped())),
            next = next => next,
        };
        if let (Ok(Some(Heard::Begun)), By::Running(talk)) = (&next, &mut self.by)
            && let Some(requests) = talk.requests()
        {
            self.giving = Some(Giving::begin(To::Process(requests)).map_err(Broken::Line)?);
        }
        next
    }

    /// The whole answer of one more call, which has one.
    async fn also(&mut self, call: &Call) -> Result<Heard, Broken> {
        let made = async {
            match &self.by {
                By::Running(_) => {
                    let talk = control::call_by_running(self.global, call).await;
                    let nobody = || CommandError::cancelled("the node that ran has ended");
                    let mut talk =
                        talk.and_then(|talk| talk.ok_or_else(nobody)).map_err(Broken::Line)?;
                    talk.next().await
                }
                By::Alone(alone) => {
                    let mut answers = call.make(&alone.node).await.map_err(Broken::Call)?;
                    answers.next().await.transpose().map_err(Broken::Call)
                }
            }
        };
        tokio::select! {
            made = made => made?.ok_or_else(|| Broken::Line(CommandError::cancelled("no answer"))),
            () = self.signals.next() => Err(Broken::Line(stopped())),
        }
    }

    /// Prints on stdout, whose reader may pause; `None` if a signal comes first.
    pub(crate) async fn print(&mut self, text: String) -> Option<std::io::Result<()>> {
        tokio::select! {
            printed = print_apart(text) => Some(printed),
            () = self.signals.next() => None,
        }
    }

    /// Ends it while stdout takes nothing: so with `--json` nothing can be said of it.
    pub(crate) async fn leave(self, output: &Output) -> ExitCode {
        self.close().await;
        if !output.json {
            let text = "stopped by a signal before what was answered could be printed";
            let hint = "it was handled: look where stdout leads to";
            output.error(&CommandError::new(ErrorKind::Cancelled, text, hint));
        }
        ExitCode::from(ErrorKind::Cancelled.exit_code())
    }

    /// Ends it: what is not over is cancelled.
    pub(crate) async fn close(self) {
        if let By::Alone(alone) = self.by {
            let Alone { node, answers, _turn } = *alone;
            drop(answers);
            node.stop().await;
        }
    }
}

fn not_sent() -> CommandError {
    let text = "stopped by a signal while another command had its turn: nothing was sent";
    CommandError::new(ErrorKind::Cancelled, text, "start it again")
}

fn stopped() -> CommandError {
    let text =
        "stopped by a signal before there was an answer: whether it was handled is not known";
    CommandError::new(ErrorKind::Cancelled, text, "ask again only what may be done twice")
}

/// The error, with what there is to be sent to where it was something else.
pub(crate) async fn explained(
    line: &mut Line<'_>,
    call: &Call,
    error: RemoteError,
) -> CommandError {
    use RemoteErrorKind::{NoSuchMessage, NoSuchName, VersionMismatch};
    let is_unknown = matches!(error.kind, NoSuchName | NoSuchMessage | VersionMismatch);
    let kind = error.kind;
    let mut told = CommandError::from(error);
    let peer = call.to.split('/').next().unwrap_or_default();
    if is_unknown && let Ok(Heard::Description(there)) = line.also(&Call::describe(peer)).await {
        told.hint = instead::instead(call, kind, &there);
    }
    told
}
