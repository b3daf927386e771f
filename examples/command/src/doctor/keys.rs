//! The key file, and the trust beside it.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use estafette::Identity;
use estafette::node::{KeyFileError, Trust};

use crate::arguments::Global;
use crate::error::CommandError;
use crate::finding::{Finding, Severity};
use crate::settings;

pub(super) fn look(global: &Global) -> Result<Vec<Finding>, CommandError> {
    let key = settings::key_path(global)?;
    let mut findings = Vec::new();
    match Identity::load(&key) {
        Ok(_) => {}
        Err(KeyFileError::Io { error, .. })
            if error.kind() == ErrorKind::NotFound && settings::spool_mark(global)?.exists() =>
        {
            let advice = "put it back, or look whether its disk is mounted: what the spool keeps is \
                          of no use to a node with another key";
            findings.push(Finding::at(
                Severity::Damage,
                &key,
                "the key of this spool is gone",
                advice,
            ));
        }
        Err(KeyFileError::Io { error, .. }) if error.kind() == ErrorKind::NotFound => {
            let advice = "it is made when it is needed first; if there was one, put it back, or \
                          this is another node to its peers";
            findings.push(Finding::at(Severity::Note, &key, "there is no key yet", advice));
        }
        Err(
            error @ (KeyFileError::Io { .. }
            | KeyFileError::Exposed { .. }
            | KeyFileError::Unsafe { .. }),
        ) => {
            let advice = "put that right: the key itself may well be there";
            findings.push(Finding::at(Severity::Damage, &key, error, advice));
        }
        Err(error) => {
            let advice = "put a copy of the key back, with mode 600; without one, move it away \
                          and be a new node to all peers";
            findings.push(Finding::at(Severity::Damage, &key, error, advice));
        }
    }
    let trust = settings::trust_path(global)?;
    if trust.exists() {
        findings.extend(private(&trust));
        findings.extend(records(global, &trust)?);
    }
    Ok(findings)
}

/// The finding that others may look into a folder that is its owner's alone.
pub(super) fn private(folder: &Path) -> Option<Finding> {
    let mode = fs::metadata(folder).ok()?.permissions().mode() & 0o777;
    let what = format!("others than the owner may look into it (mode {mode:03o})");
    let advice = format!("chmod 700 {}", settings::shown(folder));
    (mode & 0o077 != 0).then(|| Finding::at(Severity::Warning, folder, what, advice))
}

/// Reading sets damaged records aside: those that were not aside before are news.
fn records(global: &Global, trust: &Path) -> Result<Vec<Finding>, CommandError> {
    let before = aside(trust);
    let mut findings = Vec::new();
    if let Err(error) = settings::store(global).and_then(|store| Ok(Trust::load(store)?)) {
        let advice = "let this user read it; restore it from a copy if it is damaged, or move it \
                      away and trust the peers again";
        findings.push(Finding::at(Severity::Damage, trust, error.message, advice));
    }
    for record in aside(trust) {
        let advice =
            "look at `estafette trust list`, trust again who is missing, then remove this file";
        let severity = if before.contains(&record) { Severity::Note } else { Severity::Repaired };
        findings.push(Finding::at(
            severity,
            &record,
            "a record of the trust was damaged, and is set aside",
            advice,
        ));
    }
    Ok(findings)
}

fn aside(trust: &Path) -> BTreeSet<PathBuf> {
    let files = ["peers", "tickets"]
        .into_iter()
        .filter_map(|table| fs::read_dir(trust.join(table)).ok())
        .flatten();
    files
        .filter_map(|file| Some(file.ok()?.path()))
        .filter(|path| path.extension().is_some_and(|ending| ending == "damaged"))
        .collect()
}
