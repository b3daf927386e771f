//! Real file systems of other kinds, mounted as long as a test runs.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::{TempDir, tempdir, tempdir_in};

/// A file system that is unmounted when this goes.
pub(crate) struct Mounted {
    place: TempDir,
    /// The block device that an image stands behind.
    device: Option<(String, TempDir)>,
}

impl Mounted {
    /// exFAT by FUSE: no second names, no links, no modes, no rename that keeps what is there.
    /// `None`, said loudly, where it can't be mounted; a panic where `ESTAFETTE_MOUNTS` says
    /// that it must be.
    pub(crate) fn exfat() -> Option<Self> {
        Self::exfat_below(&std::env::temp_dir())
    }

    /// The same, below a folder.
    pub(crate) fn exfat_below(folder: &Path) -> Option<Self> {
        or_skip("exFAT by FUSE", || {
            let (image, place) = (tempdir().ok()?, tempdir_in(folder).ok()?);
            let path = image.path().join("image");
            File::create(&path).ok()?.set_len(64 << 20).ok()?;
            run("mkfs.exfat", &[text(&path)])?;
            let device = run("losetup", &["--find", "--show", text(&path)])?.trim().to_owned();
            // From here on it is taken down again.
            let mounted = Self { place, device: Some((device.clone(), image)) };
            run("mount.exfat-fuse", &[&device, text(mounted.place.path())])?;
            Some(mounted)
        })
    }

    /// ext4 on an image that can be copied while it is used, as what a loss of power leaves.
    pub(crate) fn ext4() -> Option<Self> {
        or_skip("ext4 on an image", || {
            let image = tempdir().ok()?;
            let path = image.path().join("image");
            File::create(&path).ok()?.set_len(16 << 20).ok()?;
            run("mkfs.ext4", &["-q", "-F", text(&path)])?;
            Self::loop_on(image, &path)
        })
    }

    /// The file system on an image that was there before.
    pub(crate) fn image_at(path: &Path) -> Option<Self> {
        or_skip("an image", || Self::loop_on(tempdir().ok()?, path))
    }

    fn loop_on(image: TempDir, path: &Path) -> Option<Self> {
        let place = tempdir().ok()?;
        let device = run("losetup", &["--find", "--show", text(path)])?.trim().to_owned();
        let mounted = Self { place, device: Some((device.clone(), image)) };
        // What is not synced is written as late as can be: the power goes before that.
        run("mount", &["-t", "ext4", "-o", "commit=300", &device, text(mounted.place.path())])?;
        Some(mounted)
    }

    /// The image that it lies on.
    pub(crate) fn image(&self) -> Option<PathBuf> {
        self.device.as_ref().map(|(_, folder)| folder.path().join("image"))
    }

    /// A disk of so many bytes, in memory.
    pub(crate) fn small(bytes: u64) -> Option<Self> {
        Self::in_memory(&format!("size={bytes}"))
    }

    /// A disk with room for so many files and folders, in memory.
    pub(crate) fn of_few_files(files: u64) -> Option<Self> {
        Self::in_memory(&format!("size=16m,nr_inodes={files}"))
    }

    fn in_memory(options: &str) -> Option<Self> {
        or_skip("a small tmpfs", || {
            let mounted = Self { place: tempdir().ok()?, device: None };
            let place = text(mounted.place.path());
            run("mount", &["-t", "tmpfs", "-o", options, "none", place])?;
            Some(mounted)
        })
    }

    /// Takes it away, and leaves the folder that it was mounted on.
    pub(crate) fn unmount(self) -> TempDir {
        run("umount", &["--lazy", text(self.place.path())]).unwrap();
        let mut this = self;
        std::mem::replace(&mut this.place, tempdir().unwrap())
    }

    pub(crate) fn make_read_only(&self) {
        run("mount", &["-o", "remount,ro", text(self.place.path())]).unwrap();
    }

    pub(crate) fn path(&self) -> &Path {
        self.place.path()
    }

    /// A new folder in it.
    pub(crate) fn folder(&self) -> TempDir {
        tempdir_in(self.path()).unwrap()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // At once or, should somebody still look at it, as soon as nobody does.
        let _ = run("umount", &["--lazy", text(self.place.path())]);
        if let Some((device, _)) = &self.device {
            let _ = run("losetup", &["--detach", device]);
        }
    }
}

fn or_skip(what: &str, mount: impl FnOnce() -> Option<Mounted>) -> Option<Mounted> {
    let mounted = mount();
    if mounted.is_none() {
        assert!(
            std::env::var_os("ESTAFETTE_MOUNTS").is_none(),
            "{what} can't be mounted, and ESTAFETTE_MOUNTS says that it must be"
        );
        eprintln!(
            "SKIPPED: {what} can't be mounted here; it takes root, and exfat-fuse, exfatprogs and \
             e2fsprogs"
        );
    }
    mounted
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

fn run(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}
