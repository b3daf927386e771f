//! Folders that deliveries do not go to unless somebody says so: what arrives there could be taken
//! for a setting, or for a key.

use std::path::{Path, PathBuf};

use crate::arguments::Global;
use crate::error::CommandError;
use crate::settings;

/// Folders in which programs look for settings, and the system for itself; those in them are fine.
const SYSTEM: [&str; 15] = [
    "/", "/bin", "/boot", "/dev", "/etc", "/home", "/lib", "/opt", "/proc", "/root", "/sbin",
    "/sys", "/tmp", "/usr", "/var",
];
/// Folders of the system that are none to deliver to, all below included.
const WHOLE: [&str; 6] = ["/boot", "/dev", "/etc", "/proc", "/sys", "/usr/bin"];

/// Refuses a home folder, folders above it and of the system, and those with this node's key, trust
/// or spool in them.
pub(crate) fn check(global: &Global, into: &Path) -> Result<(), CommandError> {
    let folder = resolved(into);
    let refuse = |what: String| {
        let message =
            format!("deliveries would go into {}, which {what}", settings::shown(&folder));
        Err(CommandError::usage(
            message,
            "name a folder for deliveries alone, such as ~/inbox, with --into; or say --into-home \
             if you mean it",
        ))
    };
    let home = std::env::var_os("HOME")
        .map(PathBuf::from)
        .filter(|home| home.is_absolute())
        .map(|home| resolved(&home));
    if home.is_some_and(|home| home.starts_with(&folder)) {
        return refuse(
            "is your home folder, or above it: programs read their settings there".into(),
        );
    }
    if SYSTEM.iter().any(|system| Path::new(system) == folder)
        || WHOLE.iter().any(|system| folder.starts_with(system))
    {
        return refuse("is a folder of the system".into());
    }
    let own = [
        ("key", settings::key_path(global)?),
        ("trust", settings::trust_path(global)?),
        ("spool", settings::spool_path(global)?),
    ];
    for (what, path) in own {
        let path = resolved(&path);
        if path.starts_with(&folder) || (what != "key" && folder.starts_with(&path)) {
            return refuse(format!("is where this node's {what} is: {}", settings::shown(&path)));
        }
    }
    Ok(())
}

/// Returns where a path leads, as far as it is there.
pub(crate) fn resolved(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let mut missing = Vec::new();
    let mut there = absolute.as_path();
    loop {
        match (there.canonicalize(), there.parent(), there.file_name()) {
            (Ok(found), ..) => {
                return missing.iter().rev().fold(found, |path: PathBuf, name| path.join(name));
            }
            (Err(_), Some(above), Some(name)) => {
                missing.push(name.to_owned());
                there = above;
            }
            _ => return absolute,
        }
    }
}
