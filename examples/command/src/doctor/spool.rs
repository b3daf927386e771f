//! The spool: its database, its records, its files, its disk.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use estafette::node::{OutboxEntry, Store, Unreadable};
use estafette::{NodeConfig, TransferId};
use estafette_actors::spool::{Report, Spool};

use super::keys;
use crate::arguments::Global;
use crate::control::{Reply, Request, ask_running};
use crate::error::CommandError;
use crate::finding::{Finding, Severity};
use crate::references;
use crate::{settings, units};

/// Less than this is little. What sinks leave free, too.
const FREE_LEAST: u64 = 64 << 20;

pub(super) async fn look(global: &Global, repair: bool) -> Result<Vec<Finding>, CommandError> {
    let folder = settings::spool_path(global)?;
    if !folder.exists() {
        return Ok(Vec::new());
    }
    if !folder.is_dir() {
        let advice = "say another one with --spool, or move it away";
        let text = "it is no folder, and a spool is one";
        return Ok(vec![Finding::at(Severity::Damage, &folder, text, advice)]);
    }
    let mut findings: Vec<_> = keys::private(&folder).into_iter().chain(space(&folder)).collect();
    if let Some((pid, replies)) = ask_running(global, &Request::Examine).await? {
        let advice = "stop it to have its records looked at, too";
        findings.push(Finding::at(
            Severity::Note,
            &folder,
            format!("process {pid} has it, so that its database was not read"),
            advice,
        ));
        findings.extend(replies.into_iter().filter_map(|reply| {
            if let Reply::Finding(finding) = reply { Some(finding) } else { None }
        }));
        return Ok(findings);
    }
    let looked = estafette::node::blocking(move || database(&folder, repair)).await;
    findings.extend(looked.map_err(|error| CommandError::io(error, "the log (-v) says more"))??);
    Ok(findings)
}

/// Nobody has it.
fn database(folder: &Path, repair: bool) -> Result<Vec<Finding>, CommandError> {
    // Made beforehand, or by somebody whose disk was full.
    if !["FORMAT", "state.redb"].iter().any(|name| folder.join(name).exists()) {
        let advice = "nothing need be done: it is begun when something is stored, or a node starts";
        return Ok(vec![Finding::at(
            Severity::Note,
            folder,
            "there is no spool in it yet",
            advice,
        )]);
    }
    let report = if repair { Spool::repair(folder) } else { Spool::check(folder) };
    let report = match report {
        Ok(report) => report,
        Err(error) if error.kind() == io::ErrorKind::ResourceBusy => {
            return Err(CommandError::io(
                error,
                "wait until it is done, or see whether it hangs, and end it if so",
            ));
        }
        Err(error) => {
            let advice = "put right what is named; else move the folder away, restore it from a \
                          copy, or begin with a new one";
            return Ok(vec![Finding::at(Severity::Damage, folder, error, advice)]);
        }
    };
    let mut findings = damage(folder, &report, repair);
    // Opening a damaged spool would set things aside.
    if report.is_well() || repair {
        let failed = |error: io::Error| {
            CommandError::io(error, "`estafette doctor --repair` sets aside what is in the way")
        };
        records(folder, repair, &mut findings).map_err(failed)?;
    }
    Ok(findings)
}

fn damage(folder: &Path, report: &Report, repaired: bool) -> Vec<Finding> {
    let severity = if repaired { Severity::Repaired } else { Severity::Damage };
    let advice = if repaired {
        "look at `estafette outbox list` for what is missing, and send it again"
    } else {
        "estafette doctor --repair sets it aside and goes on with the rest; copy the folder first \
         if you can"
    };
    let mut findings = Vec::new();
    for damaged in &report.damaged {
        findings.push(Finding::at(
            severity,
            folder,
            format!("the record {} is damaged: {}", damaged.record, damaged.reason),
            advice,
        ));
    }
    for damaged in &report.set_aside {
        let what =
            format!("the record {} was set aside earlier: {}", damaged.record, damaged.reason);
        findings.push(Finding::at(Severity::Note, folder, what, "nothing has to be done"));
    }
    if let Some(text) = &report.database {
        let kept = report
            .moved
            .as_ref()
            .map_or(String::new(), |moved| format!("; it is kept as {}", settings::shown(moved)));
        let what = format!(
            "the database is damaged ({text}): records may be missing, or older than they \
             were{kept}"
        );
        findings.push(Finding::at(severity, folder, what, advice));
    }
    findings
}

