//! Dispatches each subcommand to its code.

use std::process::ExitCode;

use estafette::node::{SendError, Trust};

use crate::arguments::{self, Action, Arguments, Global};
use crate::call::Way;
use crate::error::{self, CommandError};
use crate::output::Output;
use crate::{
    about, ask, by_relay, completion, content, deliver, demo, describe, destination, detach,
    doctor, given, inbox, node, outbox, receive, send, settings, tap, tickets, top, topology,
    trust,
};

pub(crate) async fn run(arguments: Arguments, output: &Output) -> Result<ExitCode, CommandError> {
    let global = &arguments.global;
    match &arguments.action {
        Action::Demo { path } => demo::run(path.as_deref(), output).await,
        Action::Receive(options) => receive::run(global, options, output).await,
        Action::Send(options) => {
            options.reading.remark_on_patterns(&options.paths, output);
            match options.also.is_empty() {
                true => send_to_one(global, options, output).await,
                false => to_each(global, options, output).await,
            }
        }
        Action::Node(options) => node::run(global, options, output).await,
        Action::Run(options) => topology::run(global, options, output).await,
        Action::Validate(options) => topology::validate(global, options, output),
        Action::Test(options) => topology::test(global, options, output).await,
        Action::Plan(options) => topology::plan(global, options, output).await,
        Action::Reload(options) => topology::reload(global, options, output).await,
        Action::List(options) => topology::list(global, options, output),
        Action::Graph(options) => topology::graph(global, options, output).await,
        Action::Top(options) => top::run(global, options, output).await,
        Action::Tap(options) => tap::tap(global, options, output).await,
        Action::Record(options) => tap::record(global, options, output).await,
        Action::Replay(options) => tap::replay(global, options, output).await,
        Action::Trace(options) => topology::trace(global, options, output),
        Action::Schema => topology::schema(global, output),
        Action::Outbox(action) => outbox::run(global, action, output).await,
        Action::Inbox(action) => inbox::run(global, action, output).await,

        Action::Ask(options) => ask::run(global, Way::Ask, options, output).await,
        Action::Tell(options) => ask::run(global, Way::Tell, options, output).await,
        Action::Deliver(options) => deliver::run(global, options, output).await,
        Action::Upload(options) => ask::open(global, Way::Upload, options, output).await,
        Action::Open(options) => ask::open(global, Way::Open, options, output).await,
        Action::Download(options) => ask::run(global, Way::Download, options, output).await,
        Action::Describe(options) => describe::run(global, options, output).await,
        Action::Doctor(options) => doctor::run(global, options, output).await,
        Action::Id => about::id(global, output),
        Action::Trust(action) => trust::run(global, action, output),
        #[cfg(feature = "doors")]
        Action::Token(action) => crate::token::run(global, action, output),
        #[cfg(feature = "webhooks")]
        Action::Webhook(action) => crate::webhook::run(global, action, output),
        Action::Ticket { action: Some(action), .. } => tickets::run(global, action, output),
        Action::Ticket { ticket, .. } => {
            about::ticket(global, ticket.as_deref().unwrap_or("-"), output)
        }
        Action::Completions { shell } => completion::script(&global.program, *shell),
        Action::Man { command } => about::manual(&global.program, command.as_deref()),
    }
}

/// Tells of a subcommand whose output is all that it is for. Of the others, what they have done
/// counts, told or not.
pub(crate) fn is_to_show(action: &Action) -> bool {
    use arguments::{Doctor, Inbox, Outbox, Ticket, Trust};
    match action {
        Action::Validate(_)
        | Action::Plan(_)
        | Action::List(_)
        | Action::Graph(_)
        | Action::Top(_)
        | Action::Tap(_)
        | Action::Trace(_)
        | Action::Schema
        | Action::Describe(_)
        | Action::Id
        | Action::Doctor(Doctor { repair: false })
        | Action::Outbox(Outbox::List | Outbox::Messages | Outbox::Show { .. })
        | Action::Inbox(Inbox::List)
        | Action::Trust(Trust::List)
        | Action::Ticket { action: None | Some(Ticket::List), .. }
        | Action::Completions { .. }
        | Action::Man { .. } => true,
        // A token is shown once.
        #[cfg(feature = "doors")]
        Action::Token(arguments::Token::List | arguments::Token::Add { .. }) => true,
        #[cfg(feature = "webhooks")]
        Action::Webhook(arguments::Webhook::List { .. } | arguments::Webhook::Show { .. }) => true,
        _ => false,
    }
}

async fn send_to_one(
    global: &Global,
    options: &arguments::Send,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    match () {
        () if options.detach => detach::run(global, options, output).await,
        () if options.via.is_some() => by_relay::run(global, options, output).await,
        () => send::run(global, options, output).await,
    }
}

/// The deliveries of several destinations. Whoever is unknown is told of before the first is sent.
fn each(global: &Global, options: &arguments::Send) -> Result<Vec<arguments::Send>, CommandError> {
    let own = settings::identity(global)?.peer();
    let trust = Trust::load(settings::store(global)?)?;
    let destinations = std::iter::once(&options.to).chain(&options.also);
    let looked_at = destinations.map(|to| {
        let one = arguments::Send { to: to.clone(), also: Vec::new(), ..options.clone() };
        let given = given::destination(&one)?;
        // What stdin or a file says is read once.
        let to = given.to_string();
        if destination::peer(&trust, &given).is_ok_and(|peer| peer == own) {
            return Err(SendError::ThisNode(own).into());
        }
        destination::find(&trust, given, one.via.as_deref())?;
        Ok(arguments::Send { to, ..one })
    });
    looked_at.collect()
}

/// One destination after the other; what fails at one is told, and the others are tried. The exit
/// code is that of the first that failed.
async fn to_each(
    global: &Global,
    options: &arguments::Send,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    if content::stream(&options.paths)?.is_some() {
        return Err(CommandError::usage(
            "a stream can be read once, so it has one destination",
            "write it to a file, and send that",
        ));
    }
    let mut failed = None;
    for one in each(global, options)? {
        let code = match send_to_one(global, &one, output).await {
            Ok(code) => code,
            // Whoever stops it means all of them.
            Err(error) if error.kind == error::ErrorKind::Cancelled => return Err(error),
            Err(error) => output.fail(&error),
        };
        if code != ExitCode::SUCCESS {
            failed.get_or_insert(code);
        }
    }
    Ok(failed.unwrap_or(ExitCode::SUCCESS))
}
