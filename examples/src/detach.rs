//! `estafette send --detach`: a delivery that is only stored, for whoever has the spool to deliver.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::arguments::{Compress, Global, Send};
use crate::control::{Deposit, Reply, Request, ask};
use crate::destination::{self, Given};
use crate::error::CommandError;
use crate::event::Event;
use crate::output::Output;
use crate::units::{self, moment};
use crate::{send, settings};

pub(crate) async fn run(global: &Global, options: &Send, output: &Output) -> Result<ExitCode, CommandError> {
    let answer = ask(global, Request::Deposit(deposit(options)?)).await?;
    for reply in &answer.replies {
        let Reply::Stored(stored) = reply else { continue };
        output.event(&Event::Stored(stored));
        output.result(&stored.transfer);
        output.remark(&format!("stored; it expires {}", moment(stored.expires, units::now())));
        if !stored.copied {
            output.remark("Its files are read when they are sent: leave them where and as they are until then.");
        }
        output.remark(if answer.running { "The node that runs delivers it." } else { "`estafette node` delivers it." });
    }
    Ok(ExitCode::SUCCESS)
}

/// What is to be stored.
pub(crate) fn deposit(options: &Send) -> Result<Deposit, CommandError> {
    let given = destination::read(&destination::piped(&options.to)?)?;
    let to = match destination::redirect(given, &options.addr)? {
        Given::Ticket(ticket) => ticket.to_string(),
        Given::Peer { peer, inbox } => format!("{peer}/{inbox}"),
    };
    send::check_paths(&options.paths)?;
    let mut deposit = Deposit::new(to, &absolute(&options.paths)?);
    deposit.chunk_size = options.chunk_size.map(|size| u32::try_from(size).unwrap_or(u32::MAX));
    deposit.compress = options.compress == Compress::Snappy;
    deposit.expires = options.expires.map(|time| time.as_secs());
    deposit.via.clone_from(&options.via);
    Ok(deposit)
}

fn absolute(paths: &[PathBuf]) -> Result<Vec<PathBuf>, CommandError> {
    let absolute = |path: &PathBuf| {
        let failed = |error| CommandError::io(format!("{}: {error}", settings::shown(path)), "give the path from / on");
        std::path::absolute(path).map_err(failed)
    };
    paths.iter().map(absolute).collect()
}
