//! Subcommands that print something about the command itself, and about tickets.

use std::io::Write;
use std::process::ExitCode;

use estafette::Ticket;

use crate::arguments::Global;
use crate::error::CommandError;
use crate::event::Event;
use crate::output::Output;
use crate::program::Program;
use crate::streams::stdout_failed;
use crate::{destination, settings, units};

pub(crate) fn id(global: &Global, output: &Output) -> Result<ExitCode, CommandError> {
    let peer = settings::identity(global)?.peer().to_string();
    output.result(&peer);
    output.event(&Event::Id { peer });
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn ticket(
    global: &Global,
    text: &str,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let ticket = destination::piped(text)?.parse::<Ticket>();
    let ticket = ticket.map_err(|error| {
        CommandError::usage(error, "paste the line that `estafette receive` printed")
    })?;
    let addresses = ticket.addresses();
    output.event(&Event::of_ticket(&ticket, (&ticket.to_string(), ticket.addresses())));
    let own = settings::existing_identity(global)
        .is_some_and(|identity| identity.peer() == ticket.peer());
    output.result(&format!(
        "leads to   {}{}",
        ticket.peer(),
        if own { "  (this node)" } else { "" }
    ));
    output.result(&format!("dialled at {}", units::printable(&addresses.join(", "))));
    output.result(&format!("inbox      {}", units::printable(ticket.inbox())));
    output.remark(
        "\nWhoever has this line can deliver to that inbox, until as many senders have used it as \
         it was made for, or its time is over.",
    );
    output.remark("It shows nothing else, and lets nobody read anything.");
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn manual(
    program: &Program,
    subcommand: Option<&str>,
) -> Result<ExitCode, CommandError> {
    let mut command = program.syntax();
    command.build();
    let command = match subcommand {
        None => command,
        Some(name) => command.find_subcommand(name).cloned().ok_or_else(|| {
            CommandError::usage(
                format!("there is no subcommand {name:?}"),
                "estafette --help lists them",
            )
        })?,
    };
    let mut page = Vec::new();
    clap_mangen::Man::new(command).render(&mut page).map_err(|error| {
        CommandError::io(format!("the manual page could not be made: {error}"), "use --help")
    })?;
    print(&page)
}

/// Writes a text to stdout as it is.
pub(crate) fn print(text: &[u8]) -> Result<ExitCode, CommandError> {
    let mut stdout = std::io::stdout().lock();
    let written = stdout.write_all(text).and_then(|()| stdout.flush());
    written.map_err(|error| stdout_failed(&error))?;
    Ok(ExitCode::SUCCESS)
}
