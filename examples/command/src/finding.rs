//! Findings of `estafette doctor`.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::settings;

/// Something that was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Finding {
    pub(crate) what: String,
    #[serde(rename = "where")]
    pub(crate) place: String,
    pub(crate) severity: Severity,
    /// The advice on what to do.
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
    pub(crate) fn new(
        severity: Severity,
        place: impl Into<String>,
        what: impl ToString,
        advice: impl Into<String>,
    ) -> Self {
        Self { what: what.to_string(), place: place.into(), severity, advice: advice.into() }
    }

    pub(crate) fn at(
        severity: Severity,
        path: &Path,
        what: impl ToString,
        advice: impl Into<String>,
    ) -> Self {
        Self::new(severity, settings::shown(path), what, advice)
    }
}
