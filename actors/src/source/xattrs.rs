//! Extended attributes of what is sent.

use std::os::fd::AsFd;

use rustix::fs::{fgetxattr, flistxattr};

use crate::tree::{ATTRIBUTE_BYTES, ATTRIBUTES, may_travel};

/// Names and values.
pub(super) type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// The names of all that there are.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// Those that may be sent.
    pub(super) sendable: Vec<Vec<u8>>,
    /// Set if there are others that matter to whoever has them, and never are sent.
    pub(super) has_system: bool,
}

/// The attributes of these names, and whether there are some that can't be sent: too many, too
/// long, or unreadable.
pub(super) fn read(file: impl AsFd, names: Vec<Vec<u8>>) -> (Attributes, bool) {
    let (mut read, mut left, mut bytes) = (Vec::new(), false, 0);
    for name in names {
        let mut value = vec![0; ATTRIBUTE_BYTES];
        match fgetxattr(&file, &*name, &mut value[..]) {
            Ok(length)
                if read.len() < ATTRIBUTES && bytes + name.len() + length <= ATTRIBUTE_BYTES =>
            {
                value.truncate(length);
                bytes += name.len() + length;
                read.push((name, value));
            }
            _ => left = true,
        }
    }
    (read, left)
}

pub(super) fn names(file: impl AsFd) -> Names {
    let mut list = [0; 1024];
    let list = match flistxattr(&file, &mut list[..]) {
        Ok(length) => list[..length].to_vec(),
        Err(rustix::io::Errno::RANGE) => {
            let mut list = vec![0; ATTRIBUTE_BYTES];
            let length = flistxattr(&file, &mut list[..]).unwrap_or(0);
            list.truncate(length);
            list
        }
        // A file system without any.
        Err(_) => return Names::default(),
    };
    let names = || list.split(|&byte| byte == 0);
    Names {
        sendable: names().filter(|name| may_travel(name)).map(<[u8]>::to_vec).collect(),
        has_system: names().any(is_of_system),
    }
}

/// Returns `true` if somebody has given it that, and would miss it. Labels that a system gives all
/// of its files, such as `security.selinux`, are none.
fn is_of_system(name: &[u8]) -> bool {
    name == b"security.capability" || name == b"system.nfs4_acl" || name.starts_with(b"trusted.")
}
