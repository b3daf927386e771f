//! `estafette test`: the tests of a topology, all its nodes in this process.

use std::process::ExitCode;

use estafette_topology::{Trial, TrialError};

use crate::arguments::{Global, TestOptions};
use crate::error::CommandError;
use crate::event::Event;
use crate::output::Output;
use crate::signals::Signals;
use crate::units::printable;

/// The exit code where something is not as it is expected.
const FAILED: u8 = 1;

pub(crate) async fn run(
    global: &Global,
    options: &TestOptions,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let document = match super::open(&options.topology.file, global, output) {
        Ok(document) => document,
        Err(faulty) => return faulty.end(),
    };
    let topology = document.topology();
    let wanted = options.name.as_deref().unwrap_or_default();
    let tests: Vec<_> = topology.tests.iter().filter(|test| test.name.contains(wanted)).collect();
    if tests.is_empty() {
        let (message, hint) = if topology.tests.is_empty() {
            ("the topology has no tests".into(), "add one: [[test]] with expect = { … }")
        } else {
            (format!("no test has {wanted:?} in its name"), "leave the name out for all of them")
        };
        return Err(CommandError::usage(message, hint));
    }
    let mut signals = Signals::new()?;
    let seed = options.seed.unwrap_or_else(random);
    let trial = Trial { seed, cuts: options.cuts, kills: options.kills };
    let mut failed = 0;
    for test in &tests {
        let tried = tokio::select! {
            tried = topology.try_test(test, trial, &global.program.registry) => tried,
            () = signals.next() => return Err(CommandError::cancelled("stopped by a signal")),
        };
        if let Err(error @ TrialError::NoPlace { .. }) = &tried {
            return Err(CommandError::io(
                error,
                "let TMPDIR name a folder that this user may write to",
            ));
        }
        let (passed, message) = (tried.is_ok(), tried.as_ref().err().map(ToString::to_string));
        let (cuts, kills) = tried
            .as_ref()
            .map_or((options.cuts, options.kills), |report| (report.cuts, report.kills));
        let name = &*test.name;
        output.event(&Event::Tested { name, passed, seed, cuts, kills, message: message.clone() });
        let how = format!("(seed {seed}, {cuts} cuts, {kills} kills)");
        match message {
            None => output.result(&format!("{} ... ok {how}", printable(name))),
            Some(message) => {
                failed += 1;
                let lines: Vec<_> =
                    message.lines().map(|line| format!("  {}", printable(line))).collect();
                let lines = lines.join("\n");
                output.result(&format!("{} ... FAILED {how}\n{lines}", printable(name)));
            }
        }
    }
    output.result(&format!("{} passed, {failed} failed", tests.len() - failed));
    Ok(if failed > 0 { ExitCode::from(FAILED) } else { ExitCode::SUCCESS })
}

/// A seed that is easily typed again.
fn random() -> u64 {
    let id = estafette::TransferId::random();
    u64::from_le_bytes(std::array::from_fn(|at| id.as_bytes()[at])) % 1_000_000
}
