//! Faults that befall the nodes besides being killed.

use std::time::Duration;

use rustix::process::Signal;

use crate::campaign::{Campaign, Who};

/// The wait for a word while something is wrong: there may be none.
const QUIET: Duration = Duration::from_millis(300);
/// Days that a clock may be ahead or behind. Sender and relay date what they pack, so theirs go
/// wrong by less than anything may wait.
const DAYS: [i64; 4] = [-400, -2, 2, 40];
const DAYS_OF_SENDERS: [i64; 4] = [-2, -1, 1, 2];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    /// A bit is flipped on one of the roads.
    Flip,
    /// A wall clock steps, while its process runs.
    Clock,
    /// A disk is full for a while: of the sender's spool, of the receiver's, of what it takes.
    Full,
    /// A process is stopped (SIGSTOP), and goes on; or is killed meanwhile.
    Stop,
    /// One end has few descriptors.
    Short,
}

impl Fault {
    const ALL: [Self; 5] = [Self::Flip, Self::Clock, Self::Full, Self::Stop, Self::Short];

    fn name(self) -> &'static str {
        match self {
            Self::Flip => "flip",
            Self::Clock => "clock",
            Self::Full => "full",
            Self::Stop => "stop",
            Self::Short => "short",
        }
    }

    /// Those that `ESTAFETTE_FAULTS` names, or all.
    pub(crate) fn chosen() -> Vec<Self> {
        let Ok(chosen) = std::env::var("ESTAFETTE_FAULTS") else { return Self::ALL.to_vec() };
        let named = |name: &str| {
            Self::ALL
                .into_iter()
                .find(|fault| fault.name() == name)
                .unwrap_or_else(|| panic!("no fault is called {name:?}"))
        };
        chosen.split(',').filter(|name| !name.is_empty()).map(named).collect()
    }
}

impl Campaign {
    /// Lets all go on for a while, and this happen meanwhile.
    pub(crate) fn suffer(&mut self, fault: Fault) {
        let happened = match fault {
            Fault::Flip => self.flip(),
            Fault::Clock => self.step_clock(),
            Fault::Full => self.fill_disk(),
            Fault::Stop => self.stop(),
            Fault::Short => self.be_short(),
        };
        *self.suffered.entry(fault.name()).or_default() += u64::from(happened);
    }

    fn flip(&mut self) -> bool {
        let roads = [&self.roads.to_paris, &self.roads.to_dijon, &self.roads.to_brest];
        let road = roads[self.random.below(3) as usize];
        road.flip_after(self.random.mostly_small(1 << 20), self.random.below(8) as u32);
        self.run_for_a_while();
        true
    }

    fn step_clock(&mut self) -> bool {
        let who = Who::ALL[self.random.below(5) as usize];
        let days = if matches!(who, Who::Paris) { DAYS } else { DAYS_OF_SENDERS };
        let step = days[self.random.below(4) as usize];
        let stepped = self.clocks.get(&who).map(|clock| clock.step(step)).is_some();
        self.run_for_a_while();
        stepped
    }

    fn fill_disk(&mut self) -> bool {
        let which = self.random.below(3) as usize;
        if let Some(disk) = &self.disks[which] {
            disk.fill();
        }
        self.run_until_quiet(QUIET);
        if let Some(disk) = &self.disks[which] {
            disk.free();
        }
        // A node whose spool has failed has ended by itself, or is about to; it goes on when it is
        // started again.
        self.kill(if which == 0 { Who::Lyon } else { Who::Paris });
        self.disks[which].is_some()
    }

    fn stop(&mut self) -> bool {
        let who = Who::ALL[self.random.below(5) as usize];
        self.running[&who].signal(Signal::STOP);
        self.run_until_quiet(QUIET);
        if self.random.below(3) == 0 {
            self.kill(who);
        } else {
            self.running[&who].signal(Signal::CONT);
            self.run_for_a_while();
        }
        true
    }

    fn be_short(&mut self) -> bool {
        let who = [Who::Lyon, Who::Paris][self.random.below(2) as usize];
        self.end(who);
        self.start_with(who, true);
        self.run_for_a_while();
        true
    }
}
