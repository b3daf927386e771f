//! `estafette outbox`: what is to be delivered.

use std::process::ExitCode;

use crate::arguments::{Global, Outbox};
use crate::control::{Reply, Request, ask};
use crate::entry::{Entry, State};
use crate::error::CommandError;
use crate::event::Event;
use crate::output::Output;
use crate::table::table;
use crate::units::{self, moment, printable};
use crate::{deliver, letter};

pub(crate) async fn run(
    global: &Global,
    action: &Outbox,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let answer = ask(global, request(action)).await?;
    let (mut entries, mut letters) = (Vec::new(), Vec::new());
    for reply in answer.replies {
        match reply {
            Reply::Entry(entry) => {
                output.event(&Event::Entry(&entry));
                entries.push(*entry);
            }
            Reply::Letter(letter) => {
                output.event(&Event::Letter(&letter));
                letters.push(letter);
            }
            Reply::Cancelled(transfer) => {
                output.result(&format!("{transfer} is taken out of the outbox"));
                output.event(&Event::Cancelled { transfer, unsure: false });
            }
            Reply::MayBeThere(transfer) => {
                output.result(&format!(
                    "{transfer} is taken out of the outbox, and may have been delivered: it was \
                     sent before, and the receiver did not say how that ended"
                ));
                output.remark("look at the receiver before you send it again");
                output.event(&Event::Cancelled { transfer, unsure: true });
            }
            Reply::Dropped(transfer) => {
                output.result(&format!("{transfer} is forgotten"));
                output.event(&Event::Dropped { transfer });
            }
            _ => {}
        }
    }
    match action {
        Outbox::List if entries.is_empty() => output.remark("the outbox is empty"),
        Outbox::List => output.result(&list(&entries, units::now())),
        Outbox::Messages if letters.is_empty() => {
            output.remark("no message is under way, and none is dead");
        }
        Outbox::Messages => output.result(&deliver::list(&letters, units::now())),
        Outbox::Show { .. } => {
            entries.iter().for_each(|entry| output.result(&details(entry, units::now())))
        }
        Outbox::Retry { .. } => entries
            .iter()
            .for_each(|entry| output.result(&format!("{} is tried again", entry.transfer))),
        Outbox::Cancel { .. } | Outbox::Drop { .. } => {}
    }
    let waiting = letters.iter().any(|letter| letter.state == letter::State::Stored)
        || entries.iter().any(|entry| matches!(entry.state, State::Stored | State::Relayed));
    if waiting && !answer.running {
        output.remark("nothing runs that delivers: start `estafette node`");
    }
    Ok(ExitCode::SUCCESS)
}

fn request(action: &Outbox) -> Request {
    match action {
        Outbox::List => Request::List,
        Outbox::Messages => Request::Letters,
        Outbox::Show { id } => Request::Show(id.clone()),
        Outbox::Retry { id } => Request::Retry(id.clone()),
        Outbox::Cancel { id } => Request::Cancel(id.clone()),
        // Ids of messages have a hyphen.
        Outbox::Drop { id } if id.contains('-') => Request::Forget(id.clone()),
        Outbox::Drop { id } => Request::Drop(id.clone()),
    }
}

fn list(entries: &[Entry], now: u64) -> String {
    let row = |entry: &Entry| {
        let expires =
            if entry.state == State::Dead { String::new() } else { moment(entry.expires, now) };
        let cells = [
            entry.transfer.clone(),
            printable(&entry.name),
            entry.bytes.map_or_else(|| "?".into(), units::bytes),
            entry.to(),
            format!("{} {}", entry.state.word(), moment(entry.since, now)),
            entry.tries.to_string(),
            expires,
        ];
        (cells, entry.failure.as_ref().map(|failure| printable(&failure.message)))
    };
    let rows: Vec<_> = entries.iter().map(row).collect();
    table(["id", "name", "size", "to", "state", "tries", "expires"], &[2, 5], &rows)
}

fn details(entry: &Entry, now: u64) -> String {
    let mut lines = vec![
        format!("id        {}", entry.id),
        format!("name      {}", printable(&entry.name)),
        format!("size      {}", entry.bytes.map_or_else(|| "not known yet".into(), units::bytes)),
        format!("to        {} ({})", entry.to(), entry.peer),
        format!("state     {} {}", entry.state.word(), moment(entry.since, now)),
        format!("stored    {}", moment(entry.created, now)),
        format!("expires   {}", moment(entry.expires, now)),
        format!("tries     {}", entry.tries),
    ];
    lines.extend(entry.via.as_ref().map(|via| format!("by relay  {via}")));
    lines.extend(entry.of.as_ref().map(|sender| format!("packed by {sender}")));
    let some = |label: &str, values: &[String]| {
        (!values.is_empty()).then(|| format!("{label:<10}{}", printable(&values.join(", "))))
    };
    lines.extend(some("dialled", &entry.addrs));
    lines.extend(some("read from", &entry.paths));
    lines.extend(
        entry.failure.as_ref().map(|failure| format!("because   {}", printable(&failure.message))),
    );
    lines.extend(entry.place.as_ref().map(|place| format!("lies in   {}", printable(place))));
    lines.extend(entry.blake3.as_ref().map(|digest| format!("BLAKE3    {digest}")));
    lines.join("\n")
}
