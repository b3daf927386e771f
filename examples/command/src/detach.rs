//! `estafette send --detach`: a delivery that is only stored, for whoever has the spool to deliver.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use crate::arguments::{Global, Send};
use crate::control::{Deposit, Reply, Request, ask};
use crate::destination::Given;
use crate::error::CommandError;
use crate::event::Event;
use crate::left_out::kept_code;
use crate::output::Output;
use crate::units::{self, moment};
use crate::{given, settings};

pub(crate) async fn run(
    global: &Global,
    options: &Send,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let given = given::destination(options)?;
    let answer = ask(global, Request::Deposit(deposit(options, &given)?)).await?;
    for reply in &answer.replies {
        let Reply::Stored(stored) = reply else { continue };
        output.event(&Event::Stored(stored));
        output.result(&stored.transfer);
        output.remark(&format!("stored; it expires {}", moment(stored.expires, units::now())));
        output.remark(if stored.copied {
            "A copy of it is in the spool: its files may change and go."
        } else {
            "Its files are read when they are sent: leave them where and as they are until then, \
             or say --copy."
        });
        output.remark(if answer.running {
            "The node that runs delivers it."
        } else {
            "`estafette node` delivers it."
        });
    }
    Ok(tell_left_out(&answer.replies, "is stored", output))
}

/// Tells what was left out of a delivery that is copied, of which all else `is_there`; returns how
/// the command ends.
pub(crate) fn tell_left_out(replies: &[Reply], is_there: &str, output: &Output) -> ExitCode {
    let [Reply::Stored(stored), Reply::LeftOut(left_out)] = replies else {
        return ExitCode::SUCCESS;
    };
    if let (Ok(transfer), Ok(peer)) = (stored.id.parse(), stored.peer.parse()) {
        left_out.tell((transfer, peer), is_there, output);
    }
    kept_code(left_out)
}

/// The delivery that another process is asked to send.
pub(crate) fn deposit(options: &Send, given: &Given) -> Result<Deposit, CommandError> {
    let (paths, reading) = given::given_content(options)?;
    let paths: Vec<_> = match reading.is_stream() {
        true => paths,
        false => paths.iter().map(|path| elsewhere(path)).collect::<Result<_, _>>()?,
    };
    let mut deposit = Deposit::new(given.to_string(), &paths);
    deposit.reading = reading;
    deposit.chunk_size = options.chunk_size;
    deposit.set_compress(options.compress.as_deref());
    deposit.copy = options.copy;
    deposit.stages.clone_from(&options.stages);
    deposit.expires = options.expires.map(|time| time.as_secs());
    deposit.via.clone_from(&options.via);
    Ok(deposit)
}

/// Returns a path as another process knows it: it has another working directory, and files open of
/// its own.
fn elsewhere(path: &Path) -> Result<PathBuf, CommandError> {
    const OF_THIS_PROCESS: [&str; 6] =
        ["/dev/fd", "/dev/stdin", "/dev/stdout", "/dev/stderr", "/proc/self", "/proc/thread-self"];
    let absolute = std::path::absolute(path).and_then(|absolute| {
        let own = OF_THIS_PROCESS.iter().any(|own| absolute.starts_with(own));
        if own { std::fs::canonicalize(absolute) } else { Ok(absolute) }
    });
    absolute.map_err(|error| {
        CommandError::io(
            format!("{}: {error}", settings::shown(path)),
            "name a file or a folder by its path",
        )
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_file_that_is_open_here_is_called_by_its_own_name_elsewhere() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = PathBuf::from(format!("/dev/fd/{}", file.as_file().as_raw_fd()));
        assert_eq!(elsewhere(&open).unwrap(), std::fs::canonicalize(file.path()).unwrap());
        assert_eq!(
            elsewhere(Path::new("relative")).unwrap(),
            std::env::current_dir().unwrap().join("relative")
        );
        assert!(elsewhere(Path::new("/dev/fd/987654")).is_err());
    }
}
