//! A disk of its own for a folder, which can be full for a while, or break.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Nothing that a test does fills it.
const LARGE: u64 = 8 << 30;
/// So often it is tried to make a disk as small as what is on it, since that may grow meanwhile.
const TRIES: usize = 20;

/// A disk in memory, unmounted when this goes.
pub(crate) struct Disk(PathBuf);

impl Disk {
    /// Mounts it on the folder at `place`, which must be there. `None`, said loudly, where that
    /// can't be done; a panic where `ESTAFETTE_MOUNTS` says that it must be.
    pub(crate) fn mount(place: &Path) -> Option<Self> {
        Self::mount_of(place, LARGE)
    }

    /// The same, with so many bytes.
    pub(crate) fn mount_of(place: &Path, size: u64) -> Option<Self> {
        let mounted = run(&["-t", "tmpfs", "-o", &format!("size={size},mode=0700"), "none"], place);
        if !mounted {
            assert!(
                std::env::var_os("ESTAFETTE_MOUNTS").is_none(),
                "tmpfs can't be mounted, and ESTAFETTE_MOUNTS says that it must be"
            );
            eprintln!("SKIPPED: a full disk, since tmpfs can't be mounted here; it takes root");
        }
        mounted.then(|| Self(place.to_owned()))
    }

    /// From now on there is no byte left.
    pub(crate) fn fill(&self) {
        let is_full = || {
            let figures = rustix::fs::statvfs(&self.0).unwrap();
            let used = (figures.f_blocks - figures.f_bfree) * figures.f_frsize;
            run(&["-o", &format!("remount,size={}", used.max(4096))], &self.0)
        };
        assert!((0..TRIES).any(|_| is_full()), "{} can't be made full", self.0.display());
    }

    pub(crate) fn free(&self) {
        assert!(
            run(&["-o", &format!("remount,size={LARGE}")], &self.0),
            "{} can't be made large",
            self.0.display()
        );
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // At once or, should somebody still look at it, as soon as nobody does.
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn run(arguments: &[&str], place: &Path) -> bool {
    Command::new("mount")
        .args(arguments)
        .arg(place)
        .output()
        .is_ok_and(|output| output.status.success())
}

/// A disk on an image, which can break: from then on it is read, and nothing is written to it any
/// more.
pub(crate) struct Breakable {
    place: PathBuf,
    device: String,
}

impl Breakable {
    /// Mounts it on the folder at `place`, with its image in a file beside it. `None`, said loudly,
    /// where that can't be done; a panic where `ESTAFETTE_MOUNTS` says that it must be.
    pub(crate) fn mount(place: &Path) -> Option<Self> {
        let mounted = Self::try_to_mount(place);
        if mounted.is_none() {
            assert!(
                std::env::var_os("ESTAFETTE_MOUNTS").is_none(),
                "ext4 can't be mounted, and ESTAFETTE_MOUNTS says that it must be"
            );
            eprintln!(
                "SKIPPED: a disk that breaks, since ext4 can't be mounted here; it takes root, \
                 and e2fsprogs"
            );
        }
        mounted
    }

    fn try_to_mount(place: &Path) -> Option<Self> {
        let image = place.with_extension("image");
        fs::create_dir_all(place).ok()?;
        fs::File::create(&image).ok()?.set_len(64 << 20).ok()?;
        output("mkfs.ext4", &["-q", "-F", image.to_str()?])?;
        let device = output("losetup", &["--find", "--show", image.to_str()?])?.trim().to_owned();
        let disk = Self { place: place.to_owned(), device };
        disk.attach()?;
        fs::remove_dir(place.join("lost+found")).ok()?;
        fs::set_permissions(place, fs::Permissions::from_mode(0o700)).ok()?;
        Some(disk)
    }

    fn attach(&self) -> Option<String> {
        output("mount", &["-o", "errors=remount-ro", &self.device, self.place.to_str()?])
    }

    /// The kernel's own switch to try what follows when a disk fails.
    pub(crate) fn break_down(&self) {
        let device = Path::new(&self.device).file_name().unwrap();
        fs::write(Path::new("/sys/fs/ext4").join(device).join("trigger_fs_error"), "it has broken")
            .unwrap();
    }

    /// As it was when it broke. Nobody may use it.
    pub(crate) fn mend(&self) {
        output("umount", &[self.place.to_str().unwrap()]).unwrap();
        self.attach().unwrap();
    }
}

impl Drop for Breakable {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.place).status();
        let _ = output("losetup", &["--detach", &self.device]);
    }
}

/// A disk without sockets, links and modes.
pub(crate) struct Exfat {
    place: PathBuf,
    device: String,
}

impl Exfat {
    /// Mounts it on the folder at `place`, with its image in a file beside it. `None`, said loudly,
    /// where that can't be done; a panic where `ESTAFETTE_MOUNTS` says that it must be.
    pub(crate) fn mount(place: &Path) -> Option<Self> {
        let mounted = Self::try_to_mount(place);
        if mounted.is_none() {
            assert!(
                std::env::var_os("ESTAFETTE_MOUNTS").is_none(),
                "exFAT can't be mounted, and ESTAFETTE_MOUNTS says that it must be"
            );
            eprintln!(
                "SKIPPED: exFAT can't be mounted here; it takes root, exfat-fuse and exfatprogs"
            );
        }
        mounted
    }

    fn try_to_mount(place: &Path) -> Option<Self> {
        let image = place.with_extension("image");
        fs::create_dir_all(place).ok()?;
        fs::File::create(&image).ok()?.set_len(64 << 20).ok()?;
        output("mkfs.exfat", &[image.to_str()?])?;
        let device = output("losetup", &["--find", "--show", image.to_str()?])?.trim().to_owned();
        let disk = Self { place: place.to_owned(), device };
        output("mount.exfat-fuse", &[&disk.device, place.to_str()?])?;
        Some(disk)
    }
}

impl Drop for Exfat {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.place).status();
        let _ = output("losetup", &["--detach", &self.device]);
    }
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
