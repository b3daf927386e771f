//! Key files on file systems that keep neither second names nor modes.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use estafette::Identity;
use estafette::node::KeyFileError;
use tempfile::tempdir;

use crate::mounts::Mounted;

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
    assert_eq!(fs::read_dir(disk.path()).unwrap().count(), 1, "nothing else is left");
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
    assert_eq!(
        fs::read_dir(disk.path()).unwrap().count(),
        1,
        "no key is made where others may read it"
    );
}
