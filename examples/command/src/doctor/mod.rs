//! `estafette doctor`: looks whether everything a node needs is well, and says what to do where it
//! is not.
//!
//! Invariant: looking changes nothing; a repair sets aside, and deletes nothing.

mod keys;
mod routes;
mod spool;
#[cfg(feature = "webhooks")]
mod webhooks;

use std::process::ExitCode;

use crate::arguments::{Doctor, Global};
use crate::error::{CommandError, ErrorKind};
use crate::event::Event;
use crate::finding::{Finding, Severity};
use crate::output::Output;
use crate::units;

pub(crate) async fn run(
    global: &Global,
    options: &Doctor,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let mut findings = keys::look(global)?;
    findings.extend(spool::look(global, options.repair).await?);
    findings.extend(routes::look(global)?);
    #[cfg(feature = "webhooks")]
    findings.extend(webhooks::look(global)?);
    for finding in &findings {
        output.event(&Event::Finding(finding));
        output.result(&text(finding));
    }
    if findings.is_empty() {
        output.result("all is well");
    }
    let damaged = findings.iter().any(|finding| finding.severity == Severity::Damage);
    Ok(if damaged { ExitCode::from(ErrorKind::Io.exit_code()) } else { ExitCode::SUCCESS })
}

fn text(finding: &Finding) -> String {
    let word = match finding.severity {
        Severity::Note => "note",
        Severity::Warning => "warning",
        Severity::Damage => "damaged",
        Severity::Repaired => "set aside",
    };
    let Finding { what, place, advice, .. } = finding;
    format!(
        "{word}: {}: {}\n  → {}",
        units::printable(place),
        units::printable(what),
        units::printable(advice)
    )
}