/// Looks at the records of the database, and at the files beside it.
fn records(folder: &Path, repair: bool, findings: &mut Vec<Finding>) -> io::Result<()> {
    let spool = Spool::open(folder)?;
    let mut unread = Vec::new();
    for record in Unreadable::all(&spool)? {
        let (place, what) = (record.to_string(), "this release can't read the record");
        if repair {
            record.set_aside(&spool)?;
            findings.push(Finding::new(
                Severity::Repaired,
                place,
                what,
                "it is kept in the spool; send again what is missing",
            ));
        } else {
            let advice =
                "start the release that wrote it, or let estafette doctor --repair set it aside";
            findings.push(Finding::new(Severity::Damage, place, what, advice));
            unread.push(record);
        }
    }
    let entries = OutboxEntry::all(&spool)?;
    findings.extend(references::gone(&entries));
    if let Some(folder) = spool.folder() {
        findings.extend(entries.iter().filter_map(|(id, entry)| content(folder, *id, entry)));
    }
    let packages: HashSet<&str> = entries.iter().filter_map(|(_, entry)| entry.file()).collect();
    for file in spool.folder().map_or_else(|| Ok(Vec::new()), files)? {
        let known = file.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
            packages.contains(name) || unread.iter().any(|record| record.names(name))
        });
        if !known && !is_coming(&file) {
            findings.push(stray(folder, &file, repair)?);
        }
    }
    Ok(())
}

/// The fault of the file that a delivery's content was put into, as far as that can be told without
/// its key: a changed byte shows when it is read to be sent.
fn content(folder: &Path, id: TransferId, entry: &OutboxEntry) -> Option<Finding> {
    let path = folder.join(entry.file().filter(|_| entry.is_open())?);
    let what = match fs::metadata(&path) {
        Ok(metadata) if metadata.len() == entry.bytes() => return None,
        Ok(metadata) => format!("it has {} bytes instead of {}", metadata.len(), entry.bytes()),
        Err(error) => error.to_string(),
    };
    let what = format!("the content of the delivery {id:.16} is damaged: {what}");
    let advice =
        format!("take the delivery out, and send it again: estafette outbox cancel {id:.16}");
    Some(Finding::at(Severity::Damage, &path, what, advice))
}

/// Returns `true` if it is a package that has come in part, and may still go on.
fn is_coming(file: &Path) -> bool {
    let modified = fs::metadata(file).and_then(|metadata| metadata.modified());
    let is_old = modified
        .ok()
        .and_then(|modified| modified.elapsed().ok())
        .is_some_and(|age| age > NodeConfig::EXPIRY_MOST);
    file.extension().is_some_and(|ending| ending == "coming") && !is_old
}

fn stray(folder: &Path, file: &Path, repair: bool) -> io::Result<Finding> {
    let what = "no delivery refers to this file";
    if !repair {
        let advice = "estafette doctor --repair moves it out of the way";
        return Ok(Finding::at(Severity::Warning, file, what, advice));
    }
    let aside = folder.join("aside");
    fs::create_dir_all(&aside)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let names =
        std::iter::once(name.to_string()).chain((1..).map(|number| format!("{name}.{number}")));
    let place = names
        .map(|name| aside.join(name))
        .find(|place| !place.exists())
        .expect("numbers do not end");
    fs::rename(file, &place)?;
    Ok(Finding::at(
        Severity::Repaired,
        &place,
        what,
        "look at it, and remove it if nobody misses it",
    ))
}

fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(folder)?.map(|file| Ok(file?.path())).collect()
}

fn space(folder: &Path) -> Option<Finding> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let what = format!("only {} are free on its disk", units::bytes(free));
    (free < FREE_LEAST).then(|| {
        Finding::at(
            Severity::Warning,
            folder,
            what,
            "make room: what can't be written is neither stored nor taken",
        )
    })
}
