//! `estafette inbox`: what was delivered here.

use std::process::ExitCode;

use crate::arguments::{Global, Inbox};
use crate::arrival::Arrival;
use crate::control::{Reply, Request, ask};
use crate::error::CommandError;
use crate::event::Event;
use crate::output::Output;
use crate::table::table;
use crate::units::{self, moment, printable};

pub(crate) async fn run(
    global: &Global,
    action: &Inbox,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let Inbox::List = action;
    let answer = ask(global, Request::Arrivals).await?;
    let arrivals: Vec<Arrival> = answer
        .replies
        .into_iter()
        .filter_map(|reply| match reply {
            Reply::Arrival(arrival) => Some(*arrival),
            _ => None,
        })
        .collect();
    arrivals.iter().for_each(|arrival| output.event(&Event::Arrival(arrival)));
    if arrivals.is_empty() {
        output.remark("nothing was delivered here that is still remembered");
    } else {
        output.result(&list(&arrivals, units::now()));
    }
    Ok(ExitCode::SUCCESS)
}

fn list(arrivals: &[Arrival], now: u64) -> String {
    let row = |arrival: &Arrival| {
        let from =
            arrival.peer_name.clone().unwrap_or_else(|| arrival.peer.chars().take(8).collect());
        let cells = [
            arrival.transfer.clone(),
            printable(&arrival.name),
            units::bytes(arrival.bytes),
            printable(&from),
            moment(arrival.at, now),
            printable(&arrival.place),
        ];
        (cells, None)
    };
    let rows: Vec<_> = arrivals.iter().map(row).collect();
    table(["id", "name", "size", "from", "arrived", "place"], &[2], &rows)
}
