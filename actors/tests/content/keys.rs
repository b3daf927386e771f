//! Key files on file systems that keep neither second names nor modes.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use estafette::Identity;
use estafette::node::KeyFileError;
use tempfile::tempdir;

use crate::mounts::Mounted;

/// The entries of a folder; but for what FUSE hides until it is closed there, which may be after
/// `close` has returned.
fn entries(folder: &Path) -> Vec<OsString> {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| !name.to_string_lossy().starts_with(".fuse_hidden")).collect()
}

#[test]
fn a_key_on_exfat_is_made_once_by_whoever_is_first_where_others_are_kept_out() {
    let home = tempdir().unwrap();
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o700)).unwrap();
    let Some(disk) = Mounted::exfat_below(home.path()) else { return };
    let path = disk.path().join("node.key");
    let makers: Vec<_> = (0..8)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || Identity::load_or_create(path).unwrap().peer())
        })
        .collect();
    let made: Vec<_> = makers.into_iter().map(|maker| maker.join().unwrap()).collect();
    assert!(made.iter().all(|peer| *peer == made[0]), "all have one key");
    assert_eq!(Identity::load(&path).unwrap().peer(), made[0]);
    assert_eq!(entries(disk.path()), ["node.key"], "nothing else is left");
    // The folder above does not keep others out any more.
    fs::set_permissions(home.path(), fs::Permissions::from_mode(0o755)).unwrap();
    for refused in [Identity::load(&path), Identity::load_or_create(disk.path().join("new.key"))] {
        let error = refused.unwrap_err();
        assert!(
            matches!(error, KeyFileError::Unsafe { .. })
                && error.to_string().contains("keeps no modes"),
            "{error}"
        );
    }
    assert_eq!(entries(disk.path()), ["node.key"], "no key is made where others may read it");
}
