//! `estafette ticket list` and `ticket revoke`: who may still come in with a ticket.

use std::process::ExitCode;

use estafette::node::{TicketRecord, Trust};

use crate::arguments::{Global, Ticket};
use crate::error::CommandError;
use crate::event::Event;
use crate::output::Output;
use crate::table::table;
use crate::{settings, units};

pub(crate) fn run(
    global: &Global,
    action: &Ticket,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let trust = Trust::load(settings::store(global)?)?;
    match action {
        Ticket::List => list(&trust, output),
        Ticket::Revoke { id } => revoke(&trust, id, output)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn list(trust: &Trust, output: &Output) {
    let (tickets, now) = (trust.tickets(), units::now());
    for TicketRecord { id, inbox, made, expires, redeemers, most_redeemers, .. } in &tickets {
        let used_by = redeemers.iter().map(ToString::to_string).collect();
        output.event(&Event::Issued {
            id: id.to_string(),
            inbox,
            made: *made,
            expires: *expires,
            redeemers: *most_redeemers,
            used_by,
        });
    }
    if tickets.is_empty() {
        return output.remark("no ticket is open: `estafette receive` gives one out");
    }
    let rows: Vec<_> = tickets.iter().map(|ticket| (row(trust, ticket, now), None)).collect();
    output.result(&table(["id", "inbox", "made", "open for", "used by"], &[], &rows));
}

fn row(trust: &Trust, ticket: &TicketRecord, now: u64) -> [String; 5] {
    let used_by: Vec<_> =
        ticket.redeemers.iter().map(|peer| units::printable(&trust.label(peer))).collect();
    let left = usize::from(ticket.most_redeemers).saturating_sub(ticket.redeemers.len());
    let used_by = match (left, used_by.is_empty()) {
        (0, _) => used_by.join(", "),
        (left, true) => format!("nobody, {left} may"),
        (left, false) => format!("{}; {left} more may", used_by.join(", ")),
    };
    [
        ticket.id.to_string(),
        units::printable(&ticket.inbox),
        ticket.made.map_or_else(|| "?".into(), |made| units::moment(made, now)),
        units::seconds(ticket.expires.saturating_sub(now) as f64),
        used_by,
    ]
}

fn revoke(trust: &Trust, id: &str, output: &Output) -> Result<(), CommandError> {
    let tickets = trust.tickets();
    let meant: Vec<_> = tickets
        .iter()
        .filter(|ticket| {
            !id.is_empty() && ticket.id.to_string().starts_with(&id.to_ascii_lowercase())
        })
        .collect();
    let hint = "`estafette ticket list` prints them";
    let ticket = match meant[..] {
        [ticket] => ticket,
        [] => return Err(CommandError::usage(format!("no ticket begins with {id:?}"), hint)),
        _ => {
            return Err(CommandError::usage(
                format!("{} tickets begin with {id:?}: give more of it", meant.len()),
                hint,
            ));
        }
    };
    trust.revoke_ticket(ticket.id)?;
    output.event(&Event::Withdrawn { id: ticket.id.to_string() });
    output.result(&format!("the ticket {} lets nobody in any more", ticket.id));
    for peer in &ticket.redeemers {
        output.remark(&format!(
            "{} has used it and stays trusted: estafette trust remove {peer}",
            units::printable(&trust.label(peer))
        ));
    }
    Ok(())
}
