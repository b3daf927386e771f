//! `estafette webhook`: what waits to be posted, or is dead; and `node --webhook`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::slice::from_ref;

use estafette::Node;
use estafette_doors::{
    Disabled, Kept, KeptError, KeptMessage, KeptState, OpenWebhook, Rests, WebhookError,
    unopened_webhooks, webhook_folder, webhooks_of,
};

use crate::arguments::{Global, Posting, Webhook as Action};
use crate::error::{CommandError, ErrorKind};
use crate::event::{
    Event, Held, OfWebhook, Retried, Webhook, WebhookEnabled, WebhookMessage, WebhookOpen,
};
use crate::output::Output;
use crate::settings;
use crate::table::table;
use crate::units::{moment, now, printable};

const LIST: &str = "`estafette webhook list` prints those that there are";
const NOBODY: &str = "nobody posts it: no process has opened this webhook; `estafette node --webhook`, or a \
                      door of that name in a topology, does";

pub(crate) fn run(
    global: &Global,
    action: &Action,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let key = settings::key_path(global)?;
    match action {
        Action::List { name } => list(&key, name.as_deref(), output)?,
        Action::Show { id } => {
            let (name, kept) = of(&key, id)?;
            let (message, state) = (kept.message(id)?, State::of(&kept)?);
            tell(&name, &message, &state, output);
            output.result(&details(&name, &message, &state));
        }
        Action::Retry { id, dead } => {
            if let Some(id) = id {
                let (name, kept) = of(&key, id)?;
                let before = State::of(&kept)?;
                kept.retry(id)?;
                tell_of_retried(&name, from_ref(id), (&before, &State::of(&kept)?), output);
            }
            if let Some(name) = dead {
                let kept = named(&key, name)?;
                let before = State::of(&kept)?;
                let retried = kept.retry_dead().map_err(unread)?;
                tell_of_retried(name, &retried, (&before, &State::of(&kept)?), output);
            }
        }
        Action::Drop { id } => {
            let (name, kept) = of(&key, id)?;
            kept.drop_message(id)?;
            output.event(&Event::WebhookDropped(OfWebhook { webhook: &name, id }));
            output.result(&format!("{id} is forgotten"));
        }
        Action::Enable { name } => {
            let kept = named(&key, name)?;
            let before = State::of(&kept)?;
            let was_disabled = kept.enable().map_err(unread)?;
            output.event(&Event::WebhookEnabled(WebhookEnabled { name, was_disabled }));
            let shown = printable(name);
            output.result(&match (was_disabled, before.is_open) {
                (true, true) => format!("{shown} posts again"),
                (true, false) => format!("{shown} is enabled, and {NOBODY}"),
                (false, _) => format!("{shown} was not disabled"),
            });
            tell_of_end(name, &before, output);
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(key: &std::path::Path, name: Option<&str>, output: &Output) -> Result<(), CommandError> {
    let names = match name {
        Some(name) => vec![name.to_owned()],
        None => webhooks_of(key).map_err(unread)?,
    };
    if names.is_empty() {
        output.remark("this node has posted nothing yet: `estafette node --webhook` does");
    }
    let mut rows = Vec::new();
    for name in names {
        let kept = named(key, &name)?;
        let (messages, state) = (kept.messages().map_err(unread)?, State::of(&kept)?);
        let dead = messages.iter().filter(|message| message.state == KeptState::Dead).count();
        tell_of_webhook(&name, (messages.len() - dead, dead), &state, output);
        for message in &messages {
            tell(&name, message, &state, output);
            rows.push(row(&name, message, &state));
        }
    }
    if !rows.is_empty() {
        output.result(&table(["id", "webhook", "type", "state", "tries", "next"], &[4], &rows));
    }
    Ok(())
}

/// Tells how a webhook is, and what keeps it from posting.
fn tell_of_webhook(name: &str, (waiting, dead): (usize, usize), state: &State, output: &Output) {
    let State { disabled, rests, is_open: open, .. } = state;
    let (disabled, until) =
        (disabled.as_ref().map(|it| it.why.as_str()), rests.as_ref().map(|rests| rests.until));
    output.event(&Event::Webhook(Webhook {
        name,
        waiting,
        dead,
        disabled,
        rests: until,
        open: *open,
    }));
    let name = printable(name);
    if let Some(why) = disabled {
        output.remark(&format!(
            "{name} is disabled: {}; `estafette webhook enable {name}` has it post again",
            printable(why)
        ));
    }
    if let Some(Rests { until, why, .. }) = rests {
        output.remark(&format!(
            "{name} rests, as its receiver asked: {1}; that ends {0}, or by `estafette webhook retry`",
            moment(*until, now()),
            printable(why)
        ));
    }
    if waiting > 0 && !open {
        output.remark(&format!("what waits for {name} stays: {NOBODY}"));
    }
}

/// Tells that messages are posted again, or what has to be done for it.
fn tell_of_retried(name: &str, ids: &[String], (before, after): (&State, &State), output: &Output) {
    let shown = printable(name);
    for id in ids {
        output.event(&Event::WebhookRetried(Retried { webhook: name, id, held: after.held() }));
        output.result(&match (after.held(), &after.disabled) {
            (None, _) => format!("{id} is posted again"),
            (Some(Held::NotOpen), _) => format!("{id} is to be posted again, and {NOBODY}"),
            (_, Some(Disabled { why, .. })) => format!(
                "{id} is posted again once {shown} is enabled (`estafette webhook enable {shown}`): \
                 it is disabled: {}",
                printable(why)
            ),
            _ => format!("{id} is posted again after the rest that its receiver has just asked for"),
        });
    }
    if !ids.is_empty() {
        tell_of_end(name, before, output);
    }
}

/// Tells that a rest is ended, so that all is posted that waited for its end alone.
fn tell_of_end(name: &str, before: &State, output: &Output) {
    if before.rests.is_some() {
        let name = printable(name);
        output.remark(&format!("the rest of {name} is ended: all that is due there is posted"));
    }
}

fn row(name: &str, message: &KeptMessage, state: &State) -> ([String; 6], Option<String>) {
    let next = next(message, state).unwrap_or_default();
    let cells = [
        message.id.clone(),
        printable(name),
        printable(&message.message),
        word(message.state).to_owned(),
        message.tries.to_string(),
        next,
    ];
    (cells, message.why.as_ref().map(|why| printable(why)))
}

/// The time of a message's next try, or what keeps it; `None` if it is dead.
fn next(message: &KeptMessage, state: &State) -> Option<String> {
    let is_waiting = message.state != KeptState::Dead;
    is_waiting.then(|| match state.held_of(message) {
        Some(Held::NotOpen) => "nobody posts it".into(),
        Some(Held::Disabled) => "once enabled".into(),
        Some(Held::Behind) => {
            format!("behind {}", state.first.as_deref().unwrap_or_default())
        }
        Some(Held::Rests) | None => moment(message.next.max(now()), now()),
    })
}

const fn word(state: KeptState) -> &'static str {
    match state {
        KeptState::Dead => "dead",
        _ => "waiting",
    }
}

fn tell(name: &str, message: &KeptMessage, state: &State, output: &Output) {
    output.event(&Event::WebhookMessage(WebhookMessage {
        webhook: name,
        id: &message.id,
        from: &message.from,
        message: &message.message,
        version: message.version,
        state: word(message.state),
        created: message.created,
        tries: message.tries,
        next: message.next,
        held: state.held_of(message).filter(|_| message.state != KeptState::Dead),
        last: message.last,
        status: message.status,
        why: message.why.as_deref(),
        bytes: message.bytes,
        body: message.body.as_deref(),
    }));
}

fn details(name: &str, message: &KeptMessage, state: &State) -> String {
    let at = |time| moment(time, now());
    let mut lines = vec![
        format!("id        {}", message.id),
        format!("webhook   {}", printable(name)),
        format!("type      {} {}", printable(&message.message), message.version),
        format!("from      {}", message.from),
        format!("came      {}", at(message.created)),
        format!("state     {}", word(message.state)),
        format!("tries     {}", message.tries),
    ];
    lines.extend(message.last.map(|last| format!("tried     {}", at(last))));
    lines.extend(next(message, state).map(|next| format!("next      {next}")));
    lines.extend(message.why.as_ref().map(|why| format!("because   {}", printable(why))));
    lines.extend(message.body.as_ref().map(|body| format!("message   {}", printable(body))));
    lines.join("\n")
}

/// The state of a webhook, apart from its messages.
struct State {
    disabled: Option<Disabled>,
    rests: Option<Rests>,
    is_open: bool,
    /// The message behind which all others wait, where it posts in order.
    first: Option<String>,
}

impl State {
    fn of(kept: &Kept) -> Result<Self, CommandError> {
        Ok(Self {
            disabled: kept.disabled().map_err(unread)?,
            rests: kept.rests().map_err(unread)?,
            is_open: kept.is_open().map_err(unread)?,
            first: kept.first().map_err(unread)?,
        })
    }

    /// The cause for which a message that waits is not posted.
    fn held_of(&self, message: &KeptMessage) -> Option<Held> {
        let is_behind = self.first.as_ref().is_some_and(|first| *first != message.id);
        self.held().or(is_behind.then_some(Held::Behind))
    }

    fn held(&self) -> Option<Held> {
        match self {
            Self { is_open: false, .. } => Some(Held::NotOpen),
            Self { disabled: Some(_), .. } => Some(Held::Disabled),
            Self { rests: Some(_), .. } => Some(Held::Rests),
            _ => None,
        }
    }
}

/// The webhook of that name.
fn named(key: &std::path::Path, name: &str) -> Result<Kept, CommandError> {
    Kept::open(webhook_folder(key, name)).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            CommandError::usage(format!("this node has no webhook {name:?}"), LIST)
        }
        _ => unread(error),
    })
}

