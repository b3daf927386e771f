//! A clock that counts the time that has passed, whatever the wall clock says. Everything that
//! expires does so by it.
//!
//! The wall clock of a machine may be a year behind until it is set, and may be put forward and
//! back. So what a node keeps is dated on scales of its own, which begin where the wall clock stood
//! when its spool was new, and never go back. Within a boot of the machine they go as its monotonic
//! clock does, through the end and the start of any number of processes. How long the machine was
//! off, only the wall clock can tell, and may be wrong about:
//!
//! - [`Moment::passed`] believes it, where it went forward: a sender gives up by this, late rather
//!   than early.
//! - [`Moment::certain`] does not count it: what guards against doubles is kept by this, too long
//!   rather than too short.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::{Change, Store};
use crate::wire::codec;

/// Seconds since the Unix epoch; 0 for a clock before it.
pub(crate) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// The table of the spool, and its one key.
pub(crate) const TABLE: &str = "clock";
const KEY: &[u8] = b"scales";
/// The age at which the record of the scales is renewed. What is lost of it by a crash is the
/// certainty of so much time.
const SAVE_EVERY: u64 = 3600;
/// A wall clock that was put forward or back by more than this is noted at once.
const STEP: u64 = 60;

/// One moment on both scales, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// The time that has passed for certain.
    pub(crate) certain: u64,
    /// The time that has passed, as far as the wall clock tells.
    pub(crate) passed: u64,
}

/// A reading of the machine's clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    /// Seconds since the Unix epoch.
    wall: u64,
    /// Seconds since the machine was started, its sleep included.
    up: u64,
    /// The id of that start, where the machine tells.
    boot: Option<[u8; 16]>,
}

/// The scales at one moment, as the spool keeps them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Scales {
    certain: u64,
    passed: u64,
    wall: u64,
    up: u64,
    boot: Option<[u8; 16]>,
}

/// The scales of a node.
pub(crate) struct Clock {
    spool: Option<Arc<dyn Store>>,
    scales: Mutex<Scales>,
    read: Box<dyn Fn() -> Reading + Send + Sync>,
}

impl Scales {
    fn new(reading: Reading) -> Self {
        let Reading { wall, up, boot } = reading;
        Self { certain: wall, passed: wall, wall, up, boot }
    }

    fn at(&self, reading: Reading) -> Moment {
        let same_boot = self.boot.is_some() && self.boot == reading.boot && reading.up >= self.up;
        let (certain, maybe) = if same_boot {
            let since = reading.up - self.up;
            (since, since)
        } else {
            // It was off for a while, perhaps, and is up for another, which may be all of it.
            (0, reading.wall.saturating_sub(self.wall))
        };
        Moment {
            certain: self.certain.saturating_add(certain),
            passed: self.passed.saturating_add(maybe),
        }
    }

    /// The same scales, seen from another moment.
    fn moved(&self, reading: Reading) -> Self {
        let (Moment { certain, passed }, Reading { wall, up, boot }) = (self.at(reading), reading);
        Self { certain, passed, wall, up, boot }
    }

    /// Returns `true` if too much of them would be lost, were the machine to stop now.
    fn is_old(&self, reading: Reading) -> bool {
        let since_up = i128::from(reading.up) - i128::from(self.up);
        let since_wall = i128::from(reading.wall) - i128::from(self.wall);
        self.boot != reading.boot
            || since_up >= SAVE_EVERY.into()
            || since_wall.abs_diff(since_up) > STEP.into()
    }
}

impl Clock {
    /// Goes on with the scales that the spool has; without any, they begin now.
    pub(crate) fn load(spool: Option<Arc<dyn Store>>) -> io::Result<Self> {
        Self::load_by(spool, read)
    }

