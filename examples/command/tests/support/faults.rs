//! Calls of the system that fail as they do on file systems that can't do what is asked for.

use std::path::Path;
use std::process::Command;

/// The same command, whose calls of these names, separated by commas, fail with this error: all of
/// them, or those about one of these paths. `None`, said loudly, where strace is not there or may
/// not look; a panic where `ESTAFETTE_STRACE` says that it must be.
pub(crate) fn failing(
    command: &Command,
    calls: &str,
    error: &str,
    paths: &[&Path],
) -> Option<Command> {
    let works = Command::new("strace")
        .args(["-D", "-f", "-qq", "-o", "/dev/null", "-e", "inject=linkat:error=EPERM", "true"])
        .output()
        .is_ok_and(|output| output.status.success());
    if !works {
        assert!(
            std::env::var_os("ESTAFETTE_STRACE").is_none(),
            "strace does not work, and ESTAFETTE_STRACE says that it must"
        );
        eprintln!("SKIPPED: {error} of {calls}, since strace is not there or may not look");
        return None;
    }
    let mut failing = Command::new("strace");
    failing
        .env_clear()
        .envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))))
        .stdin(std::process::Stdio::null());
    // The command is the child itself: strace looks on from beside.
    failing.args(["-D", "-f", "-qq", "-o", "/dev/null", "-e"]).arg(format!("trace={calls}"));
    failing.arg("-e").arg(format!("inject={calls}:error={error}"));
    paths.iter().for_each(|path| _ = failing.arg("-P").arg(path));
    failing.arg("--").arg(command.get_program()).args(command.get_args());
    Some(failing)
}
