//! `estafette doctor`: looks whether everything a node needs is well, and says what to do where it
//! is not.
//!
//! Invariant: looking changes nothing; a repair sets aside, and deletes nothing.

mod keys;
mod references;
mod spool;

use std::path::Path;
use std::process::ExitCode;

use serde::{Deserialize, Serialize};

pub(crate) use self::references::examine;
use crate::arguments::{Doctor, Global};
use crate::error::{CommandError, ErrorKind};
use crate::event::Event;
use crate::output::Output;
use crate::{settings, units};

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) what: String,
    #[serde(rename = "where")]
    pub(crate) place: String,
    pub(crate) severity: Severity,
    /// What to do.
    pub(crate) advice: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Good to know.
    Note,
    /// It may go wrong later.
    Warning,
    /// It is damaged.
    Damage,
    /// It was damaged, and is set aside now.
    Repaired,
}

impl Finding {
    fn new(
        severity: Severity,
        place: impl Into<String>,
        what: impl ToString,
        advice: impl Into<String>,
    ) -> Self {
        Self { what: what.to_string(), place: place.into(), severity, advice: advice.into() }
    }

    fn at(severity: Severity, path: &Path, what: impl ToString, advice: impl Into<String>) -> Self {
        Self::new(severity, settings::shown(path), what, advice)
    }
}

pub(crate) async fn run(
    global: &Global,
    options: &Doctor,
    output: &Output,
) -> Result<ExitCode, CommandError> {
    let mut findings = keys::look(global)?;
    findings.extend(spool::look(global, options.repair).await?);
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
