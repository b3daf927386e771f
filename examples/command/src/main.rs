//! The `estafette` command: sends files and folders from one machine to another.
//!
//! What people read goes to stderr, what programs read (a ticket, `--json` events) to stdout. The
//! exit code says how it ended.

#[cfg(not(unix))]
compile_error!(
    "estafette runs on Unix only: its folders, its spool and its control socket are made of what \
     Unix has"
);

mod about;
mod addresses;
mod arguments;
mod arrival;
mod attached;
mod by_relay;
mod connection;
mod content;
mod control;
mod demo;
mod destination;
mod detach;
mod doctor;
mod entry;
mod error;
mod event;
mod exec;
mod inbox;
mod into;
mod known_folders;
mod limited;
mod monitor;
mod news;
mod node;
mod outbox;
mod output;
mod per_peer;
mod receive;
mod send;
mod service;
mod settings;
mod signals;
mod table;
mod tickets;
mod to_stdout;
mod trust;
mod turn;
mod units;

use std::process::ExitCode;

use crate::arguments::{Arguments, Command, Global};
use crate::error::CommandError;
use crate::output::Output;

fn main() -> ExitCode {
    let arguments = match Arguments::read() {
        Ok(arguments) => arguments,
        Err(code) => return code,
    };
    let output = Output::new(&arguments.global);
    output.start_logging(&arguments.global);
    raise_descriptors();
    // A runtime panics where there is no thread for it: whether there is one is asked before.
    let is_one = std::thread::Builder::new().spawn(|| {}).map(|thread| drop(thread.join()));
    let runtime = match is_one.and_then(|()| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()
    }) {
        Ok(runtime) => runtime,
        Err(error) => {
            return output.fail(&CommandError::io(
                format!("the runtime could not be started: {error}"),
                "free some memory and threads",
            ));
        }
    };
    let outcome = runtime.block_on(run(arguments, &output));
    // A task that still waits for a terminal or a peer must not hold the process.
    runtime.shutdown_background();
    match outcome {
        Ok(code) => code,
        Err(error) => output.fail(&error),
    }
}

/// Lets this process have as many descriptors open as it may: what it is started with is often
/// less.
fn raise_descriptors() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::warn!(
            %error,
            "the limit of open files could not be raised: fewer deliveries run at once where it is \
             low"
        );
    }
}

async fn run(arguments: Arguments, output: &Output) -> Result<ExitCode, CommandError> {
    let global = &arguments.global;
    match &arguments.command {
        Command::Demo { path } => demo::run(path.as_deref(), output).await,
        Command::Receive(options) => receive::run(global, options, output).await,
        Command::Send(options) if !options.also.is_empty() => {
            to_each(global, options, output).await
        }
        Command::Send(options) => send_to_one(global, options, output).await,
        Command::Node(options) => node::run(global, options, output).await,
        Command::Outbox(action) => outbox::run(global, action, output).await,
        Command::Inbox(action) => inbox::run(global, action, output).await,

        Command::Doctor(options) => doctor::run(global, options, output).await,
        Command::Id => about::id(global, output),
        Command::Trust(action) => trust::run(global, action, output),
        Command::Ticket { action: Some(action), .. } => tickets::run(global, action, output),
        Command::Ticket { ticket, .. } => {
            about::ticket(global, ticket.as_deref().unwrap_or("-"), output)
        }
        Command::Completions { shell } => about::completions(*shell),
        Command::Man { command } => about::manual(command.as_deref()),
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
    for to in std::iter::once(&options.to).chain(&options.also) {
        let one = arguments::Send { to: to.clone(), also: Vec::new(), ..options.clone() };
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
