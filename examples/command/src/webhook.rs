//! `estafette webhook`: what waits to be posted, or is dead; and `node --webhook`.

use std::io;
use std::path::PathBuf;
use std::process::ExitCode;

use estafette::Node;
use estafette_doors::{
    Kept, KeptError, KeptMessage, KeptState, OpenWebhook, WebhookError, webhook_folder, webhooks_of,
};

use crate::arguments::{Global, Posting, Webhook as Action};
use crate::error::{CommandError, ErrorKind};
use crate::event::{Event, OfWebhook, Webhook, WebhookEnabled, WebhookMessage, WebhookOpen};
use crate::output::Output;
use crate::settings;
use crate::table::table;
use crate::units::{moment, now, printable};

const LIST: &str = "`estafette webhook list` prints those that there are";

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
            let message = kept.message(id)?;
            tell(&name, &message, output);
            output.result(&details(&name, &message));
        }
        Action::Retry { id, dead } => {
            let retried = |name: &str, id: &str| {
                output.event(&Event::WebhookRetried(OfWebhook { webhook: name, id }));
                output.result(&format!("{id} is posted again"));
            };
            if let Some(id) = id {
                let (name, kept) = of(&key, id)?;
                kept.retry(id)?;
                retried(&name, id);
            }
            if let Some(name) = dead {
                let kept = named(&key, name)?;
                for id in kept.retry_dead().map_err(unread)? {
                    retried(name, &id);
                }
            }
        }
        Action::Drop { id } => {
            let (name, kept) = of(&key, id)?;
            kept.drop_message(id)?;
            output.event(&Event::WebhookDropped(OfWebhook { webhook: &name, id }));
            output.result(&format!("{id} is forgotten"));
        }
        Action::Enable { name } => {
            let was_disabled = named(&key, name)?.enable().map_err(unread)?;
            output.event(&Event::WebhookEnabled(WebhookEnabled { name, was_disabled }));
            let text = if was_disabled { "posts again" } else { "was not disabled" };
            output.result(&format!("{} {text}", printable(name)));
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
        let (messages, disabled) =
            (kept.messages().map_err(unread)?, kept.disabled().map_err(unread)?);
        let dead = messages.iter().filter(|message| message.state == KeptState::Dead).count();
        let why = disabled.as_ref().map(|disabled| disabled.why.as_str());
        let waiting = messages.len() - dead;
        output.event(&Event::Webhook(Webhook { name: &name, waiting, dead, disabled: why }));
        if let Some(why) = why {
            output.remark(&format!(
                "{} is disabled: {}; `estafette webhook enable {0}` has it post again",
                printable(&name),
                printable(why)
            ));
        }
        for message in &messages {
            tell(&name, message, output);
            rows.push(row(&name, message));
        }
    }
    if !rows.is_empty() {
        output.result(&table(["id", "webhook", "type", "state", "tries", "next"], &[4], &rows));
    }
    Ok(())
}

fn row(name: &str, message: &KeptMessage) -> ([String; 6], Option<String>) {
    let next = match message.state {
        KeptState::Dead => String::new(),
        _ => moment(message.next.max(now()), now()),
    };
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

const fn word(state: KeptState) -> &'static str {
    match state {
        KeptState::Dead => "dead",
        _ => "waiting",
    }
}

fn tell(name: &str, message: &KeptMessage, output: &Output) {
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
        last: message.last,
        status: message.status,
        why: message.why.as_deref(),
        bytes: message.bytes,
        body: message.body.as_deref(),
    }));
}

fn details(name: &str, message: &KeptMessage) -> String {
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
    if message.state != KeptState::Dead {
        lines.push(format!("next      {}", at(message.next.max(now()))));
    }
    lines.extend(message.why.as_ref().map(|why| format!("because   {}", printable(why))));
    lines.extend(message.body.as_ref().map(|body| format!("message   {}", printable(body))));
    lines.join("\n")
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
    Ok(open)
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
    let mut wanted = Vec::new();
    for said in &options.webhook {
        let Some((name, url)) = said.split_once('=').filter(|(name, _)| !name.is_empty()) else {
            let hint = "say --webhook NAME=URL: orders=https://example.org/hooks/orders";
            return Err(CommandError::usage("a webhook has a name and a URL", hint));
        };
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