    fn load_by(
        spool: Option<Arc<dyn Store>>,
        read: impl Fn() -> Reading + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let noted = spool.as_ref().map_or(Ok(None), |spool| spool.find(TABLE, KEY))?;
        let noted = noted.and_then(|noted| codec::decode::<Scales>(&noted).ok());
        let reading = read();
        // Who has no number of the boot has at least this process.
        let scales = noted.map_or_else(|| Scales::new(reading), |noted| noted.moved(reading));
        let clock = Self { spool, scales: Mutex::new(scales), read: Box::new(read) };
        if noted.is_none_or(|noted| noted.is_old(reading)) {
            clock.save(scales);
        }
        Ok(clock)
    }

    pub(crate) fn now(&self) -> Moment {
        self.scales.lock().unwrap_or_else(PoisonError::into_inner).at((self.read)())
    }

    /// Notes the scales, where that is due. May block.
    pub(crate) fn keep(&self) {
        let reading = (self.read)();
        let mut scales = self.scales.lock().unwrap_or_else(PoisonError::into_inner);
        if scales.is_old(reading) {
            *scales = scales.moved(reading);
            let scales_now = *scales;
            drop(scales);
            self.save(scales_now);
        }
    }

    fn save(&self, scales: Scales) {
        let Some(spool) = &self.spool else { return };
        let written = codec::encode(&scales).map_err(io::Error::other).and_then(|value| {
            spool.write(vec![Change::Put { table: TABLE, key: KEY.to_vec(), value }])
        });
        if let Err(error) = written {
            tracing::warn!(
                %error,
                "the spool could not note how much time has passed: what expires may do so later"
            );
        }
    }
}

impl Moment {
    /// A date on the scale of what has passed, as the wall clock has it at present.
    pub(crate) fn on_the_wall(&self, date: u64) -> u64 {
        date.saturating_add(now()).saturating_sub(self.passed)
    }

    /// Returns how long it is until a date on the scale of what has passed.
    pub(crate) fn until(&self, date: u64) -> Duration {
        Duration::from_secs(date.saturating_sub(self.passed))
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock").field("now", &self.now()).finish_non_exhaustive()
    }
}

fn read() -> Reading {
    let (up, boot) = since_boot();
    seconds(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(), up, boot)
}

/// Returns what the two clocks say at one moment, in whole seconds.
fn seconds(wall: Duration, up: Duration, boot: Option<[u8; 16]>) -> Reading {
    // As it was when the wall clock began its second: so the two are the same number apart at any
    // moment, and dates do not jump to and fro.
    let begun = up.as_millis() as i128 - i128::from(wall.subsec_millis());
    let up = u64::try_from((begun + 500).div_euclid(1000)).unwrap_or(0);
    Reading { wall: wall.as_secs(), up, boot }
}

#[cfg(target_os = "linux")]
fn since_boot() -> (Duration, Option<[u8; 16]>) {
    let up = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    (
        Duration::new(
            u64::try_from(up.tv_sec).unwrap_or(0),
            u32::try_from(up.tv_nsec).unwrap_or(0),
        ),
        *BOOT,
    )
}

/// Elsewhere a process is all that is known to go on.
#[cfg(not(target_os = "linux"))]
fn since_boot() -> (Duration, Option<[u8; 16]>) {
    (PROCESS.1.elapsed(), Some(PROCESS.0))
}

/// The kernel's id of this boot; where there is none, this process counts as one.
#[cfg(target_os = "linux")]
static BOOT: std::sync::LazyLock<Option<[u8; 16]>> = std::sync::LazyLock::new(|| {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let digits: String =
        text.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_ascii_lowercase();
    let named = data_encoding::HEXLOWER
        .decode(digits.as_bytes())
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    named.or_else(|| super::random32().first_chunk().copied())
});

#[cfg(not(target_os = "linux"))]
static PROCESS: std::sync::LazyLock<([u8; 16], std::time::Instant)> =
    std::sync::LazyLock::new(|| {
        let [.., random @ ..]: [u8; 32] = super::random32();
        (*random.first_chunk().expect("32 bytes hold 16"), std::time::Instant::now())
    });

