//! `rsync` as a peer: a daemon on loopback, so no `ssh` and no cipher, and `-a --fsync` to it.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

/// A daemon that takes what is sent into one folder. Ends when dropped.
#[derive(Debug)]
pub struct Rsync {
    daemon: Child,
    port: u16,
}

impl Rsync {
    /// A daemon for `folder`; nothing where no rsync with `--fsync` (3.2.4) is installed.
    ///
    /// # Errors
    /// When there is one and it does not start.
    pub fn start(home: &Path, folder: &Path) -> Result<Option<Self>> {
        let knows_fsync = Command::new("rsync")
            .arg("--fsync")
            .arg("--version")
            .output()
            .is_ok_and(|output| output.status.success());
        if !knows_fsync {
            return Ok(None);
        }
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config = home.join("rsyncd.conf");
        let path = folder.display();
        // A daemon that root starts would become nobody, and could not write here.
        let stays =
            if rustix::process::getuid().is_root() { "uid = root\ngid = root\n" } else { "" };
        std::fs::write(
            &config,
            format!("use chroot = no\n{stays}[inbox]\npath = {path}\nread only = no\n"),
        )?;
        let daemon = Command::new("rsync")
            .args(["--daemon", "--no-detach", "--address=127.0.0.1"])
            .args([format!("--port={port}"), format!("--config={}", config.display())])
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .context("starting rsync's daemon")?;
        let mut rsync = Self { daemon, port };
        rsync.wait_until_it_listens()?;
        Ok(Some(rsync))
    }

    fn wait_until_it_listens(&mut self) -> Result<()> {
        let started = Instant::now();
        while TcpStream::connect(("127.0.0.1", self.port)).is_err() {
            if let Some(status) = self.daemon.try_wait()? {
                bail!("rsync's daemon ended with {status}");
            }
            ensure!(started.elapsed() < PATIENCE, "rsync's daemon does not listen");
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Sends a file or a folder; seconds.
    ///
    /// # Errors
    /// When rsync fails.
    pub fn send(&self, what: &Path) -> Result<f64> {
        let started = Instant::now();
        let target = format!("rsync://127.0.0.1:{}/inbox/", self.port);
        let status = Command::new("rsync")
            .args(["-a", "--fsync"])
            .arg(what)
            .arg(target)
            .status()
            .context("running rsync")?;
        ensure!(status.success(), "rsync ended with {status}");
        Ok(started.elapsed().as_secs_f64())
    }
}

impl Drop for Rsync {
    fn drop(&mut self) {
        // It may have ended by itself; either way it is waited for.
        let _ = self.daemon.kill();
        let _ = self.daemon.wait();
    }
}

const PATIENCE: Duration = Duration::from_secs(10);
