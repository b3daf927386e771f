//! Modes and times of what arrives.

use std::fs::{File, FileTimes, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use super::remarks::{Attribute, Remarks, is_passable};

/// Sets what a sender may set: permission bits, without those that this process gives no new file
/// to others (its umask); of folders the sticky bit, and setgid, too, which only says whose group
/// new files in them have; and the modification time. Never setuid, nor setgid of a file: a program
/// would run with this node's rights. What the file system does not keep is a remark about `path`.
pub(super) fn set_attributes(
    file: &File,
    mode: u32,
    mtime: i64,
    path: &[u8],
    is_folder: bool,
    remarks: &mut Remarks,
) -> std::io::Result<()> {
    // In a folder that hands its group on, new ones do, too.
    let special = if is_folder {
        (mode & 0o3000) | (file.metadata()?.permissions().mode() & 0o2000)
    } else {
        0
    };
    if mode & 0o6000 & !special != 0 {
        remarks.unset(Attribute::Special, path, &"whoever runs it would have this node's rights");
    }
    let mode = set_mode(file, (mode & 0o777 & !(umask() & 0o077)) | special);
    // Both at once: file systems by FUSE may ignore the one without the other.
    let time = file.set_times(
        FileTimes::new().set_accessed(SystemTime::now()).set_modified(system_time(mtime)),
    );
    for (attribute, set) in [(Attribute::Mode, mode), (Attribute::Time, time)] {
        match set {
            Err(error) if is_passable(&error) => remarks.unset(attribute, path, &error),
            set => set?,
        }
    }
    Ok(())
}

/// The permission bits that this process gives no new file, as they were when it was first asked.
pub fn umask() -> u32 {
    static UMASK: std::sync::OnceLock<u32> = std::sync::OnceLock::new();
    *UMASK.get_or_init(|| {
        // To ask the kernel by a call is to change it for a moment, for all threads.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let mask = status
            .lines()
            .find_map(|line| u32::from_str_radix(line.strip_prefix("Umask:")?.trim(), 8).ok());
        mask.unwrap_or(0o022)
    })
}

/// Sets permission bits, and looks whether they are there: a file system without any may say yes to
/// all.
fn set_mode(file: &File, mode: u32) -> std::io::Result<()> {
    file.set_permissions(Permissions::from_mode(mode))?;
    let kept = file.metadata()?.permissions().mode() & 0o7777;
    if kept == mode {
        Ok(())
    } else {
        Err(std::io::Error::other(format!("they are {kept:03o} instead of {mode:03o}")))
    }
}

fn system_time(nanoseconds: i64) -> SystemTime {
    let distance = Duration::from_nanos(nanoseconds.unsigned_abs());
    if nanoseconds < 0 {
        SystemTime::UNIX_EPOCH - distance
    } else {
        SystemTime::UNIX_EPOCH + distance
    }
}