/// The hands of a clock for tests.
#[cfg(test)]
#[derive(Clone, Debug, Default)]
pub(crate) struct Hands {
    /// The seconds by which the wall clock was put forward.
    pub(crate) forward: Arc<std::sync::atomic::AtomicU64>,
    /// The seconds that have passed besides.
    pub(crate) lived: Arc<std::sync::atomic::AtomicU64>,
}

#[cfg(test)]
impl Hands {
    /// A clock with these hands.
    pub(crate) fn clock(&self, spool: Option<Arc<dyn Store>>) -> Arc<Clock> {
        use std::sync::atomic::Ordering::Relaxed;
        let hands = self.clone();
        let read = move || {
            let (Reading { wall, up, boot }, lived) = (read(), hands.lived.load(Relaxed));
            let wall = wall + lived + hands.forward.load(Relaxed);
            Reading { wall, up: up + lived, boot }
        };
        Arc::new(Clock::load_by(spool, read).expect("the spool can be read"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const YEAR: u64 = 365 * 24 * 3600;
    const START: u64 = 50 * YEAR;

    fn reading(boot: u8, up: u64, wall: u64) -> Reading {
        Reading { wall, up, boot: Some([boot; 16]) }
    }

    #[test]
    fn a_clock_that_is_put_forward_and_back_changes_nothing_within_a_boot() {
        let scales = Scales::new(reading(1, 5, START));
        for wall in [START + 10 * YEAR, START - YEAR, 0, START + 100] {
            // Seen by the same process, and by one that was started meanwhile.
            let (seen, begun) = (
                scales.at(reading(1, 105, wall)),
                scales.moved(reading(1, 55, wall)).at(reading(1, 105, START)),
            );
            assert_eq!(seen, Moment { certain: START + 100, passed: START + 100 }, "{wall}");
            assert_eq!(begun, seen);
        }
    }

    #[test]
    fn how_long_the_machine_was_off_is_believed_by_one_scale_and_not_by_the_other() {
        let scales = Scales::new(reading(1, 5, START));
        let after = |wall| scales.at(reading(2, 9, wall));
        assert_eq!(after(START + 1000), Moment { certain: START, passed: START + 1000 });
        assert_eq!(after(START + 10 * YEAR).certain, START);
        // A clock that begins behind where it was does not make anything young again.
        let behind = scales.moved(reading(2, 9, START - YEAR));
        assert_eq!(
            behind.at(reading(2, 19, START + 1000)),
            Moment { certain: START + 10, passed: START + 10 }
        );
    }

    #[test]
    fn scales_never_go_back_whatever_the_clocks_say() {
        let (mut scales, mut before) = (Scales::new(reading(1, 5, START)), Moment::default());
        for (boot, up, wall) in [
            (1, 9, 0),
            (2, 3, START + YEAR),
            (2, 1, 7),
            (3, 0, START),
            (3, 50, u64::MAX),
            (4, 0, 0),
            (4, 9, START),
        ] {
            scales = scales.moved(reading(boot, up, wall));
            let now = scales.at(reading(boot, up, wall));
            assert!(
                now.certain >= before.certain
                    && now.passed >= before.passed
                    && now.certain <= now.passed,
                "{now:?} after {before:?}"
            );
            before = now;
        }
    }

    #[test]
    fn a_step_is_noted_at_once_and_the_hour_when_it_is_over() {
        let scales = Scales::new(reading(1, 5, START));
        assert!(
            !scales.is_old(reading(1, 65, START + 60))
                && !scales.is_old(reading(1, 65, START + 90))
        );
        assert!(
            scales.is_old(reading(1, 65, START + YEAR))
                && scales.is_old(reading(1, 65, START - YEAR))
        );
        assert!(
            scales.is_old(reading(1, 5 + SAVE_EVERY, START + SAVE_EVERY))
                && scales.is_old(reading(2, 5, START))
        );
        assert!(!scales.is_old(reading(1, 4 + SAVE_EVERY, START + SAVE_EVERY - 1)));
        for (step, is_one) in [(STEP, false), (STEP + 1, true)] {
            let is_old = [START + 60 + step, START + 60 - step]
                .map(|wall| scales.is_old(reading(1, 65, wall)));
            assert_eq!(is_old, [is_one; 2], "{step}");
        }
    }

    #[test]
    fn both_clocks_are_the_same_number_of_seconds_apart_at_any_moment() {
        let (wall, up) = (Duration::from_millis(1_000_000_700), Duration::from_millis(5_200));
        let apart = |past: u64| {
            let past = Duration::from_millis(past);
            let Reading { wall, up, .. } = seconds(wall + past, up + past, None);
            wall - up
        };
        assert!(
            (0..3000).all(|past| apart(past) == 999_995),
            "{:?}",
            (0..3000).map(apart).collect::<std::collections::HashSet<_>>()
        );
        assert_eq!(
            seconds(Duration::from_millis(900), Duration::ZERO, None).up,
            0,
            "it has just been started"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_kernel_says_which_boot_it_is_and_how_long_ago_that_was() {
        let (up, boot) = since_boot();
        let told = std::fs::read_to_string("/proc/uptime").unwrap();
        let told: f64 = told.split(' ').next().unwrap().parse().unwrap();
        assert!(
            told > 0.0 && up.as_secs_f64() > 0.0 && (told - up.as_secs_f64()).abs() < 60.0,
            "{told} and {up:?}"
        );
        let name = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
        assert_eq!(data_encoding::HEXLOWER.encode(&boot.unwrap()), name.trim().replace('-', ""));
        assert_eq!(read().boot, boot);
    }

    #[test]
    fn scales_are_noted_at_first_and_when_they_are_old_and_not_between() {
        let spool: Arc<dyn Store> = Arc::<crate::node::MemoryStore>::default();
        let noted = || {
            codec::decode::<Scales>(&spool.find(TABLE, KEY).unwrap().expect("they are noted"))
                .unwrap()
        };
        let clock = Clock::load(Some(Arc::clone(&spool))).unwrap();
        let first = noted();
        assert_eq!(first.certain, first.wall, "they begin where the wall clock stands");
        spool.put(TABLE, KEY, &codec::encode(&Scales { certain: 1, ..first }).unwrap()).unwrap();
        clock.keep();
        assert_eq!(noted().certain, 1, "it was not due");
        *clock.scales.lock().unwrap() = Scales { certain: 7, boot: None, ..first };
        clock.keep();
        assert_eq!((noted().certain, noted().boot), (7, read().boot));
        assert_eq!(*clock.scales.lock().unwrap(), noted());
        assert!(format!("{clock:?}").contains("certain"), "{clock:?}");
    }

    #[test]
    fn a_date_is_as_far_off_on_the_wall_as_on_the_scale() {
        let moment = Moment { certain: 0, passed: 1000 };
        let (before, shown, after) = (now(), moment.on_the_wall(1050), now());
        assert!((before + 50..=after + 50).contains(&shown), "{shown}");
        assert_eq!(
            (moment.until(1050), moment.until(950)),
            (Duration::from_secs(50), Duration::ZERO)
        );
    }

    #[test]
    fn a_later_process_goes_on_with_the_scales_of_the_spool() {
        let spool: Arc<dyn Store> = Arc::<crate::store::MemoryStore>::default();
        let kept = Scales { certain: 1000, passed: 2000, ..Scales::new(read()) };
        spool.put(TABLE, KEY, &codec::encode(&kept).unwrap()).unwrap();
        let now = Clock::load(Some(spool)).unwrap().now();
        assert!((1000..1060).contains(&now.certain) && now.passed == now.certain + 1000, "{now:?}");
        let damaged: Arc<dyn Store> = Arc::<crate::store::MemoryStore>::default();
        damaged.put(TABLE, KEY, b"?").unwrap();
        assert!(
            Clock::load(Some(damaged)).unwrap().now().passed > START,
            "a record that can't be read begins anew"
        );
    }
}
