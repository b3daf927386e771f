//! Figures of Linux about this process and this machine. Invariant: figures come from the kernel's
//! own clocks and counters, never from estimates.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result};
use rustix::time::{ClockId, clock_gettime};

/// User and system CPU seconds of this process, all threads, ended ones included.
#[must_use]
pub fn process_cpu_seconds() -> f64 {
    seconds(ClockId::ProcessCPUTime)
}

/// User and system CPU seconds of the calling thread.
#[must_use]
pub fn thread_cpu_seconds() -> f64 {
    seconds(ClockId::ThreadCPUTime)
}

fn seconds(clock: ClockId) -> f64 {
    let time = clock_gettime(clock);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

/// The most memory this process ever had resident, in bytes (`VmHWM`).
///
/// # Errors
/// When `/proc` is not there, or not as Linux writes it.
pub fn peak_resident_bytes() -> Result<u64> {
    status_bytes("VmHWM:")
}

/// The memory this process has resident now, in bytes (`VmRSS`).
///
/// # Errors
/// As [`peak_resident_bytes`].
pub fn resident_bytes() -> Result<u64> {
    status_bytes("VmRSS:")
}

fn status_bytes(field: &str) -> Result<u64> {
    let status = fs::read_to_string("/proc/self/status").context("reading /proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    let line = line.with_context(|| format!("/proc/self/status has no line {field}"))?;
    let kibibytes: u64 = line
        .trim()
        .trim_end_matches("kB")
        .trim_end()
        .parse()
        .with_context(|| format!("{field} is no number"))?;
    Ok(kibibytes * 1024)
}

/// The number of cores that a run may use.
#[must_use]
pub fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// The share of all cores in use (0 to 1) over `period`, time stolen by the hypervisor included.
/// Others' share, if the caller only waits and has nothing running.
///
/// # Errors
/// When `/proc/stat` is not there, or not as Linux writes it.
pub async fn busy_share(period: Duration) -> Result<f64> {
    let before = Jiffies::now()?;
    tokio::time::sleep(period).await;
    let after = Jiffies::now()?;
    let total = after.total.saturating_sub(before.total).max(1);
    Ok(after.busy.saturating_sub(before.busy) as f64 / total as f64)
}

/// Waits until others use less than [`QUIET`] of the machine, at most `patience`; returns the last
/// share seen.
///
/// # Errors
/// As [`busy_share`].
pub async fn wait_for_quiet(patience: Duration) -> Result<f64> {
    let mut waited = Duration::ZERO;
    loop {
        let share = busy_share(SAMPLE).await?;
        waited += SAMPLE;
        if share <= QUIET || waited >= patience {
            return Ok(share);
        }
    }
}

/// The share of all cores up to which the machine counts as quiet.
pub const QUIET: f64 = 0.10;

/// The time of a look at the machine that shows what others use.
pub const SAMPLE: Duration = Duration::from_millis(250);

struct Jiffies {
    busy: u64,
    total: u64,
}

impl Jiffies {
    fn now() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("reading /proc/stat")?;
        Self::parse(&stat).context("/proc/stat does not start with a line of CPU times")
    }

    /// `cpu user nice system idle iowait irq softirq steal guest guest_nice`; the last two are in
    /// the first two already.
    fn parse(stat: &str) -> Option<Self> {
        let fields = stat.lines().next()?.strip_prefix("cpu ")?.split_whitespace();
        let times: Vec<u64> = fields.take(8).map(str::parse).collect::<Result<_, _>>().ok()?;
        let idle = times.get(3)? + times.get(4)?;
        let total = times.iter().sum();
        Some(Self { busy: total - idle, total })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idle_and_waiting_for_disks_are_not_busy() {
        let jiffies = Jiffies::parse("cpu  10 1 5 70 4 2 3 5 9 9\ncpu0 1 2 3\n").unwrap();
        assert_eq!((jiffies.busy, jiffies.total), (26, 100));
        assert!(Jiffies::parse("intr 5").is_none());
        assert!(Jiffies::parse("cpu  1 2").is_none());
    }

    #[test]
    fn a_busy_thread_is_charged_for_its_work() {
        let (process, thread) = (process_cpu_seconds(), thread_cpu_seconds());
        let digest = blake3::hash(&vec![7; 4 << 20]);
        assert_ne!(digest.as_bytes(), &[0; 32]);
        assert!(thread_cpu_seconds() > thread);
        assert!(process_cpu_seconds() > process);
        assert!(peak_resident_bytes().unwrap() > 4 << 20);
    }
}