/// The webhook that has a message of that id.
fn of(key: &std::path::Path, id: &str) -> Result<(String, Kept), CommandError> {
    for name in webhooks_of(key).map_err(unread)? {
        let kept = named(key, &name)?;
        match kept.message(id) {
            Ok(_) => return Ok((name, kept)),
            Err(KeptError::NoSuch { .. }) => {}
            Err(error) => return Err(error.into()),
        }
    }
    let text = format!("there is no message {id:?}: it was posted, dropped, or never there");
    Err(CommandError::usage(text, LIST))
}

fn unread(error: io::Error) -> CommandError {
    CommandError::io(error, "look after the folder of webhooks beside the key")
}

impl From<KeptError> for CommandError {
    fn from(error: KeptError) -> Self {
        match error {
            KeptError::Io(error) => unread(error),
            _ => Self::usage(error, LIST),
        }
    }
}

/// Opens the webhooks that the flags say, and says where they go.
pub(crate) async fn open(
    node: &Node,
    options: Option<&Posting>,
    key: PathBuf,
    output: &Output,
) -> Result<Vec<OpenWebhook>, CommandError> {
    let mut open = Vec::new();
    for (name, webhook) in wanted(options)? {
        let opened = webhook.open(node, &name, webhook_folder(&key, &name)).await;
        let opened = opened.map_err(refused)?;
        output.event(&Event::WebhookOpen(WebhookOpen { name: &name, to: opened.target() }));
        let (name, to) = (printable(&name), opened.target());
        output.remark(&format!("What is delivered to {name} is posted to {to}"));
        open.push(opened);
    }
    tell_of_unopened(key);
    Ok(open)
}

