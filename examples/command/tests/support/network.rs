//! Networks of a test's own, made of namespaces.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

/// Two machines, one cable: lyon is 10.77.0.1, paris 10.77.0.2; what goes to 10.78.0.0/24 is
/// swallowed. In both, `paris.test` stands for 10.78.0.5 and for 10.77.0.2.
pub(crate) struct Network {
    mark: String,
}

const HOSTS: &str = "127.0.0.1 localhost\n10.78.0.5 paris.test\n10.77.0.2 paris.test\n";

impl Network {
    /// `None`, said loudly, where namespaces can't be made; a panic where `ESTAFETTE_NAMESPACES`
    /// says that it must be possible.
    pub(crate) fn new() -> Option<Self> {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let network = Self { mark: format!("estafette-{}-{number}", std::process::id()) };
        let made = network.make();
        if made.is_none() {
            let must = std::env::var_os("ESTAFETTE_NAMESPACES").is_some();
            assert!(
                !must,
                "network namespaces can't be made, and ESTAFETTE_NAMESPACES says that they must be"
            );
            eprintln!(
                "SKIPPED: network namespaces can't be made here; it takes root, and iproute2"
            );
        }
        made.map(|()| network)
    }

    fn make(&self) -> Option<()> {
        let (lyon, paris) = (self.name("lyon"), self.name("paris"));
        for name in [&lyon, &paris] {
            fs::create_dir_all(Self::folder(name)).ok()?;
            fs::write(Self::folder(name).join("hosts"), HOSTS).ok()?;
            ip(&["netns", "add", name])?;
        }
        ip(&[
            "link", "add", "va", "netns", &lyon, "type", "veth", "peer", "name", "vb", "netns",
            &paris,
        ])?;
        ip(&["-n", &lyon, "addr", "add", "10.77.0.1/24", "dev", "va"])?;
        ip(&["-n", &paris, "addr", "add", "10.77.0.2/24", "dev", "vb"])?;
        for (name, device) in [(&lyon, "va"), (&paris, "vb")] {
            ip(&["-n", name, "link", "set", "lo", "up"])?;
            ip(&["-n", name, "link", "set", device, "up"])?;
        }
        // Paris does not pass it on.
        ip(&["-n", &lyon, "route", "add", "10.78.0.0/24", "via", "10.77.0.2"])
    }

    /// The same command, on that machine.
    pub(crate) fn on(&self, machine: &str, command: &Command) -> Command {
        let mut there = Command::new("ip");
        there.env_clear().envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        there.stdin(std::process::Stdio::null()).args(["netns", "exec", &self.name(machine)]);
        there.arg(command.get_program()).args(command.get_args());
        there
    }

    /// The same, where nobody can look into `/sys`, as in some sandboxes.
    pub(crate) fn on_without_sys(&self, machine: &str, command: &Command) -> Command {
        let hidden = "mount -t tmpfs none /sys && exec \"$0\" \"$@\"";
        let mut bare = Command::new("/bin/sh");
        bare.args(["-c", hidden]).arg(command.get_program()).args(command.get_args());
        bare.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
        self.on(machine, &bare)
    }

    /// Gives each an address of its link alone: lyon fe80::1 and paris fe80::2.
    pub(crate) fn address_links(&self) {
        for (machine, device, address) in
            [("lyon", "va", "fe80::1/64"), ("paris", "vb", "fe80::2/64")]
        {
            let name = self.name(machine);
            ip(&["-n", &name, "addr", "add", address, "dev", device, "nodad"]).unwrap();
        }
    }

    /// Lets a listener of IPv6 take IPv4 only where it asks for that, as some systems do.
    pub(crate) fn separate_families(&self, machine: &str) {
        let set = "echo 1 > /proc/sys/net/ipv6/bindv6only";
        ip(&["netns", "exec", &self.name(machine), "sh", "-c", set]).unwrap();
    }

    fn name(&self, machine: &str) -> String {
        format!("{}-{machine}", self.mark)
    }

    fn folder(name: &str) -> PathBuf {
        PathBuf::from("/etc/netns").join(name)
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for machine in ["lyon", "paris"] {
            let name = self.name(machine);
            // Whatever of it was made.
            let _ = ip(&["netns", "del", &name]);
            let _ = fs::remove_dir_all(Self::folder(&name));
        }
    }
}

fn ip(arguments: &[&str]) -> Option<()> {
    let output = Command::new("ip").args(arguments).output().ok()?;
    output.status.success().then_some(())
}
