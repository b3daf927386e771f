//! The webhooks beside the key: whether what waits is posted.

use std::io;
use std::path::Path;

use estafette_doors::{Disabled, Kept, Rests, webhook_folder, webhooks_of};

use crate::arguments::Global;
use crate::error::CommandError;
use crate::finding::{Finding, Severity};
use crate::settings;
use crate::units::{count, moment, now, printable};

pub(super) fn look(global: &Global) -> Result<Vec<Finding>, CommandError> {
    let key = settings::key_path(global)?;
    let mut findings = Vec::new();
    let mut look = |place: &Path, looked: io::Result<Option<Finding>>| {
        findings.extend(looked.unwrap_or_else(|error| {
            let advice = "let this user read and write it, or put right what is named";
            Some(Finding::at(Severity::Damage, place, error, advice))
        }));
    };
    match webhooks_of(&key) {
        Ok(names) => {
            for (name, folder) in names.iter().map(|name| (name, webhook_folder(&key, name))) {
                look(&folder, of(name, &folder));
            }
        }
        Err(error) => look(&key, Err(error)),
    }
    Ok(findings)
}

/// The reason why what waits in a webhook is not posted, if there is one.
fn of(name: &str, folder: &Path) -> io::Result<Option<Finding>> {
    if !folder.is_dir() {
        return Ok(None);
    }
    let (kept, name) = (Kept::open(folder)?, printable(name));
    let waiting = kept.waiting()?;
    if waiting == 0 {
        return Ok(None);
    }
    let wait = if waiting == 1 { "waits" } else { "wait" };
    let wait = format!("{} {wait}", count(waiting as u64, "message"));
    let found = |severity, what: String, advice: String| {
        Ok(Some(Finding::at(severity, folder, format!("{wait}, {what}"), advice)))
    };
    if !kept.is_open()? {
        let what = "and nobody posts what is here: no process has opened this webhook";
        let advice = format!(
            "start the node with a webhook of that name (`--webhook {name}=URL`, or a door of that \
             name at this node in its topology), or `estafette webhook drop` what nobody wants"
        );
        return found(Severity::Warning, what.into(), advice);
    }
    match (kept.disabled()?, kept.rests()?) {
        (Some(Disabled { why, .. }), _) => {
            let what = format!("and the webhook is disabled: {}", printable(&why));
            found(Severity::Warning, what, format!("estafette webhook enable {name}"))
        }
        (None, Some(Rests { until, why, .. })) => {
            let (why, ends) = (printable(&why), moment(until, now()));
            let what = format!("and the webhook rests, as its receiver asked: {why}");
            let advice = format!("wait: that ends {ends}, or by `estafette webhook retry ID`");
            found(Severity::Note, what, advice)
        }
        (None, None) => Ok(None),
    }
}
