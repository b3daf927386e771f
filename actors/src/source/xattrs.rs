//! Extended attributes of what is sent.

use std::os::fd::AsFd;

use rustix::fs::{fgetxattr, flistxattr};

use crate::tree::{ATTRIBUTE_BYTES, ATTRIBUTES, may_travel};

/// Names and values.
pub(super) type Attributes = Vec<(Vec<u8>, Vec<u8>)>;

/// The attributes of a file or a folder that may be sent, and whether there are some that can't be:
/// too many, too long, or unreadable.
pub(super) fn read(file: impl AsFd) -> (Attributes, bool) {
    let (mut read, mut left, mut bytes) = (Vec::new(), false, 0);
    for name in names(&file) {
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

/// Whether there is one that could be sent.
pub(super) fn has_any(file: impl AsFd) -> bool {
    !names(file).is_empty()
}

fn names(file: impl AsFd) -> Vec<Vec<u8>> {
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
        Err(_) => return Vec::new(),
    };
    list.split(|&byte| byte == 0).filter(|name| may_travel(name)).map(<[u8]>::to_vec).collect()
}
