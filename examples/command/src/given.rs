//! The content and the destination that `estafette send` was given.

use std::path::PathBuf;

use crate::arguments::{Reading, Send};
use crate::content::HandedOver;
use crate::destination::Given;
use crate::error::CommandError;
use crate::{content, destination, settings};

/// Reads where it goes; that all paths exist is seen to as well.
pub(crate) fn destination(options: &Send) -> Result<Given, CommandError> {
    let stream = content::stream(&options.paths)?;
    if stream == Some(0) && options.to == "-" {
        let hint = "give the ticket as @FILE, or send a file";
        return Err(CommandError::usage("stdin can't be both what is sent and the ticket", hint));
    }
    let given = destination::read(&destination::piped(&options.to)?)?;
    let given = destination::redirect(given, &options.addr)?;
    if stream.is_none() {
        check_paths(&options.paths)?;
    } else if options.reading.skip_existing {
        let hint = "leave --skip-existing out, or write it to a file, and send that";
        return Err(CommandError::usage(
            "a stream can't be read twice, and what is there already is known by reading it once \
             before",
            hint,
        ));
    }
    Ok(given)
}

/// Returns what is sent, and how it is read.
pub(crate) fn given_content(options: &Send) -> Result<(Vec<PathBuf>, Reading), CommandError> {
    let Some(stream) = content::stream(&options.paths)? else {
        return Ok((
            options.paths.clone(),
            Reading { limit: options.limit, ..options.reading.clone() },
        ));
    };
    let name = options.name.clone().unwrap_or_else(|| "stream".into());
    let mut reading = Reading { limit: options.limit, ..options.reading.clone() };
    let path = match content::handed_over(stream)? {
        HandedOver::AsItIs(path) => {
            reading.stream = Some(name);
            path
        }
        HandedOver::InPieces(path) => {
            reading.pieces = Some(name);
            path
        }
    };
    Ok((vec![path], reading))
}

/// All that do not exist, or can't be sent, are named, before anything is dialled.
fn check_paths(paths: &[PathBuf]) -> Result<(), CommandError> {
    let unfit = |path: &PathBuf| match std::fs::metadata(path) {
        Err(error) if path.is_symlink() => {
            Some(format!("it is a link that leads to nothing: {error}"))
        }
        Err(error) => Some(error.to_string()),
        Ok(there) if !(there.is_file() || there.is_dir()) => {
            Some("it is a pipe, a socket or a device, which has no content to deliver".into())
        }
        Ok(_) => None,
    };
    let missing: Vec<_> = paths
        .iter()
        .filter_map(|path| Some(format!("{}: {}", settings::shown(path), unfit(path)?)))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    Err(CommandError::io(
        format!("can't send {}", missing.join("; ")),
        "check the path; the destination comes last: estafette send PATH... TICKET",
    ))
}