/// Says in the log, beside what goes on, which webhooks of a node have messages and nobody who posts
/// them.
pub(crate) fn tell_of_unopened(key: PathBuf) {
    drop(tokio::task::spawn_blocking(move || match unopened_webhooks(&key) {
        Ok(unopened) => {
            for (webhook, waiting) in unopened {
                tracing::warn!(
                    webhook,
                    waiting,
                    "messages wait for a webhook that is not open, and nobody posts them: open one \
                     of that name, or look at `estafette webhook list`"
                );
            }
        }
        Err(error) => tracing::warn!(%error, "what waits in webhooks can't be told"),
    }));
}

/// Looks for faults, and opens nothing.
pub(crate) fn look(options: Option<&Posting>) -> Result<(), CommandError> {
    for (name, webhook) in wanted(options)? {
        webhook.look(&name).map_err(refused)?;
    }
    Ok(())
}

fn wanted(
    options: Option<&Posting>,
) -> Result<Vec<(String, estafette_doors::Webhook)>, CommandError> {
    let Some(options) = options else { return Ok(Vec::new()) };
    let mut wanted = Vec::<(String, _)>::new();
    for said in &options.webhook {
        let Some((name, url)) = said.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            let hint = "say --webhook NAME=URL: orders=https://example.org/hooks/orders";
            return Err(CommandError::usage("a webhook has a name and a URL", hint));
        };
        if wanted.iter().any(|(other, _)| other == name) {
            let text = format!("two webhooks have the name {name:?}: they have one queue");
            let hint = "a message goes to one URL: give each webhook a name of its own";
            return Err(CommandError::usage(text, hint));
        }
        let secrets = &options.webhook_secret;
        let mut webhook = estafette_doors::Webhook::to(url, secrets);
        if options.webhook_ordered {
            webhook = webhook.ordered();
        }
        if options.webhook_allow_http {
            webhook = webhook.allow_http();
        }
        if let Some(file) = &options.webhook_ca {
            webhook = webhook.authority(file);
        }
        webhook = options.webhook_allow.iter().fold(webhook, |webhook, net| webhook.allow(*net));
        wanted.push((name.to_owned(), webhook));
    }
    Ok(wanted)
}

fn refused(error: WebhookError) -> CommandError {
    match error {
        WebhookError::Queue { .. } => CommandError::new(
            ErrorKind::Io,
            error,
            "look after the folder of webhooks beside the key",
        ),
        _ => {
            CommandError::usage(error, "see `estafette node --help`, --webhook and those below it")
        }
    }
}
